use lampguard_journal::Tail;
use prometheus::Registry;

use super::*;
use crate::testkit::{event, incident, wait_for};

fn open(n: usize) -> Write {
    let mut i = incident(n);
    i.notes = vec!["x".repeat(20_000)];
    let e = event(&i, "opened");
    Write::Open(Box::new(i), e, Vec::new())
}

fn cursor(seq: u64) -> Write {
    Write::Cursor { seq, sky: "[]".to_owned() }
}

#[test]
fn fault_p5_a_full_disk_keeps_incidents_in_memory_and_never_claims_to_have_them() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.limit_growth(0);
    let mut writer = Writer::start(store, Tail::default().follow("alerting", 0), &metrics).unwrap();
    let ticket = Ticket::default();
    writer.writes().push(open(1), ticket.clone());
    wait_for("the store refuses", || metrics.store_failing.get() == 1);
    assert!(!ticket.wait(Duration::from_millis(10)));
    assert_eq!(metrics.store_pending.get(), 1);
    writer.stop();
    assert!(!ticket.wait(Duration::ZERO), "stopping does not pretend that it was written");
}

#[test]
fn a_locked_store_gets_everything_when_the_lock_goes() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let tail = Tail::default();
    let follower = tail.follow("alerting", 5);
    let mut writer = Writer::start(Store::open(dir.path()).unwrap(), follower, &metrics).unwrap();
    let other = rusqlite::Connection::open(dir.path().join(crate::store::FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let tickets: Vec<Ticket> = (0..3).map(|_| Ticket::default()).collect();
    for (n, ticket) in tickets.iter().enumerate() {
        writer.writes().push(open(n), ticket.clone());
    }
    writer.writes().push(cursor(9), Ticket::default());
    wait_for("the store refuses", || metrics.store_failing.get() == 1);
    assert_eq!(tail.followers()["alerting"], 5, "the cursor waits for what lies before it");
    other.execute_batch("ROLLBACK").unwrap();
    for ticket in &tickets {
        assert!(ticket.wait(Duration::from_secs(10)));
    }
    writer.stop();
    assert_eq!(tail.followers()["alerting"], 9);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.reads().open_incidents().unwrap().len(), 3);
    assert_eq!(store.reads().cursor().unwrap().map(|c| c.0), Some(9));
}

#[test]
fn one_write_that_can_never_succeed_stops_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let follower = Tail::default().follow("alerting", 0);
    let mut writer = Writer::start(Store::open(dir.path()).unwrap(), follower, &metrics).unwrap();
    let mut bad = incident(2);
    bad.signal = crate::Signal::Active;
    let zone: Arc<str> = Arc::from("z1");
    let weather = Box::new(crate::wet::Weather::default());
    let other = rusqlite::Connection::open(dir.path().join(crate::store::FILE)).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON weather BEGIN SELECT RAISE(ABORT, 'never'); END",
        )
        .unwrap();
    let (good, never) = (Ticket::default(), Ticket::default());
    writer.writes().push(Write::Weather(zone, weather), never.clone());
    writer.writes().push(open(1), good.clone());
    assert!(good.wait(Duration::from_secs(10)));
    writer.stop();
    assert!(!never.wait(Duration::ZERO));
    assert_eq!(metrics.store_dropped.get(), 1);
}

#[test]
fn memory_for_waiting_writes_is_bounded_and_incidents_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let other = {
        let store = Store::open(dir.path()).unwrap();
        drop(store);
        rusqlite::Connection::open(dir.path().join(crate::store::FILE)).unwrap()
    };
    let follower = Tail::default().follow("alerting", 0);
    let mut writer = Writer::start(Store::open(dir.path()).unwrap(), follower, &metrics).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writes = writer.writes();
    for _ in 0..PENDING_MAX + 500 {
        writes.push(Write::Weather(Arc::from("z1"), Box::default()), Ticket::default());
    }
    let ticket = Ticket::default();
    writes.push(open(1), ticket.clone());
    assert!(metrics.store_dropped.get() >= 1);
    other.execute_batch("ROLLBACK").unwrap();
    assert!(ticket.wait(Duration::from_secs(60)));
    writer.stop();
}

#[test]
fn a_city_whose_lamps_come_on_is_remembered_once_a_post_and_holds_up_no_incident() {
    const POSTS: usize = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let other = rusqlite::Connection::open(dir.path().join(crate::store::FILE)).unwrap();
    let count = "CREATE TABLE counted (n INTEGER); INSERT INTO counted VALUES (0);
        CREATE TRIGGER new AFTER INSERT ON memory BEGIN UPDATE counted SET n = n + 1; END;
        CREATE TRIGGER again AFTER UPDATE ON memory BEGIN UPDATE counted SET n = n + 1; END; BEGIN IMMEDIATE";
    other.execute_batch(count).unwrap();
    let mut writer = Writer::start(store, Tail::default().follow("alerting", 0), &metrics).unwrap();
    let writes = writer.writes();
    // The supply flickers as it comes.
    for lit_s in [300, 301, 302] {
        for post in 0..POSTS {
            let (post, habits) = (Arc::from(format!("P{post}")), crate::engine::Habits::default());
            let memory = crate::engine::Memory { post, period_s: [0, lit_s], immersed_at: None, habits };
            writes.push(Write::Remember(memory), Ticket::default());
        }
    }
    let ticket = Ticket::default();
    writes.push(open(1), ticket.clone());
    assert_eq!(metrics.store_dropped.get(), 0, "more posts than writes may wait");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(ticket.wait(Duration::from_secs(60)));
    let counted =
        || other.query_row("SELECT n FROM counted", [], |row| row.get::<_, i64>(0)).unwrap() as usize;
    let before = counted();
    writer.stop();
    assert!(before < POSTS / 4, "{before} posts were written before the incident was durable");
    let written = counted();
    assert!((POSTS..POSTS + 2 * crate::pending::GROUP_MAX).contains(&written), "{written} writes");
    let last = "SELECT count(*) FROM memory WHERE lit_s = 302";
    assert_eq!(
        other.query_row(last, [], |row| row.get::<_, i64>(0)).unwrap(),
        POSTS as i64,
        "the newest of each"
    );
}
