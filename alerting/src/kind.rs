//! What can be raised: every kind of `policy.md` 2 with its family, severity, scope and unit.

use lampguard_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use crate::policy::Policy;

/// What raises an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The shell carries a dangerous voltage.
    ShellCritical,
    /// A dangerous current leaks to earth.
    LeakCritical,
    /// Water at the post and current in it.
    ImmersedLeak,
    /// Leakage above the sensor's range: dangerous and unknown.
    SatLeak,
    /// The sensor reported water and then nothing.
    SensorDrowned,
    /// One dangerous sample and then nothing.
    CriticalThenSilent,
    /// The device's own flag without a value that confirms it.
    FlagOnly,
    /// Voltage in an extent that was made dead.
    Reenergised,
    /// A feeder has lost its neutral.
    NeutralBreak,
    /// The residual current of a feeder rose by a step.
    FeederStep,
    /// The shell carries a voltage that calls for a crew tonight.
    ShellWarning,
    /// A leakage for the worklist.
    LeakWarning,
    /// The column leans, was hit, or stands open.
    Column,
    /// A lamp that should burn does not.
    LampOut,
    /// A lamp burns by day.
    DayBurn,
    /// Supply out of its bounds.
    SupplyVoltage,
    /// No data from a post, or data that cannot be believed.
    Offline,
    /// Most of a feeder is silent.
    FeederDark,
    /// No data from a zone.
    Blind,
    /// No valid leakage value for a day.
    Unmonitored,
    /// Leakage grows from storm to storm.
    Trend,
    /// Broker, database, disk, clock, channel or lampguard itself fails.
    System,
    /// Told by a person.
    Reported,
}

/// Every kind, in the order of their numbers. Only append.
pub const KINDS: [Kind; 23] = [
    Kind::ShellCritical,
    Kind::LeakCritical,
    Kind::ImmersedLeak,
    Kind::SatLeak,
    Kind::SensorDrowned,
    Kind::CriticalThenSilent,
    Kind::FlagOnly,
    Kind::Reenergised,
    Kind::NeutralBreak,
    Kind::FeederStep,
    Kind::ShellWarning,
    Kind::LeakWarning,
    Kind::Column,
    Kind::LampOut,
    Kind::DayBurn,
    Kind::SupplyVoltage,
    Kind::Offline,
    Kind::FeederDark,
    Kind::Blind,
    Kind::Unmonitored,
    Kind::Trend,
    Kind::System,
    Kind::Reported,
];

/// Kinds that share one incident per post, feeder, zone or place while it takes evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A post that may kill.
    Electric,
    /// Voltage where there must be none.
    Reenergised,
    /// A broken neutral.
    Neutral,
    /// A leak somewhere on a feeder.
    FeederLeak,
    /// The column itself.
    Column,
    /// Lamps.
    Lamp,
    /// Supply voltage.
    Supply,
    /// No data.
    Comms,
    /// Growth from storm to storm.
    Trend,
    /// Told by a person, not electric.
    Other,
    /// Ourselves and what we stand on.
    System,
}

/// Every family.
pub const FAMILIES: [Family; 11] = [
    Family::Electric,
    Family::Reenergised,
    Family::Neutral,
    Family::FeederLeak,
    Family::Column,
    Family::Lamp,
    Family::Supply,
    Family::Comms,
    Family::Trend,
    Family::Other,
    Family::System,
];

impl Family {
    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Electric => "electric",
            Self::Reenergised => "reenergised",
            Self::Neutral => "neutral",
            Self::FeederLeak => "feeder_leak",
            Self::Column => "column",
            Self::Lamp => "lamp",
            Self::Supply => "supply",
            Self::Comms => "comms",
            Self::Trend => "trend",
            Self::Other => "other",
            Self::System => "system",
        }
    }

    /// The family of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        FAMILIES.into_iter().find(|family| family.name() == name)
    }
}

/// How urgent; the worst comes last, so that a greater one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A daily list.
    P4,
    /// A list.
    P3,
    /// A crew, soon.
    P2,
    /// A crew, now: people are in danger.
    P1,
}

impl Severity {
    /// The word in tables and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::P4 => "P4",
            Self::P3 => "P3",
            Self::P2 => "P2",
            Self::P1 => "P1",
        }
    }

    /// The severity of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::P1, Self::P2, Self::P3, Self::P4].into_iter().find(|severity| severity.name() == name)
    }
}

/// What an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One post, or one unregistered device.
    Post,
    /// A feeder.
    Feeder,
    /// A zone.
    Zone,
    /// A place that a person named.
    Place,
    /// A part of the system.
    System,
}

impl Scope {
    /// The word in tables and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Feeder => "feeder",
            Self::Zone => "zone",
            Self::Place => "place",
            Self::System => "system",
        }
    }

    /// The scope of that word; anything else reads as a post.
    pub fn from_name(name: &str) -> Self {
        let all = [Self::Feeder, Self::Zone, Self::Place, Self::System];
        all.into_iter().find(|scope| scope.name() == name).unwrap_or(Self::Post)
    }
}

/// The deadline of an incident that has none: the last second of the year 9999. A stored fact like any other,
/// behind every real one in lists.
pub const NO_DUE: Timestamp = Timestamp(253_402_300_799_000);

/// What is raised with a deadline nearer than this is told at once; the rest is a list.
pub const TOLD_WITHIN: Millis = Millis::hours(2);

impl Kind {
    /// The word in tables and answers.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// The kind of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// Its family. What a person reports is electric unless it is said to be neither shock nor live.
    pub fn family(self) -> Family {
        self.facts().1
    }

    /// The severity that it has unless its row of the table says otherwise.
    pub fn severity(self) -> Severity {
        self.facts().2
    }

    /// What it is about, unless it groups several.
    pub fn scope(self) -> Scope {
        self.facts().3
    }

    /// Unit of its evidence, where the measured field does not tell.
    pub fn unit(self) -> &'static str {
        self.facts().4
    }

    fn facts(self) -> (&'static str, Family, Severity, Scope, &'static str) {
        use Family as F;
        use Scope::{Feeder, Place, Post, System, Zone};
        use Severity::{P1, P2, P3, P4};
        match self {
            Self::ShellCritical => ("shell_critical", F::Electric, P1, Post, "V"),
            Self::LeakCritical => ("leak_critical", F::Electric, P1, Post, "mA"),
            Self::ImmersedLeak => ("immersed_leak", F::Electric, P1, Post, "mA"),
            Self::SatLeak => ("sat_leak", F::Electric, P1, Post, "mA"),
            Self::SensorDrowned => ("sensor_drowned", F::Electric, P1, Post, "min"),
            Self::CriticalThenSilent => ("critical_then_silent", F::Electric, P1, Post, "mA"),
            Self::FlagOnly => ("flag_only", F::Electric, P1, Post, "mA"),
            Self::Reenergised => ("reenergised", F::Reenergised, P1, Post, "V"),
            Self::NeutralBreak => ("neutral_break", F::Neutral, P1, Feeder, "V"),
            Self::FeederStep => ("feeder_step", F::FeederLeak, P2, Feeder, "mA"),
            Self::ShellWarning => ("shell_warning", F::Electric, P2, Post, "V"),
            Self::LeakWarning => ("leak_warning", F::Electric, P2, Post, "mA"),
            Self::Column => ("column", F::Column, P2, Post, "°"),
            Self::LampOut => ("lamp_out", F::Lamp, P2, Post, "W"),
            Self::DayBurn => ("day_burn", F::Lamp, P4, Post, "W"),
            Self::SupplyVoltage => ("supply_voltage", F::Supply, P4, Post, "V"),
            Self::Offline => ("offline", F::Comms, P3, Post, "min"),
            Self::FeederDark => ("feeder_dark", F::Comms, P2, Feeder, "%"),
            Self::Blind => ("blind", F::Comms, P2, Zone, "min"),
            Self::Unmonitored => ("unmonitored", F::Comms, P4, Post, "h"),
            Self::Trend => ("trend", F::Trend, P3, Post, "mA"),
            Self::System => ("system", F::System, P1, System, "s"),
            Self::Reported => ("reported", F::Electric, P1, Place, ""),
        }
    }

    /// Time from the decision to a crew standing there; `None`: no crew, or no time.
    pub fn due(self, severity: Severity, policy: &Policy) -> Option<Millis> {
        match (severity, self) {
            (_, Self::System) | (Severity::P3 | Severity::P4, _) => None,
            (Severity::P1, _) => Some(policy.due.p1),
            (Severity::P2, Self::ShellWarning) => Some(policy.shell_warning.due),
            (Severity::P2, Self::LeakWarning) => Some(policy.leak_warning.due),
            (Severity::P2, Self::Column) => Some(policy.column.due),
            (Severity::P2, Self::LampOut) => Some(policy.lamp_out.due),
            (Severity::P2, Self::CriticalThenSilent) => Some(policy.critical_then_silent.switch_off_due),
            (Severity::P2, _) => Some(policy.due.p2),
        }
    }

    /// How long the state that raised it has to be gone before its signal is normal; zero for limits, which count
    /// samples, and for what is gone at the first data.
    pub(crate) fn gone_for(self, policy: &Policy) -> Millis {
        match self {
            Self::Column => policy.column.normal_for,
            Self::LampOut => policy.lamp_out.normal_for,
            Self::DayBurn => policy.day_burn.normal_for,
            Self::SupplyVoltage => policy.supply_voltage.normal_for,
            _ => Millis(0),
        }
    }

    /// Nothing that a sensor says makes its signal normal again: people only.
    pub fn is_for_people_only(self) -> bool {
        matches!(
            self,
            Self::SatLeak
                | Self::SensorDrowned
                | Self::CriticalThenSilent
                | Self::Reenergised
                | Self::Reported
        )
    }
}

/// The two quantities of which the last samples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sampled {
    Shell,
    Leak,
}

/// Both, by their place.
pub(crate) const SAMPLED: [Sampled; 2] = [Sampled::Shell, Sampled::Leak];

impl Sampled {
    pub(crate) fn place(self) -> usize {
        self as usize
    }

    /// The field on the wire.
    pub(crate) fn field(self) -> lampguard_model::Field {
        match self {
            Self::Shell => lampguard_model::Field::ShellV,
            Self::Leak => lampguard_model::Field::LeakageMa,
        }
    }

    /// The kind of its critical limit.
    pub(crate) fn critical(self) -> Kind {
        match self {
            Self::Shell => Kind::ShellCritical,
            Self::Leak => Kind::LeakCritical,
        }
    }

    /// The kind of its warning limit.
    pub(crate) fn warning(self) -> Kind {
        match self {
            Self::Shell => Kind::ShellWarning,
            Self::Leak => Kind::LeakWarning,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_kinds_families_and_severities_read_back() {
        for kind in KINDS {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(KINDS[kind as usize], kind);
            let word = serde_json::to_string(&kind).unwrap();
            assert_eq!(word, format!("{:?}", kind.name()), "the word on disk");
        }
        for family in FAMILIES {
            assert_eq!(Family::from_name(family.name()), Some(family));
        }
        assert!(Severity::P1 > Severity::P2 && Severity::P3 > Severity::P4);
        assert_eq!(Severity::from_name("P2"), Some(Severity::P2));
        assert_eq!(Scope::from_name("feeder"), Scope::Feeder);
    }

    #[test]
    fn due_times_are_those_of_the_table() {
        let policy = Policy::default();
        let minutes = |kind: Kind, severity| kind.due(severity, &policy).map(|due| due.as_seconds() / 60);
        for kind in KINDS {
            let p1 = minutes(kind, Severity::P1);
            assert_eq!(p1, (kind != Kind::System).then_some(30), "{}", kind.name());
            assert_eq!(minutes(kind, Severity::P3), None);
            assert_eq!(minutes(kind, Severity::P4), None);
        }
        for (kind, due) in [
            (Kind::ShellWarning, 30),
            (Kind::LeakWarning, 24 * 60),
            (Kind::Column, 120),
            (Kind::LampOut, 30),
            (Kind::CriticalThenSilent, 24 * 60),
            (Kind::FeederDark, 24 * 60),
        ] {
            assert_eq!(minutes(kind, Severity::P2), Some(due), "{}", kind.name());
        }
    }

    #[test]
    fn the_page_of_rules_has_a_row_for_every_kind_with_its_severity_and_time() {
        let policy = Policy::default();
        let page = include_str!("../../docs/rules.md");
        let rows: Vec<Vec<&str>> = page
            .lines()
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
            .filter(|cells| cells.len() == 5 && !matches!(cells[0], "kind" | "---"))
            .collect();
        let names: Vec<&str> = rows.iter().map(|cells| cells[0]).collect();
        let mut known = KINDS.map(Kind::name).to_vec();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        known.sort_unstable();
        assert_eq!(sorted, known);
        for cells in rows {
            let kind = Kind::from_name(cells[0]).unwrap();
            assert_eq!(cells[2], kind.severity().name(), "{}", cells[0]);
            let due = kind.due(kind.severity(), &policy).map(Millis::as_seconds);
            let text = match due {
                None => "–".to_owned(),
                Some(s) if s >= 7200 => format!("{} h", s / 3600),
                Some(s) => format!("{} min", s / 60),
            };
            assert_eq!(cells[3], text, "{}", cells[0]);
            assert_eq!(cells[4].starts_with("people only"), kind.is_for_people_only(), "{}", cells[0]);
        }
    }
}
