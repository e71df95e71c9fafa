use super::*;
use crate::testkit::{T, event, incident, notice};
use crate::wet::Sky;

fn open(n: usize) -> Write {
    let i = incident(n);
    let e = event(&i, "opened");
    let notices = vec![notice(&i, "console"), notice(&i, "hook")];
    Write::Open(Box::new(i), e, notices)
}

fn count(store: &Store, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    store.conn.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_was_committed_is_there_after_a_restart_with_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let mut changed = incident(1);
    changed.signal = crate::Signal::Normal;
    changed.kinds.push(crate::Kind::LeakCritical);
    changed.notes.push("单次读数".to_owned());
    {
        let mut store = Store::open(dir.path()).unwrap();
        let change = Write::Change(Box::new(changed.clone()), event(&changed, "signal"));
        store.commit(&[open(1), open(2), change]).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    let reads = store.reads();
    assert_eq!(reads.open_incidents().unwrap(), [changed, incident(2)]);
    let timeline = reads.timeline("LG-TEST1").unwrap();
    let words: Vec<&str> = timeline.iter().map(|(_, e)| &*e.event).collect();
    assert_eq!(words, ["opened", "signal"]);
    assert_eq!(reads.verify().unwrap(), 3);
    assert_eq!(verify_file(&dir.path().join(FILE)).unwrap().events, 3);
}

#[test]
fn the_same_writes_again_insert_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    for _ in 0..2 {
        store.commit(&[open(1), open(2)]).unwrap();
    }
    assert_eq!((count(&store, "incident"), count(&store, "event"), count(&store, "outbox")), (2, 2, 4));
}

#[test]
fn a_group_is_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut bad = incident(2);
    bad.due_at = bad.opened_at;
    let bad = Write::Open(Box::new(bad.clone()), event(&bad, "opened"), Vec::new());
    let error = store.commit(&[open(1), bad]).unwrap_err();
    assert!(error.is_final(), "{error}");
    assert_eq!((count(&store, "incident"), count(&store, "event")), (0, 0));
}

#[test]
fn a_full_disk_refuses_for_now_and_takes_the_same_writes_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut big = incident(1);
    big.notes = vec!["x".repeat(50_000)];
    let writes = [Write::Open(Box::new(big.clone()), event(&big, "opened"), Vec::new()), open(2)];
    store.limit_growth(0);
    let error = store.commit(&writes).unwrap_err();
    assert!(!error.is_final(), "{error}");
    assert_eq!((count(&store, "incident"), count(&store, "event")), (0, 0));
    store.limit_growth(1000);
    store.commit(&writes).unwrap();
    assert_eq!(store.reads().verify().unwrap(), 2);
}

#[test]
fn an_edited_a_missing_and_a_cut_row_are_named() {
    let edits = [
        ("UPDATE event SET body = '{\"what\":\"nothing\"}' WHERE seq = 2", 2),
        ("UPDATE event SET at = at + 1 WHERE seq = 3", 3),
        ("DELETE FROM event WHERE seq = 2", 2),
        ("DELETE FROM event WHERE seq = 4", 4),
        ("UPDATE event SET hash = zeroblob(32) WHERE seq = 1", 1),
        ("UPDATE event SET prev = zeroblob(32) WHERE seq = 3", 3),
    ];
    for (edit, row) in edits {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.commit(&[open(1), open(2), open(3), open(4)]).unwrap();
        assert_eq!(store.reads().verify().unwrap(), 4);
        let refused = store.conn.execute_batch(edit).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
        store
            .conn
            .execute_batch("DROP TRIGGER event_is_never_changed; DROP TRIGGER event_is_never_removed;")
            .unwrap();
        store.conn.execute_batch(edit).unwrap();
        match verify_file(&dir.path().join(FILE)) {
            Err(AuditError::BadRow { seq, .. }) => assert_eq!(seq, row, "{edit}"),
            other => panic!("{edit}: {other:?}"),
        }
    }
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Newer { found: 99 })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn an_accepted_notice_is_an_event_and_a_refused_one_stays_queued() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let i = incident(1);
    let (console, hook) = (notice(&i, "console"), notice(&i, "hook"));
    let delivery = |notice: &Arc<Notice>, attempt, outcome| {
        Write::Delivery(Delivery { notice: notice.clone(), attempt, at: T, outcome })
    };
    let again = T + lampguard_model::Millis(1000);
    store
        .commit(&[
            open(1),
            delivery(&console, 1, Outcome::Sent),
            delivery(&hook, 1, Outcome::Retry(again, "answered 500".to_owned())),
        ])
        .unwrap();
    let reads = store.reads();
    let words: Vec<String> = reads.timeline(&i.id).unwrap().into_iter().map(|(_, e)| e.event).collect();
    assert_eq!(words, ["opened", "told", "tell_failed"]);
    assert!(reads.unsent("console", 9, false).unwrap().is_empty());
    let unsent = reads.unsent("hook", 9, false).unwrap();
    assert_eq!(unsent, [((*hook).clone(), 1, again)]);
    let notices = reads.notices(T, 0, 9).unwrap();
    let outcomes: Vec<(&str, u32)> = notices.iter().map(|n| (&*n.outcome, n.attempt)).collect();
    assert_eq!(outcomes, [("sent", 1), ("queued", 1)]);
}

#[test]
fn a_list_that_failed_first_and_was_accepted_then_tells_of_every_incident_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut list = (*notice(&incident(1), "hook")).clone();
    (list.incident, list.event) = (None, crate::notice::DIGEST.to_owned());
    list.body["incidents"] = serde_json::json!(["LG-TEST1"]);
    let list = Arc::new(list);
    let delivery =
        |attempt, outcome| Write::Delivery(Delivery { notice: list.clone(), attempt, at: T, outcome });
    let failed = Outcome::Retry(T + lampguard_model::Millis(1000), "answered 500".to_owned());
    store
        .commit(&[
            open(1),
            Write::Notices(vec![list.clone()]),
            delivery(1, failed),
            delivery(2, Outcome::Sent),
        ])
        .unwrap();
    let reads = store.reads();
    let words: Vec<String> = reads.timeline("LG-TEST1").unwrap().into_iter().map(|(_, e)| e.event).collect();
    assert_eq!(words, ["opened", "tell_failed", "told"]);
    assert_eq!(reads.first_told_since("LG-TEST1", T).unwrap(), Some(T));
}

#[test]
fn cursor_weather_and_memories_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    assert_eq!(store.reads().cursor().unwrap(), None);
    let mut sky = Sky::default();
    sky.entry("z1").unknown_told = true;
    let heard = crate::engine::Heard {
        at: T,
        source: 1,
        powered: Some(false),
        battery: false,
        silent: true,
        simulated: false,
        base_period_s: 3600,
    };
    let habits = crate::engine::Habits {
        baselines: [Some(30), None],
        peaks: [0, 240, 320],
        tilt: Some(210),
        tilt_anew: true,
        calm: [None, Some(T)],
        heard: Some(heard),
    };
    let memory = Memory { post: Arc::from("P1"), period_s: [0, 900], immersed_at: Some(T), habits };
    store
        .commit(&[
            Write::Cursor { seq: 77, sky: serde_json::to_string(&sky).unwrap() },
            Write::Weather(Arc::from("z1"), Box::new(sky.get("z1").unwrap().clone())),
            Write::Remember(memory.clone()),
        ])
        .unwrap();
    let reads = store.reads();
    assert_eq!(reads.cursor().unwrap(), Some((77, sky.clone())));
    assert_eq!(reads.weather().unwrap(), sky);
    assert_eq!(reads.memories().unwrap(), [memory]);
}

#[test]
fn an_incident_that_became_graver_is_so_after_a_restart_and_its_deadline_never_moves_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut warned = incident(1);
    warned.severity = crate::Severity::P2;
    (warned.p1_at, warned.due_at) = (None, T + lampguard_model::Millis::hours(24));
    let mut graver = warned.clone();
    (graver.severity, graver.p1_at) = (crate::Severity::P1, Some(T + lampguard_model::Millis::minutes(9)));
    graver.due_at = T + lampguard_model::Millis::minutes(39);
    graver.members = vec![Arc::from("P7")];
    let mut store = Store::open(dir.path()).unwrap();
    let opened = Write::Open(Box::new(warned.clone()), event(&warned, "opened"), Vec::new());
    let notices = vec![notice(&graver, "console")];
    let escalate = Write::Escalate(Box::new(graver.clone()), event(&graver, "escalated"), notices);
    assert!(!escalate.is_expendable());
    store.commit(&[opened, escalate]).unwrap();
    let mut later = graver.clone();
    later.due_at = T + lampguard_model::Millis::hours(9);
    store.commit(&[Write::Change(Box::new(later), event(&graver, "note"))]).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.reads().open_incidents().unwrap(), [graver]);
    assert_eq!(count(&store, "outbox"), 1);
}

#[test]
fn what_an_earlier_run_left_is_old_word_when_its_reader_has_newer_word() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let i = incident(1);
    let make = |id: &str, to: &str, seconds: i64| {
        let mut notice = (*crate::testkit::notice_to(&i, "hook", to, None)).clone();
        notice.id = Arc::from(id);
        notice.created_at = notice.created_at + lampguard_model::Millis::seconds(seconds);
        Arc::new(notice)
    };
    let notices = vec![make("old", "a", 0), make("new", "a", 5), make("of b", "b", 0), make("last", "a", 9)];
    let told = Delivery { notice: notices[1].clone(), attempt: 1, at: T, outcome: Outcome::Sent };
    store.commit(&[open(1), Write::Notices(notices), Write::Delivery(told)]).unwrap();
    let marked = |shared: bool| -> Vec<(String, bool)> {
        let unsent = store.reads().unsent("hook", 99, shared).unwrap();
        let of = |notice: &Notice| (notice.id.to_string(), notice.words.overtaken);
        let mut marked: Vec<_> = unsent.iter().map(|(notice, ..)| of(notice)).collect();
        marked.retain(|(id, _)| !id.starts_with("N-"));
        marked
    };
    let all =
        |of_b: bool| [("old", true), ("of b", of_b), ("last", false)].map(|(id, old)| (id.to_owned(), old));
    assert_eq!(marked(false), all(false));
    assert_eq!(marked(true), all(true), "who is in a group chat reads what the others are told");
}
