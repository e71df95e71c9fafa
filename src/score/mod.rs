//! `score`: compares what was true with what people were told (`design.md` 6, Score).
//!
//! ```text
//! 1 truth      read the hazards                                     lines, truth
//! 2 tellings   read what people were told: a file or an instance    tellings, ask
//! 3 recording  read what was watched, and the rain                  recording
//! 4 match      which telling finds which hazard, which P1 is false  facts, rule
//! 5 figures    counts, shares, delays, messages, arrivals           figures
//! 6 print      for people, as JSON, as a picture of the storm       table, json, picture
//! ```
//!
//! [`score()`] is steps 4 and 5 and pure: whoever has hazards and incidents in memory asks it directly, and has
//! `table::summary` and [`object`] for printing.

mod ask;
mod facts;
mod figures;
mod json;
mod lines;
mod picture;
#[cfg(test)]
mod picture_tests;
mod recording;
mod reporting;
mod rule;
#[cfg(test)]
mod rule_tests;
mod table;
mod tellings;
#[cfg(test)]
mod tellings_tests;
mod truth;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lampguard_model::{PostKind, Register, Timestamp};
use serde_json::json;

use crate::{UsageError, cli, serve, tools};
use recording::Recording;
use tellings::Tellings;

pub(crate) use facts::{Class, Exposure, Family, Going, Hazard, Message, Spot, Told};
pub(crate) use figures::{Arrivals, Group, Scores};
pub(crate) use json::object;
pub(crate) use reporting::Reporting;
pub(crate) use rule::{Graded, Verdict, score};
pub(crate) use table::SIMULATED;

/// Milliseconds of a night, for rates: a span counts one for each 24 h.
const NIGHT_MS: f64 = 86_400_000.0;

/// The command.
pub(crate) fn run(file: Option<&Path>, asked: &cli::Score) -> Result<()> {
    let (from, until) = span(asked)?;
    if asked.truth == Path::new(lines::STDIN) && asked.notices == lines::STDIN {
        bail!(UsageError(
            "--truth and --notices cannot both come from standard input; name one file".to_owned()
        ));
    }
    let mut hazards = truth::read(&asked.truth)?;
    let mut tellings = if ask::is_instance(&asked.notices) {
        ask::read(file, &asked.notices, asked.token.as_deref())?
    } else {
        tellings::read(Path::new(&asked.notices))?
    };
    let register = asked.posts.as_deref().map(read_register).transpose()?;
    let recording =
        asked.readings.as_deref().map(|path| recording::read(path, register.as_ref())).transpose()?;
    keep_span(&mut tellings, from, until);
    name_feeders(&mut hazards, register.as_ref(), &tellings.feeders);
    let exposure = exposure(asked, recording.as_ref(), register.as_ref(), (from, until));
    let reporting = recording.as_ref().and_then(|recording| recording.reporting.as_ref());
    let mut scores = score(&hazards, &tellings.told, tellings.messages.as_deref(), exposure, reporting);
    scores.simulated = tellings.simulated || recording.as_ref().is_some_and(|recording| recording.simulated);
    say_what_is_odd(&tellings, &scores, recording.as_ref());
    if let Some(path) = &asked.svg {
        let scene = picture::Scene {
            scores: &scores,
            told: &tellings.told,
            messages: tellings.messages.as_deref(),
            recording: recording.as_ref(),
            lang: asked.lang,
        };
        std::fs::write(path, picture::draw(scene))
            .with_context(|| format!("writing picture {}", path.display()))?;
    }
    if asked.json {
        let mut all = object(&scores);
        all["left_out"] = json!({
            "drill_lines": tellings.drills,
            "notices_not_accepted": tellings.not_accepted,
            "pages_missing": tellings.unfinished,
        });
        return tools::print(&format!("{all}\n"));
    }
    let mut text = table::summary(&scores);
    if asked.details {
        text.push('\n');
        text.push_str(&table::details(&scores.graded));
    }
    tools::print(&text)
}

/// The hazards of a truth file, with the feeders that the register knows.
pub(crate) fn hazards_of(truth: &Path, register: &Register) -> Result<Vec<Hazard>> {
    let mut hazards = truth::read(truth)?;
    name_feeders(&mut hazards, Some(register), &HashMap::new());
    Ok(hazards)
}

/// What people were told, from lines of `backtest --json` in memory; `name` is what faults call them.
pub(crate) fn told_of(lines: impl Iterator<Item = serde_json::Value>, name: &str) -> Result<Vec<Told>> {
    tellings::of_lines(lines, Path::new(name)).map(|tellings| tellings.told)
}

/// Posts of a register that are watched, for so many nights.
pub(crate) fn watched(register: &Register, nights: f64) -> Exposure {
    let posts = register.posts().iter();
    let posts = posts.filter(|post| post.kind == PostKind::Post && post.monitored).count() as u64;
    Exposure { posts, nights }
}

/// `--from` and `--until`.
fn span(asked: &cli::Score) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
    let time = |name: &str, text: Option<&String>| {
        text.map(|text| {
            let time = text.parse().ok().map(Timestamp).or_else(|| Timestamp::from_rfc3339(text));
            time.ok_or_else(|| {
                UsageError(format!("--{name} {text:?} is not RFC 3339 with offset, nor milliseconds UTC"))
            })
        })
        .transpose()
    };
    let (from, until) = (time("from", asked.from.as_ref())?, time("until", asked.until.as_ref())?);
    if from.zip(until).is_some_and(|(from, until)| until <= from) {
        bail!(UsageError("--until is not after --from; give them in this order".to_owned()));
    }
    Ok((from, until))
}

fn read_register(path: &Path) -> Result<Register> {
    let bytes = std::fs::read(path).with_context(|| format!("reading register {}", path.display()))?;
    Register::parse(&bytes).map_err(|faults| serve::register_faults(path, &faults))
}

/// Leaves out what was told outside of the asked span.
fn keep_span(tellings: &mut Tellings, from: Option<Timestamp>, until: Option<Timestamp>) {
    let inside = |at: Timestamp| from.is_none_or(|from| at >= from) && until.is_none_or(|until| at < until);
    tellings.told.retain(|told| told.p1_told_at().is_none_or(inside));
    if let Some(messages) = &mut tellings.messages {
        messages.retain(|message| inside(message.at));
    }
}

/// Gives hazards on posts the feeder of the post: by the register, else by what incidents say.
fn name_feeders(hazards: &mut [Hazard], register: Option<&Register>, known: &HashMap<String, String>) {
    for hazard in hazards {
        let (Some(post), None) = (&hazard.spot.post, &hazard.spot.feeder) else { continue };
        let by_register = register.and_then(|register| register.by_post(post));
        let feeder = by_register.map(|post| post.feeder.to_string()).or_else(|| known.get(post).cloned());
        hazard.spot.feeder = feeder.filter(|feeder| !feeder.is_empty());
    }
}

/// How much was watched: posts by the recording, else by the register; nights as asked, else by the recording's
/// span, else by the asked one.
fn exposure(
    asked: &cli::Score,
    recording: Option<&Recording>,
    register: Option<&Register>,
    (from, until): (Option<Timestamp>, Option<Timestamp>),
) -> Option<Exposure> {
    let by_register = || register.map(|register| watched(register, 0.0).posts);
    let posts = recording.map(|recording| recording.posts).or_else(by_register)?;
    let recorded = recording.and_then(|recording| recording.span);
    let recorded = recorded.map(|(first, last)| {
        (from.map_or(first, |from| first.max(from)), until.map_or(last, |until| last.min(until)))
    });
    let by_span = recorded.or_else(|| from.zip(until));
    let by_span = by_span.map(|(first, last)| last.since(first).0.max(0) as f64 / NIGHT_MS);
    Some(Exposure { posts, nights: asked.nights.or(by_span)? })
}

/// What the reader of the figures has to know beside them.
fn say_what_is_odd(tellings: &Tellings, scores: &Scores, recording: Option<&Recording>) {
    if tellings.unfinished {
        eprintln!(
            "the last page of the notices names a next one: pages are missing, the figures are not whole"
        );
    }
    if tellings.drills > 0 {
        eprintln!("{} line(s) of drills were left out", tellings.drills);
    }
    if tellings.not_accepted > 0 {
        eprintln!("{} notice(s) were not accepted and do not count", tellings.not_accepted);
    }
    if tellings.undated > 0 {
        eprintln!(
            "{} incident(s) name several posts and no line says since when: each counts from the first notice; \
             the single views of the incidents (timeline), webhook bodies and `backtest --json` lines know",
            tellings.undated
        );
    }
    if let Some(frames) = recording.map(|recording| recording.missed_frames).filter(|frames| *frames > 0) {
        eprintln!(
            "the recording lacks {frames} frame(s) that `record` could not keep up with: the watched time is \
             not whole, and posts may have reported that seem silent"
        );
    }
    let reporting = recording.and_then(|recording| recording.reporting.as_ref());
    let patrols: usize =
        ["feeder_dark", "blind"].iter().filter_map(|kind| scores.p1.not_judged.get(*kind)).sum();
    if patrols > 0 && reporting.is_none() {
        eprintln!(
            "{patrols} patrol(s) were not judged, and what they found is believed: --readings RECORDING and \
             --posts posts.csv say who was reporting"
        );
    }
    if let Some((first, last)) = recording.and_then(|recording| recording.span) {
        let slack = facts::EARLY;
        let outside =
            scores.alarms.iter().filter(|alarm| alarm.at < first || alarm.at > last + slack).count();
        if outside > 0 {
            eprintln!(
                "{outside} P1(s) were told outside of the recording ({first} to {last}); --from and --until \
                 leave them out"
            );
        }
    }
}
