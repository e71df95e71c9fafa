//! What the engine keeps of one post: flat, at most 256 bytes.

use lampguard_model::time::EARLIEST;
use lampguard_model::{Cause, Field, Millis, StoredReading, Timestamp};

use crate::incident::{KINDS, Kind};
use crate::period::{Gaps, PERIOD_S_MIN};
use crate::sample::Ring;
use crate::wet::{Because, is_drying};

/// One sample is believed above this period (`policy.md` 2), seconds.
const LONG_S: u16 = 600;
/// Supply above this means powered (`policy.md` 1), thousandths of a volt.
const POWERED_ABOVE: i64 = 50_000;

/// The rule state of one post.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Measured time of the newest sample of any kind.
    pub(crate) newest_at: Timestamp,
    /// Measured time of the newest periodic sample.
    periodic_at: Timestamp,
    /// Last samples by [`Kind::place`].
    pub(crate) rings: [Ring; KINDS.len()],
    /// Gaps while unlit and while lit.
    gaps: [Gaps; 2],
    /// Receipt of the newest data, seconds since 2020; 0 = never.
    heard_s: u32,
    /// Last moment with water, seconds since 2020; 0 = never.
    immersed_s: u32,
    /// Key of the newest periodic sample, against copies.
    periodic_key: u32,
    /// Place + 1 of its incident in the engine's list; 0 = none.
    incident: u32,
    /// Place of its zone in the engine's list.
    pub(crate) zone: u16,
    /// Period by register, else the default, seconds.
    base_period_s: u16,
    /// Period by the gaps, while unlit and while lit, seconds; 0 = not known.
    pub(crate) learned_s: [u16; 2],
    bits: u16,
}

const _: () = assert!(size_of::<Slot>() <= 256, "the promise of design.md 8");

/// A yes/no fact of a post.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact {
    LowLying = 1,
    /// A sensor in a cabinet: raises none of the kinds of this crate.
    Cabinet = 2,
    Unmonitored = 4,
    Unregistered = 8,
    /// Its newest sample was taken with supply.
    Powered = 16,
    /// It reports water now.
    Immersed = 32,
    /// Its clock went back: its own times are not believed until one is recent again.
    ClockBack = 64,
    /// Its newest sample came from a simulated sensor: for the note alone.
    Simulated = 128,
}

fn to_seconds(at: Timestamp) -> u32 {
    u32::try_from(at.since(EARLIEST).as_seconds()).unwrap_or(0).max(1)
}

fn from_seconds(seconds: u32) -> Option<Timestamp> {
    (seconds != 0).then(|| EARLIEST + Millis::seconds(i64::from(seconds)))
}

impl Slot {
    pub(crate) fn new(zone: u16, base_period_s: u32) -> Self {
        Self {
            newest_at: Timestamp(0),
            periodic_at: Timestamp(0),
            rings: [Ring::default(); KINDS.len()],
            gaps: [Gaps::default(); 2],
            heard_s: 0,
            immersed_s: 0,
            periodic_key: 0,
            incident: 0,
            zone,
            base_period_s: u16::try_from(base_period_s).unwrap_or(u16::MAX).max(PERIOD_S_MIN),
            learned_s: [0; 2],
            bits: Fact::Powered as u16,
        }
    }

    pub(crate) fn is(&self, fact: Fact) -> bool {
        self.bits & fact as u16 != 0
    }

    pub(crate) fn set(&mut self, fact: Fact, yes: bool) {
        if yes {
            self.bits |= fact as u16;
        } else {
            self.bits &= !(fact as u16);
        }
    }

    pub(crate) fn ring(&self, kind: Kind) -> &Ring {
        &self.rings[kind.place()]
    }

    /// Place of its incident in the engine's list.
    pub(crate) fn incident(&self) -> Option<usize> {
        self.incident.checked_sub(1).map(|place| place as usize)
    }

    pub(crate) fn set_incident(&mut self, place: usize) {
        self.incident = place as u32 + 1;
    }

    pub(crate) fn clear_incident(&mut self) {
        self.incident = 0;
    }

    /// Receipt of the newest data, to the second.
    pub(crate) fn heard_at(&self) -> Option<Timestamp> {
        from_seconds(self.heard_s)
    }

    pub(crate) fn hear(&mut self, now: Timestamp) {
        self.heard_s = self.heard_s.max(to_seconds(now));
    }

    pub(crate) fn immersed_at(&self) -> Option<Timestamp> {
        from_seconds(self.immersed_s)
    }

    pub(crate) fn immerse(&mut self, at: Timestamp) {
        self.immersed_s = self.immersed_s.max(to_seconds(at));
    }

    /// The clock went back to `now`: samples of a time that has not come are forgotten.
    pub(crate) fn forget_future(&mut self, now: Timestamp) {
        if self.newest_at > now {
            self.rings = [Ring::default(); KINDS.len()];
            (self.newest_at, self.periodic_at) = (now, Timestamp(0));
        }
        if self.heard_s > to_seconds(now) {
            self.heard_s = to_seconds(now);
        }
    }

    /// Why the post itself counts as wet at `now`, its zone left aside.
    pub(crate) fn own_wet(&self, now: Timestamp) -> Option<Because> {
        if self.is(Fact::Immersed) {
            return Some(Because::Immersed);
        }
        let drying = |at| is_drying(at, now, self.is(Fact::LowLying));
        self.immersed_at().is_some_and(drying).then_some(Because::Drying)
    }

    /// How often it reports in the state of supply it is in.
    pub(crate) fn period(&self) -> Millis {
        let learned = self.learned_s[usize::from(self.is(Fact::Powered))];
        let seconds = if learned == 0 { self.base_period_s } else { learned };
        Millis::seconds(i64::from(seconds))
    }

    /// A sample measured longer before receipt is *late* (`policy.md` 1).
    pub(crate) fn late_bound(&self) -> Millis {
        Millis(self.period().0 * 2).max(Millis::minutes(10))
    }

    /// No data for longer is *silent* (`policy.md` 2, offline).
    pub(crate) fn silent_bound(&self) -> Millis {
        Millis(self.period().0 * 3).max(Millis::minutes(10))
    }

    /// Learns from a periodic sample how often the sensor reports. True when the period moved by more than a
    /// fifth, or over the ten minutes above which one sample is believed.
    pub(crate) fn learn(&mut self, at: Timestamp, powered: bool, key: u32) -> bool {
        let (known, same_state) = (self.periodic_at.0 != 0, self.is(Fact::Powered) == powered);
        if at <= self.periodic_at || key == self.periodic_key {
            return false;
        }
        let gap = at.since(self.periodic_at);
        (self.periodic_at, self.periodic_key) = (at, key);
        if !known || !same_state {
            return false;
        }
        let lit = usize::from(powered);
        self.gaps[lit].push(gap);
        let Some(new) = self.gaps[lit].period_s() else {
            return false;
        };
        let old = if self.learned_s[lit] == 0 { self.base_period_s } else { self.learned_s[lit] };
        self.learned_s[lit] = new;
        u32::from(old.abs_diff(new)) * 5 > u32::from(old) || (old > LONG_S) != (new > LONG_S)
    }
}

/// Taken with supply (`policy.md` 1): measured supply, else the field, else yes. For hand tests only a
/// written `supply: on` counts (`policy.md` 3).
pub(crate) fn is_powered(reading: &StoredReading<'_>) -> bool {
    let said = reading.fields.flag(Field::Supply);
    if reading.cause == Cause::Manual {
        return said == Some(true);
    }
    match reading.fields.get(Field::SupplyV) {
        Some(volts) => volts > POWERED_ABOVE,
        None => said.unwrap_or(true),
    }
}
