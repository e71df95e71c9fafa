//! Random nights: moves, failures, restarts between any two steps. Every rung at its second, none twice, none never.

use std::collections::BTreeMap;

use super::moves::raised;
use super::*;
use crate::life::tests::{crew, desk};
use crate::life::{Stage, Verb};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// One telling as people got it: second, rungs in it, whether it is marked as a repeat.
#[derive(Debug)]
struct Call {
    second: i64,
    steps: Vec<u32>,
    again: bool,
    key: String,
}

/// What the store would hold, and what people were told.
#[derive(Default)]
struct Office {
    kept: Option<Incident>,
    calls: Vec<Call>,
}

impl Office {
    /// Each effect is a transaction with its telling; `lost`: the last telling went out and its commit did not happen.
    fn take(&mut self, effects: &mut Vec<Effect>, lost: bool) {
        for effect in effects.drain(..) {
            let (incident, called) = match effect {
                Effect::Moved { incident, event, told, to } => {
                    let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
                    let steps = body["steps"].as_array().into_iter().flatten().filter_map(|v| v.as_u64());
                    let call = told.filter(|_| matches!(event.kind, "rung" | "breached")).map(|_| Call {
                        second: event.at.since(minutes(5)).as_seconds(),
                        steps: steps.map(|step| step as u32).collect(),
                        again: to.again,
                        key: event.key,
                    });
                    (incident, call)
                }
                Effect::Changed { incident, .. } => (incident, None),
                _ => continue,
            };
            if incident.family != Family::Electric {
                continue;
            }
            self.calls.extend(called);
            if !lost {
                self.kept = Some(*incident);
            }
        }
    }
}

/// When each rung is due by the table, given the seconds of the milestones; what a rung waits for makes it needless.
fn table(
    ack: Option<i64>,
    gone: Option<i64>,
    there: Option<i64>,
    safe: Option<i64>,
    end: i64,
) -> BTreeMap<(u32, i64), ()> {
    // A tick comes before the move of its second.
    let before = |at: i64, what: Option<i64>| what.is_none_or(|what| at <= what) && at <= end;
    let mut due = BTreeMap::new();
    let mut add = |step: u32, at: i64, until: Option<i64>| {
        if before(at, until) {
            due.insert((step, at), ());
        }
    };
    for (step, at) in [(1, 180), (2, 360), (3, 600)] {
        add(step, at, ack.or(there));
    }
    if let Some(ack) = ack {
        add(4, ack + 300, gone.or(there));
        add(5, ack + 600, gone.or(there));
    }
    add(6, 900, there);
    (0..100).for_each(|n| add(7, if n == 0 { 1801 } else { 1801 + 600 * n }, there));
    if let Some(there) = there {
        add(8, there + 600, safe);
        (0..100).for_each(|n| add(9, there + 900 + 600 * n, safe));
    }
    due
}

/// Each rung at its second, or at the start behind it; none twice without a mark, none never.
fn check(seed: u64, calls: &[Call], down: &[(i64, i64)], due: &BTreeMap<(u32, i64), ()>) {
    let mut told: BTreeMap<(u32, i64), Vec<&Call>> = BTreeMap::new();
    for call in calls {
        for step in &call.steps {
            // The moment for which it was told: the last one of that rung that had come.
            let moment =
                due.keys().filter(|(known, at)| known == step && *at <= call.second).map(|(_, at)| *at).max();
            let moment = moment
                .unwrap_or_else(|| panic!("seed {seed}: rung {step} before its time: {call:?}, {down:?}"));
            told.entry((*step, moment)).or_default().push(call);
        }
    }
    let restarted = |from: i64, to: i64| down.iter().any(|(begin, end)| *begin <= to && *end >= from);
    for (step, at) in due.keys() {
        let calls = told.get(&(*step, *at)).map(Vec::as_slice).unwrap_or_default();
        // One that repeats and was due several times while down is told once.
        let later = told.keys().any(|(known, moment)| known == step && moment > at);
        match calls {
            [] => assert!(
                later && restarted(*at, *at),
                "seed {seed}: rung {step} of second {at} never: {calls:?}\n{down:?}"
            ),
            [first, again @ ..] => {
                let exact = first.second == *at || restarted(*at, first.second);
                assert!(exact, "seed {seed}: rung {step} of second {at}: {first:?}\n{down:?}");
                for call in again {
                    assert!(call.again || call.key == first.key, "seed {seed}: rung {step} twice: {calls:?}");
                }
            }
        }
    }
}

fn night(seed: u64) {
    let mut dice = Dice(seed);
    let (mut city, id) = raised();
    let mut office = Office { kept: Some(city.the_incident().clone()), ..Office::default() };
    city.effects.clear();
    // Moves come in order, each at a second of its own, or never.
    let mut second = 0;
    let mut plan: Vec<(i64, Verb)> = Vec::new();
    for verb in [Verb::Acknowledge, Verb::Depart, Verb::Arrive, Verb::MakeSafe] {
        second += 20 + dice.roll(1500) as i64;
        if dice.roll(5) == 0 {
            break;
        }
        plan.push((second, verb));
    }
    let end = 4200;
    plan.retain(|(at, _)| *at <= end);
    let at_of = |verb: Verb| plan.iter().find(|(_, known)| *known == verb).map(|(at, _)| *at);
    let mut down: Vec<(i64, i64)> = Vec::new();
    let mut now = 0;
    while now < end {
        now += 1;
        let at = minutes(5) + Millis::seconds(now);
        city.engine.step(at, Input::Presence, &mut city.effects);
        city.tick(at);
        let lost = dice.roll(400) == 0;
        office.take(&mut city.effects, lost);
        let restart = lost || dice.roll(300) == 0;
        if restart {
            let length = if dice.roll(3) == 0 { dice.roll(900) as i64 } else { 0 };
            // Nobody can move anything while it is down; the next move waits for its second.
            let next = plan.iter().map(|(at, _)| *at).find(|at| *at >= now).unwrap_or(end);
            let length = length.min(next - now - 1).max(0);
            down.push((now, now + length));
            now += length;
            city = City::without_weather();
            city.engine.seed(office.kept.clone().unwrap());
            city.tick(minutes(5) + Millis::seconds(now));
            office.take(&mut city.effects, false);
        }
        let at = minutes(5) + Millis::seconds(now);
        for (_, verb) in plan.iter().filter(|(at, _)| *at == now) {
            let mut m = crew(*verb, "k");
            m.body.post = Some("P1".to_owned());
            if dice.roll(4) == 0 {
                // The desk for itself: it stops nothing.
                let own = desk(Verb::Acknowledge, &format!("d{now}"));
                let _ = city.act(at, &id, own);
            }
            city.moved(at, &id, m);
            office.take(&mut city.effects, false);
        }
    }
    let due =
        table(at_of(Verb::Acknowledge), at_of(Verb::Depart), at_of(Verb::Arrive), at_of(Verb::MakeSafe), end);
    check(seed, &office.calls, &down, &due);
    let state = city.engine.open_incidents().find(|i| i.family == Family::Electric).unwrap().life.state;
    assert_eq!(state == Stage::MadeSafe, plan.len() == 4, "seed {seed}");
}

#[test]
fn peer_p11_over_moves_and_restarts_at_any_second_each_rung_is_told_at_its_second_and_none_never() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("LAMPGUARD_SEED").unwrap_or(1);
    let rounds = number("LAMPGUARD_ROUNDS").unwrap_or(60);
    println!("seeds {first} to {}: LAMPGUARD_SEED=N LAMPGUARD_ROUNDS=1 runs one", first + rounds - 1);
    (first..first + rounds).for_each(night);
}
