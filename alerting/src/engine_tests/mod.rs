//! The engine on a table: a small city, a clock that is a number.

mod called;
mod columns;
mod crowds;
mod electric;
mod ending;
mod enrol;
mod explain;
mod feeders;
mod flood;
mod isolations;
mod ladder;
mod ladder_random;
mod law;
mod limits;
mod moves;
mod names;
mod numbers;
mod order;
mod other_ladders;
mod people;
mod planned;
mod random;
mod reassign;
mod restart;
mod returns;
mod sensors;
mod shifts;
mod signals;
mod silence;
mod speed;
mod supply;
mod times;
mod verifying;
mod weather;

use std::sync::Arc;

use lampguard_model::record::{Source, StoredReading};
use lampguard_model::{Cause, Field, Flags, Marks, Millis, Register, Timestamp, UNREGISTERED, WeatherReport};

use super::{Answer, Effect, Engine, Input, MoveRequest};
use crate::incident::{Family, Incident, Kind};
use crate::life::{Move, Refused, Verb};
use crate::policy::Policy;
use crate::wet::Sky;

/// 2026-11-23 12:00 UTC, 20:00 in Xinxiang.
pub(crate) const T: Timestamp = Timestamp(1_795_435_200_000);

/// P1 and P2 in z1 (P2 low-lying), P3 in z2 with a period of an hour, C1 a cabinet.
pub(crate) fn register() -> Arc<Register> {
    let text = format!(
        "{}\n{}\n{}\n{}\n{}\n",
        lampguard_model::register::header(),
        "P1,,z1,人民路,3,塔南路口,F1,C1,113.2,35.2,2,150,false,2019-05,BJ-1,post,all,true,M1,300",
        "P2,,z1,人民路,4,,F1,C1,113.2,35.2,2,150,true,2019-05,BJ-2,post,all,true,M1,300",
        "P3,,z2,平原路,1,,F2,C2,113.2,35.2,2,150,false,2019-05,BJ-3,post,all,true,M1,3600",
        "C1,,z1,人民路,0,,F1,C1,113.2,35.2,0,0,false,2019-05,BJ-4,feeder,all,true,M1,60",
    );
    Arc::new(Register::parse(text.as_bytes()).unwrap())
}

/// A reading of `P1`: powered, no value, its own clock right.
pub(crate) fn reading(at: Timestamp) -> StoredReading<'static> {
    StoredReading { identity: mix(at.0 as u64), zone: "z1", feeder: "F1", ..StoredReading::at("P1", at) }
}

/// Spreads small numbers as the fingerprint of a real reading is spread.
pub(crate) fn mix(n: u64) -> u64 {
    (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub(crate) fn leak(at: Timestamp, ma: f64) -> StoredReading<'static> {
    with(reading(at), Field::LeakageMa, ma)
}

pub(crate) fn shell(at: Timestamp, volts: f64) -> StoredReading<'static> {
    with(reading(at), Field::ShellV, volts)
}

pub(crate) fn with(mut r: StoredReading<'static>, field: Field, value: f64) -> StoredReading<'static> {
    r.fields.set(field, (value * 1000.0).round() as i64);
    r.identity = mix(r.identity ^ (field as u64) << 40 ^ (value * 1000.0) as u64);
    r
}

/// A reading of a lit lamp post, well below every limit.
pub(crate) fn lit(at: Timestamp) -> StoredReading<'static> {
    with(leak(at, 0.8), Field::SupplyV, 229.0)
}

/// What another crew does.
pub(crate) fn other(verb: Verb, key: &str) -> Move {
    let mut m = crate::life::tests::crew(verb, key);
    (m.actor.name, m.body.reason) = ("Crew 2".to_owned(), None);
    m
}

/// A device that the register does not know.
pub(crate) fn stranger(mut r: StoredReading<'static>, name: &'static str) -> StoredReading<'static> {
    (r.post, r.device, r.zone, r.feeder) = (name, name, UNREGISTERED, "");
    r.marks.add(Marks::UNREGISTERED);
    r
}

pub(crate) fn dry() -> WeatherReport {
    WeatherReport { rain_mm_h: Some(0.0), ..WeatherReport::default() }
}

/// An engine, its effects, and the last moment.
pub(crate) struct City {
    pub(crate) engine: Engine,
    pub(crate) effects: Vec<Effect>,
}

impl City {
    /// Dry, and known to be.
    pub(crate) fn new() -> Self {
        let mut city = Self::without_weather();
        city.keep_dry(T - Millis::minutes(5));
        city
    }

    pub(crate) fn without_weather() -> Self {
        Self { engine: Engine::new(Policy::default(), register(), Sky::default()), effects: Vec::new() }
    }

    /// Judged by that policy; dry, and known to be.
    pub(crate) fn under(policy: &Policy) -> Self {
        assert_eq!(policy.faults(), []);
        let mut city =
            Self { engine: Engine::new(policy.clone(), register(), Sky::default()), effects: Vec::new() };
        city.keep_dry(T - Millis::minutes(5));
        city
    }

    pub(crate) fn enact(&mut self, at: Timestamp, policy: &Policy) {
        assert_eq!(policy.faults(), []);
        self.engine.step(at, Input::Policy(policy), &mut self.effects);
    }

    /// Posts S0, S1, … of one feeder FS in zone z1, all of one road; every third low-lying.
    pub(crate) fn street(posts: usize) -> Self {
        let mut text = lampguard_model::register::header();
        for n in 0..posts {
            let low = n % 3 == 0;
            text += &format!("\nS{n},,z1,人民路,{n},,FS,C1,113.2,35.2,1,100,{low},,,post,all,true,M1,300");
        }
        text += "\nCS,,z1,人民路,0,,FS,C1,113.2,35.2,0,0,false,,,feeder,all,true,MC,60";
        let register = Arc::new(Register::parse(text.as_bytes()).unwrap());
        let engine = Engine::new(Policy::default(), register, Sky::default());
        let mut city = Self { engine, effects: Vec::new() };
        city.keep_dry(T - Millis::minutes(5));
        city
    }

    /// A dry message for all zones, which holds for an hour.
    pub(crate) fn keep_dry(&mut self, at: Timestamp) {
        self.weather(at, "all", &dry());
    }

    pub(crate) fn weather(&mut self, at: Timestamp, zone: &str, report: &WeatherReport) {
        let input = Input::Weather { zone, report };
        self.engine.step(at, input, &mut self.effects);
    }

    /// Received at its `received_at`.
    pub(crate) fn read(&mut self, r: &StoredReading<'_>) {
        self.engine.step(r.received_at, Input::Reading(r), &mut self.effects);
    }

    pub(crate) fn tick(&mut self, at: Timestamp) {
        self.engine.step(at, Input::Tick, &mut self.effects);
    }

    /// A second at a time would be slow; a minute at a time is what the rules need.
    pub(crate) fn pass(&mut self, from: Timestamp, minutes: i64) {
        for minute in 1..=minutes {
            self.tick(from + Millis::minutes(minute));
        }
    }

    /// Electric incidents as they opened.
    pub(crate) fn opened(&self) -> Vec<&Incident> {
        self.opened_of(Family::Electric)
    }

    pub(crate) fn opened_of(&self, family: Family) -> Vec<&Incident> {
        let opens = self.effects.iter().filter_map(|effect| match effect {
            Effect::Open { incident, .. } => Some(incident.as_ref()),
            _ => None,
        });
        opens.filter(|incident| incident.family == family).collect()
    }

    /// The one electric incident, as it is now.
    pub(crate) fn the_incident(&self) -> &Incident {
        self.the(Family::Electric)
    }

    /// The one incident of a family, as it is now.
    pub(crate) fn the(&self, family: Family) -> &Incident {
        assert_eq!(self.opened_of(family).len(), 1, "{:#?}", self.opened_of(family));
        self.engine.open_incidents().find(|incident| incident.family == family).unwrap()
    }

    /// Open incidents that show such a danger.
    pub(crate) fn of_kind(&self, kind: Kind) -> Vec<&Incident> {
        self.engine.open_incidents().filter(|incident| incident.kinds.contains(&kind)).collect()
    }

    /// Ids and severities of what became graver.
    pub(crate) fn escalated(&self) -> Vec<(&Incident, bool)> {
        let graver = self.effects.iter().filter_map(|effect| match effect {
            Effect::Escalated { incident, told, .. } => Some((incident.as_ref(), *told)),
            _ => None,
        });
        graver.collect()
    }

    /// Somebody does something to an incident; what became of it.
    pub(crate) fn act(&mut self, at: Timestamp, id: &str, m: Move) -> Result<Answer, Refused> {
        let request = MoveRequest { id: Arc::from(id), stored: None, told_at: None, m };
        self.engine.step(at, Input::Move(&request), &mut self.effects);
        self.answer()
    }

    /// The answer among the effects of the last step.
    pub(crate) fn answer(&mut self) -> Result<Answer, Refused> {
        let found = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Answered(answer) => Some((**answer).clone()),
            _ => None,
        });
        found.expect("every move is answered")
    }

    /// A move that has to be made.
    pub(crate) fn moved(&mut self, at: Timestamp, id: &str, m: Move) -> Incident {
        let answer = self.act(at, id, m).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(answer.outcome, crate::life::Outcome::Done);
        answer.incident
    }

    /// Event words of what was told of moves, in order; rungs of ladders have their own tests.
    pub(crate) fn told(&self) -> Vec<&'static str> {
        let of = |effect: &Effect| match effect {
            Effect::Moved { told, event, .. } if !matches!(event.kind, "rung" | "call_wanted") => *told,
            _ => None,
        };
        self.effects.iter().filter_map(of).collect()
    }

    /// Kinds of the events of changes, in order.
    pub(crate) fn changes(&self) -> Vec<String> {
        let of = |effect: &Effect| match effect {
            Effect::Changed { incident, event } if incident.family == Family::Electric => {
                let mut parts = event.key.split(':').skip(1);
                Some(format!("{} {}", parts.next().unwrap(), parts.next().unwrap_or("")))
            }
            _ => None,
        };
        self.effects.iter().filter_map(of).collect()
    }
}

/// The reading as that of post `n` of [`City::street`].
pub(crate) fn at_post(mut r: StoredReading<'static>, n: usize) -> StoredReading<'static> {
    const NAMES: [&str; 12] = ["S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11"];
    (r.post, r.device, r.feeder) = (NAMES[n], NAMES[n], "FS");
    r.identity = mix(r.identity ^ n as u64);
    r
}

/// Whether people were told of the newest opening.
pub(crate) fn told_at_opening(city: &City) -> bool {
    let told = city.effects.iter().rev().find_map(|effect| match effect {
        Effect::Open { told, .. } => Some(*told),
        _ => None,
    });
    told.expect("something opened")
}

pub(crate) fn minutes(n: i64) -> Timestamp {
    T + Millis::minutes(n)
}
