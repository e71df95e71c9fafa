//! Who waits for a channel, and who goes next. Pure: it takes the time.
//!
//! 1. What is urgent goes before what is not; among equals the first that came.
//! 2. Of one incident and person only one is on the way at a time, so the order is kept.
//! 3. A message costs a token of the bucket. Who had to wait for one, or comes while tokens are low, shares the message
//!    with everybody who waits for the same recipients; help, and power that is back or will be, shares with its own kind
//!    alone ([`Notice::goes_alone`]).
//! 4. A failed notice waits between attempts; a newer one about the same incident for the same person brings it
//!    forward, so that they go in order.
//! 5. New word waits for no pause of old word: where the old one fails while the new one is there, or is ordinary and the new
//!    one urgent, the new one goes first. The old one still goes, for nothing is left untold, and says that it is old:
//!    [`Notice::overtaken`]. In one message they stand in the order in which they were made.
//!
//! [`TOLD_MAX`] incidents and readers are remembered with their newest word; of one that was forgotten an old word goes
//! unmarked. At most [`super::QUEUE_MAX`] wait, and as many between attempts; what does not fit is left in the outbox, the
//! ordinary before the urgent.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lampguard_model::Timestamp;

use super::bucket::Bucket;
use super::letter::person;
use super::{Job, QUEUE_MAX};
use crate::notice::Notice;

/// Incidents and readers whose newest word is remembered.
const TOLD_MAX: usize = 4096;

/// Who can share a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Nobody: each notice is a message.
    Nobody,
    /// All of the channel: a group chat.
    Channel,
    /// Those for the same telephone.
    Person,
    /// Those for the same name: mail knows no telephone, and two people may have one.
    Name,
}

impl Sharing {
    /// Who reads a notice: all of a group chat read all of it.
    fn reader(self, notice: &Notice) -> Arc<str> {
        if self == Self::Channel { Arc::from("") } else { person(notice) }
    }
}

/// The newest word that each reader has of each incident.
#[derive(Debug, Default)]
struct Told {
    newest: HashMap<Key, Timestamp>,
    order: VecDeque<Key>,
}

impl Told {
    fn put(&mut self, key: Key, at: Timestamp) {
        if let Some(newest) = self.newest.get_mut(&key) {
            *newest = at.max(*newest);
            return;
        }
        self.order.push_back(key.clone());
        self.newest.insert(key, at);
        if self.order.len() > TOLD_MAX
            && let Some(old) = self.order.pop_front()
        {
            self.newest.remove(&old);
        }
    }
}

/// Incident (or the notice itself) and person: what keeps its order.
type Key = (Arc<str>, Arc<str>);

fn key(job: &Job) -> Key {
    let about = job.notice.incident.clone().unwrap_or_else(|| job.notice.id.clone());
    (about, person(&job.notice))
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    key: Key,
    /// Had to wait for a token.
    dry: bool,
}

/// The line before one channel.
#[derive(Debug)]
pub(super) struct Line {
    sharing: Sharing,
    pub(super) bucket: Bucket,
    ready: Vec<Waiting>,
    retry: Vec<(Instant, Job)>,
    /// On the way.
    away: Vec<Key>,
    told: Told,
}

impl Line {
    pub(super) fn new(sharing: Sharing, bucket: Bucket) -> Self {
        Self {
            sharing,
            bucket,
            ready: Vec::new(),
            retry: Vec::new(),
            away: Vec::new(),
            told: Told::default(),
        }
    }

    /// A new notice. False: no room, it stays in the outbox.
    pub(super) fn push(&mut self, job: Job) -> bool {
        let key = key(&job);
        self.bring_forward(&key);
        if self.ready.len() >= QUEUE_MAX {
            let ordinary = self.ready.iter().rposition(|w| !w.job.notice.words.urgent);
            match ordinary.filter(|_| job.notice.words.urgent) {
                Some(place) => drop(self.ready.remove(place)),
                None => return false,
            }
            self.ready.push(Waiting { job, key, dry: false });
            return false;
        }
        self.ready.push(Waiting { job, key, dry: false });
        true
    }

    /// Tried again at `at`. False: no room.
    pub(super) fn push_retry(&mut self, at: Instant, job: Job) -> bool {
        let room = self.retry.len() < QUEUE_MAX;
        if room {
            self.retry.push((at, job));
        }
        room
    }

    fn bring_forward(&mut self, key: &Key) {
        while let Some(place) = self.retry.iter().position(|(_, job)| self::key(job) == *key) {
            let (_, job) = self.retry.remove(place);
            self.ready.push(Waiting { key: key.clone(), job, dry: true });
        }
    }

    /// Those that waited out their pause wait for a token now.
    fn promote(&mut self, now: Instant) {
        while let Some(place) = self.retry.iter().position(|(at, _)| *at <= now) {
            if self.ready.len() >= QUEUE_MAX {
                return;
            }
            let (_, job) = self.retry.swap_remove(place);
            self.ready.push(Waiting { key: key(&job), job, dry: true });
        }
    }

    /// The first that may go, if any is not held up by one of its own: on the way, or before it in the line. A call
    /// for help does not wait behind "on the way".
    fn first(&self) -> Option<usize> {
        let urgent = |waiting: &Waiting| waiting.job.notice.words.urgent;
        let free = |(place, waiting): (usize, &Waiting)| {
            let own = |other: &&Waiting| other.key == waiting.key && (urgent(other) || !urgent(waiting));
            let held = self.away.contains(&waiting.key) || self.ready[..place].iter().any(|w| own(&w));
            (!held).then_some(place)
        };
        let all = || self.ready.iter().enumerate();
        all().filter(|(_, waiting)| urgent(waiting)).find_map(free).or_else(|| all().find_map(free))
    }

    /// The next message, the most dangerous first; `None`: nobody may go now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Vec<Job>> {
        self.promote(now);
        let place = self.first()?;
        let urgent = self.ready[place].job.notice.words.urgent;
        let shares = self.sharing != Sharing::Nobody && (self.ready[place].dry || self.bucket.is_low());
        if !self.bucket.take(urgent, now) {
            self.ready.iter_mut().for_each(|waiting| waiting.dry = true);
            return None;
        }
        let mut taken = vec![self.ready.remove(place)];
        if shares {
            self.share(&mut taken);
        }
        taken.sort_by_key(|waiting| {
            let words = &waiting.job.notice.words;
            (words.rank, words.due_ms.unwrap_or(i64::MAX))
        });
        self.set_in_order(&mut taken);
        for waiting in &mut taken {
            self.mark(&mut waiting.job);
            if !self.away.contains(&waiting.key) {
                self.away.push(waiting.key.clone());
            }
        }
        Some(taken.into_iter().map(|waiting| waiting.job).collect())
    }

    /// Takes out whoever shares the message of the first of `taken`.
    fn share(&mut self, taken: &mut Vec<Waiting>) {
        let Some(first) = taken.first().map(|waiting| waiting.job.notice.clone()) else { return };
        let whom = person(&first);
        let read = |waiting: &Waiting| (waiting.key.0.clone(), self.sharing.reader(&waiting.job.notice));
        // What stays behind keeps its place before later word of the same incident; ordinary word holds up no urgent one.
        let mut behind: Vec<(Key, bool)> = Vec::new();
        let mut place = 0;
        while let Some(other) = self.ready.get(place) {
            let notice = &other.job.notice;
            let fits = match first.goes_alone() {
                true => notice.event == first.event,
                false => !notice.goes_alone(),
            };
            let same = match self.sharing {
                Sharing::Channel => true,
                Sharing::Name => notice.to == first.to,
                Sharing::Person | Sharing::Nobody => person(notice) == whom,
            };
            if !fits {
                behind.push((read(other), notice.goes_alone() || notice.words.urgent));
            }
            let is_held =
                |(key, holds): &(Key, bool)| *key == read(other) && (*holds || !notice.words.urgent);
            if fits && same && !self.away.contains(&other.key) && !behind.iter().any(is_held) {
                taken.push(self.ready.remove(place));
            } else {
                place += 1;
            }
        }
    }

    /// Those of one incident and reader, in the order in which they were made.
    fn set_in_order(&self, taken: &mut [Waiting]) {
        let read = |waiting: &Waiting| (waiting.key.0.clone(), self.sharing.reader(&waiting.job.notice));
        let mut places: HashMap<Key, Vec<usize>> = HashMap::new();
        for (place, waiting) in taken.iter().enumerate() {
            places.entry(read(waiting)).or_default().push(place);
        }
        for places in places.into_values().filter(|places| places.len() > 1) {
            let mut jobs: Vec<Job> = places.iter().map(|place| taken[*place].job.clone()).collect();
            jobs.sort_by_key(|job| job.notice.created_at);
            for (place, job) in places.into_iter().zip(jobs) {
                taken[place].key = key(&job);
                taken[place].job = job;
            }
        }
    }

    /// What its reader has newer word of says so.
    fn mark(&self, job: &mut Job) {
        let Some(incident) = job.notice.incident.clone() else { return };
        let newest = self.told.newest.get(&(incident, self.sharing.reader(&job.notice)));
        if newest.is_some_and(|newest| *newest > job.notice.created_at) {
            job.notice = Arc::new(job.notice.overtaken());
        }
    }

    /// It was accepted, and names its incident.
    pub(super) fn told(&mut self, job: &Job) {
        if let Some(incident) = job.notice.incident.clone() {
            self.told.put((incident, self.sharing.reader(&job.notice)), job.notice.created_at);
        }
    }

    /// A message is not on the way any more.
    pub(super) fn back(&mut self, jobs: &[Job]) {
        let keys: Vec<Key> = jobs.iter().map(key).collect();
        self.away.retain(|away| !keys.contains(away));
    }

    /// Was in a message and not named: in front of the line again, for the next message.
    pub(super) fn again(&mut self, job: Job) {
        self.ready.insert(0, Waiting { key: key(&job), job, dry: true });
    }

    /// When somebody may go; `None`: nobody waits, or only behind what is on the way. A retry needs room among those that
    /// are ready: its time alone would be past and go on being past, while nothing goes.
    pub(super) fn next_at(&mut self, now: Instant) -> Option<Instant> {
        let room = self.ready.len() < QUEUE_MAX;
        let retry = self.retry.iter().map(|(at, _)| *at).min().filter(|_| room);
        let ready = self.first().map(|place| {
            let urgent = self.ready[place].job.notice.words.urgent;
            self.bucket.ready_at(urgent, now)
        });
        retry.into_iter().chain(ready).min()
    }

    /// Everybody who waits.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.ready.iter().map(|waiting| &waiting.job).chain(self.retry.iter().map(|(_, job)| job))
    }

    /// Room for so many more.
    pub(super) fn room(&self) -> usize {
        QUEUE_MAX.saturating_sub(self.retry.len().max(self.ready.len()))
    }

    /// How long nothing goes, because the other side said so.
    pub(super) fn held_for(&self, now: Instant) -> Duration {
        self.bucket.held_for(now)
    }
}

#[cfg(test)]
#[path = "../line_tests.rs"]
mod tests;
