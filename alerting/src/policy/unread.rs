//! Numbers of the rules page that no rule of this version reads yet. A file that changes one is refused, so
//! that nobody believes it works. Whoever builds a rule takes its numbers out of here; a test compares.

/// `group.name`, in the order of the file.
pub const UNREAD: [&str; 12] = [
    "samples.late_periods",
    "samples.late_min",
    "samples.powered_above",
    "samples.historic_due",
    "period.gaps_needed",
    "period.shortest",
    "period.unknown",
    "stuck.supply_step",
    "open_ct.leak_step",
    "unit_suspect.median_over",
    "hand_test.live_band",
    "trend.peaks",
];
