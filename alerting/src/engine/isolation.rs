//! What was made dead, and voltage in it.

use std::sync::Arc;

use lampguard_model::{Cause, Field, Millis, Quantity, StoredReading, Timestamp};
use serde_json::json;

use super::moves::REPEATED;
use super::place::{Owner, Subject};
use super::{Effect, Engine, Moment};
use crate::incident::{Family, Incident, Kind};
use crate::life::{self, is_repaired};
use crate::slot::Fact;

const NOTE_CREW: &str = "隔离区内重新带电, 立即撤离 (re-energised: get clear)";

/// Names of posts and sensors that an isolation keeps: more than hang on any feeder of a street.
const COVERED_MAX: usize = 2_000;
const NOTE_SWITCH_ON: &str = "即将按时间表送电 (the timetable switches on soon)";
const NOTE_RESTORED: &str = "数据由备份恢复, 断电和围护未经确认, 请致电核实 (data are from a backup: whether it is still dead or guarded has to be asked)";
/// Two switchings of a feeder lie further apart; a sunset computed twice does not.
const SAME_SWITCHING: Millis = Millis::hours(1);
/// The event by which they hear it.
const SWITCH_ON: &str = "incident.switch_on_soon";

/// What an isolation covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// One post.
    Post(Arc<str>),
    /// Everything on a feeder.
    Feeder(Arc<str>),
}

/// Whether an isolation made for an incident covers its feeder: it said so, or the incident is about no post.
pub(super) fn is_whole_feeder(incident: &Incident, said: Option<life::Extent>) -> bool {
    (said == Some(life::Extent::Feeder) || incident.post_id.is_empty()) && !incident.feeder.is_empty()
}

/// An isolation in force.
#[derive(Clone, Debug)]
pub(super) struct Isolation {
    pub(super) extent: Extent,
    /// Names of posts and sensors that were in it when it was made, sorted.
    covers: Vec<Arc<str>>,
    since: Timestamp,
    /// Out of a backup, and nobody has confirmed it: voltage in it is told, and its silence counts.
    doubted: bool,
}

/// A slot's post or its sensor was inside when the isolation was made.
fn is_covered(covers: &[Arc<str>], owner: &Owner) -> bool {
    [owner.name(), owner.device()].into_iter().any(|name| covers.binary_search(name).is_ok())
}

/// The post of `other` was inside the isolation made for `incident`.
pub(super) fn is_covering(incident: &Incident, other: &Incident) -> bool {
    let covers = incident.life.isolation_in_force().map_or(&[][..], |safe| &safe.covers);
    let names = [Some(&other.post_id), other.life.device.as_ref()];
    names.into_iter().flatten().any(|name| covers.binary_search(name).is_ok())
}

impl Engine {
    /// An extent made dead without an incident, for tests of what follows.
    #[cfg(test)]
    pub(crate) fn isolate(&mut self, extent: Extent, since: Timestamp) {
        self.isolations.push(Isolation { extent, covers: Vec::new(), since, doubted: false });
    }

    /// The end of it.
    #[cfg(test)]
    pub(crate) fn restore(&mut self, extent: &Extent) {
        self.isolations.retain(|known| known.extent != *extent);
    }

    /// What crews have made dead, as the open incidents say it. Its silence no longer counts; voltage in it does.
    pub(super) fn renew_isolations(&mut self) {
        let mut isolations = Vec::new();
        for place in 0..self.open.len() {
            // Those of an older version do not say what they cover.
            let covers = self.covered(&self.open[place].incident);
            let open = &mut self.open[place];
            if let Some(safe) = open.incident.life.safe.as_mut().filter(|_| !open.over && !covers.is_empty())
            {
                safe.covers = covers;
            }
        }
        for open in self.open.iter().filter(|open| !open.over) {
            let incident = &open.incident;
            let in_force = incident.life.isolation_in_force().filter(|_| !incident.life.drill);
            let Some(safe) = in_force else { continue };
            let (since, doubted) = (safe.mark.at, safe.doubted_at.is_some());
            let whole = is_whole_feeder(incident, safe.extent);
            if whole {
                let (extent, covers) = (Extent::Feeder(incident.feeder.clone()), safe.covers.clone());
                isolations.push(Isolation { extent, covers, since, doubted });
            }
            // Its post is inside whatever feeder the register says today; and it may have been a device that nobody
            // had registered.
            let post = match open.subject {
                Subject::Post(slot) => Some(self.owners[slot].name()),
                _ => Some(&incident.post_id).filter(|_| !whole),
            };
            let extent = post.map(|post| Extent::Post(post.clone()));
            isolations.extend(extent.map(|extent| Isolation { extent, covers: Vec::new(), since, doubted }));
        }
        self.isolations = isolations;
    }

    /// What an isolation of a whole feeder covers, where it does not say so yet; else nothing. Beyond [`COVERED_MAX`]
    /// names the feeder's name alone counts.
    pub(super) fn covered(&self, incident: &Incident) -> Vec<Arc<str>> {
        let unsaid = |safe: &&life::Safe| safe.covers.is_empty() && is_whole_feeder(incident, safe.extent);
        if incident.life.drill || incident.life.isolation_in_force().filter(unsaid).is_none() {
            return Vec::new();
        }
        let inside = self.register.posts().iter().filter(|post| post.feeder == incident.feeder);
        let names = inside.flat_map(|post| [post.post_id.clone(), post.device_id.clone()]);
        let mut names: Vec<Arc<str>> = names.collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > COVERED_MAX { Vec::new() } else { names }
    }

    /// Incidents in the extent of this one's isolation that hold it up: neither repaired nor their crew clear. By the
    /// names they opened with and by those of today: the register may have moved or named a post since.
    pub(super) fn extent_open(&self, incident: &Incident, own: Option<usize>) -> Vec<String> {
        let Some(safe) = incident.life.isolation_in_force() else { return Vec::new() };
        let whole = is_whole_feeder(incident, safe.extent);
        let today = |slot: Option<usize>| {
            slot.and_then(|slot| self.owners[slot].post()).map(|post| post.feeder.clone())
        };
        let feeders = [Some(incident.feeder.clone()), today(own)];
        let inside = |other: &super::Open| {
            let slot = match other.subject {
                Subject::Post(slot) => Some(slot),
                _ => None,
            };
            let same = !incident.post_id.is_empty() && other.incident.post_id == incident.post_id;
            let theirs = [Some(other.incident.feeder.clone()), today(slot)];
            let beside = || {
                feeders.iter().flatten().any(|name| !name.is_empty() && theirs.contains(&Some(name.clone())))
            };
            let covered = slot.is_some_and(|slot| is_covered(&safe.covers, &self.owners[slot]));
            same || own.is_some() && slot == own || covered || whole && beside()
        };
        // Of lamps, silence and voltage that came back nobody is hurt by a switch, unless a crew stands there.
        let danger = |other: &Incident| {
            use Family::{Column, Electric, FeederLeak, Neutral, Other};
            matches!(other.family, Electric | Neutral | FeederLeak | Column | Other)
        };
        let stands = |other: &Incident| other.life.arrived.is_some();
        let holds = |other: &Incident| {
            (danger(other) || stands(other)) && !is_repaired(other.life.state) && other.life.clear.is_none()
        };
        let live = self.open.iter().filter(|open| !open.over && !open.incident.life.drill);
        let others =
            live.filter(|other| inside(other)).map(|open| &open.incident).filter(|other| holds(other));
        others.map(|other| format!("{} ({})", other.id, other.life.state.name())).collect()
    }

    /// Voltage was found where it was made dead: the incidents whose isolation that was say so from here on.
    fn note_reenergised(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let owner = self.owners[slot].clone();
        let post = owner.name().clone();
        let feeder = owner.post().map_or_else(|| Arc::from(""), |post| post.feeder.clone());
        for place in 0..self.open.len() {
            let open = &mut self.open[place];
            let whole = !feeder.is_empty() && open.incident.feeder == feeder;
            let covered =
                open.incident.life.safe.as_ref().is_some_and(|safe| is_covered(&safe.covers, &owner));
            let inside =
                open.subject == Subject::Post(slot) || open.incident.post_id == post || whole || covered;
            let safe =
                open.incident.life.safe.as_mut().filter(|safe| safe.isolates() && inside && !open.over);
            if let Some(safe) = safe.filter(|safe| safe.reenergised_at.is_none()) {
                safe.reenergised_at = Some(now);
                let body = json!({ "post_id": post });
                let key = format!("reenergised:{}", now.0);
                self.say(place, now, &key, "reenergised", &body, Some(REPEATED), effects);
            }
        }
    }

    /// Who works behind an isolation is warned before the timetable switches the feeder on, once each time.
    pub(super) fn warn_of_switching_on(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.replaying || self.isolations.is_empty() {
            return;
        }
        for place in 0..self.open.len() {
            let open = &self.open[place];
            let life = &open.incident.life;
            if open.over || life.drill || life.isolation_in_force().is_none() {
                continue;
            }
            // By the feeder that it opened with, and by the one where the register has its post today.
            let today = match open.subject {
                Subject::Post(slot) => self.owners[slot].post().map(|post| &post.feeder),
                _ => None,
            };
            let feeders = [Some(&open.incident.feeder), today];
            let soon = feeders.into_iter().flatten().filter_map(|feeder| self.switched_on_soon(feeder, now));
            let Some(at) = soon.min() else { continue };
            if life.warned_of.is_some_and(|known| (at.0 - known.0).abs() < SAME_SWITCHING.0) {
                continue;
            }
            self.open[place].incident.life.warned_of = Some(at);
            let body = json!({ "on_at": at.to_rfc3339(), "body": { "note": NOTE_SWITCH_ON } });
            let key = format!("switch_on:{}", at.0);
            self.say(place, now, &key, "switch_on_soon", &body, Some(SWITCH_ON), effects);
        }
    }

    /// When the timetable switches a feeder on, if that is near and it is off.
    fn switched_on_soon(&self, feeder: &Arc<str>, now: Timestamp) -> Option<Timestamp> {
        let expected = self.lamps.as_ref()?.supply_expected(feeder, now)?;
        expected.until.filter(|at| !expected.on && at.since(now) <= self.policy.isolation.switch_on_warning)
    }

    /// The isolations that a slot is inside of.
    fn isolations_of(&self, slot: usize) -> impl Iterator<Item = &Isolation> {
        let owner = &self.owners[slot];
        let covers = |isolation: &Isolation| match &isolation.extent {
            Extent::Post(name) => *name == *owner.name(),
            Extent::Feeder(name) => owner.post().is_some_and(|post| post.feeder == *name),
        };
        self.isolations
            .iter()
            .filter(move |isolation| covers(isolation) || is_covered(&isolation.covers, owner))
    }

    fn isolated_since(&self, slot: usize) -> Option<Timestamp> {
        self.isolations_of(slot).map(|isolation| isolation.since).min()
    }

    /// Silence is expected there.
    pub(super) fn is_isolated(&self, slot: usize) -> bool {
        !self.isolations.is_empty() && self.isolations_of(slot).any(|isolation| !isolation.doubted)
    }

    /// Everything known comes from a backup: what was made safe up to its moment is confirmed by nobody until somebody
    /// makes it safe again. Crew and desk hear it.
    pub(crate) fn doubt_isolations(&mut self, moment: Timestamp, now: Timestamp, effects: &mut Vec<Effect>) {
        for place in 0..self.open.len() {
            let open = &mut self.open[place];
            if open.over || !open.incident.life.safe.as_mut().is_some_and(|safe| safe.doubt(moment, now)) {
                continue;
            }
            let body = json!({ "moment": moment.to_rfc3339(), "body": { "note": NOTE_RESTORED } });
            let key = format!("restored_data:{}", moment.0);
            self.say(place, now, &key, "isolation_doubted", &body, Some(REPEATED), effects);
        }
        self.renew_isolations();
    }

    /// Voltage in an extent that was made dead, in a sample measured after the isolation: P1 at once.
    pub(super) fn judge_isolated(
        &mut self,
        moment: &Moment,
        reading: &StoredReading<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let slot = moment.slot;
        if self.isolated_since(slot).is_none_or(|since| moment.measured_at <= since) {
            return;
        }
        let p = &self.policy.reenergised;
        let supply = reading.fields.get(Field::SupplyV).filter(|_| reading.cause != Cause::Manual);
        // The sensor of a cabinet measures before the contactor.
        let supply = supply.filter(|_| !self.slots[slot].is(Fact::Cabinet));
        let supply = supply.filter(|value| *value > p.supply_above.thousandths());
        let shell = reading.fields.get(Field::ShellV).filter(|value| *value >= p.shell.thousandths());
        let (field, value, limit) = match (supply, shell) {
            (Some(value), _) => (Field::SupplyV, value, p.supply_above.thousandths()),
            (None, Some(value)) => (Field::ShellV, value, p.shell.thousandths()),
            (None, None) => return,
        };
        let feeder = self.slots[slot].feeder().filter(|feeder| {
            let name = &self.feeders[*feeder].name;
            self.isolations.iter().any(|known| known.extent == Extent::Feeder(name.clone()))
        });
        let subject = feeder.map_or(Subject::Post(slot), Subject::Feeder);
        let mut finding = self.finding(subject, Kind::Reenergised, moment.now);
        finding = finding.value(field.name(), Some(value), limit).at(moment.measured_at).note(NOTE_CREW);
        if feeder.is_some() {
            finding.members = vec![self.owners[slot].name().clone()];
        }
        self.put(finding, moment.now, effects);
        self.note_reenergised(slot, moment.now, effects);
    }
}
