//! `[lighting]` of the configuration, as it is written.

use serde::Deserialize;

/// `[lighting]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LightingConfig {
    /// Minutes after sunset at which feeders without a timetable are switched on; negative is before.
    pub sunset_offset_min: i32,
    /// Minutes after sunrise at which they are switched off; negative is before.
    pub sunrise_offset_min: i32,
    /// Feeders that are energised day and night.
    pub always_on: Vec<String>,
    /// `[[lighting.timetable]]`, the first that fits holds.
    pub timetable: Vec<TimetableConfig>,
    /// `[[lighting.plan]]`, besides the built-in ones.
    pub plan: Vec<PlanConfig>,
}

/// One `[[lighting.timetable]]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimetableConfig {
    /// Feeders that it is for.
    #[serde(default)]
    pub feeders: Vec<String>,
    /// Lighting plans of posts that it is for.
    #[serde(default)]
    pub plans: Vec<String>,
    /// `"18:30"`, `"sunset"`, `"sunset+15"`, `"sunset-10"`, `"sunrise"`, …
    pub on: String,
    /// The same.
    pub off: String,
    /// First evening of its season, `"MM-DD"`.
    pub from: Option<String>,
    /// Last evening of its season, `"MM-DD"`.
    pub to: Option<String>,
}

/// One `[[lighting.plan]]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanConfig {
    /// The word in the register's column `plan`.
    pub name: String,
    /// Dark in these spans of local time, `"00:00-05:30"`.
    #[serde(default)]
    pub dark: Vec<String>,
    /// Dimmed in these spans.
    #[serde(default)]
    pub dim: Vec<DimConfig>,
}

/// One span of dimming.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimConfig {
    /// `"23:00-05:30"`.
    pub span: String,
    /// Percent of rated power, 1 to 100.
    pub power_pct: u8,
}
