//! The rule that people write first, as a yardstick (domain reference 17.3): more than 30 mA in one sample
//! raises, a sample below or silence clears it again, and each raise is a telling. Pure.
//!
//! It knows no weather, no shell voltage, no second sample, no incident that stays open. It sees the same
//! admitted readings as the engine; a value over the sensor's range is a number to it.

use std::collections::HashMap;
use std::sync::Arc;

use lampguard_alerting::incident::Evidence;
use lampguard_alerting::{Family, Incident, Kind, Scope, Severity, Signal};
use lampguard_model::{Field, Marks, Millis, PostKind, Register, StoredReading, Timestamp};

use super::told::{Notices, Told};

/// Above this it raises, thousandths of a milliampere.
const LIMIT: i64 = 30_000;
/// No leakage sample for so many periods is silence.
const SILENT_PERIODS: i64 = 2;
/// Period of a device that the register gives none, seconds.
const PERIOD_S: u32 = 300;

/// A post that it holds for dangerous.
#[derive(Debug)]
struct Raised {
    incident: Incident,
    silent_after: Millis,
    heard_at: Timestamp,
}

/// The naive rule, and what it told and has cleared since the last call of [`Naive::cleared`].
#[derive(Debug)]
pub(crate) struct Naive {
    register: Arc<Register>,
    raised: HashMap<Arc<str>, Raised>,
    cleared: Vec<Told>,
    count: u64,
}

impl Naive {
    /// A rule that has heard nothing.
    pub(crate) fn new(register: Arc<Register>) -> Self {
        Self { register, raised: HashMap::new(), cleared: Vec::new(), count: 0 }
    }

    /// One reading.
    pub(crate) fn reading(&mut self, reading: &StoredReading<'_>) {
        let value = reading.fields.get(Field::LeakageMa);
        let above = match value {
            Some(value) => value > LIMIT,
            None if reading.marks.has(Marks::SATURATED) => true,
            None => return,
        };
        if !above && self.raised.is_empty() {
            return;
        }
        let now = reading.received_at;
        if let Some(known) = self.raised.get_mut(reading.post) {
            let silent_from = known.heard_at + known.silent_after;
            if now <= silent_from && above {
                known.heard_at = now;
                return;
            }
            let at = now.min(silent_from);
            if let Some(known) = self.raised.remove(reading.post) {
                self.clear(known, at);
            }
        }
        if above {
            self.raise(reading, value, now);
        }
    }

    fn raise(&mut self, reading: &StoredReading<'_>, value: Option<i64>, now: Timestamp) {
        let post = self.register.by_post(reading.post);
        if post.is_some_and(|post| post.kind == PostKind::Feeder) {
            return;
        }
        self.count += 1;
        let period_s = post.and_then(|post| post.period_s).unwrap_or(PERIOD_S);
        let name: Arc<str> = Arc::from(reading.post);
        let incident = Incident {
            id: Arc::from(format!("NAIVE-{}", self.count)),
            family: Family::Electric,
            severity: Severity::P1,
            scope: Scope::Post,
            place: Arc::from(""),
            p1_at: Some(now),
            members: Vec::new(),
            links: Vec::new(),
            post_id: name.clone(),
            feeder: Arc::from(reading.feeder),
            zone: Arc::from(reading.zone),
            road: post.map_or_else(|| Arc::from(""), |post| post.road.clone()),
            opened_at: now,
            due_at: now + Millis::minutes(30),
            signal: Signal::Active,
            notes: Vec::new(),
            evidence: Evidence {
                kind: Kind::LeakCritical,
                field: Field::LeakageMa.name().to_owned(),
                thousandths: value,
                limit: LIMIT,
                wet: false,
                wet_because: String::new(),
                policy_hash: Arc::from("naive"),
                measured_at: reading.measured_at(),
                received_at: now,
                rule: "naive".to_owned(),
            },
            kinds: vec![Kind::LeakCritical],
            life: lampguard_alerting::life::Life::default(),
        };
        let silent_after = Millis::seconds(i64::from(period_s) * SILENT_PERIODS);
        self.raised.insert(name, Raised { incident, silent_after, heard_at: now });
    }

    fn clear(&mut self, mut raised: Raised, at: Timestamp) {
        raised.incident.signal = Signal::Normal;
        self.cleared.push(at_once(raised.incident, Some(at), at));
    }

    /// What was told and cleared since the last call, in the order of clearing.
    pub(crate) fn cleared(&mut self) -> impl Iterator<Item = Told> + '_ {
        self.cleared.drain(..)
    }

    /// The readings have ended at `now`: all that is left, in the order of telling.
    pub(crate) fn finish(&mut self, now: Timestamp) -> Vec<Told> {
        let mut told: Vec<Told> = self.cleared.drain(..).collect();
        let left = self.raised.drain().map(|(_, raised)| {
            let silent_from = raised.heard_at + raised.silent_after;
            let ended_at = (silent_from < now).then_some(silent_from);
            at_once(raised.incident, ended_at, ended_at.unwrap_or(now))
        });
        let mut left: Vec<Told> = left.collect();
        left.sort_by(|a, b| {
            (a.incident.opened_at, &a.incident.post_id).cmp(&(b.incident.opened_at, &b.incident.post_id))
        });
        told.append(&mut left);
        told
    }
}

/// Each raise is told as it comes.
fn at_once(incident: Incident, ended_at: Option<Timestamp>, seen_at: Timestamp) -> Told {
    let mut notices = Notices::default();
    notices.tell(&incident, incident.opened_at);
    Told { incident, ended_at, seen_at, notices }
}

#[cfg(test)]
mod tests {

    use lampguard_model::Fields;

    use super::*;

    const T: Timestamp = Timestamp(1_795_435_200_000);

    fn reading(post: &'static str, after_min: i64, leakage_ma: Option<f64>) -> StoredReading<'static> {
        let at = T + Millis::minutes(after_min);
        let mut fields = Fields::default();
        if let Some(value) = leakage_ma {
            fields.set(Field::LeakageMa, (value * 1000.0).round() as i64);
        }
        StoredReading { zone: "z1", feeder: "F1", fields, ..StoredReading::at(post, at) }
    }

    /// Openings and ends, minutes after the start.
    fn told(readings: &[StoredReading<'_>], until_min: i64) -> Vec<(String, i64, Option<i64>)> {
        let register = Register::parse(lampguard_model::register::header().as_bytes()).unwrap();
        let mut naive = Naive::new(Arc::new(register));
        readings.iter().for_each(|reading| naive.reading(reading));
        let minutes = |at: Timestamp| at.since(T).as_seconds() / 60;
        let told = naive.finish(T + Millis::minutes(until_min));
        let line = |told: Told| {
            let incident = told.incident;
            (incident.post_id.to_string(), minutes(incident.opened_at), told.ended_at.map(minutes))
        };
        told.into_iter().map(line).collect()
    }

    #[test]
    fn one_sample_above_30_raises_one_below_clears_and_each_raise_is_told() {
        let of = |after, value| reading("P1", after, Some(value));
        let readings = [of(0, 30.0), of(5, 30.001), of(10, 40.0), of(15, 30.0), of(20, 31.0)];
        let lines = told(&readings, 22);
        assert_eq!(lines, [("P1".to_owned(), 5, Some(15)), ("P1".to_owned(), 20, None)]);
    }

    #[test]
    fn silence_of_two_periods_clears_too() {
        let of = |after, value| reading("P1", after, value);
        let readings = [of(0, Some(50.0)), of(5, None), of(20, Some(50.0))];
        let lines = told(&readings, 100);
        assert_eq!(lines, [("P1".to_owned(), 0, Some(10)), ("P1".to_owned(), 20, Some(30))]);
    }

    #[test]
    fn all_ones_are_a_number_to_it_and_posts_are_told_apart() {
        let mut saturated = reading("P2", 1, None);
        saturated.marks.add(Marks::SATURATED);
        let readings = [reading("P1", 0, Some(31.0)), saturated, reading("P1", 2, Some(1.0))];
        let lines = told(&readings, 3);
        assert_eq!(lines, [("P1".to_owned(), 0, Some(2)), ("P2".to_owned(), 1, None)]);
    }
}
