//! `explain`: why a post did or did not raise.
//!
//! ```text
//! now          the running instance's own engine                  GET /api/v1/posts/{id}/explain
//! a past time  its journal, replayed up to that moment            the same, ?at=
//! offline      a recording, or the folder of a journal            --posts --readings
//! ```
//! A replay judges what came from the post's own feeder, and all weather: rules of a post need no more, and a
//! city's journal takes seconds instead of minutes. It begins [`REBUILD`] before the moment, so that drying of
//! low-lying posts and rain are known.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lampguard_alerting::{Explanation, Policies, Teller};
use lampguard_ingester::Offline;
use lampguard_journal::{FrameBuf, Reader, RealDisk};
use lampguard_model::register::is_identifier;
use lampguard_model::{Millis, Register, StoredReading, Timestamp};

use crate::backtest::{self, Judge, Pace};
use crate::cli::{Explain, Lang};
use crate::tools::Asker;
use crate::{UsageError, clock, config, tools};

/// How far before the moment a replay of a journal begins: longer than anything that a rule remembers of a post.
const REBUILD: Millis = Millis::hours(48);
/// One replay at a time: it reads the whole journal, and the alarms need the disk too.
static REPLAYING: Mutex<()> = Mutex::new(());

/// The command.
pub(crate) fn run(file: Option<&Path>, asked: &Explain) -> Result<()> {
    if !is_identifier(&asked.post) {
        bail!(UsageError(format!("{:?} is no post id: 1 to 64 of A-Z a-z 0-9 . _ : -", asked.post)));
    }
    let at = asked.at.as_deref().map(time).transpose()?;
    let told = match (&asked.posts, &asked.readings) {
        (Some(posts), Some(readings)) => offline(asked, posts, readings, at)?,
        _ => from_instance(file, asked, at)?,
    };
    if asked.json {
        return tools::print(&format!("{}\n", serde_json::to_string(&told)?));
    }
    let zone = jiff::tz::TimeZone::get(&asked.time_zone)
        .map_err(|_| UsageError(format!("--time-zone {:?} is not known", asked.time_zone)))?;
    tools::print(&Teller { chinese: asked.lang == Lang::Zh, zone }.text(&told))
}

fn time(text: &str) -> Result<Timestamp> {
    let time = text.parse().ok().map(Timestamp).or_else(|| Timestamp::from_rfc3339(text));
    Ok(time.ok_or_else(|| {
        UsageError(format!("--at {text:?} is not RFC 3339 with offset, nor milliseconds UTC"))
    })?)
}

fn from_instance(file: Option<&Path>, asked: &Explain, at: Option<Timestamp>) -> Result<Explanation> {
    let asker = Asker::new(file, &asked.target, Some(Duration::from_secs(120)))?;
    let at = at.map_or_else(String::new, |at| format!("?at={}", at.0));
    let (status, body) = asker.get(&format!("/api/v1/posts/{}/explain{at}", asked.post))?;
    let mut text = String::new();
    body.into_reader().read_to_string(&mut text).context("reading the answer")?;
    if status != 200 {
        bail!("the instance answered {status}: {text}");
    }
    serde_json::from_str(&text).context("reading the answer")
}

fn offline(asked: &Explain, posts: &Path, readings: &Path, at: Option<Timestamp>) -> Result<Explanation> {
    let register = Arc::new(backtest::read_register(posts)?);
    let policies = asked.policy.as_deref().map(config::policy::read).transpose()?.unwrap_or_default();
    if readings.is_dir() {
        return from_journal(readings, &register, policies, &asked.post, at.unwrap_or_else(clock::now));
    }
    let mut replay = Replay::new(&register, policies, &asked.post, at.unwrap_or(Timestamp(i64::MAX)));
    let file = File::open(readings).with_context(|| format!("reading recording {}", readings.display()))?;
    let mut offline = Offline::new(register.clone(), Offline::mappings());
    let name = readings.display().to_string();
    backtest::each_message(BufReader::new(file), name, |received_at, topic, payload, retain| {
        if received_at > replay.until {
            return false;
        }
        offline
            .take(received_at, topic, payload, retain, &mut |frame: &FrameBuf| replay.take(frame.records()));
        true
    })?;
    offline.flush(&mut |frame| replay.take(frame.records()));
    replay.explain(at, "recording").with_context(|| format!("{}: nothing before --at", readings.display()))
}

/// Replays the journal in `dir` up to `at`.
///
/// # Errors
/// When it cannot be read, or holds nothing before `at`.
pub(crate) fn from_journal(
    dir: &Path,
    register: &Arc<Register>,
    policies: Policies,
    post: &str,
    at: Timestamp,
) -> Result<Explanation> {
    let _one = REPLAYING.lock().unwrap_or_else(PoisonError::into_inner);
    let segments = lampguard_journal::inspect(&RealDisk, dir)?;
    let horizon = (at - REBUILD).0;
    let records = || segments.iter().filter(|s| s.closed_at.is_none_or(|closed| closed >= horizon));
    let first = records().filter_map(|s| s.records).map(|(first, _)| first).min();
    let end = records().filter_map(|s| s.records).map(|(_, end)| end).max();
    let mut replay = Replay::new(register, policies, post, at);
    if let (Some(first), Some(end)) = (first, end) {
        let mut reader = Reader::open(dir, first)?;
        while let Some(frame) = reader.next(end)? {
            if frame.closed_at >= horizon {
                replay.take(frame.records());
            }
            if frame.closed_at > (at + Millis::minutes(1)).0 {
                break;
            }
        }
    }
    let begins = segments.iter().filter_map(|segment| segment.created_at).min();
    replay.explain(Some(at), "journal").with_context(|| match begins {
        Some(begins) => format!(
            "the journal holds nothing before {}; it begins {}. `explain --posts --readings` takes a recording",
            at.to_rfc3339(),
            Timestamp(begins).to_rfc3339()
        ),
        None => "the journal is empty".to_owned(),
    })
}

/// The rules on the clock of what is replayed, up to a moment.
struct Replay {
    judge: Judge,
    until: Timestamp,
    post: String,
    feeder: Option<Arc<str>>,
}

impl Replay {
    fn new(register: &Arc<Register>, policies: Policies, post: &str, until: Timestamp) -> Self {
        let known = register.by_post(post).or_else(|| register.by_device(post));
        Self {
            judge: Judge::new(policies, register.clone(), Pace::AsNeeded),
            until,
            post: known.map_or(post, |known| &*known.post_id).to_owned(),
            feeder: known.map(|known| known.feeder.clone()).filter(|feeder| !feeder.is_empty()),
        }
    }

    fn take(&mut self, records: lampguard_journal::Records<'_>) {
        let (post, feeder) = (&*self.post, self.feeder.as_deref());
        let wanted = |r: &StoredReading<'_>| r.post == post || feeder == Some(r.feeder);
        self.judge.replay(records, self.until, wanted);
    }

    /// The answer at `at`, else at the last thing that was replayed; `None` when nothing was.
    fn explain(&mut self, at: Option<Timestamp>, source: &str) -> Option<Explanation> {
        let (first, last) = self.judge.judged.span?;
        let mut told = self.judge.explain(&self.post, at.unwrap_or(last));
        told.source = format!("{source} from {}", first.to_rfc3339());
        Some(told)
    }
}
