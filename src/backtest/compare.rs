//! The same readings under two policies: which incidents belong together, and what differs. Pure but for `run`.
//!
//! An incident of one policy belongs to one of the other when they are at the same spot, of the same family, and
//! open at the same time. Ids are not compared: a stricter limit opens on an earlier sample, which names it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use lampguard_alerting::Policies;
use lampguard_model::{Millis, Register, Timestamp};
use serde_json::Value;

use super::compared::{self, Hazards};
use super::{Judge, Source, Told, judge_readings};
use crate::cli::Backtest;
use crate::{UsageError, score, tools};

/// Incidents of one policy at most.
const INCIDENTS_MAX: usize = 200_000;
/// Milliseconds of a night, as `score` counts them.
const NIGHT_MS: f64 = 86_400_000.0;

/// One incident as far as it is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    /// Post, feeder, place or zone.
    pub(super) spot: String,
    /// Its line of `--json`.
    pub(super) line: Value,
    pub(super) kind: String,
    pub(super) opened_at: Timestamp,
    /// Since when it is P1.
    pub(super) p1_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl Case {
    /// Reads a line of `backtest --json`; what is no incident is none.
    fn of(line: Value) -> Option<Self> {
        let text = |key: &str| line.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let time = |key: &str| text(key).and_then(Timestamp::from_rfc3339);
        let place = || line.get("place").filter(|place| !place.is_null()).map(ToString::to_string);
        let spot = text("post_id").map(str::to_owned).or_else(place);
        let spot = spot.or_else(|| text("feeder").or_else(|| text("zone")).map(str::to_owned))?;
        let (opened_at, p1_at, ended_at) = (time("opened_at")?, time("p1_at"), time("ended_at"));
        Some(Self { spot, kind: text("kind")?.to_owned(), opened_at, p1_at, ended_at, line })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let ends = |case: &Self| case.ended_at.unwrap_or(Timestamp(i64::MAX));
        self.opened_at <= ends(other) && other.opened_at <= ends(self)
    }

    /// When people were called out; when it opened if they were not.
    fn told_at(&self) -> Timestamp {
        self.p1_at.unwrap_or(self.opened_at)
    }

    /// Groups that share one incident: the score's families, finer for what claims no current.
    fn family(&self) -> String {
        match score::Family::of(&self.kind) {
            score::Family::Other => self.kind.clone(),
            family => format!("{family:?}"),
        }
    }
}

/// What differs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Incidents under both, told at the same moment.
    pub(super) same: usize,
    /// Only under the second policy.
    pub(super) gained: Vec<Case>,
    /// Only under the first one.
    pub(super) lost: Vec<Case>,
    /// Told earlier under the second, with how much.
    pub(super) earlier: Vec<(Case, Case, Millis)>,
    /// Told later under the second, with how much.
    pub(super) later: Vec<(Case, Case, Millis)>,
    /// P1 only under the second: new call-outs.
    pub(super) calls_gained: Vec<Case>,
    /// P1 only under the first: call-outs that would not be made.
    pub(super) calls_lost: Vec<Case>,
}

/// Compares incidents under the first policy with those under the second.
pub(super) fn changes(first: Vec<Case>, second: Vec<Case>) -> Changes {
    let mut spots: BTreeMap<(String, String), [Vec<Case>; 2]> = BTreeMap::new();
    for (place, cases) in [first, second].into_iter().enumerate() {
        for case in cases {
            spots.entry((case.spot.clone(), case.family())).or_default()[place].push(case);
        }
    }
    let mut changes = Changes::default();
    for [mut before, mut after] in spots.into_values() {
        before.sort_by_key(|case| case.opened_at);
        after.sort_by_key(|case| case.opened_at);
        for case in before {
            match after.iter().position(|other| case.overlaps(other)) {
                Some(place) => changes.pair(case, after.remove(place)),
                None => changes.lose(case),
            }
        }
        after.into_iter().for_each(|case| changes.gain(case));
    }
    changes.sort();
    changes
}

impl Changes {
    fn pair(&mut self, before: Case, after: Case) {
        match (before.p1_at, after.p1_at) {
            (None, Some(_)) => self.calls_gained.push(after.clone()),
            (Some(_), None) => self.calls_lost.push(before.clone()),
            _ => {}
        }
        let apart = after.told_at().since(before.told_at());
        match apart.0 {
            0 => self.same += 1,
            ..0 => self.earlier.push((before, after, Millis(-apart.0))),
            _ => self.later.push((before, after, apart)),
        }
    }

    fn lose(&mut self, case: Case) {
        self.calls_lost.extend(case.p1_at.is_some().then(|| case.clone()));
        self.lost.push(case);
    }

    fn gain(&mut self, case: Case) {
        self.calls_gained.extend(case.p1_at.is_some().then(|| case.clone()));
        self.gained.push(case);
    }

    fn sort(&mut self) {
        for list in [&mut self.gained, &mut self.lost, &mut self.calls_gained, &mut self.calls_lost] {
            list.sort_by(|a, b| (a.opened_at, &a.spot).cmp(&(b.opened_at, &b.spot)));
        }
        for list in [&mut self.earlier, &mut self.later] {
            list.sort_by(|a, b| (b.2, &a.0.spot).cmp(&(a.2, &b.0.spot)));
        }
    }
}

/// The command with `--against`.
pub(super) fn run(
    asked: &Backtest,
    register: &Arc<Register>,
    policies: &[Policies; 2],
    judge: impl Fn(Policies) -> Judge,
) -> Result<Source> {
    let mut judges = policies.clone().map(judge);
    let mut lines: [Vec<Value>; 2] = Default::default();
    let mut take = |place: usize, told: Told| {
        if lines[place].len() >= INCIDENTS_MAX {
            bail!(UsageError(format!(
                "more than {INCIDENTS_MAX} incidents under one policy; compare a shorter recording"
            )));
        }
        lines[place].push(serde_json::from_str(&told.to_json())?);
        Ok(())
    };
    let mut reporting = score::Reporting::of(register);
    let source = judge_readings(asked, register, &mut judges, Some(&mut reporting), &mut take)?;
    for (place, judge) in judges.iter_mut().enumerate() {
        judge.finish().into_iter().try_for_each(|told| take(place, told))?;
    }
    let span = judges[0].judged.span;
    let nights = span.map_or(0.0, |(first, last)| last.since(first).0 as f64 / NIGHT_MS);
    let hazards = match &asked.truth {
        Some(truth) => Some(hazards(truth, register, &lines, nights, &reporting)?),
        None => None,
    };
    let counts = [0, 1].map(|place| lines[place].len());
    let [first, second] = lines.map(|lines| lines.into_iter().filter_map(Case::of).collect::<Vec<_>>());
    let calls = [&first, &second].map(|cases| cases.iter().filter(|case| case.p1_at.is_some()).count());
    let report = compared::Report {
        asked,
        simulated: judges[0].judged.simulated,
        policies,
        counts,
        calls,
        changes: &changes(first, second),
        hazards: hazards.as_ref(),
    };
    for line in super::summary::left_out(asked.lang, &judges[0], &source) {
        eprintln!("{line}");
    }
    tools::print(&if asked.json { format!("{}\n", report.to_json()) } else { report.to_text() })?;
    Ok(source)
}

/// What truth says of both.
fn hazards(
    truth: &std::path::Path,
    register: &Register,
    lines: &[Vec<Value>; 2],
    nights: f64,
    reporting: &score::Reporting,
) -> Result<Hazards> {
    let hazards = score::hazards_of(truth, register)?;
    let exposure = score::watched(register, nights);
    let scored = |place: usize| {
        let told = score::told_of(lines[place].iter().cloned(), "backtest")?;
        Ok::<_, anyhow::Error>(score::score(&hazards, &told, None, Some(exposure), Some(reporting)))
    };
    Ok(Hazards { scores: [scored(0)?, scored(1)?] })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    fn case(post: &str, kind: &str, minute: i64, until: Option<i64>, p1: bool) -> Case {
        let at = |minute: i64| (T + Millis::minutes(minute)).to_rfc3339();
        Case::of(json!({
            "id": "x", "kind": kind, "post_id": post, "opened_at": at(minute),
            "p1_at": p1.then(|| at(minute)), "ended_at": until.map(at),
        }))
        .unwrap()
    }

    fn spots(cases: &[Case]) -> Vec<&str> {
        cases.iter().map(|case| case.spot.as_str()).collect()
    }

    #[test]
    fn incidents_of_one_spot_and_family_that_overlap_belong_together() {
        let first = vec![
            case("P1", "leak_critical", 10, None, true),
            case("P2", "leak_critical", 10, Some(60), true),
            case("P3", "shell_critical", 10, None, true),
            case("P4", "offline", 10, None, false),
        ];
        let second = vec![
            case("P1", "shell_critical", 4, None, true),
            case("P2", "leak_critical", 90, None, true),
            case("P3", "shell_critical", 10, None, true),
            case("P4", "leak_critical", 10, None, true),
            case("P5", "leak_warning", 10, None, false),
        ];
        let changes = changes(first, second);
        assert_eq!(changes.same, 1);
        assert_eq!(
            (spots(&changes.lost), spots(&changes.gained)),
            (vec!["P2", "P4"], vec!["P4", "P5", "P2"])
        );
        assert_eq!(changes.earlier.len(), 1);
        assert_eq!((&*changes.earlier[0].0.spot, changes.earlier[0].2), ("P1", Millis::minutes(6)));
        assert!(changes.later.is_empty());
        assert_eq!(
            (spots(&changes.calls_lost), spots(&changes.calls_gained)),
            (vec!["P2"], vec!["P4", "P2"])
        );
    }

    #[test]
    fn a_call_out_is_lost_when_the_incident_stays_and_is_a_p1_no_more() {
        let first = vec![case("P1", "flag_only", 0, None, true)];
        let changes = changes(first, vec![case("P1", "leak_warning", 5, None, false)]);
        assert_eq!((spots(&changes.calls_lost), changes.lost.len(), changes.later.len()), (vec!["P1"], 0, 1));
    }

    #[test]
    fn the_same_incidents_give_no_change() {
        let cases =
            vec![case("P1", "leak_critical", 0, Some(9), true), case("P1", "leak_critical", 10, None, true)];
        let changes = changes(cases.clone(), cases);
        assert_eq!(changes, Changes { same: 2, ..Changes::default() });
    }
}
