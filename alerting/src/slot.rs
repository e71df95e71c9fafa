//! What the engine keeps of one post: flat, at most 256 bytes.

use lampguard_model::record::Source;
use lampguard_model::time::EARLIEST;
use lampguard_model::{Cause, Field, Millis, Quantity, StoredReading, Timestamp, Volts};

use crate::engine::{Habits, Heard};
use crate::kind::{SAMPLED, Sampled};
use crate::period::Gaps;
use crate::policy::{Confirm, PEAKS_KEPT, Period, Policy, Samples, Wet};
use crate::sample::Ring;
use crate::wet::{Because, is_drying};

/// A value that is not known yet.
const UNKNOWN: u16 = u16::MAX;
/// Wet peaks kept (`policy.md` 2, trend).
pub(crate) const PEAKS: usize = PEAKS_KEPT as usize;

/// The rule state of one post.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Measured time of the newest sample of any kind, ms, the lower half; the upper one is `newest_high`: a whole one
    /// would be padded.
    newest_low: u32,
    /// Last samples by [`Sampled::place`].
    pub(crate) rings: [Ring; SAMPLED.len()],
    /// Gaps while unlit and while lit.
    gaps: [Gaps; 2],
    /// Measured time of the newest periodic sample, seconds since 2020; 0 = never.
    periodic_s: u32,
    /// Receipt of the newest data, seconds since 2020; 0 = never.
    heard_s: u32,
    /// Last moment with water, seconds since 2020; 0 = never.
    immersed_s: u32,
    /// Measured time of the newest powered sample below its critical limit, seconds since 2020; 0 = never. Of which
    /// quantities stands in [`Fact`].
    calm_s: u32,
    /// Place + 1 of its electric incident in the engine's list; 0 = none.
    incident: u32,
    /// See [`Fact`].
    bits: u32,
    /// Since when its values are the same to the last digit, seconds since 2020.
    pub(crate) same_s: u32,
    /// Since when its leakage is exactly zero while lit, seconds since 2020; 0 = it is not.
    pub(crate) zero_s: u32,
    /// Fold of the values that are the same …
    pub(crate) same_key: u16,
    /// Place of its zone in the engine's list.
    pub(crate) zone: u16,
    /// Place + 1 of its feeder in the engine's list; 0 = none.
    feeder: u16,
    /// Period by register, else by the profile that read it, else the default, seconds.
    base_period_s: u16,
    /// Period by the gaps, while unlit and while lit, seconds; 0 = not known.
    pub(crate) learned_s: [u16; 2],
    /// Median while dry and lit by [`Sampled::place`], hundredths of the unit.
    baselines: [u16; SAMPLED.len()],
    /// Leakage at the height of the last storms, the newest last, hundredths of a milliampere; 0 = none.
    pub(crate) peaks: [u16; PEAKS],
    /// Leakage at the height of the storm that goes on, hundredths of a milliampere.
    pub(crate) peak: u16,
    /// Newest supply voltage, tenths of a volt.
    supply_dv: u16,
    /// Measured time of the newest sample that told its supply, half minutes since 2020, of which the last 22 days are
    /// told apart.
    supply_hm: u16,
    newest_high: u16,
    /// Usual tilt, hundredths of a degree.
    pub(crate) tilt: u16,
    /// … in so many samples.
    pub(crate) same: u8,
    /// Key of the newest periodic sample, against copies.
    periodic_key: u8,
}

/// With its place in the sweep (`engine/sweep.rs`).
const _: () = assert!(size_of::<Slot>() + size_of::<u32>() <= 256, "the promise of design.md 8");

/// Where a post's readings come in, two bits above those of [`Fact`].
const SOURCE_SHIFT: u32 = 30;
/// Sources in two bits. What was read again out of quarantine is kept as what came by HTTP: neither has a part that is up or
/// down. Once another node's posts were taken for the broker's.
const KEPT_SOURCES: [Source; 4] = [Source::Broker, Source::Listener, Source::Http, Source::Node];
const OTHER_SOURCE: usize = 2;

/// What has told how finely, as three bits each above those of [`Fact`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fineness {
    Leak = 24,
    Supply = 27,
}

/// Decimal places by those three bits, thousandths of the unit; 0 = nothing was told.
const STEPS: [i64; 7] = [i64::MAX, 100_000, 10_000, 1000, 100, 10, 1];

/// A yes/no fact of a post.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact {
    LowLying = 1,
    /// A sensor in a cabinet: see `engine/feeder.rs`.
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
    /// It runs without mains: its silence counts whatever the supply.
    Battery = 256,
    /// It has been silent for too long.
    Silent = 512,
    /// Its values stand still to the last digit.
    Stuck = 1024,
    /// Its leakage has been exactly zero for too long.
    OpenCt = 2048,
    /// Its leakage flag never goes down: it confirms nothing.
    LeakFlagStuck = 4096,
    /// Its shell flag never goes down: it confirms nothing.
    ShellFlagStuck = 8192,
    /// A storm goes on; its height is being noted.
    InStorm = 65_536,
    /// Its leakage is 10, 100 or 1000 times that of its model.
    UnitSuspect = 131_072,
    /// Something of it besides its electric incident is open or waits, in the engine's tables.
    Aside = 262_144,
    /// Its lamp burnt at its newest sample; supply stands in where no lamp is measured.
    Lit = 524_288,
    /// It has told its supply.
    TellsSupply = 1_048_576,
    /// Shell voltage was below its critical limit at the moment of `calm_s`.
    CalmShell = 2_097_152,
    /// Leakage was.
    CalmLeak = 4_194_304,
    /// Its column was repaired, and no tilt was measured since.
    TiltAnew = 8_388_608,
}

/// The step in which it is kept when a supply was told.
const HALF_MINUTE: Millis = Millis::seconds(30);

/// Half minutes since 2020, the lower 16 bits.
fn half_minutes(at: Timestamp) -> u16 {
    (at.since(EARLIEST).0 / HALF_MINUTE.0) as u16
}

pub(crate) fn to_seconds(at: Timestamp) -> u32 {
    u32::try_from(at.since(EARLIEST).as_seconds()).unwrap_or(0).max(1)
}

pub(crate) fn from_seconds(seconds: u32) -> Option<Timestamp> {
    (seconds != 0).then(|| EARLIEST + Millis::seconds(i64::from(seconds)))
}

impl Slot {
    pub(crate) fn new(zone: u16, base_period_s: u32, rules: &Period) -> Self {
        Self {
            newest_low: 0,
            newest_high: 0,
            rings: [Ring::default(); SAMPLED.len()],
            gaps: [Gaps::default(); 2],
            periodic_s: 0,
            heard_s: 0,
            immersed_s: 0,
            calm_s: 0,
            incident: 0,
            bits: Fact::Powered as u32 | Fact::Lit as u32,
            same_s: 0,
            zero_s: 0,
            same_key: 0,
            periodic_key: 0,
            zone,
            feeder: 0,
            base_period_s: rules.at_least(base_period_s),
            learned_s: [0; 2],
            baselines: [UNKNOWN; SAMPLED.len()],
            peaks: [0; PEAKS],
            peak: 0,
            supply_dv: UNKNOWN,
            supply_hm: 0,
            tilt: UNKNOWN,
            same: 0,
        }
    }

    /// Measured time of the newest sample of any kind.
    pub(crate) fn newest_at(&self) -> Timestamp {
        Timestamp(i64::from(self.newest_high) << 32 | i64::from(self.newest_low))
    }

    pub(crate) fn set_newest_at(&mut self, at: Timestamp) {
        // No time is older than 2020 (`EARLIEST`), none lies thousands of years ahead.
        let at = at.0.clamp(0, (1 << 48) - 1);
        (self.newest_high, self.newest_low) = ((at >> 32) as u16, at as u32);
    }

    pub(crate) fn is(&self, fact: Fact) -> bool {
        self.bits & fact as u32 != 0
    }

    pub(crate) fn set(&mut self, fact: Fact, yes: bool) {
        if yes {
            self.bits |= fact as u32;
        } else {
            self.bits &= !(fact as u32);
        }
    }

    /// Where its readings come in, by its number.
    pub(crate) fn source(&self) -> u8 {
        KEPT_SOURCES[(self.bits >> SOURCE_SHIFT) as usize % KEPT_SOURCES.len()] as u8
    }

    pub(crate) fn set_source(&mut self, source: u8) {
        let kept = KEPT_SOURCES.iter().position(|known| *known as u8 == source).unwrap_or(OTHER_SOURCE);
        self.bits = self.bits & !(3 << SOURCE_SHIFT) | (kept as u32) << SOURCE_SHIFT;
    }

    /// The finest decimal place that it has told of a quantity, thousandths; nothing told is the coarsest.
    pub(crate) fn finest(&self, of: Fineness) -> i64 {
        STEPS[((self.bits >> of as u32) & 7) as usize % STEPS.len()]
    }

    /// A value tells its last place that is not zero; zero tells none.
    pub(crate) fn note_fineness(&mut self, of: Fineness, thousandths: i64) {
        let known = ((self.bits >> of as u32) & 7) as usize;
        let mut step = known.max(1);
        while step + 1 < STEPS.len() && thousandths % STEPS[step] != 0 {
            step += 1;
        }
        if step > known && thousandths != 0 {
            self.bits = self.bits & !(7 << of as u32) | (step as u32) << of as u32;
        }
    }

    pub(crate) fn ring(&self, sampled: Sampled) -> &Ring {
        &self.rings[sampled.place()]
    }

    /// A powered sample below its critical limit: it speaks against older danger, long after the ring has lost it.
    pub(crate) fn note_calm(&mut self, sampled: Sampled, at: Timestamp) {
        let seconds = to_seconds(at);
        if seconds < self.calm_s {
            return;
        }
        if seconds > self.calm_s {
            self.calm_s = seconds;
            SAMPLED.into_iter().for_each(|sampled| self.set(calm_fact(sampled), false));
        }
        self.set(calm_fact(sampled), true);
    }

    /// The newest moment, to the second, at which a quantity is known to have been below its critical limit with
    /// supply. A newer sample of the other quantity alone makes it forgotten: then nothing speaks against danger.
    pub(crate) fn calm_at(&self, sampled: Sampled) -> Option<Timestamp> {
        from_seconds(self.calm_s).filter(|_| self.is(calm_fact(sampled)))
    }

    /// Place of its feeder in the engine's list.
    pub(crate) fn feeder(&self) -> Option<usize> {
        self.feeder.checked_sub(1).map(usize::from)
    }

    pub(crate) fn set_feeder(&mut self, place: Option<usize>) {
        self.feeder = place.and_then(|place| u16::try_from(place + 1).ok()).unwrap_or(0);
    }

    /// Its newest sample, measured at `at`, has told its supply.
    pub(crate) fn tell_supply(&mut self, at: Timestamp) {
        self.set(Fact::TellsSupply, true);
        self.supply_hm = half_minutes(at);
    }

    /// The supply that it told last, for a sample measured at `at` that leaves out what did not change; `None` when it
    /// was told more than two periods away, or never.
    pub(crate) fn supply_told(&self, at: Timestamp) -> Option<bool> {
        let away = half_minutes(at).wrapping_sub(self.supply_hm).cast_signed().unsigned_abs();
        let near = i64::from(away) * HALF_MINUTE.0 <= 2 * self.longer_period().0;
        (near && self.is(Fact::TellsSupply)).then(|| self.is(Fact::Powered))
    }

    /// Newest supply voltage, thousandths.
    pub(crate) fn supply(&self) -> Option<i64> {
        (self.supply_dv != UNKNOWN).then(|| i64::from(self.supply_dv) * 100)
    }

    pub(crate) fn set_supply(&mut self, thousandths: i64) {
        self.supply_dv = u16::try_from(thousandths / 100).unwrap_or(UNKNOWN - 1).min(UNKNOWN - 1);
    }

    /// Median while dry and lit, thousandths.
    pub(crate) fn baseline(&self, sampled: Sampled) -> Option<i64> {
        let known = self.baselines[sampled.place()];
        (known != UNKNOWN).then(|| i64::from(known) * 10)
    }

    /// Moves the median a step towards a sample: in a long run as many lie above as below. A step is the
    /// greater of a hundredth and a thirty-second part.
    pub(crate) fn learn_baseline(&mut self, sampled: Sampled, thousandths: i64) {
        let value = u16::try_from(thousandths / 10).unwrap_or(UNKNOWN - 1).min(UNKNOWN - 1);
        let known = &mut self.baselines[sampled.place()];
        *known = step_towards(*known, value);
    }

    /// What must outlive a restart of what it is used to.
    pub(crate) fn habits(&self) -> Habits {
        let known = |median: u16| (median != UNKNOWN).then_some(median);
        let heard = self.heard_at().filter(|_| !self.is(Fact::Unregistered)).map(|at| Heard {
            at,
            source: self.source(),
            powered: self.is(Fact::TellsSupply).then(|| self.is(Fact::Powered)),
            battery: self.is(Fact::Battery),
            silent: self.is(Fact::Silent),
            simulated: self.is(Fact::Simulated),
            base_period_s: self.base_period_s,
        });
        let (baselines, tilt) = (self.baselines.map(known), known(self.tilt));
        let calm = SAMPLED.map(|sampled| self.calm_at(sampled));
        let tilt_anew = self.is(Fact::TiltAnew);
        Habits { baselines, peaks: self.peaks, tilt, tilt_anew, calm, heard }
    }

    pub(crate) fn set_habits(&mut self, habits: &Habits) {
        self.baselines = habits.baselines.map(|median| median.unwrap_or(UNKNOWN));
        (self.peaks, self.tilt) = (habits.peaks, habits.tilt.unwrap_or(UNKNOWN));
        self.set(Fact::TiltAnew, habits.tilt_anew);
        for (sampled, at) in SAMPLED.into_iter().zip(habits.calm) {
            if let Some(at) = at {
                self.note_calm(sampled, at);
            }
        }
        let Some(heard) = habits.heard else { return };
        self.hear(heard.at);
        self.set_source(heard.source);
        let powered = heard.powered.unwrap_or(true);
        if heard.powered.is_some() {
            self.tell_supply(heard.at);
        }
        for (fact, yes) in [
            (Fact::TellsSupply, heard.powered.is_some()),
            (Fact::Powered, powered),
            (Fact::Lit, powered),
            (Fact::Battery, heard.battery),
            (Fact::Silent, heard.silent),
            (Fact::Simulated, heard.simulated),
        ] {
            self.set(fact, yes);
        }
    }

    /// The usual tilt, thousandths of a degree.
    pub(crate) fn usual_tilt(&self) -> Option<i64> {
        (self.tilt != UNKNOWN).then(|| i64::from(self.tilt) * 10)
    }

    /// The column is another one, or stands otherwise.
    pub(crate) fn forget_tilt(&mut self) {
        self.tilt = UNKNOWN;
    }

    pub(crate) fn learn_tilt(&mut self, thousandths: i64) {
        self.tilt = step_towards(self.tilt, u16::try_from(thousandths / 10).unwrap_or(UNKNOWN - 1));
    }

    /// Another sensor hangs here: what was wrong with the one before, how finely it told its values, and how it hung say
    /// nothing of this one.
    pub(crate) fn change_sensor(&mut self) {
        let of_sensor = [Fact::Stuck, Fact::OpenCt, Fact::LeakFlagStuck, Fact::ShellFlagStuck];
        for fact in of_sensor.into_iter().chain([Fact::ClockBack, Fact::UnitSuspect]) {
            self.set(fact, false);
        }
        self.bits &= !(7 << Fineness::Leak as u32 | 7 << Fineness::Supply as u32);
        (self.same, self.same_s, self.zero_s) = (0, 0, 0);
        self.forget_tilt();
        self.set(Fact::TiltAnew, true);
    }

    /// What another slot has heard of the same sensor counts as heard here.
    pub(crate) fn take_over(&mut self, other: &Self) {
        for (ring, others) in self.rings.iter_mut().zip(&other.rings) {
            for sample in others.samples() {
                ring.insert(*sample);
            }
        }
        if other.newest_at() > self.newest_at() {
            self.set_newest_at(other.newest_at());
            for fact in [Fact::Powered, Fact::Lit, Fact::Immersed, Fact::Simulated] {
                self.set(fact, other.is(fact));
            }
            if other.is(Fact::TellsSupply) {
                self.set(Fact::TellsSupply, true);
                self.supply_hm = other.supply_hm;
            }
        }
        if self.heard_s < other.heard_s {
            self.heard_s = other.heard_s;
            self.set_source(other.source());
        }
        self.immersed_s = self.immersed_s.max(other.immersed_s);
        for sampled in SAMPLED {
            if let Some(at) = other.calm_at(sampled) {
                self.note_calm(sampled, at);
            }
        }
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

    /// Data has come. True once a day, and at the first: then it is worth keeping. Each feeder has a moment of the
    /// day, so that a city is not written at once; posts without a feeder have midnight UTC.
    pub(crate) fn hear(&mut self, now: Timestamp) -> bool {
        const DAY_S: u32 = 86_400;
        let day = |seconds: u32| (seconds + u32::from(self.feeder) * 977) / DAY_S;
        let before = self.heard_s;
        self.heard_s = before.max(to_seconds(now));
        before == 0 || day(before) != day(self.heard_s)
    }

    pub(crate) fn immersed_at(&self) -> Option<Timestamp> {
        from_seconds(self.immersed_s)
    }

    pub(crate) fn immerse(&mut self, at: Timestamp) {
        self.immersed_s = self.immersed_s.max(to_seconds(at));
    }

    /// The clock went back to `now`: samples of a time that has not come are forgotten.
    pub(crate) fn forget_future(&mut self, now: Timestamp) {
        if self.newest_at() > now {
            self.rings = [Ring::default(); SAMPLED.len()];
            self.set_newest_at(now);
            self.periodic_s = 0;
        }
    }

    /// It cannot have spoken in a time that has not come.
    pub(crate) fn forget_future_words(&mut self, now: Timestamp) {
        self.heard_s = self.heard_s.min(to_seconds(now));
        if self.calm_s > to_seconds(now) {
            self.calm_s = 0;
        }
    }

    /// Why the post itself counts as wet at `now`, its zone left aside.
    pub(crate) fn own_wet(&self, now: Timestamp, rules: &Wet) -> Option<Because> {
        if self.is(Fact::Immersed) {
            return Some(Because::Immersed);
        }
        let drying = |at| is_drying(at, now, self.is(Fact::LowLying), rules);
        self.immersed_at().is_some_and(drying).then_some(Because::Drying)
    }

    /// How often it is taken to report until its gaps tell, seconds.
    pub(crate) fn set_base_period(&mut self, period_s: u32, rules: &Period) {
        self.base_period_s = rules.at_least(period_s);
    }

    /// Other numbers of the period hold from now on. What the gaps no longer tell by them stays as it was learned;
    /// `told_s` is what the register says.
    pub(crate) fn renew_periods(&mut self, told_s: Option<u32>, before: &Period, rules: &Period) {
        for lit in [0, 1] {
            let learned = self.learned_s[lit];
            let at_least = if learned == 0 { 0 } else { rules.at_least(u32::from(learned)) };
            self.learned_s[lit] = self.gaps[lit].period_s(rules).unwrap_or(at_least);
        }
        let nobody = self.base_period_s == before.at_least(before.unknown_s());
        let told_s = told_s.unwrap_or(if nobody { rules.unknown_s() } else { u32::from(self.base_period_s) });
        self.set_base_period(told_s, rules);
    }

    /// How often it reports in the state its lamp is in.
    pub(crate) fn period(&self) -> Millis {
        let learned = self.learned_s[usize::from(self.is(Fact::Lit))];
        let seconds = if learned == 0 { self.base_period_s } else { learned };
        Millis::seconds(i64::from(seconds))
    }

    /// The longer of its periods: it may have gone over from the other one.
    pub(crate) fn longer_period(&self) -> Millis {
        let longest = self.learned_s.into_iter().max().unwrap_or(0);
        self.period().max(Millis::seconds(i64::from(longest)))
    }

    /// A sample measured longer before receipt is *late* (`policy.md` 1).
    pub(crate) fn late_bound(&self, rules: &Samples) -> Millis {
        Millis(self.period().0 * i64::from(rules.late_periods)).max(rules.late_min)
    }

    /// No data for longer is *silent*.
    pub(crate) fn silent_bound(&self, periods: u32, at_least: Millis) -> Millis {
        Millis(self.period().0 * i64::from(periods)).max(at_least)
    }

    /// A sensor that reports less often is believed on one sample.
    pub(crate) fn is_slow(&self, rules: &Confirm) -> bool {
        self.period() > rules.long_period
    }

    /// Learns from a periodic sample how often the sensor reports. True when the period moved by more than a
    /// fifth, or over the length above which one sample is believed.
    pub(crate) fn learn(&mut self, at: Timestamp, lit: bool, key: u32, policy: &Policy) -> bool {
        let (known, same_state) = (self.periodic_s != 0, self.is(Fact::Lit) == lit);
        let (seconds, key) = (to_seconds(at), (key ^ key >> 16) as u8);
        if seconds <= self.periodic_s || key == self.periodic_key {
            return false;
        }
        let gap = Millis::seconds(i64::from(seconds - self.periodic_s));
        (self.periodic_s, self.periodic_key) = (seconds, key);
        if !known || !same_state {
            return false;
        }
        let lit = usize::from(lit);
        self.gaps[lit].push(gap);
        let Some(new) = self.gaps[lit].period_s(&policy.period) else {
            return false;
        };
        let old = if self.learned_s[lit] == 0 { self.base_period_s } else { self.learned_s[lit] };
        self.learned_s[lit] = new;
        let long = |period_s: u16| Millis::seconds(i64::from(period_s)) > policy.confirm.long_period;
        u32::from(old.abs_diff(new)) * 5 > u32::from(old) || long(old) != long(new)
    }
}

/// A step of a median towards a value.
fn step_towards(known: u16, value: u16) -> u16 {
    let step = (known / 32).max(1);
    match known {
        UNKNOWN => value,
        _ if value > known => known + step.min(value - known),
        _ => known - step.min(known - value),
    }
}

fn calm_fact(sampled: Sampled) -> Fact {
    match sampled {
        Sampled::Shell => Fact::CalmShell,
        Sampled::Leak => Fact::CalmLeak,
    }
}

/// Whether the lamp burns: by its own power or current, else by the supply.
pub(crate) fn is_lit(reading: &StoredReading<'_>, powered: bool) -> bool {
    /// More than a lamp on standby takes: 5 W, 0.05 A; a choice.
    const BURNS: (i64, i64) = (5_000, 50);
    let watts = reading.fields.get(Field::LampW).map(|watts| watts >= BURNS.0);
    let amperes = reading.fields.get(Field::LampA).map(|amperes| amperes >= BURNS.1);
    powered && watts.or(amperes).unwrap_or(true)
}

/// Taken with supply (`policy.md` 1): measured supply, else the field, else yes. For hand tests only a
/// written `supply: on` counts (`policy.md` 3).
pub(crate) fn is_powered(reading: &StoredReading<'_>, above: Volts) -> bool {
    let said = reading.fields.flag(Field::Supply);
    if reading.cause == Cause::Manual {
        return said == Some(true);
    }
    match reading.fields.get(Field::SupplyV) {
        Some(volts) => volts > above.thousandths(),
        None => said.unwrap_or(true),
    }
}
