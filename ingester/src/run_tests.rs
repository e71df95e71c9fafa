//! What the intake hands to the committer, and what it keeps.

use std::sync::Mutex;

use bytes::Bytes;
use prometheus::Registry;

use super::*;
use crate::intake::{HELD_BYTES_MAX, Mapping, Origin};

const NOW: Timestamp = Timestamp(1_795_435_200_000);

/// A source that counts what it hears back.
struct Sender {
    mappings: Vec<Mapping>,
    shed: Mutex<u64>,
}

impl Origin for Sender {
    fn source(&self) -> Source {
        Source::Broker
    }

    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    fn retain_counts(&self) -> bool {
        true
    }

    fn settle(&self, _: Settled) {}

    fn shed(&self, _: u64) {
        *self.shed.lock().unwrap() += 1;
    }
}

/// An intake on its own thread, and the committer's end of its queue.
struct Site {
    register: Current<Register>,
    inlet: mpsc::Sender<Input>,
    units: std::sync::mpsc::Receiver<Unit>,
    gate: Arc<Gate>,
    accounts: Arc<Accounts>,
    judged: Arc<Mutex<u64>>,
    metrics: Metrics,
    origin: Arc<Sender>,
    thread: std::thread::JoinHandle<()>,
}

impl Site {
    fn new() -> Self {
        Self::that_knows(None)
    }

    fn that_knows(proofs: Option<Proofs>) -> Self {
        let metrics = Metrics::register(&Registry::new());
        let (gate, accounts) = (Gate::new(metrics.clone()), Arc::new(Accounts::default()));
        let judged = Arc::new(Mutex::new(0));
        let heard = judged.clone();
        let register = Current::from(Arc::new(Register::default()));
        let setup = Setup {
            register: register.clone(),
            judge: Box::new(move |frame| *heard.lock().unwrap() += u64::from(frame.count())),
            clock: Arc::new(|| NOW),
            metrics: metrics.clone(),
            accounts: accounts.clone(),
            losses: Arc::new(LossBook::in_memory()),
            gate: gate.clone(),
            proofs,
            foreign: None,
        };
        let intake = Intake::new(setup, Admission::default(), &Recovery::default());
        let (inlet, chunks) = mpsc::channel(1024);
        let (sender, units) = std::sync::mpsc::channel();
        let origin = Arc::new(Sender { mappings: Mapping::canonical(), shed: Mutex::default() });
        let thread = std::thread::spawn(move || intake.run(chunks, &sender));
        Self { register, inlet, units, gate, accounts, judged, metrics, origin, thread }
    }

    /// One message in a chunk of its own, and the intake has judged it.
    fn send(&self, seq: u64, judge_only: bool) {
        self.send_payload(format!(r#"{{"boot":1,"seq":{seq},"leakage_ma":1}}"#), judge_only);
    }

    fn send_payload(&self, payload: String, judge_only: bool) {
        let message = Message {
            topic: "lamp/z1/P1/reading".to_owned(),
            payload: Bytes::from(payload),
            token: Some(1),
            retain: false,
            alone: false,
            fate: Fate::Read,
        };
        let held = self.gate.hold(message.cost());
        let (origin, messages) = (self.origin.clone(), vec![message]);
        let before = *self.judged.lock().unwrap();
        let chunk = Chunk { origin, epoch: 1, received_at: NOW, judge_only, messages, held };
        self.inlet.blocking_send(Input::Chunk(chunk)).ok().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while *self.judged.lock().unwrap() == before {
            assert!(Instant::now() < until, "it was never judged");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn while_the_journal_is_stopped_nothing_piles_up_and_no_count_is_lost() {
    let site = Site::new();
    site.send(0, false);
    let first = site.units.recv_timeout(Duration::from_secs(10)).unwrap();
    site.accounts.settle(first.readings, &first.totals);
    site.gate.set_stopped(true);
    let waiting = site.gate.hold(HELD_BYTES_MAX);
    for seq in 1..=50 {
        site.send(seq, false);
        site.send(seq, true);
    }
    assert_eq!(site.units.try_iter().count(), 0, "units for a committer that takes none");
    assert_eq!(*site.origin.shed.lock().unwrap(), 50);
    let statement = site.accounts.statement();
    assert_eq!((statement.received, statement.pending, statement.balanced()), (51, 50, true));
    site.gate.set_stopped(false);
    drop(waiting);
    site.send(51, false);
    let next = site.units.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!((next.frames.len(), next.settlements.len(), next.readings), (1, 1, 51));
    site.accounts.settle(next.readings, &next.totals);
    let statement = site.accounts.statement();
    assert_eq!((statement.pending, statement.balanced()), (0, true));
    assert_eq!((statement.settled.stored, statement.settled.refused[1]), (2, 50));
    site.inlet.blocking_send(Input::Close).ok().unwrap();
    site.thread.join().unwrap();
}

#[test]
fn what_is_mended_is_counted_in_readings() {
    let site = Site::new();
    let batch = r#"[{"seq":1,"leakage_ma":NaN,"shell_v":1},{"seq":2,"leakage_ma":1},{"shell_v":NaN}]"#;
    site.send_payload(batch.to_owned(), false);
    assert_eq!(site.metrics.mended.with_label_values(&["not_a_number"]).get(), 2, "the third holds nothing");
}

#[test]
fn a_proof_is_a_record_of_its_own_in_no_count_and_another_of_its_name_is_a_reading_like_any() {
    let key = crate::proof::ProofKey::of(b"test");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let seen_by = move |device: &str, number| noted.lock().unwrap().push((device.to_owned(), number));
    let site = Site::that_knows(Some(Proofs { key: key.clone(), seen: Arc::new(seen_by) }));
    let number = key.number("PROOF-z1", NOW);
    let payload = |seq: u64| {
        format!(
            r#"{{"device":"PROOF-z1","ts":{},"boot":0,"seq":{seq},"leakage_ma":100,"flags":["leak_alarm"]}}"#,
            NOW.0
        )
    };
    site.send_payload(payload(number), false);
    let unit = site.units.recv_timeout(Duration::from_secs(10)).unwrap();
    let kinds = |unit: &Unit| -> Vec<u8> {
        unit.frames
            .iter()
            .flat_map(|frame| frame.records().map(|(_, kind, _)| kind).collect::<Vec<_>>())
            .collect()
    };
    assert_eq!((kinds(&unit), unit.readings, unit.totals.sum()), (vec![record::PROOF], 0, 0));
    assert_eq!(unit.settlements.len(), 1, "it is acknowledged after its commit, as readings are");
    assert_eq!(*seen.lock().unwrap(), [("PROOF-z1".to_owned(), number)]);
    // Somebody who calls its device so, to hide what it measures.
    site.send_payload(payload(number + 1), false);
    let unit = site.units.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!((kinds(&unit), unit.readings, unit.totals.stored), (vec![record::READING], 1, 1));
    assert_eq!(seen.lock().unwrap().len(), 1);
    site.inlet.blocking_send(Input::Close).ok().unwrap();
    site.thread.join().unwrap();
}

#[test]
fn another_register_places_the_next_chunk_and_the_one_before_was_placed_by_the_old() {
    let site = Site::new();
    site.send(0, false);
    let text = format!("{}\nP9,P1,z2,r,1,,F1,C1,113.2,35.2,1,100,false,,", register::header());
    site.register.set(Arc::new(Register::parse(text.as_bytes()).unwrap()));
    site.send(1, false);
    site.register.set(Arc::new(Register::default()));
    site.send(2, false);
    site.register.set(Arc::new(Register::parse(format!("{text},feeder").as_bytes()).unwrap()));
    site.send(3, false);
    let (mut placed, mut of_cabinet) = (Vec::new(), Vec::new());
    while placed.len() < 4 {
        let unit = site.units.recv_timeout(Duration::from_secs(10)).unwrap();
        for (_, kind, bytes) in unit.frames.iter().flat_map(|frame| frame.records()) {
            let Ok(record::Record::Reading(stored)) = record::decode(kind, bytes) else {
                panic!("a reading")
            };
            let hint = stored.hint.unwrap_or_default();
            placed.push([stored.post, stored.zone, stored.feeder, hint].map(str::to_owned));
            of_cabinet.push(stored.marks.has(Marks::CABINET));
        }
    }
    let stranger = ["P1", UNREGISTERED, "", "z1"];
    let known = ["P9", "z2", "F1", ""];
    assert_eq!(placed, [stranger, known, stranger, known], "a topic hints where no register says");
    assert_eq!(of_cabinet, [false, false, false, true]);
}
