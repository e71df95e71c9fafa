//! What a ladder of the office's own may not leave out without a reason: the table of `policy.md` 5.
//!
//! For each duty, and each moment from which the table counts, the office's own ladder has to tell that duty as often as
//! the table does, each time no later, and at least until the same has happened.

use std::cmp::Reverse;

use lampguard_model::Millis;

use super::{Ladder, Since, Until};
use crate::incident::Severity;
use crate::rota::Whom;

/// Tellings of one rung that repeats, as far as the table looks.
const REPEATS_MAX: i64 = 24 * 60;

/// One telling that the table asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    since: Since,
    after: Millis,
    every: Option<Millis>,
    until: Until,
    whom: Whom,
}

/// The table as the rules have it: at the breach they name the head alone, what else we tell there is ours.
fn table(severity: Severity) -> Ladder {
    let mut ladder = if severity == Severity::P1 { Ladder::p1() } else { Ladder::p2() };
    if let Some(breach) = ladder.breach().and_then(|step| ladder.rungs.get_mut(step)) {
        breach.to = vec![Whom::Head];
    }
    ladder
}

fn asked(severity: Severity) -> Vec<Asked> {
    let of = |rung: super::Rung| {
        let super::Rung { since, after, every, until, to } = rung;
        to.into_iter().map(move |whom| Asked { since, after, every, until, whom })
    };
    table(severity).rungs.into_iter().flat_map(of).collect()
}

/// When a ladder tells a duty, counted from `since`, and until what; of a rung that repeats each time up to `last`.
fn tellings(ladder: &Ladder, since: Since, whom: Whom, last: Millis) -> Vec<(Millis, Until)> {
    let rungs = ladder.rungs.iter().filter(|rung| rung.since == since && rung.to.contains(&whom));
    let of = |rung: &super::Rung| {
        let every = rung.every.map_or(0, |every| every.0);
        let repeats = if every > 0 { REPEATS_MAX } else { 1 };
        let times = (0..repeats).map(|n| Millis(rung.after.0 + every * n)).take_while(|at| *at <= last);
        times.map(|at| (at, rung.until)).collect::<Vec<_>>()
    };
    rungs.flat_map(of).collect()
}

/// What a ladder leaves out of the table, or tells later; empty: it is at least as strong.
pub(super) fn weaker(severity: Severity, ladder: &Ladder) -> Vec<String> {
    let mut asked = asked(severity);
    let last = asked.iter().map(|one| one.after).max().unwrap_or(Millis(0));
    // What has to be told longest takes first: what is left is good for the others.
    asked.sort_by_key(|one| (one.whom, one.since, Reverse(one.until), one.after));
    let (mut found, mut of, mut left) = (Vec::new(), None, Vec::new());
    for one in asked {
        if of != Some((one.whom, one.since)) {
            of = Some((one.whom, one.since));
            left = tellings(ladder, one.since, one.whom, last);
        }
        let serves = |(at, until): &(Millis, Until)| *at <= one.after && *until >= one.until;
        let rank = |place: &usize| (Reverse(left[*place].1), left[*place].0);
        let best = (0..left.len()).filter(|place| serves(&left[*place])).max_by_key(rank);
        match best {
            Some(place) => {
                left.remove(place);
                found.extend(seldom(ladder, one).map(|words| (one, words)));
            }
            None => found.push((one, format!("{} does not tell {}", moment(one), one.whom.name()))),
        }
    }
    found.sort_by_key(|(one, _)| (one.since, one.after, one.whom));
    found.into_iter().map(|(_, words)| words).collect()
}

/// What the table repeats has to be repeated as often.
fn seldom(ladder: &Ladder, one: Asked) -> Option<String> {
    let wanted = one.every?;
    let often = ladder.rungs.iter().any(|rung| {
        let same = rung.since == one.since && rung.until >= one.until && rung.after <= one.after + wanted;
        same && rung.to.contains(&one.whom) && rung.every.is_some_and(|every| every <= wanted)
    });
    let (minutes, name) = (wanted.as_seconds() / 60, one.whom.name());
    (!often).then(|| format!("{} does not tell {name} again every {minutes} min", moment(one)))
}

/// `3 min (from opened until acknowledged)`.
fn moment(one: Asked) -> String {
    let since = match one.since {
        Since::Opened => "opened",
        Since::Acknowledged => "acknowledged",
        Since::Departed => "departed",
        Since::Arrived => "arrived",
    };
    let until = match one.until {
        Until::Acknowledged => "acknowledged",
        Until::Departed => "departed",
        Until::Arrived => "arrived",
        Until::MadeSafe => "made_safe",
    };
    format!("after {} min (from {since} until {until}) it", one.after.as_seconds() / 60)
}
