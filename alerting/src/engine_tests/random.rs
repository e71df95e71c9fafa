//! Random streams through every kind: nothing closes, no severity falls, no deadline moves later, and a replay
//! gives the same.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::incident::{Kind, Severity};

/// A stream of numbers from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, n: u64) -> usize {
        self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15));
        (self.0 >> 20) as usize % n as usize
    }

    pub(super) fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64)]
    }
}

/// One thing that happens.
pub(super) enum Step {
    Read(Box<StoredReading<'static>>),
    Sky(WeatherReport),
    Part(bool),
    Tick,
}

fn a_reading(dice: &mut Dice, now: Timestamp, n: usize) -> StoredReading<'static> {
    let mut r = reading(now);
    if dice.below(8) > 0 {
        r = with(r, Field::LeakageMa, dice.of(&[0.0, 0.8, 0.8, 3.4, 7.0, 12.0, 16.0, 31.0, 90.0]));
    }
    if dice.below(8) > 0 {
        r = with(r, Field::ShellV, dice.of(&[0.3, 0.3, 0.3, 6.5, 13.0, 24.9, 60.0]));
    }
    if dice.below(6) > 0 {
        r = with(r, Field::SupplyV, dice.of(&[229.3, 229.4, 228.0, 170.0, 255.0, 0.0]));
    }
    for (field, values) in [
        (Field::Immersed, [0.0, 1.0]),
        (Field::DoorOpen, [0.0, 1.0]),
        (Field::Impact, [0.0, 1.0]),
        (Field::TiltDeg, [0.4, 9.0]),
    ] {
        if dice.below(6) == 0 {
            r = with(r, field, dice.of(&values));
        }
    }
    match dice.below(40) {
        0 => r.marks.add(Marks::SATURATED),
        1 => r.flags.add(Flags::LEAK_ALARM),
        2 => r.flags.add(Flags::SHELL_ALARM),
        3 => r.cause = Cause::Manual,
        4 => r.ts = Some(now - Millis::minutes(dice.below(300) as i64)),
        5 => r.marks.add(Marks::CLOCK),
        6 => return stranger(r, "D-1"),
        _ => {}
    }
    let mut r = at_post(r, n);
    if n == 11 {
        (r.post, r.device) = ("CS", "CS");
    }
    r
}

/// A stormy day of twelve posts.
pub(super) fn stream(seed: u64) -> Vec<(Timestamp, Step)> {
    let mut dice = Dice(seed);
    let mut now = T;
    let mut steps = Vec::new();
    let mut talking = 12;
    for _ in 0..1500 {
        now = now + Millis(dice.below(90_000) as i64);
        let step = match dice.below(60) {
            0 => {
                let rain_mm_h = Some(dice.of(&[0.0, 0.0, 5.0]));
                let wet = dice.of(&[None, None, Some(true), Some(false)]);
                Step::Sky(WeatherReport { rain_mm_h, wet, ..WeatherReport::default() })
            }
            1 => Step::Part(dice.below(2) == 0),
            2 | 3 => Step::Tick,
            4 => {
                talking = dice.of(&[1, 4, 12, 12]);
                Step::Tick
            }
            _ => {
                let n = dice.below(talking);
                Step::Read(Box::new(a_reading(&mut dice, now, n)))
            }
        };
        steps.push((now, step));
    }
    steps
}

pub(super) fn play(city: &mut City, steps: &[(Timestamp, Step)], mut look: impl FnMut(&City)) {
    for (now, step) in steps {
        match step {
            Step::Read(r) => city.read(r),
            Step::Sky(report) => city.weather(*now, "all", report),
            Step::Part(good) => {
                let input = Input::System { part: "listener", good: *good, because: "" };
                city.engine.step(*now, input, &mut city.effects);
            }
            Step::Tick => city.tick(*now),
        }
        look(city);
    }
}

fn told(city: &City) -> Vec<String> {
    let line = |effect: &Effect| match effect {
        Effect::Open { incident, event, told, .. } | Effect::Escalated { incident, event, told, .. } => {
            Some(format!("{} {} {told} {} {}", event.key, event.at.0, incident.due_at.0, event.body))
        }
        Effect::Changed { event, .. } => Some(format!("{} {} {}", event.key, event.at.0, event.body)),
        _ => None,
    };
    city.effects.iter().filter_map(line).collect()
}

#[test]
fn random_streams_close_nothing_lower_no_severity_move_no_deadline_later_and_replay_the_same() {
    let mut kinds: HashSet<Kind> = HashSet::new();
    let mut escalated = 0;
    for seed in 0..40u64 {
        println!("seed {seed}");
        let steps = stream(seed);
        let mut live = City::street(12);
        let mut known: HashMap<Arc<str>, (Severity, Timestamp, Option<Timestamp>)> = HashMap::new();
        let mut seen = 0;
        play(&mut live, &steps, |city| {
            if city.effects.len() == seen {
                return;
            }
            seen = city.effects.len();
            let now: HashMap<_, _> = city
                .engine
                .open_incidents()
                .map(|i| (i.id.clone(), (i.severity, i.due_at, i.p1_at)))
                .collect();
            for (id, (severity, due_at, p1_at)) in &known {
                let (new, new_due, new_p1) = now.get(id).expect("only people close");
                assert!(new >= severity, "seed {seed}: {id} fell from {severity:?} to {new:?}");
                assert!(new_due <= due_at, "seed {seed}: the deadline of {id} moved later");
                assert!(p1_at.is_none() || p1_at == new_p1, "seed {seed}: {id} is P1 since another time");
                assert_eq!(new_p1.is_some(), *new == Severity::P1, "seed {seed}: {id}");
            }
            known = now;
        });
        let mut again = City::street(12);
        play(&mut again, &steps, |_| {});
        assert_eq!(told(&live), told(&again), "seed {seed}");
        kinds.extend(live.engine.open_incidents().flat_map(|i| i.kinds.clone()));
        escalated += live.escalated().len();
    }
    let missing: Vec<&str> =
        crate::incident::KINDS.iter().filter(|kind| !kinds.contains(kind)).map(|kind| kind.name()).collect();
    println!("{escalated} became graver; never raised here: {missing:?}");
    assert!(escalated > 20 && kinds.len() > 10, "{escalated} became graver, {} kinds", kinds.len());
}
