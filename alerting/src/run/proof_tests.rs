use std::sync::mpsc::{Receiver, channel};

use lampguard_journal::FrameBuf;
use lampguard_model::record::{self, encode_reading};
use lampguard_model::{Field, Flags, Millis, Register, Timestamp};

use super::*;
use crate::ask::{Filter, StateFilter};
use crate::run::Alerting;
use crate::run::tests::{Station, danger};
use crate::testkit::{Server, T, wait_for};

type Heard = Receiver<(Reached, String, u64)>;

fn setup() -> (ProofSetup, Heard) {
    let (send, heard) = channel();
    let send = std::sync::Mutex::new(send);
    let reached = move |reached: Reached, post: &str, number: u64| {
        send.lock().unwrap().send((reached, post.to_owned(), number)).unwrap();
    };
    (ProofSetup { register: Arc::new(Register::default()), reached: Arc::new(reached) }, heard)
}

fn proof(at: Timestamp, number: u64) -> FrameBuf {
    let mut reading = StoredReading::at("PROOF-z1", at);
    reading.fields.set(Field::LeakageMa, 100_000);
    (reading.flags, reading.seq, reading.zone) = (Flags::LEAK_ALARM, Some(number), "z1");
    let mut batch = FrameBuf::default();
    batch.closed_at = at.0;
    batch.push(record::PROOF, |out| encode_reading(&reading, out));
    batch
}

fn hear(heard: &Heard) -> (Reached, String, u64) {
    heard.recv_timeout(std::time::Duration::from_secs(5)).expect("a proof goes on within 5 s")
}

/// Nothing of it: not on the board, in the store, in lists, nor in the record.
fn nothing_is_left(station: &Station, alerting: &Alerting) {
    let all = Filter { state: StateFilter::All, ..Filter::default() };
    assert!(alerting.incidents(&all).unwrap().items.is_empty());
    assert!(alerting.notices(None, None, 10).unwrap().items.is_empty());
    assert!(alerting.open_incidents_by_post().is_empty());
    wait_for("the outbox to be empty", || {
        let rows: i64 =
            station.database().query_row("SELECT count(*) FROM outbox", [], |r| r.get(0)).unwrap();
        rows == 0
    });
    let sql = "SELECT count(*) FROM event WHERE kind <> 'policy'";
    let rows: i64 = station.database().query_row(sql, [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn a_proof_is_raised_and_comes_out_at_the_sink_and_nothing_is_left_of_it() {
    let (station, server, (proofs, heard)) = (Station::new(), Server::start(Vec::new()), setup());
    let alerting = station.start_to_prove(vec![server.channel("hook")], Some(proofs)).unwrap();
    for number in [7, 8] {
        alerting.judge(Arc::new(proof(T, number)));
        assert_eq!(hear(&heard), (Reached::Raised, "PROOF-z1".to_owned(), number));
        assert_eq!(hear(&heard), (Reached::Told, "PROOF-z1".to_owned(), number));
    }
    nothing_is_left(&station, &alerting);
    assert!(
        server.within(std::time::Duration::from_millis(100)).is_none(),
        "no channel of people hears of it"
    );
}

#[test]
fn a_real_danger_beside_proofs_is_told_as_ever() {
    let (station, server, (proofs, heard)) = (Station::new(), Server::start(Vec::new()), setup());
    let alerting = station.start_to_prove(vec![server.channel("hook")], Some(proofs)).unwrap();
    alerting.judge(Arc::new(proof(T, 1)));
    alerting.judge(Arc::new(danger()));
    alerting.judge(Arc::new(proof(T, 2)));
    let told = server.next().json();
    assert_eq!((&told["event"], &told["incident"]["post_id"]), (&"incident.opened".into(), &"P1".into()));
    assert_eq!(alerting.incidents(&Filter::default()).unwrap().items.len(), 1);
    let came: Vec<_> =
        (0..4).map(|_| hear(&heard)).filter(|(reached, ..)| *reached == Reached::Told).collect();
    assert_eq!(came.len(), 2);
}

#[test]
fn a_store_that_takes_nothing_holds_up_a_proof_no_longer_than_an_alarm() {
    let (station, (proofs, heard)) = (Station::new(), setup());
    let alerting = station.start_to_prove(Vec::new(), Some(proofs)).unwrap();
    let other = station.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    alerting.judge(Arc::new(proof(T, 9)));
    assert_eq!((hear(&heard).0, hear(&heard).0), (Reached::Raised, Reached::Told));
    other.execute_batch("ROLLBACK").unwrap();
    nothing_is_left(&station, &alerting);
}

#[test]
fn a_replay_proves_nothing_and_an_unsent_proof_of_before_is_gone_after_a_restart() {
    let mut station = Station::new();
    let (proofs, heard) = setup();
    station.keep(proof(T - Millis::minutes(1), 3));
    let alerting = station.start_to_prove(Vec::new(), Some(proofs)).unwrap();
    assert!(heard.recv_timeout(std::time::Duration::from_millis(200)).is_err(), "replayed");
    nothing_is_left(&station, &alerting);
    alerting.shutdown();
    // Killed between the outbox and the sink.
    let sql = "INSERT INTO outbox (id, incident, event, step, told, channel, body, created_at, state, attempts, next_at)
               VALUES ('N-OLD', NULL, 'proof', 0, 'proof', 'proof', '{}', 0, 'queued', 0, 0)";
    station.database().execute(sql, []).unwrap();
    let (proofs, _heard) = setup();
    let alerting = station.start_to_prove(Vec::new(), Some(proofs)).unwrap();
    nothing_is_left(&station, &alerting);
}

#[test]
fn without_proofs_a_record_of_one_is_stepped_over() {
    let station = Station::new();
    let alerting = station.start(Vec::new()).unwrap();
    alerting.judge(Arc::new(proof(T, 1)));
    alerting.judge(Arc::new(danger()));
    wait_for("the incident", || alerting.incidents(&Filter::default()).unwrap().items.len() == 1);
}
