//! What is compared: what was true, and what people were told. Plain data, whoever it comes from.

use lampguard_model::{Millis, Timestamp};

/// One line of truth: a spot that is dangerous, or nearly so, for a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hazard {
    /// Where.
    pub(crate) spot: Spot,
    /// What it is: `electric`, `neutral`, `blind`, `feeder_leak`, or another word.
    pub(crate) kind: String,
    /// Why, in the words of whoever knows.
    pub(crate) cause: String,
    /// At its worst.
    pub(crate) class: Class,
    /// First moment at which it was marginal or dangerous.
    pub(crate) starts_at: Timestamp,
    /// First moment at which it was dangerous; `None` when it never was.
    pub(crate) dangerous_at: Option<Timestamp>,
    /// First moment at which it was neither any more; `None` when it lasts.
    pub(crate) ends_at: Option<Timestamp>,
    /// Reporting period of its sensor.
    pub(crate) period: Millis,
    /// `ok`, or `failed:` and how.
    pub(crate) sensor: String,
    /// The sensor could tell.
    pub(crate) observable: bool,
}

/// Where a hazard is. Truth names at least one of the three; a post may come with its feeder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Post id.
    pub(crate) post: Option<String>,
    /// Feeder, by truth or by the register.
    pub(crate) feeder: Option<String>,
    /// A place without a post, in words.
    pub(crate) place: Option<String>,
}

impl Spot {
    /// A post.
    #[cfg(test)]
    pub(crate) fn post(id: &str) -> Self {
        Self { post: Some(id.to_owned()), ..Self::default() }
    }

    /// How people call it.
    pub(crate) fn name(&self) -> &str {
        let name = self.post.as_deref().or(self.feeder.as_deref()).or(self.place.as_deref());
        name.unwrap_or("?")
    }
}

/// How bad it is at its worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Telling of it is no false alarm, missing it no failure.
    Marginal,
    /// It has to be found.
    Dangerous,
}

/// How long before `dangerous_at` a telling already counts (`design.md` 6).
pub(crate) const EARLY: Millis = Millis::minutes(60);
/// Kind of a cable joint that only the cabinet sees.
pub(crate) const FEEDER_LEAK: &str = "feeder_leak";
/// Ways in which a sensor fails to send anything, in the words of a truth's `sensor`.
const NO_DATA: [&str; 8] =
    ["none", "silent", "silent_after_critical", "drowned", "unpowered", "concentrator", "uplink", "cabinet"];
/// How many periods after `dangerous_at` a telling still counts (`design.md` 6).
pub(crate) const PERIODS: i64 = 2;

impl Hazard {
    /// First and last moment at which a telling finds it, both included; `None` when it need not be found.
    pub(crate) fn window(&self) -> Option<(Timestamp, Timestamp)> {
        let at = self.dangerous_at.filter(|_| self.class == Class::Dangerous)?;
        Some((at - EARLY, at + self.grace()))
    }

    /// Two periods.
    pub(crate) fn grace(&self) -> Millis {
        Millis(self.period.0.saturating_mul(PERIODS))
    }

    /// True when a P1 at that moment had a reason: the hazard was there, or nearly.
    pub(crate) fn covers(&self, at: Timestamp) -> bool {
        at >= self.starts_at - EARLY && self.ends_at.is_none_or(|end| at <= end + self.grace())
    }

    /// A broken neutral is the cause.
    pub(crate) fn is_neutral(&self) -> bool {
        [&self.kind, &self.cause].iter().any(|word| word.starts_with("neutral"))
    }

    /// Nobody can see it for want of data, so that a patrol is the right answer. A sensor that reports wrong
    /// values is no reason: its feeder is not dark.
    pub(crate) fn is_blind(&self) -> bool {
        let told = [&self.kind, &self.cause].iter().any(|word| {
            let word = word.as_str();
            word.starts_with("blind") || word == "feeder_dark"
        });
        let how = self.sensor.strip_prefix("failed:");
        told || !self.observable && how.is_some_and(|how| NO_DATA.contains(&how))
    }

    /// A cable joint that only the cabinet sees: nothing is at any post.
    pub(crate) fn is_joint(&self) -> bool {
        self.kind == FEEDER_LEAK
    }
}

/// Kinds that share one incident (`policy.md` 1), as far as they matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// A live or leaking post.
    Electric,
    /// A broken neutral.
    Neutral,
    /// A leak somewhere on a feeder.
    FeederLeak,
    /// No data from a feeder or zone: patrol.
    Blind,
    /// Says nothing of current: a leaning column, a dark lamp, a system fault.
    Other,
}

impl Family {
    /// The family of a kind.
    pub(crate) fn of(kind: &str) -> Self {
        match kind {
            "shell_critical"
            | "leak_critical"
            | "immersed_leak"
            | "sat_leak"
            | "sensor_drowned"
            | "critical_then_silent"
            | "flag_only"
            | "shell_warning"
            | "leak_warning"
            | "reported"
            | "electric" => Self::Electric,
            "neutral_break" | "neutral" => Self::Neutral,
            "feeder_step" | FEEDER_LEAK => Self::FeederLeak,
            "feeder_dark" | "blind" => Self::Blind,
            _ => Self::Other,
        }
    }

    /// True when its P1 claims that current is where it must not be, so that truth can prove it false.
    pub(crate) fn claims_current(self) -> bool {
        matches!(self, Self::Electric | Self::Neutral | Self::FeederLeak)
    }
}

/// One incident as people were told of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    /// Incident id. Several entries may share one, when posts were named one after the other.
    pub(crate) id: String,
    /// Kind that opened it.
    pub(crate) kind: String,
    /// Family of that kind: [`Family::of`].
    pub(crate) family: Family,
    /// Posts that the notices from `first_notice_at` on name: its own, and members.
    pub(crate) posts: Vec<String>,
    /// Feeder.
    pub(crate) feeder: Option<String>,
    /// Zone.
    pub(crate) zone: Option<String>,
    /// A place without a post.
    pub(crate) place: Option<String>,
    /// Since when it is P1; `None` when it never was.
    pub(crate) p1_at: Option<Timestamp>,
    /// First accepted notice that names `posts`; `None` when nobody was told.
    pub(crate) first_notice_at: Option<Timestamp>,
    /// The first of those that told it as a P1; `None` when none did.
    pub(crate) p1_notice_at: Option<Timestamp>,
    /// Ended in state void.
    pub(crate) voided: bool,
    /// Who went, and when.
    pub(crate) going: Going,
}

/// What is known of the crew of an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Going {
    /// Crew that has it.
    pub(crate) crew: Option<String>,
    /// When a crew must stand there.
    pub(crate) due_at: Option<Timestamp>,
    /// When it left.
    pub(crate) departed_at: Option<Timestamp>,
    /// When it arrived.
    pub(crate) arrived_at: Option<Timestamp>,
    /// When the spot was safe and the crew free again.
    pub(crate) made_safe_at: Option<Timestamp>,
    /// The deadline went by without anybody there.
    pub(crate) breached: bool,
}

impl Told {
    /// When people were told of a P1: the first accepted notice of it. That it rose to P1 tells nobody.
    pub(crate) fn p1_told_at(&self) -> Option<Timestamp> {
        self.p1_at.and(self.p1_notice_at)
    }
}

/// One accepted message to one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whom.
    pub(crate) to: String,
    /// Of which telling: voice and chat of one telling are one message.
    pub(crate) telling: String,
    /// When it was accepted.
    pub(crate) at: Timestamp,
}

/// How much was watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exposure {
    /// Posts.
    pub(crate) posts: u64,
    /// Nights; a span counts one for each 24 h.
    pub(crate) nights: f64,
}

impl Exposure {
    /// Posts times nights.
    pub(crate) fn post_nights(self) -> f64 {
        self.posts as f64 * self.nights
    }
}
