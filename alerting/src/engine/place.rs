//! Who and where: posts, feeders, zones, and what an incident is about.

use std::sync::Arc;

use lampguard_model::time::EARLIEST;
use lampguard_model::{Marks, Post, PostKind, StoredReading, Timestamp, UNREGISTERED};

use super::{Engine, Heard, Memory, UNREGISTERED_MAX};
use crate::incident::{COLLAPSED, Family, Incident, Scope};
use crate::life::takes_evidence;
use crate::slot::{Fact, Slot};
use crate::wet::Because;

/// Whose slot it is.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    Registered(Arc<Post>),
    /// A device that the register does not know, by its own name, and the zone that its newest topic named.
    Stranger {
        device: Arc<str>,
        hint: Option<Arc<str>>,
    },
    /// A post that is not in the register any more, and the sensor that it had: what that one says goes on here.
    Struck {
        post: Arc<str>,
        device: Arc<str>,
    },
}

impl Owner {
    pub(super) fn name(&self) -> &Arc<str> {
        match self {
            Self::Registered(post) => &post.post_id,
            Self::Stranger { device: name, .. } | Self::Struck { post: name, .. } => name,
        }
    }

    /// The sensor that speaks for it.
    pub(super) fn device(&self) -> &Arc<str> {
        match self {
            Self::Registered(post) => &post.device_id,
            Self::Stranger { device: name, .. } | Self::Struck { device: name, .. } => name,
        }
    }

    /// A device that the register does not know, and no topic of its.
    pub(super) fn stranger(device: Arc<str>) -> Self {
        Self::Stranger { device, hint: None }
    }

    /// A post that the register does not know, and no word of its sensor.
    fn struck(post: Arc<str>) -> Self {
        Self::Struck { device: post.clone(), post }
    }

    pub(super) fn post(&self) -> Option<&Arc<Post>> {
        match self {
            Self::Registered(post) => Some(post),
            Self::Stranger { .. } | Self::Struck { .. } => None,
        }
    }
}

/// What an incident is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A post or device, by its slot.
    Post(usize),
    /// A feeder, by its place.
    Feeder(usize),
    /// A zone, by its place.
    Zone(usize),
    /// A device without a slot.
    Untracked(Arc<str>),
    /// All devices beyond the bound.
    Collapsed,
    /// What a person said, and the zone it lies in.
    Place(Arc<str>, Arc<str>),
    /// A part of the system.
    System(Arc<str>),
}

impl Subject {
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Post(_) | Self::Untracked(_) | Self::Collapsed => Scope::Post,
            Self::Feeder(_) => Scope::Feeder,
            Self::Zone(_) => Scope::Zone,
            Self::Place(..) => Scope::Place,
            Self::System(_) => Scope::System,
        }
    }
}

/// A zone.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) name: Arc<str>,
    /// Why posts are wet: ordinary ones, low-lying ones.
    pub(super) wet: [Option<Because>; 2],
    /// Receipt of the newest data of one of its posts.
    pub(super) heard_at: Option<Timestamp>,
    /// It is looked at again then: see `comms.rs`.
    pub(super) look_at: Timestamp,
}

/// A feeder.
#[derive(Debug)]
pub(super) struct Feeder {
    pub(super) name: Arc<str>,
    pub(super) zone: usize,
    /// Slots of its counted posts: monitored, and heard at least once.
    pub(super) members: Vec<u32>,
    /// How many of them are silent.
    pub(super) silent: usize,
    /// Since when its readings say that it is energised.
    pub(super) on_since: Timestamp,
    /// Since when the newest of its readings say that it is not.
    pub(super) off_from: Option<Timestamp>,
    /// Receipt of the newest reading with a word on the supply, and when that was measured.
    pub(super) heard_at: Timestamp,
    pub(super) word_at: Timestamp,
    /// When lamps of it began to go out, and how many have since.
    pub(super) out_from: Timestamp,
    pub(super) out: u32,
}

impl Engine {
    /// The place of a zone, made when it is new.
    pub(super) fn zone(&mut self, name: &str) -> u16 {
        let known = self.zones.iter().position(|zone| *zone.name == *name);
        let place = known.unwrap_or_else(|| {
            let now = self.advanced_at;
            let wet = [false, true].map(|low| self.sky.because(name, now, low));
            let (name, look_at) = (Arc::from(name), Timestamp(i64::MAX));
            self.zones.push(Zone { name, wet, heard_at: None, look_at });
            self.zones.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// The place of a feeder, made when it is new.
    pub(super) fn feeder(&mut self, name: &Arc<str>, zone: usize) -> usize {
        if let Some(place) = self.feeder_places.get(name) {
            return *place;
        }
        let place = self.feeders.len();
        self.feeder_places.insert(name.clone(), place);
        self.feeders.push(Feeder {
            name: name.clone(),
            zone,
            members: Vec::new(),
            silent: 0,
            on_since: Timestamp(i64::MIN),
            off_from: None,
            heard_at: Timestamp(i64::MIN),
            word_at: Timestamp(i64::MIN),
            out_from: Timestamp(i64::MIN),
            out: 0,
        });
        place
    }

    /// The slot of a reading's post. What came as an unregistered device may be that of a post by now: a replay
    /// brings it under its old name.
    pub(super) fn slot_of(&mut self, reading: &StoredReading<'_>) -> Option<usize> {
        match reading.marks.has(Marks::UNREGISTERED) {
            true => {
                let slot = self.slot_of_device(reading.post)?;
                if let (Owner::Stranger { hint, .. }, Some(named)) = (&mut self.owners[slot], reading.hint)
                    && hint.as_deref() != Some(named)
                {
                    *hint = Some(Arc::from(named));
                }
                Some(slot)
            }
            false => self.slot_of_post(reading.post, reading.device),
        }
    }

    /// The slot of a post that was registered, with this sensor, when it was placed. Where no line has its name any
    /// more and another one has its sensor, that line is the same post under a new name; not where it was struck while
    /// we ran: then that post had been there beside it.
    fn slot_of_post(&mut self, post: &str, device: &str) -> Option<usize> {
        if let Some(place) = self.places.get(post).map(|place| *place as usize)
            && !matches!(self.owners[place], Owner::Stranger { .. })
        {
            return Some(place);
        }
        let renamed = match self.register.by_post(post) {
            None => self.register.named(device).map(|post| post.post_id.clone()),
            Some(_) => None,
        };
        self.slot(renamed.as_deref().unwrap_or(post))
    }

    /// What this device says while the register does not know it goes to the slot of the post that it hung on.
    pub(super) fn answer_to(&mut self, device: &Arc<str>, slot: usize) {
        if self.register.named(device).is_some() {
            return;
        }
        if let Some(other) = self.places.insert(device.clone(), slot as u32).map(|other| other as usize)
            && other != slot
            && self.owners[other].name() == device
        {
            self.absorb(other, slot);
            self.places.insert(device.clone(), slot as u32);
        }
    }

    /// The slot of a device that was not registered when it spoke.
    fn slot_of_device(&mut self, device: &str) -> Option<usize> {
        match self.register.named(device).map(|post| post.post_id.clone()) {
            Some(post) => self.slot(&post),
            None => self.slot_by(device, Owner::stranger),
        }
    }

    /// The slot of a post, made when it is new; `None` for one that the register does not know, beyond the bound.
    pub(super) fn slot(&mut self, post: &str) -> Option<usize> {
        self.slot_by(post, Owner::struck)
    }

    fn slot_by(&mut self, post: &str, unknown: fn(Arc<str>) -> Owner) -> Option<usize> {
        if let Some(place) = self.places.get(post) {
            return Some(*place as usize);
        }
        let known = self.register.by_post(post).cloned();
        if known.is_none() && self.strangers >= UNREGISTERED_MAX {
            return None;
        }
        let zone = self.zone(known.as_ref().map_or(UNREGISTERED, |post| &post.zone));
        let rules = &self.policy.period;
        let period = known.as_ref().and_then(|post| post.period_s).unwrap_or(rules.unknown_s());
        let mut slot = Slot::new(zone, period, rules);
        let place = self.slots.len();
        let owner = match known {
            Some(post) => {
                set_by_register(&mut slot, &post);
                slot.set_feeder(self.feeder_of(&post, zone));
                Owner::Registered(post)
            }
            None => {
                self.strangers += 1;
                slot.set(Fact::Unregistered, true);
                unknown(Arc::from(post))
            }
        };
        self.places.insert(owner.name().clone(), place as u32);
        self.slots.push(slot);
        self.wakes.push(u32::MAX);
        self.owners.push(owner);
        Some(place)
    }

    /// The place of a post's feeder.
    pub(super) fn feeder_of(&mut self, post: &Post, zone: u16) -> Option<usize> {
        (!post.feeder.is_empty()).then(|| self.feeder(&post.feeder, usize::from(zone)))
    }

    /// The slot of the post that an incident is about.
    pub(super) fn slot_of_incident(&self, incident: &Incident) -> Option<usize> {
        let own = || self.places.get(&incident.post_id);
        let place = match incident.post_in(&self.register) {
            Some(post) => self.places.get(&post.post_id).or_else(own),
            None => own(),
        };
        place.map(|place| *place as usize)
    }

    /// The incident of that family that still takes evidence.
    pub(super) fn taking(&self, subject: &Subject, family: Family) -> Option<usize> {
        if let (Subject::Post(slot), Family::Electric) = (subject, family) {
            return self.slots[*slot].incident();
        }
        self.taking.get(&(subject.clone(), family)).copied()
    }

    /// The electric incident of a post to which a danger attaches: not one that was made safe and quiet, repaired,
    /// or given power back. Behind an isolation in force silence is expected, and no new one is watched for.
    pub(super) fn attached(&self, slot: usize) -> Option<usize> {
        let attaches = |place: &usize| {
            let life = &self.open[*place].incident.life;
            let gone = life.gone_by(Family::Electric).filter(|_| life.isolation_in_force().is_none());
            !life.needs_new() && gone.is_none_or(|mark| self.was_before(mark.through(), self.advanced_at))
        };
        self.slots[slot].incident().filter(attaches)
    }

    /// From here on evidence of that family goes to the incident at `place`.
    pub(super) fn take(&mut self, subject: &Subject, family: Family, place: usize) {
        match (subject, family) {
            (Subject::Post(slot), Family::Electric) => self.slots[*slot].set_incident(place),
            _ => {
                if self.taking.insert((subject.clone(), family), place).is_none() {
                    self.count(subject, family, true);
                }
            }
        }
        if let Subject::Post(slot) = subject {
            self.slots[*slot].set(Fact::Aside, true);
        }
    }

    /// Evidence of that family opens a new incident from here on.
    pub(super) fn release(&mut self, subject: &Subject, family: Family) {
        match (subject, family) {
            (Subject::Post(slot), Family::Electric) => self.slots[*slot].clear_incident(),
            _ => {
                if self.taking.remove(&(subject.clone(), family)).is_some() {
                    self.count(subject, family, false);
                }
            }
        }
    }

    fn count(&mut self, subject: &Subject, family: Family, more: bool) {
        let count = match (subject, family) {
            (Subject::Feeder(_), Family::Neutral) => &mut self.neutrals,
            (Subject::Feeder(_), Family::Comms) => &mut self.feeders_dark,
            (Subject::Zone(_), Family::Comms) => &mut self.zones_blind,
            _ => return,
        };
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
    }

    /// Takes back an incident that was open before the restart. Later evidence attaches to it.
    pub fn seed(&mut self, incident: Incident) {
        let (zone, family) = (incident.zone.clone(), incident.family);
        let subject = match incident.scope {
            Scope::Post if *incident.post_id == *COLLAPSED => Subject::Collapsed,
            Scope::Post => {
                let post = incident.post_id.clone();
                let device = incident.life.device.clone();
                let slot = match *zone == *UNREGISTERED {
                    true => self.slot_of_device(&post),
                    false => self.slot_of_post(&post, device.as_ref().unwrap_or(&post)),
                };
                if let (Some(slot), Some(device)) = (slot, device)
                    && self.owners[slot].post().is_none()
                {
                    self.answer_to(&device, slot);
                    self.owners[slot] = Owner::Struck { post, device };
                }
                slot.map_or_else(|| Subject::Untracked(incident.post_id.clone()), Subject::Post)
            }
            Scope::Feeder => {
                let zone = usize::from(self.zone(&zone));
                Subject::Feeder(self.feeder(&incident.feeder, zone))
            }
            Scope::Zone => Subject::Zone(usize::from(self.zone(&zone))),
            Scope::Place => Subject::Place(incident.place.clone(), zone.clone()),
            Scope::System => Subject::System(incident.place.clone()),
        };
        if *zone == *UNREGISTERED && !incident.life.drill {
            self.strangers_open += 1;
        }
        let drill = incident.life.drill;
        self.people.jobs_in_doubt |= incident.life.job.is_some();
        let place = self.keep(super::Open::new(incident, subject.clone()));
        let advanced = |at: usize| !takes_evidence(self.open[at].incident.life.state);
        let keeps = self.taking(&subject, family).is_some_and(|known| !advanced(known) && advanced(place));
        if !drill && !keeps {
            self.take(&subject, family, place);
        }
        self.renew_isolations();
        self.seed_raised(place);
    }

    /// Takes back what was remembered of a post.
    pub fn remember(&mut self, memory: &Memory) {
        let is_post = self.register.by_post(&memory.post).is_some();
        let post =
            self.register.by_device(&memory.post).filter(|_| !is_post).map(|post| post.post_id.clone());
        let slot = match post {
            // Of a post that has a memory of its own, or of one that had this name, its device says nothing.
            Some(post) if self.places.contains_key(&post) || memory.habits.heard.is_some() => None,
            Some(post) => self.slot(&post),
            None => self.slot_by(&memory.post, Owner::stranger),
        };
        if let Some(slot) = slot {
            // The policy may have become another one since.
            let at_least = |period_s| self.policy.period.at_least(u32::from(period_s));
            self.slots[slot].learned_s = memory.period_s.map(|s| if s == 0 { 0 } else { at_least(s) });
            self.slots[slot].set_habits(&memory.habits);
            if let Some(at) = memory.immersed_at {
                self.slots[slot].immerse(at);
            }
            if let Some(heard) = &memory.habits.heard {
                self.remember_heard(slot, heard);
            }
        }
    }

    /// A post that has spoken before the restart counts as one that has: for its feeder, its zone, and silence.
    fn remember_heard(&mut self, slot: usize, heard: &Heard) {
        self.remembered = true;
        self.wake(slot, EARLIEST);
        // What only the profile says is not known until it speaks, and may be an hour away.
        let by_register = self.owners[slot].post().is_some_and(|post| post.period_s.is_some());
        if !by_register && heard.base_period_s != 0 {
            self.slots[slot].set_base_period(u32::from(heard.base_period_s), &self.policy.period);
        }
        let s = &self.slots[slot];
        let (zone, silent) = (usize::from(s.zone), s.is(Fact::Silent));
        let (feeder, says) = (s.feeder(), heard.powered.filter(|_| !s.is(Fact::Cabinet)));
        let counted = self.is_counted(slot);
        if counted {
            let zone = &mut self.zones[zone];
            zone.heard_at = zone.heard_at.max(Some(heard.at));
            zone.look_at = zone.look_at.min(heard.at);
        }
        let Some(feeder) = feeder.map(|feeder| &mut self.feeders[feeder]) else { return };
        if counted {
            feeder.members.push(slot as u32);
            feeder.silent += usize::from(silent);
        }
        if let Some(powered) = says.filter(|_| heard.at >= feeder.word_at) {
            (feeder.word_at, feeder.heard_at) = (heard.at, heard.at);
            feeder.off_from = (!powered).then_some(heard.at);
        }
    }

    /// Why the zone at `place` is wet.
    pub(super) fn zone_wet(&self, place: usize) -> Option<Because> {
        self.zones[place].wet[0]
    }
}

/// What the register says of a post.
pub(super) fn set_by_register(slot: &mut Slot, post: &Post) {
    slot.set(Fact::LowLying, post.low_lying);
    slot.set(Fact::Cabinet, post.kind == PostKind::Feeder);
    slot.set(Fact::Unmonitored, !post.monitored);
}
