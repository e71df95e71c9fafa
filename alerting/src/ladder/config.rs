//! `[[escalation]]`: an office's own ladders.
//!
//! ```toml
//! [[escalation]]
//! severity = "P1"
//! zones = ["z1"]                                       # absent: all
//! steps = [
//!   { after_min = 0, to = "crew" },                    # from opened, until acknowledged
//!   { after_min = 0, to = "desk" },                    # of the same moment: one rung
//!   { after_min = 15, until = "arrived", to = "backup_crew" },
//!   { after_min = 30, every_min = 10, until = "arrived", to = "head" },
//! ]
//! i_accept = "no supervisor at night, office order 3"  # weaker than the table of the rules (`floor.rs`): why
//! ```

use std::sync::Arc;

use lampguard_model::Millis;
use serde::Deserialize;

use super::floor::weaker;
use super::{Ladder, Ladders, Rung, Since, Until};
use crate::incident::Severity;
use crate::rota::Whom;

/// Rungs of one ladder; more is a program that writes it.
pub(super) const RUNGS_MAX: usize = 50;
/// Longest time to a rung, and between repeats: a day.
const MINUTES_MAX: u32 = 24 * 60;

/// One `[[escalation]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscalationConfig {
    /// `P1` or `P2`.
    pub severity: String,
    /// Ids of zones; absent or empty: all.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Who is told, when.
    pub steps: Vec<StepConfig>,
    /// Why it may tell fewer people, or tell them later, than the rules.
    pub i_accept: Option<String>,
}

/// A ladder that is weaker than the rules, and why that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeakLadder {
    /// Of which severity.
    pub severity: Severity,
    /// Ids of its zones; empty: all.
    pub zones: Vec<Arc<str>>,
    /// What it leaves out or tells later.
    pub weaker: Vec<String>,
    /// Why.
    pub reason: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// So many minutes after `from`.
    pub after_min: u32,
    /// And again so often.
    pub every_min: Option<u32>,
    /// Absent: opened.
    pub from: Option<Since>,
    /// Absent: what follows `from`.
    pub until: Option<Until>,
    /// Whom.
    pub to: Whom,
}

/// What cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderFault {
    /// Which `[[escalation]]`.
    pub place: usize,
    /// Which of its keys.
    pub key: String,
    /// What is wrong, and the way out.
    pub reason: String,
}

impl Ladders {
    /// The ladders of a configuration; the defaults of the rules where it says nothing.
    ///
    /// # Errors
    /// Every [`LadderFault`] at once: stop and show them.
    pub fn build(configs: &[EscalationConfig], zones: &[&str]) -> Result<Self, Vec<LadderFault>> {
        let (mut ladders, mut faults) = (Self::default(), Vec::new());
        for (place, config) in configs.iter().enumerate() {
            let mut fault = |key: String, reason: String| faults.push(LadderFault { place, key, reason });
            let severity = match config.severity.as_str() {
                "P1" => Severity::P1,
                "P2" => Severity::P2,
                other => {
                    fault("severity".to_owned(), format!("{other:?} has no ladder; P1 and P2 have"));
                    continue;
                }
            };
            for zone in config.zones.iter().filter(|zone| !zones.contains(&zone.as_str())) {
                fault("zones".to_owned(), format!("there is no [[zone]] with id {zone:?}"));
            }
            let ids: Vec<Arc<str>> = config.zones.iter().map(|zone| Arc::from(zone.as_str())).collect();
            let both = |known: &[Arc<str>]| {
                known.is_empty() == ids.is_empty()
                    && (ids.is_empty() || ids.iter().any(|id| known.contains(id)))
            };
            if ladders.own.iter().any(|(known, zones, _)| *known == severity && both(zones)) {
                let reason =
                    format!("{} has a ladder there already; write one for each zone", severity.name());
                fault("severity".to_owned(), reason);
            }
            let mut sound = true;
            let ladder = build(severity, &config.steps, &mut |key, reason| {
                sound = false;
                fault(key, reason);
            });
            // What is missing altogether was said.
            if sound
                && let Some(weak) = accept(severity, &ids, &ladder, config.i_accept.as_deref(), &mut fault)
            {
                ladders.weak.push(weak);
            }
            ladders.own.push((severity, ids, Arc::new(ladder)));
        }
        // What names its zones counts before what is for all.
        ladders.own.sort_by_key(|(_, zones, _)| zones.is_empty());
        if faults.is_empty() { Ok(ladders) } else { Err(faults) }
    }
}

/// Holds a ladder against the table of the rules.
fn accept(
    severity: Severity,
    zones: &[Arc<str>],
    ladder: &Ladder,
    reason: Option<&str>,
    fault: &mut dyn FnMut(String, String),
) -> Option<WeakLadder> {
    let weaker = weaker(severity, ladder);
    match (reason.map(str::trim), weaker.is_empty()) {
        (None, true) => {}
        (None, false) => fault(
            "steps".to_owned(),
            format!(
                "is weaker than the table of docs/dispatch.md: {}; add these steps, or accept it by i_accept = \"reason\" \
                 beside them",
                weaker.join("; ")
            ),
        ),
        (Some(""), _) => {
            fault("i_accept".to_owned(), "is empty: say why fewer may be told, or later".to_owned());
        }
        (Some(_), true) => fault(
            "i_accept".to_owned(),
            "accepts nothing: these steps are no weaker than the table of docs/dispatch.md; take it out"
                .to_owned(),
        ),
        (Some(reason), false) => {
            return Some(WeakLadder { severity, zones: zones.to_vec(), weaker, reason: reason.to_owned() });
        }
    }
    None
}

fn build(severity: Severity, steps: &[StepConfig], fault: &mut dyn FnMut(String, String)) -> Ladder {
    if steps.len() > RUNGS_MAX {
        fault("steps".to_owned(), format!("{} of them; at most {RUNGS_MAX}", steps.len()));
        return Ladder::default();
    }
    let mut rungs: Vec<Rung> = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let since = step.from.unwrap_or(Since::Opened);
        let usual = match since {
            Since::Opened => Until::Acknowledged,
            Since::Acknowledged => Until::Departed,
            Since::Departed => Until::Arrived,
            Since::Arrived => Until::MadeSafe,
        };
        let until = step.until.unwrap_or(usual);
        if until < usual {
            let reason = "comes before what it counts from: until has to be later than from";
            fault(format!("steps[{n}].until"), reason.to_owned());
        }
        if step.every_min == Some(0) {
            fault(
                format!("steps[{n}].every_min"),
                "is 0: nobody would get anything done; 1 or more".to_owned(),
            );
        }
        for (key, minutes) in [("after_min", Some(step.after_min)), ("every_min", step.every_min)] {
            if let Some(minutes) = minutes.filter(|minutes| *minutes > MINUTES_MAX) {
                fault(format!("steps[{n}].{key}"), format!("is {minutes}, more than a day ({MINUTES_MAX})"));
            }
        }
        let after = Millis::minutes(i64::from(step.after_min));
        let every = step.every_min.map(|minutes| Millis::minutes(i64::from(minutes)));
        let same = |rung: &&mut Rung| {
            (rung.since, rung.after, rung.every, rung.until) == (since, after, every, until)
        };
        match rungs.iter_mut().find(same) {
            Some(rung) if rung.to.contains(&step.to) => {
                fault(format!("steps[{n}].to"), "is told there already; take one of the two out".to_owned());
            }
            Some(rung) => rung.to.push(step.to),
            None => rungs.push(Rung { since, after, every, until, to: vec![step.to] }),
        }
    }
    let opening = |rung: &Rung| {
        rung.since == Since::Opened && rung.after == Millis(0) && rung.until == Until::Acknowledged
    };
    let Some(first) = rungs.iter().position(|rung| opening(rung) && rung.every.is_none()) else {
        let reason = "nobody is told at once: a step with after_min = 0 is missing";
        fault("steps".to_owned(), reason.to_owned());
        return Ladder { rungs };
    };
    let opening = rungs.remove(first);
    for whom in [Whom::Crew, Whom::Desk] {
        if !opening.to.contains(&whom) {
            let word = if whom == Whom::Crew { "crew" } else { "desk" };
            fault(
                "steps".to_owned(),
                format!("the {word} is not told at once: add {{ after_min = 0, to = \"{word}\" }}"),
            );
        }
    }
    rungs.insert(0, opening);
    let arrives = |rung: &Rung| rung.until == Until::Arrived && rung.since == Since::Opened;
    if severity == Severity::P1 && !rungs.iter().any(arrives) {
        let reason = "nobody is told when no crew arrives: a step from opened until arrived is missing";
        fault("steps".to_owned(), reason.to_owned());
    }
    Ladder { rungs }
}
