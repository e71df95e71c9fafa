//! What the office changes while it runs: duty by date, and overrides of everything else.

use std::sync::Arc;

use lampguard_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use super::Rota;
use super::plan::{EVERY_ZONE, is_for};

/// Stretches of duty at most.
pub const DUTY_MAX: usize = 2000;
/// Overrides at most.
pub const OVERRIDES_MAX: usize = 500;
/// A stretch is at most so long.
const LENGTH_MAX: Millis = Millis::hours(366 * 24);
/// Letters of a reason at most.
const REASON_MAX: usize = 200;
/// Faults that are told at once.
const FAULTS_MAX: usize = 20;

/// Who is on duty from one moment to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Begins.
    pub from: Timestamp,
    /// Is over.
    pub to: Timestamp,
    /// Zone, or `all`.
    pub zone: Arc<str>,
    /// Id of the crew.
    #[serde(default)]
    pub crew: Option<Arc<str>>,
    /// Id of the back-up crew.
    #[serde(default)]
    pub backup_crew: Option<Arc<str>>,
    /// Name of the leader: somebody of the configuration.
    #[serde(default)]
    pub leader: Option<Arc<str>>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it was said; among overrides the newest holds.
    pub at: Timestamp,
    /// Who said it.
    pub by: Arc<str>,
}

impl Stretch {
    /// True when both say the same, whoever said it when.
    pub fn says_what(&self, other: &Self) -> bool {
        (self.from, self.to) == (other.from, other.to)
            && (&self.zone, &self.reason) == (&other.zone, &other.reason)
            && (&self.crew, &self.backup_crew, &self.leader)
                == (&other.crew, &other.backup_crew, &other.leader)
    }

    pub(super) fn touches(&self, zone: &str, from: Timestamp, to: Timestamp) -> bool {
        is_for(&self.zone, zone) && self.from < to && self.to > from
    }
}

/// Everything that was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Counts the changes; 0 before the first.
    pub version: u64,
    /// When the last one was made.
    pub at: Option<Timestamp>,
    /// By whom.
    pub by: Option<Arc<str>>,
    /// Duty by date: wins over the weekly duty; of several the last holds.
    pub duty: Vec<Stretch>,
    /// Win over everything; of several the newest holds.
    pub overrides: Vec<Stretch>,
}

impl Changes {
    /// The same with what is new stamped with `at` and `by`: what stood there before keeps its own.
    #[must_use]
    pub fn stamped(mut self, before: &Self, at: Timestamp, by: &Arc<str>) -> Self {
        for (new, old) in [(&mut self.duty, &before.duty), (&mut self.overrides, &before.overrides)] {
            for stretch in new.iter_mut() {
                let known = old.iter().find(|known| known.says_what(stretch));
                (stretch.at, stretch.by) =
                    known.map_or((at, by.clone()), |known| (known.at, known.by.clone()));
            }
        }
        // Sorting is stable: of those that were said at once, the last in the list is the newest.
        self.overrides.sort_by_key(|stretch| stretch.at);
        Self { version: before.version + 1, at: Some(at), by: Some(by.clone()), ..self }
    }

    /// For the record: what came and what went.
    pub fn difference(&self, before: &Self) -> serde_json::Value {
        let missing = |these: &[Stretch], those: &[Stretch]| -> Vec<Stretch> {
            these.iter().filter(|this| !those.iter().any(|that| this.says_what(that))).cloned().collect()
        };
        serde_json::json!({
            "version": self.version, "by": self.by,
            "added": {
                "duty": missing(&self.duty, &before.duty),
                "overrides": missing(&self.overrides, &before.overrides),
            },
            "removed": {
                "duty": missing(&before.duty, &self.duty),
                "overrides": missing(&before.overrides, &self.overrides),
            },
        })
    }

    /// What cannot be, against the configuration: at most the first of many.
    pub fn faults(&self, rota: &Rota) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, list, limit) in
            [("duty", &self.duty, DUTY_MAX), ("overrides", &self.overrides, OVERRIDES_MAX)]
        {
            if list.len() > limit {
                faults.push(format!(
                    "{name}: {} are more than {limit}; leave out those that are over",
                    list.len()
                ));
                continue;
            }
            let of = |(place, stretch): (usize, &Stretch)| {
                faults_of(stretch, rota).into_iter().map(move |fault| format!("{name}[{place}]{fault}"))
            };
            faults.extend(list.iter().enumerate().flat_map(of).take(FAULTS_MAX));
        }
        faults
    }
}

fn faults_of(stretch: &Stretch, rota: &Rota) -> Vec<String> {
    let mut faults = Vec::new();
    if stretch.to <= stretch.from {
        faults.push(format!(".to: {} is not later than from", stretch.to));
    } else if stretch.to.since(stretch.from) > LENGTH_MAX {
        faults.push(".to: is more than 366 days after from".to_owned());
    }
    if *stretch.zone != *EVERY_ZONE && !rota.zones.contains_key(&stretch.zone) {
        faults.push(format!(".zone: there is no [[zone]] with id {:?}", stretch.zone));
    }
    for (key, crew) in [("crew", &stretch.crew), ("backup_crew", &stretch.backup_crew)] {
        if let Some(id) = crew.as_ref().filter(|id| !rota.crews.contains_key(*id)) {
            faults.push(format!(".{key}: there is no [[crew]] with id {id:?}"));
        }
    }
    if let Some(name) = stretch.leader.as_ref().filter(|name| rota.person(name).is_none()) {
        faults.push(format!(
            ".leader: {name:?} does not stand in the configuration; put them there with phone and channels"
        ));
    }
    if stretch.crew.is_none() && stretch.backup_crew.is_none() && stretch.leader.is_none() {
        faults.push(": names neither crew, backup_crew nor leader".to_owned());
    }
    if stretch.reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_MAX) {
        faults.push(format!(".reason: is longer than {REASON_MAX} letters"));
    }
    faults
}
