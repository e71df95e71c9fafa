//! The numbers of the table of `policy.md` section 2, one group per kind.

use lampguard_model::{Milliamps, Millis, Volts};

use super::number::{Degrees, Factor, Percent};
use super::rule::groups;

groups! {
    /// A post that kills by its voltage (P1). Floor: a weaker limit needs i_accept.
    ShellCritical {
        /// At or above, dry: 25 V is the long-contact limit for children (domain.md 10).
        @most dry: Volts = Volts::whole(25),
        /// At or above, wet: 12 V drive 12 mA through a wet body of 1 kΩ, above let-go.
        @most wet: Volts = Volts::whole(12),
        /// The signal is normal again at or below this share of the limit …
        normal_share: Percent = Percent::whole(70),
        /// … for so many powered valid samples (at most 5 are kept) …
        normal_samples: u32 = 3,
        /// … and so long.
        normal_for: Millis = Millis::minutes(10),
    }

    /// A post that kills by its leakage (P1). Floor: a weaker limit needs i_accept.
    LeakCritical {
        /// At or above, dry: the grade of an additional-protection RCD (domain.md 10, 11).
        @most dry: Milliamps = Milliamps::whole(30),
        /// At or above, wet: half of it.
        @most wet: Milliamps = Milliamps::whole(15),
        /// The signal is normal again at or below this share of the limit …
        normal_share: Percent = Percent::whole(70),
        /// … for so many powered valid samples (at most 5 are kept) …
        normal_samples: u32 = 3,
        /// … and so long.
        normal_for: Millis = Millis::minutes(10),
    }

    /// Water at the post and current in it (P1), on one sample.
    ImmersedLeak {
        /// Immersed and leakage at or above …
        leak: Milliamps = Milliamps::whole(6),
        /// … or immersed and shell voltage at or above.
        shell: Volts = Volts::whole(6),
        /// Normal again: not immersed and clear for so long.
        normal_for: Millis = Millis::minutes(30),
    }

    /// A sensor at the end of its range (P1 "value unknown"). People only end it.
    SatLeak {
        /// So many in a row; one with shell at the limit, or with the flag, is enough.
        row: u32 = 2,
    }

    /// Immersed, then silent (P1). People only end it.
    SensorDrowned {
        /// Silent for so many periods …
        silent_periods: u32 = 2,
        /// … and at least this.
        silent_min: Millis = Millis::minutes(10),
    }

    /// One critical sample, then nothing (P1). People only end it.
    CriticalThenSilent {
        /// Nothing for so many periods …
        silent_periods: Factor = Factor(1500),
        /// … and at least this.
        silent_min: Millis = Millis::minutes(2),
        /// So many on one feeder are one incident that names them.
        group_from: u32 = 5,
        /// Unconfirmed at a scheduled switch-off: P2, due so soon.
        switch_off_due: Millis = Millis::hours(24),
    }

    /// The device's own flag (P1; P2 when a valid value contradicts it).
    FlagOnly {
        /// Its value at or above this share of the limit: "flag, near limit", P1; below: P2.
        near_share: Percent = Percent::whole(50),
        /// Normal again: the flag gone for so long.
        normal_for: Millis = Millis::minutes(10),
        /// A flag that stays longer through normal values is stuck: P3, and confirms nothing.
        stuck_after: Millis = Millis::hours(24),
    }

    /// Voltage in an isolated extent (P1 at once). People only end it.
    Reenergised {
        /// Measured supply above …
        supply_above: Volts = Volts::whole(50),
        /// … or shell voltage at or above, in a sample measured after the isolation.
        shell: Volts = Volts::whole(6),
    }

    /// A broken neutral of a feeder (P1, one per feeder).
    NeutralBreak {
        /// So many posts …
        posts: u32 = 3,
        /// … with shell voltage at or above …
        shell: Volts = Volts::whole(12),
        /// … and so far above their own dry median;
        above_own: Volts = Volts::whole(6),
        /// or one post with supply above …
        supply_above: Volts = Volts::whole(250),
        /// … while another has supply below.
        supply_below: Volts = Volts::whole(180),
        /// The newest sample counts for one period and this.
        fresh_extra: Millis = Millis::seconds(60),
        /// All normal for so long.
        normal_for: Millis = Millis::minutes(10),
    }

    /// A step of a cabinet's residual current (P2, or P1).
    FeederStep {
        /// Residual above its own baseline, at or above: P2 …
        step: Milliamps = Milliamps::whole(30),
        /// … at or above this …
        p1_step: Milliamps = Milliamps::whole(50),
        /// … and so many times the zone's median: P1.
        p1_ratio: Factor = Factor(2500),
        /// The baseline is the same-state median over this time.
        baseline: Millis = Millis::hours(168),
        /// So many samples.
        samples: u32 = 2,
        /// Normal again: at or below this share …
        normal_share: Percent = Percent::whole(50),
        /// … for so long.
        normal_for: Millis = Millis::minutes(10),
    }

    /// Shell voltage that calls for a crew tonight (P2; the office promises 30 min for 外壳带电).
    ShellWarning {
        /// At or above, dry.
        dry: Volts = Volts::whole(12),
        /// At or above, wet.
        wet: Volts = Volts::whole(6),
        /// Normal again: at or below this share …
        normal_share: Percent = Percent::whole(70),
        /// … for so long.
        normal_for: Millis = Millis::minutes(30),
        /// Due so soon.
        due: Millis = Millis::minutes(30),
    }

    /// Leakage for the worklist (P2).
    LeakWarning {
        /// At or above, dry.
        dry: Milliamps = Milliamps::whole(10),
        /// At or above, wet.
        wet: Milliamps = Milliamps::whole(6),
        /// The samples in a row have to cover so much time.
        over: Millis = Millis::minutes(15),
        /// Normal again: at or below this share …
        normal_share: Percent = Percent::whole(70),
        /// … for so long.
        normal_for: Millis = Millis::minutes(30),
        /// Due so soon.
        due: Millis = Millis::hours(24),
    }

    /// The column itself: tilt, impact, door (P1 or P2).
    Column {
        /// Tilt changed by: P1.
        tilt_p1: Degrees = Degrees::whole(15),
        /// An impact with this change (or with loss of supply): P1.
        tilt_with_impact: Degrees = Degrees::whole(5),
        /// Tilt changed by (or an impact alone): P2.
        tilt_p2: Degrees = Degrees::whole(5),
        /// Door open so long while energised: P2; wet or low-lying: P1.
        door_open: Millis = Millis::minutes(2),
        /// The state gone for so long.
        normal_for: Millis = Millis::minutes(10),
        /// P2 is due so soon.
        due: Millis = Millis::hours(2),
    }

    /// A lamp that should be lit and is not (P2).
    LampOut {
        /// Lamp power below this share of the rated power …
        power_share: Percent = Percent::whole(20),
        /// … for so long.
        dark_for: Millis = Millis::minutes(15),
        /// Normal again: lit for so long.
        normal_for: Millis = Millis::minutes(15),
        /// Due so soon.
        due: Millis = Millis::minutes(30),
        /// Told once per road in this time.
        told_every: Millis = Millis::minutes(10),
    }

    /// A lamp that burns by day (P4 list).
    DayBurn {
        /// For so long.
        lit_for: Millis = Millis::minutes(30),
        /// Normal again for so long.
        normal_for: Millis = Millis::minutes(30),
    }

    /// Supply out of its bounds (P4 list).
    SupplyVoltage {
        /// Below …
        low: Volts = Volts::whole(180),
        /// … or above …
        high: Volts = Volts::whole(250),
        /// … for so long.
        held_for: Millis = Millis::minutes(30),
        /// Normal again for so long.
        normal_for: Millis = Millis::minutes(30),
    }

    /// A post that does not talk (P3 list).
    Offline {
        /// Silent for so many periods while dry …
        dry_periods: u32 = 3,
        /// … for so many while wet …
        wet_periods: u32 = 2,
        /// … and at least this.
        silent_min: Millis = Millis::minutes(10),
    }

    /// Most of a feeder silent (P2; wet or warning: P1 "blind: patrol").
    FeederDark {
        /// At least this share of its counted posts …
        share: Percent = Percent::whole(60),
        /// … and at least so many.
        posts: u32 = 3,
        /// Data again for so long.
        normal_for: Millis = Millis::minutes(5),
    }

    /// A zone without any valid data (P2; wet: P1).
    Blind {
        /// For so many periods …
        silent_periods: u32 = 2,
        /// … and at least this.
        silent_min: Millis = Millis::minutes(10),
    }

    /// A post without a valid leakage value (P4 daily list).
    Unmonitored {
        /// For so long.
        after: Millis = Millis::hours(24),
    }

    /// Broker, database, disk, clock, channel or lampguard itself (P1 to the desk, no crew, no due time).
    System {
        /// Failing for so long.
        failing_for: Millis = Millis::seconds(60),
        /// Good again for so long.
        good_for: Millis = Millis::seconds(60),
        /// The leader is told so long after the desk …
        leader_after: Millis = Millis::minutes(5),
        /// … the head so long.
        head_after: Millis = Millis::minutes(15),
    }
}
