//! A life on disk: formats, restarts at every step, clocks that step.

use super::*;
use crate::engine::tests::{City, leak, minutes, register, with};
use crate::engine::{Effect, Engine, Input, Job, JobScope, MoveRequest};
use crate::life::tests::{crew, desk};
use crate::life::{Actor, Move, MoveBody, Outcome, Stage, Verb};
use crate::policy::Policy;
use crate::testkit::{event, incident};
use lampguard_model::{Field, Millis};

/// A file as format 1 wrote it: one open incident, one event, made by format 1's own statements.
fn format_1(dir: &Path) {
    let conn = Connection::open(dir.join(FILE)).unwrap();
    conn.execute_batch(include_str!("../store/format_1.sql")).unwrap();
    conn.pragma_update(None, "user_version", 1).unwrap();
    let i = incident(1);
    let sql = "INSERT INTO incident (id, family, kind, kinds, severity, scope, post_id, feeder, zone,
               road, opened_at, due_at, state, signal, notes, evidence)
               VALUES (?1, 'electric', 'shell_critical', 'shell_critical', 'P1', 'post', ?2, ?3, ?4, ?5, ?6, ?7,
                       'open', 'active', ?8, ?9)";
    let row = params![
        i.id,
        i.post_id,
        i.feeder,
        i.zone,
        i.road,
        i.opened_at.0,
        i.due_at.0,
        notes(&i),
        json(&i.evidence)
    ];
    conn.execute(sql, row).unwrap();
    let e = event(&i, "opened");
    let row =
        chain::Row { seq: 1, key: &e.key, incident: &e.incident, at: e.at.0, kind: e.kind, body: &e.body };
    let hash = chain::hash(&chain::START, &row);
    let sql = "INSERT INTO event VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    conn.execute(sql, params![e.key, e.incident, e.at.0, e.kind, e.body, chain::START, hash]).unwrap();
    let head = chain::head(1, &hash);
    conn.execute("INSERT INTO meta VALUES ('chain_head', ?1)", [head]).unwrap();
}

#[test]
fn fault_u1_a_file_of_format_1_opens_and_its_incident_is_open_and_takes_moves() {
    let dir = tempfile::tempdir().unwrap();
    format_1(dir.path());
    let mut store = Store::open(dir.path()).unwrap();
    let found = store.reads().open_incidents().unwrap();
    assert_eq!(found, [incident(1)]);
    let mut moved = found[0].clone();
    moved.life.state = Stage::Acknowledged;
    store.commit(&[Write::Moved(Box::new(moved.clone()), event(&moved, "acknowledge"), Vec::new())]).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.reads().open_incidents().unwrap(), [moved]);
    assert_eq!(store.reads().verify().unwrap(), 2, "the chain goes on");
}

#[test]
fn fault_u3_a_migration_that_breaks_off_leaves_the_old_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    format_1(dir.path());
    let conn = Connection::open(dir.path().join(FILE)).unwrap();
    conn.execute_batch("CREATE TABLE maintenance (something_else TEXT) STRICT").unwrap();
    drop(conn);
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Sql(_))));
    let conn = Connection::open(dir.path().join(FILE)).unwrap();
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    assert!(conn.prepare("SELECT life FROM incident").is_err(), "nothing of the new format stayed");
    conn.execute_batch("DROP TABLE maintenance").unwrap();
    drop(conn);
    assert_eq!(Store::open(dir.path()).unwrap().reads().open_incidents().unwrap().len(), 1);
}

#[test]
fn planned_work_and_the_last_incident_of_a_post_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let job = Job {
        id: "M-1".to_owned(),
        scope: JobScope::Feeder("F1".to_owned()),
        crew: "Crew 1".to_owned(),
        reason: "meter test".to_owned(),
        by: "Desk".to_owned(),
        from: minutes(0),
        until: minutes(120),
        keys: vec!["Desk|1".to_owned()],
    };
    let write = |job: &Job, over, key: &str| {
        let mut e = event(&incident(1), "maintenance_began");
        e.key = key.to_owned();
        Write::Job(Box::new(job.clone()), over, e, Vec::new())
    };
    let mut over = job.clone();
    over.id = "M-2".to_owned();
    let mut closed = incident(1);
    closed.life = crate::life::tests::life_in(Stage::Closed);
    let ended_at = minutes(6);
    closed.life.over_through = Some(ended_at);
    let mut drill = incident(2);
    (drill.life, drill.life.drill) = (closed.life.clone(), true);
    let open = |i: &Incident| Write::Open(Box::new(i.clone()), event(i, "opened"), Vec::new());
    let close = |i: &Incident| Write::Moved(Box::new(i.clone()), event(i, "close"), Vec::new());
    store
        .commit(&[
            write(&job, false, "a"),
            write(&over, false, "b"),
            write(&over, true, "c"),
            open(&closed),
            close(&closed),
            open(&drill),
            close(&drill),
        ])
        .unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let reads = store.reads();
    assert_eq!(reads.jobs().unwrap(), [job]);
    assert!(reads.open_incidents().unwrap().is_empty());
    assert_eq!(reads.ended_incidents((i64::MIN, ""), 9).unwrap().len(), 2);
    let last = reads.last_ended(minutes(-999)).unwrap();
    assert_eq!(last, [(Arc::from("electric|P1"), closed.id.clone(), ended_at)], "a drill counts nowhere");
    assert!(reads.last_ended(ended_at + Millis(1)).unwrap().is_empty());
}

#[test]
fn a_task_for_the_next_rain_is_kept_until_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut task = Recheck {
        post: Arc::from("P1"),
        zone: Arc::from("z1"),
        incident: Arc::from("LG-1"),
        since: minutes(0),
        asked_at: None,
        overdue_at: None,
        done_at: None,
    };
    let write = |task: &Recheck, key: &str| {
        let mut e = event(&incident(1), "recheck_wanted");
        e.key = key.to_owned();
        Write::Recheck(vec![task.clone()], e, Vec::new())
    };
    store.commit(&[write(&task, "a")]).unwrap();
    task.asked_at = Some(minutes(9));
    store.commit(&[write(&task, "b")]).unwrap();
    assert_eq!(store.reads().rechecks().unwrap(), [task.clone()]);
    task.done_at = Some(minutes(10));
    store.commit(&[write(&task, "c")]).unwrap();
    assert!(store.reads().rechecks().unwrap().is_empty());
}

/// Numbers that look random and come from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A life from first to last, as (verb, by whom).
const WAY: [(Verb, bool); 10] = [
    (Verb::Acknowledge, false),
    (Verb::Depart, false),
    (Verb::Help, false),
    (Verb::Arrive, false),
    (Verb::ConfirmArrival, true),
    (Verb::MakeSafe, false),
    (Verb::RequestIsolation, true),
    (Verb::Repair, false),
    (Verb::Verify, true),
    (Verb::Close, true),
];

fn step(n: usize) -> Move {
    let (verb, by_desk) = WAY[n];
    if by_desk { desk(verb, &format!("k{n}")) } else { crew(verb, &format!("k{n}")) }
}

/// The rules with their store, killed and started again at will.
struct Machine {
    dir: tempfile::TempDir,
    engine: Engine,
    store: Store,
    readings: Vec<lampguard_model::StoredReading<'static>>,
    told: Vec<String>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let engine = City::new().engine;
        Self { dir, engine, store, readings: Vec::new(), told: Vec::new() }
    }

    /// Everything that follows from one input. A kill before the commit loses the commit and nothing else.
    fn settle(&mut self, effects: Vec<Effect>, killed: bool) -> Option<Outcome> {
        let mut outcome = None;
        for effect in effects {
            let write = match effect {
                Effect::Open { incident, event, .. } => {
                    if incident.family == crate::incident::Family::Electric {
                        self.told.push(event.key.clone());
                    }
                    Write::Open(incident, event, Vec::new())
                }
                Effect::Changed { incident, event } => Write::Change(incident, event),
                Effect::Escalated { incident, event, .. } => Write::Escalate(incident, event, Vec::new()),
                Effect::Moved { incident, event, told, .. } => {
                    if told.is_some() && !matches!(event.kind, "rung" | "call_wanted") {
                        self.told.push(event.key.clone());
                    }
                    Write::Moved(incident, event, Vec::new())
                }
                Effect::Answered(answer) => {
                    outcome = Some(answer.unwrap_or_else(|refused| panic!("{refused}")).outcome);
                    continue;
                }
                _ => continue,
            };
            if !killed {
                self.store.commit([&write]).unwrap();
            }
        }
        outcome
    }

    fn read(&mut self, r: lampguard_model::StoredReading<'static>, killed: bool) {
        let mut effects = Vec::new();
        self.engine.step(r.received_at, Input::Reading(&r), &mut effects);
        self.readings.push(r);
        self.settle(effects, killed);
    }

    /// What is open at the post: a zone that goes blind meanwhile is another matter.
    fn open(&self) -> impl Iterator<Item = &Incident> {
        self.engine.open_incidents().filter(|incident| incident.family == crate::incident::Family::Electric)
    }

    /// kill -9, and a start at `now`: the store, then the journal.
    fn restart(&mut self, now: Timestamp) {
        self.store = Store::open(self.dir.path()).unwrap();
        let reads = self.store.reads();
        let mut engine = Engine::new(Policy::default(), register(), City::new().engine.sky().clone());
        for (post, id, at) in reads.last_ended(Timestamp(i64::MIN)).unwrap() {
            engine.seed_last(&post, &id, at);
        }
        reads.open_incidents().unwrap().into_iter().for_each(|incident| engine.seed(incident));
        let mut effects = Vec::new();
        engine.replaying(true);
        for r in &self.readings {
            engine.step(r.received_at, Input::Reading(r), &mut effects);
        }
        engine.replaying(false);
        engine.step(now, Input::Tick, &mut effects);
        self.engine = engine;
        self.settle(effects, false);
    }

    fn act(&mut self, now: Timestamp, id: &Arc<str>, m: Move, killed: bool) -> Option<Outcome> {
        let stored = self.store.reads().incident(id).unwrap().map(Box::new);
        let request = MoveRequest { id: id.clone(), stored, told_at: None, m };
        let mut effects = Vec::new();
        self.engine.step(now, Input::Move(&request), &mut effects);
        self.settle(effects, killed)
    }
}

/// One whole life; after each step perhaps a kill, perhaps before its commit, perhaps a clock step or a night
/// of downtime.
fn live_through(seed: u64) -> (Timestamp, Timestamp) {
    let mut dice = Dice(seed);
    let mut machine = Machine::new();
    let mut now = minutes(5);
    machine.read(with(leak(minutes(0), 40.0), Field::SupplyV, 230.0), false);
    machine.read(with(leak(minutes(5), 40.0), Field::SupplyV, 230.0), dice.roll(2) == 0);
    let steps = [1_000, -1_000, 60_000, -60_000, 3_600_000, -3_600_000, 86_400_000, -86_400_000];
    for n in 0..WAY.len() {
        let killed = dice.roll(3) == 0;
        if dice.roll(2) == 0 || n == 0 {
            now = now + Millis(steps[dice.roll(8) as usize]);
            machine.restart(now);
        }
        let id: Arc<str> = match machine.open().next() {
            Some(incident) => incident.id.clone(),
            None => panic!("seed {seed}: the incident is lost at step {n}"),
        };
        now = now + Millis::minutes(1 + dice.roll(20) as i64);
        let made = machine.act(now, &id, step(n), killed);
        assert_eq!(made, Some(Outcome::Done), "seed {seed}, step {n}");
        if killed {
            // The answer never left: whoever acted sends it again.
            machine.restart(now);
            let again = machine.act(now, &id, step(n), false);
            assert_eq!(again, Some(Outcome::Done), "seed {seed}, step {n} after a kill");
        }
        let again = machine.act(now, &id, step(n), false);
        assert_eq!(again, Some(Outcome::Again), "seed {seed}, step {n} a second time");
    }
    machine.restart(now);
    assert_eq!(machine.open().count(), 0, "seed {seed}: over is over, also for a replay");
    let ended = machine.store.reads().ended_incidents((i64::MIN, ""), 9).unwrap();
    assert_eq!(ended.len(), 1, "seed {seed}");
    assert_eq!((ended[0].life.state, ended[0].life.keys.len()), (Stage::Closed, WAY.len()), "seed {seed}");
    let timeline = machine.store.reads().timeline(&ended[0].id).unwrap();
    for (verb, _) in WAY {
        let count = timeline.iter().filter(|(_, event)| event.event == verb.name()).count();
        assert_eq!(count, 1, "seed {seed}: {} in the record", verb.name());
    }
    let breaches = timeline.iter().filter(|(_, event)| event.event == "breached").count();
    assert_eq!(
        breaches,
        usize::from(ended[0].life.breached_at.is_some()),
        "seed {seed}: a breach stands once"
    );
    machine.store.reads().verify().unwrap();
    // What is told twice is told under the same key, and so under the same notice id.
    let once = machine.told.iter().filter(|key| !key.contains(":persists:") && !key.contains(":breached"));
    let distinct: std::collections::BTreeSet<&String> = once.collect();
    let expected = 1 + WAY.iter().filter(|(verb, _)| verb.told_as().is_some()).count();
    assert_eq!(distinct.len(), expected, "seed {seed}: {distinct:?}");
    (ended[0].opened_at, ended[0].due_at)
}

#[test]
fn peer_p11_a_kill_and_a_clock_step_at_any_moment_of_a_life_lose_nothing_and_move_no_deadline() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("LAMPGUARD_SEED").unwrap_or(1);
    let rounds = number("LAMPGUARD_ROUNDS").unwrap_or(60);
    println!("seeds {first} to {}: LAMPGUARD_SEED=N LAMPGUARD_ROUNDS=1 runs one", first + rounds - 1);
    for seed in first..first + rounds {
        assert_eq!(live_through(seed), (minutes(5), minutes(35)), "seed {seed}");
    }
}

#[test]
fn a_body_that_the_store_has_reads_back_as_it_was_sent() {
    let m = Move {
        verb: Verb::Note,
        actor: Actor { name: "Desk \"一\"|".to_owned(), desk: true },
        body: MoveBody {
            key: "k|1".to_owned(), note: Some("水 \\ \u{0}".to_owned()), ..MoveBody::default()
        },
    };
    let mut city = City::new();
    for minute in [0, 5] {
        city.read(&leak(minutes(minute), 40.0));
    }
    let id = city.the_incident().id.clone();
    let moved = city.moved(minutes(6), &id, m);
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let writes = city.effects.drain(..).filter_map(|effect| match effect {
        Effect::Open { incident, event, .. } => Some(Write::Open(incident, event, Vec::new())),
        Effect::Moved { incident, event, .. } => Some(Write::Moved(incident, event, Vec::new())),
        _ => None,
    });
    store.commit(&writes.collect::<Vec<_>>()).unwrap();
    assert_eq!(store.reads().incident(&id).unwrap().unwrap(), moved);
    let (_, note) = store.reads().timeline(&id).unwrap().pop().unwrap();
    assert_eq!(note.body["body"]["note"], "水 \\ \u{0}");
}
