//! Lives on a table: facts handed in, time a number.

mod matrix;
mod rules;

use lampguard_model::{Millis, Timestamp};

use super::*;
use crate::incident::Signal;

pub(crate) const T: Timestamp = Timestamp(1_795_435_200_000);

pub(crate) fn minutes(n: i64) -> Timestamp {
    T + Millis::minutes(n)
}

/// A P1 at a post with a sensor, its danger showing, told at once.
pub(crate) fn facts() -> Facts {
    Facts {
        id: "LG-TEST".to_owned(),
        p1: true,
        signal: Signal::Active,
        told_at: T,
        heard_through: T,
        place: Some((113.62, 34.75)),
        names: vec!["P1".to_owned(), "BJ-1".to_owned()],
        calm: Calm { count: 2, first: minutes(100), last: minutes(130) },
        needs_hand_test: false,
        gone_for: None,
        limits: HandLimits { shell_v: 12.0, leakage_ma: 15.0, live_band_v: 12.0 },
        extent_open: Vec::new(),
        linked_open: Vec::new(),
        members: None,
        stranger: None,
        no_crew: None,
        is_next: false,
        own_repair: false,
        arrival: crate::policy::Arrival::default(),
        verify: crate::policy::Verify::default(),
        two_people: crate::policy::TwoPeople::default(),
    }
}

/// A body that satisfies every move.
pub(crate) fn full(key: &str) -> MoveBody {
    MoveBody {
        key: key.to_owned(),
        method: Some(Method::Guarded),
        cause: Some("wet junction".to_owned()),
        parts: Some("terminal".to_owned()),
        reason: Some("because".to_owned()),
        owner: Some("power company".to_owned()),
        contact: Some("95598".to_owned()),
        follow_up_at: Some(T + Millis::hours(100)),
        review_at: Some(T + Millis::hours(200)),
        to: Some("Crew 2".to_owned()),
        breaker: Some("QF3".to_owned()),
        note: Some("words".to_owned()),
        ..MoveBody::default()
    }
}

pub(crate) fn desk(verb: Verb, key: &str) -> Move {
    Move { verb, actor: Actor { name: "Desk".to_owned(), desk: true }, body: full(key) }
}

pub(crate) fn crew(verb: Verb, key: &str) -> Move {
    Move { verb, actor: Actor { name: "Crew 1".to_owned(), desk: false }, body: full(key) }
}

/// Does it and returns the life; fails when it is refused.
pub(crate) fn done(life: &Life, facts: &Facts, now: Timestamp, m: &Move) -> Life {
    let applied = apply(life, facts, now, m).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(applied.outcome, Outcome::Done, "{m:?}");
    applied.life
}

/// A life in that state, reached by moves alone.
pub(crate) fn life_in(stage: Stage) -> Life {
    use Verb::{Acknowledge, Arrive, Close, Depart, MakeSafe, Pending, Repair, Return, Verify, Void};
    let way: &[Verb] = match stage {
        Stage::Open | Stage::Merged => &[],
        Stage::Acknowledged => &[Acknowledge],
        Stage::Departed => &[Acknowledge, Depart],
        Stage::Arrived => &[Acknowledge, Depart, Arrive],
        Stage::MadeSafe => &[Arrive, MakeSafe],
        Stage::Repaired => &[Arrive, MakeSafe, Repair],
        Stage::Verifying => &[Arrive, MakeSafe, Repair, Verify],
        Stage::Closed => &[Arrive, MakeSafe, Repair, Verify, Close],
        Stage::Void => &[Void],
        Stage::Returned => &[Arrive, MakeSafe, Return],
        Stage::Pending => &[Arrive, MakeSafe, Pending],
    };
    let calm = Facts { signal: Signal::Normal, ..facts() };
    let mut life = Life::default();
    for (n, verb) in way.iter().enumerate() {
        let key = format!("w{n}");
        let m = if is_crew_move(*verb) && *verb != Verify { crew(*verb, &key) } else { desk(*verb, &key) };
        life = done(&life, &calm, minutes(n as i64 + 1), &m);
    }
    if stage == Stage::Merged {
        life.state = Stage::Merged;
    }
    life.quiet_at = None;
    assert_eq!(life.state, stage);
    life
}
