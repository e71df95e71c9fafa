//! From `[lighting]` as it is written to what is asked, with every fault at once.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use lampguard_model::{Millis, PostKind, Register};

use super::{
    FULL, Feeder, Lighting, LightingConfig, Place, Plan, PlanConfig, Switch, Timetable, TimetableConfig,
    plan_of,
};

/// Farthest that switching may be from sunset or sunrise, minutes.
const OFFSET_MAX: i64 = 180;
/// Plans that are known without a word: burning all night, dark or at half power in the second part of it.
const BUILT_IN: [(&str, &str, u32); 3] =
    [("all", "", FULL), ("half_night", "00:00-12:00", 0), ("dimmed", "23:00-12:00", FULL / 2)];

/// One fault of `[lighting]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lighting.{key}: {reason}")]
pub struct LightingFault {
    /// Key behind `lighting.`.
    pub key: String,
    /// What is wrong and the way out.
    pub reason: String,
}

impl Lighting {
    /// Lighting by the configuration; `None` is the sun at the posts.
    ///
    /// # Errors
    /// Every [`LightingFault`] at once: stop and show them.
    pub fn build(
        config: Option<&LightingConfig>,
        zone: TimeZone,
        register: &Register,
    ) -> Result<Self, Vec<LightingFault>> {
        let mut faults = Faults(Vec::new());
        let written = config.cloned().unwrap_or_default();
        let mut lighting = Self {
            zone,
            configured: config.is_some(),
            always_on: written.always_on.iter().map(|feeder| Arc::from(&**feeder)).collect(),
            timetables: Vec::new(),
            by_sun: [
                Switch::Sunset(faults.offset("sunset_offset_min", written.sunset_offset_min.into())),
                Switch::Sunrise(faults.offset("sunrise_offset_min", written.sunrise_offset_min.into())),
            ],
            plans: built_in(),
            feeders: feeders(register),
            middle: Place::middle(register.posts().iter().filter_map(|post| Place::of(post))),
        };
        for (place, timetable) in written.timetable.iter().enumerate() {
            let key = format!("timetable[{place}]");
            lighting.timetables.extend(faults.timetable(&key, timetable));
            for feeder in
                timetable.feeders.iter().filter(|feeder| !lighting.feeders.contains_key(feeder.as_str()))
            {
                faults.add(format!("{key}.feeders"), format!("{feeder:?} is no feeder of the register"));
            }
        }
        for feeder in
            written.always_on.iter().filter(|feeder| !lighting.feeders.contains_key(feeder.as_str()))
        {
            faults.add("always_on", format!("{feeder:?} is no feeder of the register"));
        }
        for (place, plan) in written.plan.iter().enumerate() {
            let plan = faults.plan(&format!("plan[{place}]"), plan);
            lighting.plans.retain(|known| known.name != plan.name);
            lighting.plans.push(plan);
        }
        let mut unknown: Vec<&str> = register.posts().iter().map(|post| plan_of(post)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|plan| {
            let by_timetable = lighting.timetables.iter().any(|t| t.plans.iter().any(|known| known == plan));
            !by_timetable && !lighting.plans.iter().any(|known| known.name == *plan)
        });
        if config.is_some() && !unknown.is_empty() {
            let plans = unknown.join(", ");
            faults.add(
                "plan",
                format!("the register names plans that nobody knows: {plans}; add [[lighting.plan]]"),
            );
        }
        if faults.0.is_empty() { Ok(lighting) } else { Err(faults.0) }
    }

    /// The sun at the posts, and nothing else.
    pub fn by_sun(zone: TimeZone, register: &Register) -> Self {
        Self::build(None, zone, register).expect("no configuration has no fault")
    }
}

fn built_in() -> Vec<Plan> {
    let plan = |(name, text, power): (&str, &str, u32)| Plan {
        name: name.to_owned(),
        spans: span(text).map(|(from, to)| (from, to, power)).into_iter().collect(),
    };
    BUILT_IN.into_iter().map(plan).collect()
}

/// Every feeder with the middle of its posts and their plans.
fn feeders(register: &Register) -> HashMap<Arc<str>, Feeder, RandomState> {
    let mut feeders: HashMap<Arc<str>, (Vec<Place>, Vec<String>), RandomState> = HashMap::default();
    for post in register.posts().iter().filter(|post| !post.feeder.is_empty()) {
        let (places, plans) = feeders.entry(post.feeder.clone()).or_default();
        places.extend(Place::of(post));
        let plan = plan_of(post);
        if post.kind == PostKind::Post && !plans.iter().any(|known| known == plan) {
            plans.push(plan.to_owned());
        }
    }
    let middle = |(name, (places, plans)): (Arc<str>, (Vec<Place>, Vec<String>))| {
        let plans = if plans.is_empty() { vec!["all".to_owned()] } else { plans };
        (name, Feeder { place: Place::middle(places.into_iter()), plans })
    };
    feeders.into_iter().map(middle).collect()
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = hour.len() == 2 && minute.len() == 2;
    Time::new(hour.parse().ok().filter(|_| digits)?, minute.parse().ok()?, 0, 0).ok()
}

fn span(text: &str) -> Option<(Time, Time)> {
    let (from, to) = text.split_once('-')?;
    Some((time(from)?, time(to)?))
}

fn switch(text: &str) -> Option<Switch> {
    let text = text.trim();
    if let Some(at) = time(text) {
        return Some(Switch::Clock(at));
    }
    let (is_set, rest) = match (text.strip_prefix("sunset"), text.strip_prefix("sunrise")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    let minutes = if rest.is_empty() { 0 } else { rest.parse::<i64>().ok()? };
    let signed = rest.is_empty() || rest.starts_with(['+', '-']);
    let offset = Millis::minutes(minutes);
    let fits = signed && minutes.abs() <= OFFSET_MAX;
    fits.then_some(if is_set { Switch::Sunset(offset) } else { Switch::Sunrise(offset) })
}

struct Faults(Vec<LightingFault>);

impl Faults {
    fn add(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.0.push(LightingFault { key: key.into(), reason: reason.into() });
    }

    fn offset(&mut self, key: &str, minutes: i64) -> Millis {
        if minutes.abs() > OFFSET_MAX {
            self.add(key, format!("is {minutes}, the range is -{OFFSET_MAX} to {OFFSET_MAX} minutes"));
        }
        Millis::minutes(minutes)
    }

    fn timetable(&mut self, key: &str, written: &TimetableConfig) -> Option<Timetable> {
        if written.feeders.is_empty() && written.plans.is_empty() {
            self.add(key, "is for nobody: name feeders or plans");
        }
        let mut read = |name: &str, text: &str| {
            let found = switch(text);
            if found.is_none() {
                let way_out = "write \"18:30\", \"sunset\" or \"sunrise+15\" (minutes, at most 180)";
                self.add(format!("{key}.{name}"), format!("{text:?} is no switching time; {way_out}"));
            }
            found
        };
        let (on, off) = (read("on", &written.on), read("off", &written.off));
        if on.is_some() && on == off {
            self.add(format!("{key}.off"), "is on itself; a feeder that is never off belongs into always_on");
        }
        let season = match (&written.from, &written.to) {
            (None, None) => None,
            (Some(from), Some(to)) => {
                let season = month_day(from).zip(month_day(to));
                if season.is_none() {
                    self.add(
                        format!("{key}.from"),
                        format!("{from:?} to {to:?} is no season; write \"05-01\" to \"09-30\""),
                    );
                }
                season.map(|(from, to)| [from, to])
            }
            _ => {
                self.add(format!("{key}.from"), "from and to go together");
                None
            }
        };
        let feeders = written.feeders.iter().map(|feeder| Arc::from(&**feeder)).collect();
        Some(Timetable { feeders, plans: written.plans.clone(), on: on?, off: off?, season })
    }

    fn plan(&mut self, key: &str, written: &PlanConfig) -> Plan {
        if written.name.is_empty() {
            self.add(format!("{key}.name"), "is empty: the word in the register's column plan");
        }
        let dark = written.dark.iter().map(|span| ("dark", span, 0));
        let dim = written.dim.iter().map(|dim| ("dim", &dim.span, u32::from(dim.power_pct) * 10));
        let mut spans = Vec::new();
        for (name, text, power) in dark.chain(dim) {
            if name == "dim" && !(1..=FULL).contains(&power) {
                self.add(format!("{key}.dim"), format!("power_pct is {}, the range is 1 to 100", power / 10));
            }
            match span(text) {
                Some((from, to)) => spans.push((from, to, power)),
                None => {
                    self.add(format!("{key}.{name}"), format!("{text:?} is no span such as \"23:00-05:30\""))
                }
            }
        }
        Plan { name: written.name.clone(), spans }
    }
}

fn month_day(text: &str) -> Option<(i8, i8)> {
    let (month, day) = text.split_once('-')?;
    let (month, day) = (month.parse().ok()?, day.parse().ok()?);
    // A leap year has every day that there is.
    jiff::civil::Date::new(2024, month, day).ok().map(|_| (month, day))
}
