//! The numbers of `policy.md` that this crate judges by, and their fingerprint.
//!
//! | file | what it holds |
//! |---|---|
//! | `words.rs` | section 1 and the rules around the table: confirming, wet, periods, stuck sensors |
//! | `kinds.rs` | section 2: one group per kind |
//! | `life.rs` | sections 4 and 5: moves and tellings, the ladder left aside |
//! | `number.rs` | numbers with their units: writing, reading, bounds |
//! | `rule.rs` | how a group is declared |
//! | `file.rs` | `policy.toml`: reading, versions by date, floors |
//! | `unread.rs` | numbers that no rule reads yet |
//! | `sample.rs` | the commented file of the defaults |
//!
//! A number is declared once, with type, default and text; struct, fingerprint, file and sample follow.

mod file;
mod kinds;
mod life;
mod number;
mod rule;
mod sample;
mod unread;
mod words;

pub use file::{Accepted, InForce, Policies, PolicyFault, Version};
pub use kinds::*;
pub use life::*;
pub use number::{Degrees, Factor, Metres, Millimetres, Number, Percent, Written};
pub use rule::{Floor, Rule};
pub use sample::sample;
pub use unread::UNREAD;
pub use words::*;

use lampguard_model::{Millis, Volts};
use rule::policy;
use sha2::{Digest, Sha256};

/// Samples kept of a post per quantity: no rule can look further back.
const SAMPLES_KEPT: u32 = 5;
/// Samples of the last 40 min are replayed after a restart (`run.rs`), and one period is lost at its edge.
const REBUILD_MAX: Millis = Millis::minutes(30);
/// Minutes of rain that are kept at most.
const RAIN_KEPT: Millis = Millis::hours(24);
/// Gaps kept of a post.
const GAPS_KEPT: u32 = 20;
/// Wet peaks kept of a post.
pub(crate) const PEAKS_KEPT: u32 = 3;
/// The highest band of a test pen (`policy.md` 3).
const BAND_MAX: Volts = Volts::whole(220);
/// Periods are kept as whole seconds in 16 bits.
const PERIOD_MAX: Millis = Millis::hours(18);

policy! {
    /// The rules of alarm, as far as they are numbers. `Default` is `policy.md`.
    Policy {
        confirm: Confirm,
        samples: Samples,
        period: Period,
        wet: Wet,
        due: Due,
        shell_critical: ShellCritical,
        leak_critical: LeakCritical,
        immersed_leak: ImmersedLeak,
        sat_leak: SatLeak,
        sensor_drowned: SensorDrowned,
        critical_then_silent: CriticalThenSilent,
        flag_only: FlagOnly,
        reenergised: Reenergised,
        neutral_break: NeutralBreak,
        feeder_step: FeederStep,
        shell_warning: ShellWarning,
        leak_warning: LeakWarning,
        column: Column,
        lamp_out: LampOut,
        day_burn: DayBurn,
        supply_voltage: SupplyVoltage,
        silence: Silence,
        offline: Offline,
        feeder_dark: FeederDark,
        blind: Blind,
        unmonitored: Unmonitored,
        trend: Trend,
        system: System,
        pe_suspected: PeSuspected,
        stuck: Stuck,
        open_ct: OpenCt,
        unit_suspect: UnitSuspect,
        hand_test: HandTest,
        arrival: Arrival,
        verify: Verify,
        two_people: TwoPeople,
        isolation: Isolation,
        repeat: Repeat,
        maintenance: Maintenance,
        flood: Flood,
        watch: Watch,
    }
}

/// Why a number of a policy was refused. Stop: judging by it would be worse than not starting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy: {key} {reason}")]
pub struct PolicyError {
    /// `group.name` of the number.
    pub key: String,
    /// The number it was compared with; empty when it is wrong alone.
    pub other: &'static str,
    /// Value, limit and way out.
    pub reason: String,
}

/// Two numbers whose order is fixed: the first may not be above the second.
type Pair<'a> = (&'static str, &'a dyn Number, &'static str, &'a dyn Number);

impl Policy {
    /// Refuses numbers that cannot be meant: every fault.
    pub fn faults(&self) -> Vec<PolicyError> {
        let mut faults = Vec::new();
        let mut add = |key: String, other, reason| faults.push(PolicyError { key, other, reason });
        self.clone().each(&mut |rule, number| {
            if number.size() <= 0 {
                add(rule.key(), "", format!("is {}, it must be above 0", number.to_text()));
            } else if number.size() > number.size_max() {
                add(rule.key(), "", format!("is {}, more than can be meant", number.to_text()));
            }
        });
        for (low, lower, high, higher) in self.ordered() {
            // A limit of zero has been told already.
            if higher.size() > 0 && lower.size() > higher.size() {
                let (is, bound) = (lower.to_text(), higher.to_text());
                add(low.to_owned(), high, format!("is {is}, above {high} ({bound}); it may be at most that"));
            }
        }
        for (key, count, kept) in [
            ("confirm.of", self.confirm.of, SAMPLES_KEPT),
            ("confirm.pair_among", self.confirm.pair_among, SAMPLES_KEPT),
            ("confirm.row", self.confirm.row, SAMPLES_KEPT),
            ("shell_critical.normal_samples", self.shell_critical.normal_samples, SAMPLES_KEPT),
            ("leak_critical.normal_samples", self.leak_critical.normal_samples, SAMPLES_KEPT),
            ("period.gaps_needed", self.period.gaps_needed, GAPS_KEPT),
            ("trend.peaks", self.trend.peaks, PEAKS_KEPT),
        ] {
            if count > kept {
                add(key.to_owned(), "", format!("is {count}, but only {kept} are kept of each post"));
            }
        }
        for (key, length, most, why) in [
            ("confirm.pair_within", self.confirm.pair_within, REBUILD_MAX, "a restart replays no more"),
            ("confirm.long_period", self.confirm.long_period, REBUILD_MAX, "a restart replays no more"),
            ("wet.rain_within", self.wet.rain_within, RAIN_KEPT, "rain is kept by the minute for no longer"),
            ("period.shortest", self.period.shortest, PERIOD_MAX, "no longer period is kept"),
            ("period.unknown", self.period.unknown, PERIOD_MAX, "no longer period is kept"),
            ("samples.late_min", self.samples.late_min, Millis::hours(24), "that is no state of now"),
        ] {
            if length > most {
                add(key.to_owned(), "", format!("is {}, above {}: {why}", length.to_text(), most.to_text()));
            }
        }
        let (second, hour) = (Millis::seconds(1), Millis::hours(1));
        let least: [(&str, &dyn Number, &dyn Number, &str); 3] = [
            ("trend.peaks", &self.trend.peaks, &2, "growth needs two"),
            ("period.shortest", &self.period.shortest, &second, "periods are kept in whole seconds"),
            ("unit_suspect.median_over", &self.unit_suspect.median_over, &hour, "medians move slowly"),
        ];
        for (key, number, least, why) in least {
            // Zero has been told already.
            if number.size() > 0 && number.size() < least.size() {
                let (is, least) = (number.to_text(), least.to_text());
                add(key.to_owned(), "", format!("is {is}, below {least}: {why}"));
            }
        }
        if self.hand_test.live_band > BAND_MAX {
            let (is, most) = (self.hand_test.live_band.to_text(), BAND_MAX.to_text());
            add("hand_test.live_band".to_owned(), "", format!("is {is}, above {most}: no pen shows more"));
        }
        faults
    }

    /// Numbers that stand in a fixed order.
    fn ordered(&self) -> [Pair<'_>; 21] {
        let (shell, leak) = (&self.shell_critical, &self.leak_critical);
        let (shell_w, leak_w) = (&self.shell_warning, &self.leak_warning);
        let (supply, neutral) = (&self.supply_voltage, &self.neutral_break);
        [
            ("shell_critical.wet", &shell.wet, "shell_critical.dry", &shell.dry),
            ("leak_critical.wet", &leak.wet, "leak_critical.dry", &leak.dry),
            ("shell_warning.wet", &shell_w.wet, "shell_warning.dry", &shell_w.dry),
            ("leak_warning.wet", &leak_w.wet, "leak_warning.dry", &leak_w.dry),
            ("shell_warning.dry", &shell_w.dry, "shell_critical.dry", &shell.dry),
            ("shell_warning.wet", &shell_w.wet, "shell_critical.wet", &shell.wet),
            ("leak_warning.dry", &leak_w.dry, "leak_critical.dry", &leak.dry),
            ("leak_warning.wet", &leak_w.wet, "leak_critical.wet", &leak.wet),
            ("confirm.need", &self.confirm.need, "confirm.of", &self.confirm.of),
            (
                "confirm.pair_apart",
                &self.confirm.pair_apart,
                "confirm.pair_within",
                &self.confirm.pair_within,
            ),
            ("wet.drying", &self.wet.drying, "wet.drying_low_lying", &self.wet.drying_low_lying),
            ("supply_voltage.low", &supply.low, "supply_voltage.high", &supply.high),
            (
                "neutral_break.supply_below",
                &neutral.supply_below,
                "neutral_break.supply_above",
                &neutral.supply_above,
            ),
            ("feeder_step.step", &self.feeder_step.step, "feeder_step.p1_step", &self.feeder_step.p1_step),
            ("column.tilt_p2", &self.column.tilt_p2, "column.tilt_p1", &self.column.tilt_p1),
            (
                "column.tilt_with_impact",
                &self.column.tilt_with_impact,
                "column.tilt_p1",
                &self.column.tilt_p1,
            ),
            (
                "offline.wet_periods",
                &self.offline.wet_periods,
                "offline.dry_periods",
                &self.offline.dry_periods,
            ),
            ("flood.end_below", &self.flood.end_below, "flood.begin_above", &self.flood.begin_above),
            ("due.p1", &self.due.p1, "due.p2", &self.due.p2),
            ("period.shortest", &self.period.shortest, "period.unknown", &self.period.unknown),
            ("samples.powered_above", &self.samples.powered_above, "supply_voltage.low", &supply.low),
        ]
    }

    /// Refuses numbers that cannot be meant.
    ///
    /// # Errors
    /// The first [`PolicyError`]: stop and show it.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.faults().into_iter().next().map_or(Ok(()), Err)
    }

    /// One line per number, in a fixed order: what [`Policy::hash`] is taken over.
    pub fn canonical(&self) -> String {
        let mut text = String::from("lampguard policy 2\n");
        self.clone().each(&mut |rule, number| {
            text.push_str(&format!("{}={}\n", rule.key(), number.to_text()));
        });
        text
    }

    /// SHA-256 of [`Policy::canonical`] in hex; stands on every incident that was judged by it.
    pub fn hash(&self) -> String {
        crate::incident::hex(&Sha256::digest(self.canonical()))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
