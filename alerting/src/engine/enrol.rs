//! Another register holds from now on: posts stay, move, come, and go.
//!
//! | a post … | what becomes of its slot |
//! |---|---|
//! | stays | keeps all it has; zone, feeder, road and the rest are those of the new line |
//! | moves to another feeder or zone | leaves the counts of the old one, and counts in the new one |
//! | is new | gets a slot with its first reading |
//! | was an unregistered device | the device's slot becomes the post's; where the post has one, that takes it over |
//! | has another sensor | forgets what was wrong with the one before; its open incidents say so |
//! | has another name | its sensor stands in a line that is new: the slot goes on under that name |
//! | is gone | is that of an unregistered device, for which its sensor speaks on; no silence is raised, what is open stays |
//!
//! Open incidents keep zone, feeder and road that they opened with: their crew is on its way. A slot is never given to
//! another post; what left the register keeps its own until the next start. One that was taken over is empty from
//! then on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use lampguard_model::{Post, Register, Timestamp, UNREGISTERED};

use super::place::{Owner, Subject, set_by_register};
use super::watch::Watch;
use super::{Aside, Effect, Engine};
use crate::incident::Family;
use crate::slot::{Fact, Slot};

const NOTE_STRUCK: &str = "灯杆已从台账删除 (taken out of the register)";
const NOTE_ENROLLED: &str = "已登记 (registered)";
const NOTE_SENSOR: &str = "已更换传感器 (another sensor)";
const NOTE_RENAMED: &str = "台账更名 (renamed in the register)";

/// Names that posts and devices had, and those of the posts they are now.
pub(super) type Names = HashMap<Arc<str>, Arc<str>, RandomState>;

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
    names: Names,
}

impl Engine {
    /// From now on this register holds.
    pub(super) fn enrol(&mut self, now: Timestamp, register: &Arc<Register>, effects: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.register, register.clone());
        for zone in register.zones() {
            self.zone(zone);
        }
        self.place_feeders();
        let plan = self.plan(&before);
        let swapped = self.swapped(&plan);
        let watches: Vec<_> =
            swapped.iter().filter_map(|(slot, device)| self.leave_watch(*slot, device)).collect();
        self.take_over(&plan);
        let mut stricter: Vec<usize> = Vec::new();
        let mut notes: Aside<usize, String> =
            plan.merged.values().map(|to| (*to, self.note_of(*to))).collect();
        for (slot, change) in &plan.changes {
            let was_wet = self.wet_because(*slot, now).is_some();
            let known = !self.slots[*slot].is(Fact::Unregistered);
            match change {
                Change::Hang(post) => {
                    if self.hang(*slot, post) {
                        notes.insert(*slot, format!("{NOTE_RENAMED}: {}", post.post_id));
                    }
                }
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
        for (slot, _) in &swapped {
            self.change_sensor(*slot, now, effects);
            notes.insert(*slot, format!("{NOTE_SENSOR}: {}", self.owners[*slot].device()));
        }
        watches.into_iter().for_each(|(post, watch)| self.take_watch(&post, watch));
        self.forget_registered_names();
        self.keep_sensors();
        self.people_of(&plan, now, effects);
        self.note_on_open(&notes, now, effects);
        stricter.extend(self.leave_collapsed());
        for slot in stricter {
            self.judge_again(slot, now, effects);
        }
        self.look_at_feeders(&plan, now, effects);
    }

    /// The register that holds.
    pub(crate) fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// Slots of posts that get another sensor, and the one that they had.
    fn swapped(&self, plan: &Plan) -> Vec<(usize, Arc<str>)> {
        let of = |(slot, change): &(usize, Change)| match (change, &self.owners[*slot]) {
            (Change::Hang(post), Owner::Registered(_) | Owner::Struck { .. }) => {
                let old = self.owners[*slot].device();
                (*old != post.device_id).then(|| (*slot, old.clone()))
            }
            _ => None,
        };
        plan.changes.iter().filter_map(of).collect()
    }

    /// Danger that nothing has confirmed yet was told by a sensor that is another post's now: it is watched for there.
    fn leave_watch(&mut self, slot: usize, device: &str) -> Option<(Arc<str>, Watch)> {
        let post = self.register.by_device(device)?.post_id.clone();
        Some((post, self.watches.remove(&slot)?))
    }

    fn take_watch(&mut self, post: &str, watch: Watch) {
        let Some(slot) = self.slot(post) else { return };
        let until = self.watches.entry(slot).or_insert(watch).until;
        self.slots[slot].set(Fact::Aside, true);
        self.wake(slot, until);
    }

    fn change_sensor(&mut self, slot: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        self.slots[slot].change_sensor();
        self.flags_up.retain(|(of, _), _| *of != slot);
        self.hear_again(slot, now, effects);
    }

    fn note_of(&self, slot: usize) -> String {
        match &self.owners[slot] {
            Owner::Registered(post) => format!("{NOTE_ENROLLED}: {}", post.post_id),
            _ => NOTE_STRUCK.to_owned(),
        }
    }

    /// The post whose slot this is by the register that holds now. A line that was there before is no new name of
    /// another post: its sensor was moved there.
    fn becomes(&self, slot: usize, before: &Register) -> Option<&Arc<Post>> {
        let owner = &self.owners[slot];
        let renamed = || {
            let new = self.register.named(owner.device());
            new.filter(|post| before.by_post(&post.post_id).is_none())
        };
        let speaks = || self.places.get(owner.device()).is_some_and(|place| *place as usize == slot);
        match owner {
            Owner::Stranger { device: name, .. } => self.register.named(name),
            Owner::Registered(post) => self.register.by_post(&post.post_id).or_else(renamed),
            Owner::Struck { post, .. } => {
                self.register.by_post(post).or_else(|| renamed().filter(|_| speaks()))
            }
        }
    }

    /// What becomes of every slot.
    fn plan(&self, before: &Register) -> Plan {
        let mut plan = Plan::default();
        let mut hung: HashMap<&Arc<str>, usize, RandomState> = HashMap::default();
        for (slot, owner) in self.owners.iter().enumerate() {
            if self.places.get(owner.name()).is_none_or(|place| *place as usize != slot) {
                // Taken over already.
                continue;
            }
            match (owner, self.becomes(slot, before)) {
                (Owner::Registered(old), Some(new)) if **old == **new => {}
                (Owner::Registered(_), None) => plan.changes.push((slot, Change::Strike)),
                (_, None) => {}
                (_, Some(new)) => {
                    if new.post_id != *owner.name() {
                        plan.names.insert(owner.name().clone(), new.post_id.clone());
                    }
                    let own = self.places.get(&new.post_id).map(|place| *place as usize);
                    let own = own.filter(|other| self.becomes(*other, before) == Some(new));
                    let first = own.unwrap_or_else(|| *hung.entry(&new.post_id).or_insert(slot));
                    match first == slot {
                        true => plan.changes.push((slot, Change::Hang(new.clone()))),
                        false => _ = plan.merged.insert(slot, first),
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
            self.absorb(*from, *to);
        }
        for place in 0..self.open.len() {
            let Subject::Untracked(name) = self.open[place].subject.clone() else { continue };
            let post = self.register.named(&name).map(|post| post.post_id.clone());
            if let Some(to) = post.and_then(|post| self.slot(&post)).filter(|_| !self.open[place].over) {
                self.turn(place, &Subject::Untracked(name), &Subject::Post(to));
            }
        }
    }

    /// One slot takes all over that another one has. That one is nobody's from here on, and empty: rain or another
    /// policy must not judge the same samples in two places.
    pub(super) fn absorb(&mut self, from: usize, to: usize) {
        for place in 0..self.open.len() {
            if self.open[place].subject == Subject::Post(from) && !self.open[place].over {
                self.turn(place, &Subject::Post(from), &Subject::Post(to));
            }
        }
        self.taking.retain(|(subject, _), _| *subject != Subject::Post(from));
        self.forget_names(from);
        if self.owners[from].post().is_none() {
            self.strangers = self.strangers.saturating_sub(1);
        }
        self.leave_feeder(from);
        self.leave_feeder(to);
        let empty = self.empty_slot();
        let other = std::mem::replace(&mut self.slots[from], empty);
        self.owners[from] = Owner::stranger(self.owners[from].name().clone());
        self.wakes[from] = u32::MAX;
        self.slots[to].take_over(&other);
        self.join_feeder(to);
        if let Some(watch) = self.watches.remove(&from) {
            let until = self.watches.entry(to).or_insert(watch).until;
            self.wake(to, until);
        }
        if let Some(since) = self.doors.remove(&from) {
            self.doors.entry(to).or_insert(since);
            self.wake(to, since);
        }
        if let Some(row) = self.saturated.remove(&from) {
            self.saturated.entry(to).or_insert(row);
        }
        if let Some(since) = self.above.remove(&from) {
            self.above.entry(to).or_insert(since);
        }
        self.slots[to].set(Fact::Aside, true);
        self.heard_first.remove(&from);
        self.cabinets.remove(&from);
        self.flags_up.retain(|(slot, _), _| *slot != from);
        self.states.retain(|(slot, _), _| *slot != from);
        let held: Vec<(usize, usize)> = self.held.keys().filter(|key| key.0 == from).copied().collect();
        for key in held {
            if let Some(held) = self.held.remove(&key) {
                self.held.entry((to, key.1)).or_insert(held);
            }
        }
    }

    /// A slot is no longer found by the names that it has.
    fn forget_names(&mut self, slot: usize) {
        for name in [self.owners[slot].name(), self.owners[slot].device()] {
            if self.places.get(name).is_some_and(|place| *place as usize == slot) {
                self.places.remove(name);
            }
        }
    }

    fn empty_slot(&mut self) -> Slot {
        let (zone, rules) = (self.zone(UNREGISTERED), &self.policy.period);
        let mut slot = Slot::new(zone, rules.unknown_s(), rules);
        slot.set(Fact::Unregistered, true);
        slot
    }

    /// Devices that the register knows now speak for their posts, not for those that were struck.
    fn forget_registered_names(&mut self) {
        let (owners, register) = (&self.owners, &self.register);
        self.places
            .retain(|name, slot| name == owners[*slot as usize].name() || register.named(name).is_none());
    }

    /// The sensor that finds the post of a slot when its name does not.
    pub(super) fn sensor_of(&self, slot: usize) -> Option<Arc<str>> {
        let owner = &self.owners[slot];
        // That of a struck post may be another post's by now.
        let speaks = owner.post().is_some() || self.register.named(owner.device()).is_none();
        Some(owner.device().clone()).filter(|device| device != owner.name() && speaks)
    }

    /// Open incidents keep in mind by which sensor their posts are found.
    fn keep_sensors(&mut self) {
        for place in 0..self.open.len() {
            if let Subject::Post(slot) = self.open[place].subject {
                self.open[place].incident.life.device = self.sensor_of(slot);
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

    /// The slot is that of this post as the register has it now. True when it is the same post by another name.
    fn hang(&mut self, slot: usize, post: &Arc<Post>) -> bool {
        self.leave_feeder(slot);
        let zone = self.zone(&post.zone);
        let feeder = self.feeder_of(post, zone);
        self.forget_names(slot);
        let old = std::mem::replace(&mut self.owners[slot], Owner::Registered(post.clone()));
        if old.post().is_none() {
            self.strangers = self.strangers.saturating_sub(1);
        }
        self.places.insert(post.post_id.clone(), slot as u32);
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
        !matches!(old, Owner::Stranger { .. }) && *old.name() != post.post_id
    }

    /// Its post is no longer in the register: it is judged as a device that was never in it.
    fn strike(&mut self, slot: usize) {
        self.leave_feeder(slot);
        let zone = self.zone(UNREGISTERED);
        let (post, device) = (self.owners[slot].name().clone(), self.owners[slot].device().clone());
        self.owners[slot] = Owner::Struck { post, device: device.clone() };
        self.cabinets.remove(&slot);
        self.strangers += 1;
        let s = &mut self.slots[slot];
        s.zone = zone;
        s.set_feeder(None);
        s.set(Fact::Unregistered, true);
        for fact in [Fact::LowLying, Fact::Cabinet, Fact::Unmonitored] {
            s.set(fact, false);
        }
        self.answer_to(&device, slot);
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
                let renamed =
                    key.split_once('|').and_then(|(family, name)| Some((family, plan.names.get(name)?)));
                let new = renamed.map_or_else(
                    || self.about_now(&key),
                    |(family, name)| Arc::from(format!("{family}|{name}")),
                );
                if new != key
                    && let Some(last) = self.people.last.remove(&key)
                {
                    self.seed_last(&new, &last.id, last.at);
                }
            }
        }
        self.renew_isolations();
        self.move_rechecks(&plan.names, now, effects);
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
                    || [NOTE_RENAMED, NOTE_SENSOR].iter().any(|start| note.starts_with(start))
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
