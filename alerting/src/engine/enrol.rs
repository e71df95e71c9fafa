//! Another register holds from now on: posts stay, move, come, and go.
//!
//! | a post … | what becomes of its slot |
//! |---|---|
//! | stays | keeps all it has; zone, feeder, road and the rest are those of the new line |
//! | moves to another feeder or zone | leaves the counts of the old one, and counts in the new one |
//! | is new | gets a slot with its first reading |
//! | was an unregistered device | the device's slot becomes the post's; where the post has one, that takes it over |
//! | is gone | is that of an unregistered device: it raises no silence, what is open stays open |
//!
//! Open incidents keep zone, feeder and road that they opened with: their crew is on its way. A slot is never given to
//! another post; what left the register keeps its own until the next start.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use lampguard_model::{Post, Register, Timestamp, UNREGISTERED};

use super::place::{Owner, Subject, set_by_register};
use super::{Aside, Effect, Engine};
use crate::incident::{Family, Incident};
use crate::slot::Fact;

const NOTE_STRUCK: &str = "灯杆已从台账删除 (taken out of the register)";
const NOTE_ENROLLED: &str = "已登记 (registered)";

/// What becomes of a slot.
enum Change {
    /// It is that of this post now, whosever it was.
    Hang(Arc<Post>),
    /// Its post is gone.
    Strike,
}

/// What is to be done for all slots.
#[derive(Default)]
struct Plan {
    changes: Vec<(usize, Change)>,
    /// Slots of devices whose post has another slot: that takes over.
    merged: HashMap<usize, usize, RandomState>,
    /// Devices by the names they had, and the posts they are now.
    names: HashMap<Arc<str>, Arc<str>, RandomState>,
}

impl Engine {
    /// From now on this register holds.
    pub(super) fn enrol(&mut self, now: Timestamp, register: &Arc<Register>, effects: &mut Vec<Effect>) {
        self.register = register.clone();
        for zone in register.zones() {
            self.zone(zone);
        }
        self.place_feeders();
        let plan = self.plan();
        self.take_over(&plan);
        let mut stricter: Vec<usize> = Vec::new();
        let mut notes: Aside<usize, String> =
            plan.merged.values().map(|to| (*to, self.note_of(*to))).collect();
        for (slot, change) in &plan.changes {
            let was_wet = self.wet_because(*slot, now).is_some();
            let known = !self.slots[*slot].is(Fact::Unregistered);
            match change {
                Change::Hang(post) => self.hang(*slot, post),
                Change::Strike => self.strike(*slot),
            }
            if !was_wet && self.wet_because(*slot, now).is_some() {
                stricter.push(*slot);
            }
            self.wake(*slot, now);
            if known == self.slots[*slot].is(Fact::Unregistered) {
                notes.insert(*slot, self.note_of(*slot));
            }
        }
        self.people_of(&plan, now, effects);
        self.note_on_open(&notes, now, effects);
        stricter.extend(self.leave_collapsed());
        for slot in stricter {
            self.judge_again(slot, now, effects);
        }
        self.look_at_feeders(&plan, now, effects);
    }

    /// The zone whose crew acts on an incident.
    pub(crate) fn zone_of(&self, incident: &Incident) -> Arc<str> {
        let post = incident.post_in(&self.register).filter(|_| *incident.zone == *UNREGISTERED);
        post.map_or(&incident.zone, |post| &post.zone).clone()
    }

    fn note_of(&self, slot: usize) -> String {
        match &self.owners[slot] {
            Owner::Registered(post) => format!("{NOTE_ENROLLED}: {}", post.post_id),
            _ => NOTE_STRUCK.to_owned(),
        }
    }

    /// The post whose slot an owner's is by the register that holds now.
    fn becomes(&self, owner: &Owner) -> Option<&Arc<Post>> {
        match owner {
            Owner::Stranger(name) => self.register.named(name),
            Owner::Registered(_) | Owner::Struck(_) => self.register.by_post(owner.name()),
        }
    }

    /// What becomes of every slot.
    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for (slot, owner) in self.owners.iter().enumerate() {
            if self.places.get(owner.name()).is_none_or(|place| *place as usize != slot) {
                // Taken over already.
                continue;
            }
            match (owner, self.becomes(owner)) {
                (Owner::Registered(old), Some(new)) if **old == **new => {}
                (Owner::Registered(_), None) => plan.changes.push((slot, Change::Strike)),
                (_, None) => {}
                (_, Some(new)) => {
                    if new.post_id != *owner.name() {
                        plan.names.insert(owner.name().clone(), new.post_id.clone());
                    }
                    match self.places.get(&new.post_id).map(|place| *place as usize) {
                        Some(other) if other != slot && self.becomes(&self.owners[other]) == Some(new) => {
                            plan.merged.insert(slot, other);
                        }
                        _ => plan.changes.push((slot, Change::Hang(new.clone()))),
                    }
                }
            }
        }
        plan
    }

    /// A feeder lies in the zone of the first of its posts.
    fn place_feeders(&mut self) {
        let mut seen: HashSet<Arc<str>, RandomState> = HashSet::default();
        for post in self.register.clone().posts() {
            if let Some(place) = self.feeder_places.get(&post.feeder).copied()
                && seen.insert(post.feeder.clone())
            {
                self.feeders[place].zone = usize::from(self.zone(&post.zone));
            }
        }
    }

    /// What was of an unregistered device is of its post: open incidents, dangers that are watched, samples.
    fn take_over(&mut self, plan: &Plan) {
        for (from, to) in &plan.merged {
            self.places.remove(self.owners[*from].name());
            self.strangers = self.strangers.saturating_sub(1);
            self.leave_feeder(*to);
            let other = self.slots[*from].clone();
            self.slots[*to].take_over(&other);
            self.join_feeder(*to);
            if let Some(watch) = self.watches.remove(from) {
                let until = self.watches.entry(*to).or_insert(watch).until;
                self.slots[*to].set(Fact::Aside, true);
                self.wake(*to, until);
            }
            if let Some(since) = self.doors.remove(from) {
                self.doors.entry(*to).or_insert(since);
                self.slots[*to].set(Fact::Aside, true);
                self.wake(*to, since);
            }
            let held: Vec<(usize, usize)> = self.held.keys().filter(|key| key.0 == *from).copied().collect();
            for key in held {
                if let Some(held) = self.held.remove(&key) {
                    self.held.entry((*to, key.1)).or_insert(held);
                }
            }
        }
        for place in 0..self.open.len() {
            let old = self.open[place].subject.clone();
            let to = match &old {
                Subject::Post(slot) => plan.merged.get(slot).copied(),
                Subject::Untracked(name) => {
                    let post = self.register.named(name).map(|post| post.post_id.clone());
                    post.and_then(|post| self.slot(&post))
                }
                _ => None,
            };
            if let Some(to) = to.filter(|_| !self.open[place].over) {
                self.turn(place, &old, &Subject::Post(to));
            }
        }
    }

    /// An open incident is about another subject from now on, which takes its evidence there.
    fn turn(&mut self, place: usize, old: &Subject, new: &Subject) {
        let family: Family = self.open[place].incident.family;
        let took = self.taking(old, family) == Some(place);
        if took {
            self.release(old, family);
        }
        self.open[place].subject = new.clone();
        if took && self.taking(new, family).is_none() {
            self.take(new, family, place);
        }
    }

    /// The slot is that of this post as the register has it now.
    fn hang(&mut self, slot: usize, post: &Arc<Post>) {
        self.leave_feeder(slot);
        let zone = self.zone(&post.zone);
        let feeder = self.feeder_of(post, zone);
        let old = std::mem::replace(&mut self.owners[slot], Owner::Registered(post.clone()));
        if old.post().is_none() {
            self.strangers = self.strangers.saturating_sub(1);
        }
        if *old.name() != post.post_id {
            if self.places.get(old.name()).is_some_and(|place| *place as usize == slot) {
                self.places.remove(old.name());
            }
            self.places.insert(post.post_id.clone(), slot as u32);
        }
        let s = &mut self.slots[slot];
        if s.feeder() != feeder || post.kind != lampguard_model::PostKind::Feeder {
            // Its residual current is that of other posts.
            self.cabinets.remove(&slot);
        }
        let period = old.post().and_then(|post| post.period_s);
        if post.period_s != period {
            let rules = &self.policy.period;
            s.set_base_period(post.period_s.unwrap_or(rules.unknown_s()), rules);
        }
        s.zone = zone;
        s.set_feeder(feeder);
        s.set(Fact::Unregistered, false);
        set_by_register(s, post);
        self.join_feeder(slot);
    }

    /// Its post is no longer in the register: it is judged as a device that was never in it.
    fn strike(&mut self, slot: usize) {
        self.leave_feeder(slot);
        let zone = self.zone(UNREGISTERED);
        self.owners[slot] = Owner::Struck(self.owners[slot].name().clone());
        self.cabinets.remove(&slot);
        self.strangers += 1;
        let s = &mut self.slots[slot];
        s.zone = zone;
        s.set_feeder(None);
        s.set(Fact::Unregistered, true);
        for fact in [Fact::LowLying, Fact::Cabinet, Fact::Unmonitored] {
            s.set(fact, false);
        }
    }

    /// It no longer counts on its feeder.
    fn leave_feeder(&mut self, slot: usize) {
        let s = &self.slots[slot];
        let Some(feeder) = s.feeder().map(|feeder| &mut self.feeders[feeder]) else { return };
        if let Some(place) = feeder.members.iter().position(|member| *member as usize == slot) {
            feeder.members.remove(place);
            feeder.silent = feeder.silent.saturating_sub(usize::from(s.is(Fact::Silent)));
        }
    }

    /// One that has spoken and is counted counts on its feeder, and in its zone.
    fn join_feeder(&mut self, slot: usize) {
        let s = &self.slots[slot];
        let (zone, feeder, silent) = (usize::from(s.zone), s.feeder(), s.is(Fact::Silent));
        let Some(heard) = s.heard_at().filter(|_| self.is_counted(slot)) else { return };
        let zone = &mut self.zones[zone];
        zone.heard_at = zone.heard_at.max(Some(heard));
        zone.look_at = zone.look_at.min(heard);
        if let Some(feeder) = feeder.map(|feeder| &mut self.feeders[feeder]) {
            feeder.members.push(slot as u32);
            feeder.silent += usize::from(silent);
        }
    }

    /// Planned work, looks in the next rain, isolations and ended incidents, by the names that hold now.
    fn people_of(&mut self, plan: &Plan, now: Timestamp, effects: &mut Vec<Effect>) {
        if !plan.names.is_empty() {
            let old: Vec<Arc<str>> = self.people.last.keys().cloned().collect();
            for key in old {
                let new = self.about_now(&key);
                if new != key
                    && let Some(last) = self.people.last.remove(&key)
                {
                    self.seed_last(&new, &last.id, last.at);
                }
            }
        }
        self.renew_isolations();
        self.move_rechecks(now, effects);
        if !self.replaying && !self.people.jobs.is_empty() {
            self.leave_jobs(now, effects);
        }
    }

    /// `family|name` by which an ended incident is remembered, the name being that of the post whose device it is.
    pub(super) fn about_now(&self, about: &Arc<str>) -> Arc<str> {
        let Some((family, name)) = about.split_once('|') else { return about.clone() };
        let device = || self.register.by_device(name).filter(|_| self.register.by_post(name).is_none());
        device().map_or_else(|| about.clone(), |post| Arc::from(format!("{family}|{}", post.post_id)))
    }

    /// Says it on what is open, and keeps in mind that the post has spoken, or that it is none any more.
    fn note_on_open(&mut self, notes: &Aside<usize, String>, now: Timestamp, effects: &mut Vec<Effect>) {
        for place in 0..self.open.len() {
            let open = &self.open[place];
            if let Subject::Post(slot) = open.subject
                && let Some(note) = notes.get(&slot).filter(|_| !open.over)
                && (*open.incident.zone == *UNREGISTERED
                    || self.slots[slot].is(Fact::Unregistered)
                    || open.incident.notes.iter().any(|known| known == NOTE_STRUCK))
            {
                self.note(place, note, now, effects);
            }
        }
        let mut slots: Vec<usize> = notes.keys().copied().collect();
        slots.sort_unstable();
        slots.into_iter().for_each(|slot| self.keep_in_mind(slot, effects));
    }

    /// Registered posts have incidents of their own, not the one of all devices beyond the bound. Which they are.
    fn leave_collapsed(&mut self) -> Vec<usize> {
        let all: HashSet<usize> = (0..self.open.len())
            .filter(|place| !self.open[*place].over && self.is_collapsed(*place))
            .collect();
        if all.is_empty() {
            return Vec::new();
        }
        let slots = &self.slots;
        let registered = |slot: usize| !slots[slot].is(Fact::Unregistered);
        let behind = |slot: &usize| slots[*slot].incident().is_some_and(|at| all.contains(&at));
        let free: Vec<usize> = (0..slots.len()).filter(|slot| registered(*slot) && behind(slot)).collect();
        self.taking.retain(|(subject, _), place| match subject {
            Subject::Post(slot) => !(registered(*slot) && all.contains(place)),
            _ => true,
        });
        free.iter().for_each(|slot| self.slots[*slot].clear_incident());
        free
    }

    /// Posts that are silent may hang together now: their feeder is dark.
    fn look_at_feeders(&mut self, plan: &Plan, now: Timestamp, effects: &mut Vec<Effect>) {
        let silent = plan.changes.iter().filter(|(slot, _)| self.slots[*slot].is(Fact::Silent));
        let feeders: BTreeSet<usize> = silent.filter_map(|(slot, _)| self.slots[*slot].feeder()).collect();
        for feeder in feeders {
            if self.is_dark(feeder) && self.counts_as_silent(feeder, now) {
                self.raise_dark(feeder, now, effects);
            }
        }
    }
}
