//! Admission: is it new, when does it count, what is odd about it? Pure.
//!
//! A reading's *identity* is one number: 40 bits of a hash over (device, key) and 24 bits of a hash over its
//! content, where the key is (boot, seq) when both are there, else the sensor's time. Equal identity is a
//! duplicate; equal key with other content is stored and marked. With the 8 million identities kept at most,
//! a new reading is taken for a duplicate once in 4·10^11 (8·10^6 / 2^40 · 2^-24).

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use lampguard_model::record::StoredReading;
use lampguard_model::{Marks, Millis, Post, Reading, Timestamp};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Identities kept at most, about 16 bytes each; beyond that the oldest are forgotten early and the window
/// is shorter than a day. 8 million are 3,200 posts at 35 s for a day.
pub const IDENTITIES_MAX: usize = 8_000_000;
/// A duplicate is known at least this long.
pub const WINDOW: Millis = Millis::hours(24);
/// Identities are forgotten by generations of at most this age, or of their share of the limit.
const GENERATION: Millis = Millis::hours(6);
const GENERATIONS_MAX: usize = 6;
/// Unregistered devices whose state is kept; further ones are judged on one sample and have no series.
pub const UNREGISTERED_TRACKED_MAX: usize = 10_000;
/// Reporting period of a post nobody knows better of, seconds (`policy.md` section 1).
pub const PERIOD_DEFAULT_S: u32 = 300;
/// Running numbers that are further apart are not a gap but a new count, or a broken number: a sensor that reports
/// every second is away for 11 days before it comes to this.
const RENUMBERED: u64 = 1_000_000;
/// Milliseconds that are tried for a free `stored_ts`.
const MOVE_MAX: i64 = 100_000;

/// Where a device belongs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The register's line; `None` for a device nobody registered.
    pub post: Option<Arc<Post>>,
    /// Device id, shared with the register or the list of tracked devices; `None` when untracked.
    pub device: Option<Arc<str>>,
}

impl Place {
    /// How often such a device reports: by the register, else by the profile that read it, else 300 s.
    pub fn period(&self, reading: &Reading) -> Millis {
        let of_post = self.post.as_ref().and_then(|post| post.period_s);
        Millis::seconds(i64::from(of_post.or(reading.period_s).unwrap_or(PERIOD_DEFAULT_S)))
    }
}

/// What was decided about one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// New: keep it under this time.
    Fresh {
        /// Time under which it is kept, unique per post.
        stored_ts: Timestamp,
        /// Its identity.
        identity: u64,
    },
    /// Already there; acknowledge once the first copy is durable.
    Duplicate,
    /// A retained message that is not fresh.
    StaleRetained,
}

/// Gaps found in a device's running numbers by one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Numbers that are missing now.
    pub missing: u64,
    /// One that was missing came after all.
    pub filled: bool,
    /// When the reading before the gap was measured.
    pub since: Timestamp,
}

#[derive(Debug, Default)]
struct Device {
    stored_max: Timestamp,
    /// A measured time that was taken, and where the search for a free one ended.
    moved: (Timestamp, Timestamp),
    measured_max: Timestamp,
    boot: u32,
    /// Highest running number of this boot; `None` before the first.
    seq_max: Option<u64>,
    /// Bit n: number `seq_max - n` was seen.
    seen: u64,
}

/// Known identities of one stretch of time.
#[derive(Debug)]
struct Generation {
    since: Timestamp,
    identities: HashTable<u64>,
    taken: HashTable<u32>,
}

/// Everything admission remembers. Bounded: see the constants of this module.
#[derive(Debug)]
pub struct Admission {
    generations: Vec<Generation>,
    devices: HashMap<Arc<str>, Device, RandomState>,
    unregistered: usize,
    identities_max: usize,
    scratch: Vec<u8>,
}

impl Default for Admission {
    fn default() -> Self {
        Self::with_limit(IDENTITIES_MAX)
    }
}

impl Admission {
    /// An admission that keeps this many identities.
    pub fn with_limit(identities_max: usize) -> Self {
        let (generations, scratch) = (Vec::new(), Vec::with_capacity(256));
        Self { generations, devices: HashMap::default(), unregistered: 0, identities_max, scratch }
    }

    /// Takes a device that nobody registered into the list, if there is room.
    pub fn track(&mut self, device: &str) -> Option<Arc<str>> {
        if let Some((known, _)) = self.devices.get_key_value(device) {
            return Some(known.clone());
        }
        if self.unregistered >= UNREGISTERED_TRACKED_MAX {
            return None;
        }
        self.unregistered += 1;
        let name: Arc<str> = Arc::from(device);
        self.devices.insert(name.clone(), Device::default());
        Some(name)
    }

    /// Another register holds: devices that it knows give their room among the unregistered ones back, and those that
    /// left it take some. With more of them than there is room for, what is known of each stays.
    pub(crate) fn recount(&mut self, is_registered: impl Fn(&str) -> bool) {
        self.unregistered = self.devices.keys().filter(|device| !is_registered(device)).count();
    }

    /// Marks what is odd about a reading's time, and decides whether it is new.
    pub fn admit(
        &mut self,
        reading: &mut Reading,
        place: &Place,
        device: &str,
        retained: bool,
        received_at: Timestamp,
    ) -> Decision {
        let period = place.period(reading);
        let measured_at = mark_time(reading, period, received_at);
        if retained {
            let fresh = reading.ts.is_some()
                && !reading.marks.has(Marks::CLOCK)
                && received_at.since(measured_at).0 <= 2 * period.0;
            if !fresh {
                return Decision::StaleRetained;
            }
            reading.marks.add(Marks::RETAINED);
        }
        let identity = self.identity(reading, device, received_at);
        let known_again = !reading.marks.has(Marks::NO_IDENTITY);
        self.look_again((identity, known_again), reading, (place, device), measured_at, received_at)
    }

    /// The same for a reading that another node has admitted. Its identity is the word of that node: nodes that got the
    /// same reading say the same. So it is known again too where it has none of its own and that node sends it twice.
    pub fn admit_as(
        &mut self,
        identity: u64,
        reading: &mut Reading,
        place: &Place,
        device: &str,
        received_at: Timestamp,
    ) -> Decision {
        let measured_at = mark_time(reading, place.period(reading), received_at);
        self.look_again((identity, true), reading, (place, device), measured_at, received_at)
    }

    /// `known_again`: equal identity is the same reading.
    fn look_again(
        &mut self,
        (identity, known_again): (u64, bool),
        reading: &mut Reading,
        (place, device): (&Place, &str),
        measured_at: Timestamp,
        received_at: Timestamp,
    ) -> Decision {
        let foreign = reading.marks.has(Marks::FOREIGN);
        let known_as = known_as(identity, foreign);
        if known_again {
            match self.look_up(known_as) {
                Seen::Same => return Decision::Duplicate,
                // Without numbers none is used again: a batch came at one time.
                Seen::OtherContent if reading.marks.has(Marks::NO_IDENTITY) => {}
                Seen::OtherContent => reading.marks.add(Marks::SEQ_REUSED),
                Seen::Never => {}
            }
        }
        if foreign {
            // It is in no history here, so its time takes nobody's place.
            self.remember(known_as, None, received_at);
            return Decision::Fresh { stored_ts: measured_at, identity };
        }
        let post = place.post.as_ref().map_or(device, |post| &*post.post_id);
        let stored_ts = self.free_time(post, place, measured_at);
        if stored_ts != measured_at {
            reading.marks.add(Marks::TS_MOVED);
        }
        self.remember(known_as, Some((post, stored_ts)), received_at);
        Decision::Fresh { stored_ts, identity }
    }

    /// The identity of a reading; marks it when it has none of its own.
    pub fn identity(&mut self, reading: &mut Reading, device: &str, received_at: Timestamp) -> u64 {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        bytes.extend_from_slice(device.as_bytes());
        match (reading.boot, reading.seq, reading.ts) {
            (Some(boot), Some(seq), _) => {
                bytes.push(0);
                bytes.extend_from_slice(&boot.to_le_bytes());
                bytes.extend_from_slice(&seq.to_le_bytes());
            }
            (_, _, Some(ts)) => {
                bytes.push(1);
                bytes.extend_from_slice(&ts.0.to_le_bytes());
            }
            _ => {
                reading.marks.add(Marks::NO_IDENTITY);
                bytes.push(2);
                bytes.extend_from_slice(&received_at.0.to_le_bytes());
            }
        }
        let key = xxh3_64(&bytes);
        bytes.clear();
        bytes.extend_from_slice(&reading.ts.map_or(i64::MIN, |ts| ts.0).to_le_bytes());
        bytes.extend_from_slice(&reading.fields.mask().to_le_bytes());
        for (_, value) in reading.fields.iter() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&reading.flags.0.to_le_bytes());
        bytes.extend_from_slice(&[reading.cause as u8, u8::from(reading.marks.has(Marks::SATURATED))]);
        let content = xxh3_64(&bytes);
        self.scratch = bytes;
        key & !CONTENT | content & CONTENT
    }

    /// Looks at a device's running numbers.
    pub fn gap(&mut self, place: &Place, reading: &Reading, measured_at: Timestamp) -> Gap {
        let (Some(device), Some(boot), Some(seq)) = (place.device.as_ref(), reading.boot, reading.seq) else {
            return Gap::default();
        };
        let device = self.devices.entry(device.clone()).or_default();
        let since = device.measured_max;
        device.measured_max = since.max(measured_at);
        let before = if device.boot == boot { device.seq_max } else { None };
        let Some(before) = before.filter(|before| seq.abs_diff(*before) <= RENUMBERED) else {
            (device.boot, device.seq_max, device.seen) = (boot, Some(seq), 1);
            return Gap::default();
        };
        if seq > before {
            let step = seq - before;
            device.seen = u32::try_from(step).ok().and_then(|s| device.seen.checked_shl(s)).unwrap_or(0) | 1;
            device.seq_max = Some(seq);
            return Gap { missing: step - 1, filled: false, since };
        }
        let back = before - seq;
        let filled = back < 64 && device.seen & (1 << back) == 0;
        if filled {
            device.seen |= 1 << back;
        }
        Gap { missing: 0, filled, since }
    }

    /// Learns from a reading that is in the journal already: after a restart.
    pub fn learn(&mut self, place: &Place, stored: &StoredReading<'_>) {
        let foreign = stored.marks.has(Marks::FOREIGN);
        let known_as = known_as(stored.identity, foreign);
        if foreign {
            return self.remember(known_as, None, stored.received_at);
        }
        self.remember(known_as, Some((stored.post, stored.stored_ts)), stored.received_at);
        if let Some(device) = &place.device {
            let device = self.devices.entry(device.clone()).or_default();
            device.stored_max = device.stored_max.max(stored.stored_ts);
        }
        let reading = Reading { boot: stored.boot, seq: stored.seq, ..Reading::default() };
        self.gap(place, &reading, stored.measured_at());
    }

    /// How far back duplicates are known for certain.
    pub fn window(&self, now: Timestamp) -> Millis {
        self.generations.first().map_or(Millis(0), |oldest| now.since(oldest.since))
    }

    /// Identities known.
    pub fn identities(&self) -> usize {
        self.generations.iter().map(|generation| generation.identities.len()).sum()
    }

    fn look_up(&self, identity: u64) -> Seen {
        let mut seen = Seen::Never;
        for generation in self.generations.iter().rev() {
            for known in generation
                .identities
                .iter_hash(spread(identity))
                .filter(|k| *k & !CONTENT == identity & !CONTENT)
            {
                if *known == identity {
                    return Seen::Same;
                }
                seen = Seen::OtherContent;
            }
        }
        seen
    }

    /// The measured time, or the first free millisecond behind it.
    fn free_time(&mut self, post: &str, place: &Place, measured_at: Timestamp) -> Timestamp {
        let mut free = measured_at;
        if let Some(device) = place.device.as_ref() {
            let known = self.devices.entry(device.clone()).or_default();
            if measured_at > known.stored_max {
                known.stored_max = measured_at;
                return measured_at;
            }
            if known.moved.0 == measured_at {
                // A batch or a frozen clock: go on where the last search ended.
                free = known.moved.1;
            }
        }
        let end = free + Millis(MOVE_MAX);
        while free < end && self.is_taken(taken_hash(post, free)) {
            free.0 += 1;
        }
        if let Some(device) = place.device.as_ref().and_then(|device| self.devices.get_mut(device)) {
            device.stored_max = device.stored_max.max(free);
            device.moved = (measured_at, free + Millis(1));
        }
        free
    }

    fn is_taken(&self, hash: u32) -> bool {
        let mut generations = self.generations.iter();
        generations.any(|generation| generation.taken.find(u64::from(hash), |known| *known == hash).is_some())
    }

    fn remember(&mut self, identity: u64, taken: Option<(&str, Timestamp)>, received_at: Timestamp) {
        let closed = |newest: &Generation| {
            received_at.since(newest.since) >= GENERATION
                || newest.identities.len() >= self.identities_max / GENERATIONS_MAX
        };
        if self.generations.last().is_none_or(closed) {
            let (identities, taken) = (HashTable::new(), HashTable::new());
            self.generations.push(Generation { since: received_at, identities, taken });
        }
        let old = self.generations.get(1).is_some_and(|second| received_at.since(second.since) > WINDOW);
        if old || self.generations.len() > GENERATIONS_MAX {
            self.generations.remove(0);
        }
        let Some(newest) = self.generations.last_mut() else {
            return;
        };
        newest.identities.insert_unique(spread(identity), identity, |known| spread(*known));
        let Some((post, stored_ts)) = taken else { return };
        let hash = taken_hash(post, stored_ts);
        newest.taken.insert_unique(u64::from(hash), hash, |known| u64::from(*known));
    }
}

/// The part of an identity that stands for the content.
const CONTENT: u64 = (1 << 24) - 1;

/// What is kept for another node is known apart from what is kept for this one: a standby that receives a reading for its
/// owner has to take it when it is to judge it after all.
const FOREIGN: u64 = 0x9e37_79b9_7f00_0000;
const _: () = assert!(FOREIGN & CONTENT == 0, "it changes the key alone");

fn known_as(identity: u64, foreign: bool) -> u64 {
    if foreign { identity ^ FOREIGN } else { identity }
}

enum Seen {
    Never,
    Same,
    OtherContent,
}

/// Spreads the key part of an identity over 64 bits, as the table wants it.
fn spread(identity: u64) -> u64 {
    let key = identity & !CONTENT;
    key ^ (key >> 29)
}

fn taken_hash(post: &str, stored_ts: Timestamp) -> u32 {
    let hash = xxh3_64_with_seed(post.as_bytes(), stored_ts.0.cast_unsigned());
    (hash ^ (hash >> 32)) as u32
}

/// Marks a clock that cannot be right and a reading that comes late; returns when it counts as measured.
pub fn mark_time(reading: &mut Reading, period: Millis, received_at: Timestamp) -> Timestamp {
    let measured_at = match reading.ts {
        Some(ts) if ts.plausible(received_at) => ts,
        Some(_) => {
            reading.marks.add(Marks::CLOCK);
            received_at
        }
        None => received_at,
    };
    let late = (2 * period.0).max(Millis::minutes(10).0);
    if received_at.since(measured_at).0 > late {
        reading.marks.add(Marks::LATE);
    }
    measured_at
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
