//! The numbers of `policy.md` section 1 and of the rules around its table: samples, periods, wet, silence.

use lampguard_model::{Milliamps, Millis, Volts};

use super::number::{Factor, Millimetres, Percent};
use super::rule::groups;

groups! {
    /// When samples above a limit are believed (policy.md 2, Confirmed). Floors: harder to confirm is weaker.
    Confirm {
        /// So many samples at or above the limit …
        @most need: u32 = 2,
        /// … of the last so many valid ones; at most 5 are kept.
        @least of: u32 = 3,
        /// Or two above, at least so far apart …
        @most pair_apart: Millis = Millis::seconds(60),
        /// … within the last so many valid samples (at most 5 are kept) …
        @least pair_among: u32 = 5,
        /// … and within this time.
        @least pair_within: Millis = Millis::minutes(30),
        /// A sensor with a longer period is believed on one sample.
        @most long_period: Millis = Millis::minutes(10),
        /// "3 samples" of the warnings: so many in a row; at most 5 are kept.
        row: u32 = 3,
    }

    /// Samples, supply and age (policy.md 1).
    Samples {
        /// Measured longer before receipt is late: so many periods …
        late_periods: u32 = 2,
        /// … and at least this.
        late_min: Millis = Millis::minutes(10),
        /// A sample is fresh for so many periods: a change of wet judges it again.
        fresh_periods: u32 = 2,
        /// A measured supply above this means powered.
        powered_above: Volts = Volts::whole(50),
        /// A late critical that nothing contradicts ("历史超限, 待核实") is due so long after the decision.
        @most historic_due: Millis = Millis::minutes(30),
    }

    /// How often a sensor reports (policy.md 1, Period).
    Period {
        /// Gaps needed before the learned period is believed; 20 are kept, lit and unlit apart.
        gaps_needed: u32 = 5,
        /// No period is taken as shorter.
        shortest: Millis = Millis::seconds(60),
        /// Taken when neither gaps, register nor profile know better.
        unknown: Millis = Millis::minutes(5),
    }

    /// Wet or dry (policy.md 1, Wet).
    Wet {
        /// So much rain makes wet …
        rain: Millimetres = Millimetres(100),
        /// … when it fell within this time.
        rain_within: Millis = Millis::hours(3),
        /// A rate holds until the next message, at most this long.
        rate_holds: Millis = Millis::minutes(60),
        /// The office's own switch ends by itself.
        switch_holds: Millis = Millis::hours(24),
        /// A post stays wet so long after the last wet moment …
        drying: Millis = Millis::hours(6),
        /// … a low-lying one so long.
        drying_low_lying: Millis = Millis::hours(24),
        /// Weather older than this is unknown: wet limits, and a notice to the desk.
        feed_age: Millis = Millis::minutes(60),
    }

    /// How soon a crew has to stand there, where a kind names nothing else (policy.md 2).
    Due {
        /// P1: the office's own promise.
        @most p1: Millis = Millis::minutes(30),
        /// P2 without a time of its own.
        p2: Millis = Millis::hours(24),
    }

    /// When no data counts as silence (policy.md 2, Silence).
    Silence {
        /// Time in which the source was down or lampguard did not run does not count, plus so many periods.
        slack_periods: u32 = 1,
    }

    /// A sensor that repeats itself (policy.md 2, Stuck).
    Stuck {
        /// So many samples with the same leak, shell and supply to the last digit …
        samples: u32 = 24,
        /// … over more than this while lit …
        lit: Millis = Millis::hours(2),
        /// … count as stuck when the supply is told at least this finely, by its decimal places.
        supply_step: Volts = Volts::milli(100),
    }

    /// A leakage transformer whose circuit is open: exactly 0.0 (policy.md 2).
    OpenCt {
        /// Exactly zero for so long while lit …
        lit: Millis = Millis::hours(6),
        /// … counts when leakage is told at least this finely, by its decimal places.
        leak_step: Milliamps = Milliamps::milli(100),
    }

    /// A model whose values jump by 10, 100 or 1000 (policy.md 2, Unit suspect): told, never rescaled.
    UnitSuspect {
        /// Medians while dry, of post and model, are compared each time this has passed.
        median_over: Millis = Millis::hours(24),
        /// A jump counts when it is this close to 10, 100 or 1000 times.
        tolerance: Percent = Percent::whole(20),
    }

    /// The protective conductor is suspected open: a note on shell_critical, never a reason to wait
    /// (policy.md 2).
    PeSuspected {
        /// Shell voltage at or above …
        shell: Volts = Volts::whole(50),
        /// … with leakage below.
        leak_below: Milliamps = Milliamps::whole(3),
    }

    /// Hand tests (policy.md 3).
    HandTest {
        /// A pen band from here on is live: one manual critical.
        @most live_band: Volts = Volts::whole(12),
        /// "suspect" is a P2, due so soon.
        suspect_due: Millis = Millis::hours(24),
    }

    /// Growth from storm to storm (policy.md 2, trend): P3, before the next rain.
    Trend {
        /// So many wet peaks in a row (2 or 3: three are kept) …
        peaks: u32 = 3,
        /// … each so many times the one before …
        growth: Factor = Factor(1300),
        /// … and the last at or above this;
        last_peak: Milliamps = Milliamps::whole(3),
        /// or a last peak above this …
        peak_above: Milliamps = Milliamps::whole(6),
        /// … and above so many times the dry baseline.
        over_baseline: Factor = Factor(4000),
    }
}
