use lampguard_journal::{Options, RealDisk, Writer as JournalWriter};
use lampguard_model::record::{StoredReading, encode_reading, encode_weather};

use super::*;
use crate::ask::{Filter, StateFilter, stored_cursor};
use crate::engine::tests::{leak, minutes, register, shell};
use crate::rota::{Crew, Duty, Person, Weekly, When, ZoneDuty};
use crate::store::FILE;
use crate::testkit::{Answer, HandClock, Server, T, site, wait_for};

pub(crate) struct Station {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: HandClock,
    journal: Option<JournalWriter>,
    tail: Tail,
}

impl Station {
    pub(crate) fn new() -> Self {
        let mut station = Self {
            dir: tempfile::tempdir().unwrap(),
            clock: HandClock::at(T),
            journal: None,
            tail: Tail::default(),
        };
        station.open_journal();
        station
    }

    fn open_journal(&mut self) {
        self.journal = None;
        let dir = self.dir.path().join("journal");
        let (writer, _) = JournalWriter::open(Arc::new(RealDisk), &dir, Options::default(), 0).unwrap();
        self.tail = writer.tail().clone();
        self.journal = Some(writer);
    }

    pub(crate) fn start(&self, channels: Vec<Channel>) -> Result<Alerting, AlertingError> {
        self.start_with(Rota::default(), channels)
    }

    pub(crate) fn start_with(&self, rota: Rota, channels: Vec<Channel>) -> Result<Alerting, AlertingError> {
        self.start_all(rota, channels, None, None)
    }

    pub(crate) fn start_to_prove(
        &self,
        channels: Vec<Channel>,
        proof: Option<ProofSetup>,
    ) -> Result<Alerting, AlertingError> {
        self.start_all(rota(), channels, proof, None)
    }

    pub(crate) fn start_to_test(
        &self,
        rota: Rota,
        channels: Vec<Channel>,
        tests: TestSetup,
    ) -> Result<Alerting, AlertingError> {
        self.start_all(rota, channels, None, Some(tests))
    }

    fn start_all(
        &self,
        rota: Rota,
        channels: Vec<Channel>,
        proof: Option<ProofSetup>,
        tests: Option<TestSetup>,
    ) -> Result<Alerting, AlertingError> {
        Alerting::start(Setup {
            dir: self.dir.path().join("alerting"),
            journal_dir: self.dir.path().join("journal"),
            tail: self.tail.clone(),
            register: register(),
            policy: Policies::default(),
            lighting: None,
            rota,
            channels,
            proof,
            tests,
            ladders: Ladders::default(),
            restored: None,
            site: site(),
            clock: self.clock.clock(),
            registry: Registry::new(),
        })
    }

    /// Makes a batch durable.
    pub(crate) fn keep(&mut self, mut batch: FrameBuf) {
        batch.first_seq = self.tail.end();
        self.journal.as_mut().unwrap().commit(&[batch], self.clock.clock()().0).unwrap();
    }

    pub(crate) fn database(&self) -> Connection {
        Connection::open(self.dir.path().join("alerting").join(FILE)).unwrap()
    }
}

/// Zone z1 has crew c1; c2 comes when there is a warning, c3 has nobody.
pub(crate) fn rota() -> Rota {
    let id = |text: &str| Arc::<str>::from(text);
    let crew = |of: &str, member: &str| {
        let person = Person { name: id(member), phone: None, channels: vec![id("console")] };
        let members = if member.is_empty() { Vec::new() } else { vec![Arc::new(person)] };
        (id(of), Arc::new(Crew { id: id(of), name: of.to_owned(), vehicle: None, members }))
    };
    let rain = Duty { zone: id("z1"), crew: Some(id("c2")), when: When::Warning, ..Duty::default() };
    Rota {
        crews: [crew("c1", "m1"), crew("c2", "m2"), crew("c3", "")].into(),
        zones: [(id("z1"), ZoneDuty { crew: id("c1"), ..ZoneDuty::default() })].into(),
        weekly: Weekly { duty: vec![rain], ..Weekly::default() },
        ..Rota::default()
    }
}

fn batch(readings: &[StoredReading<'_>]) -> FrameBuf {
    let mut batch = FrameBuf::default();
    batch.closed_at = readings.last().map_or(T.0, |r| r.received_at.0);
    for r in readings {
        batch.push(record::READING, |out| encode_reading(r, out));
    }
    batch
}

pub(crate) fn weather(at: Timestamp, json: &str) -> FrameBuf {
    let mut batch = FrameBuf::default();
    batch.closed_at = at.0;
    batch.push(record::WEATHER, |out| encode_weather(at, "all", json.as_bytes(), out));
    batch
}

/// Two critical samples each of so many devices that the register does not know.
pub(crate) fn strangers(count: usize) -> Vec<FrameBuf> {
    let of = |n: usize| {
        let name = format!("D{n}");
        let mut pair = [leak(T - Millis::minutes(1), 40.0), leak(T + Millis(n as i64), 40.0)];
        for r in &mut pair {
            (r.post, r.device, r.zone) = (&name, &name, "unregistered");
        }
        batch(&pair)
    };
    let dry = weather(T - Millis::minutes(2), r#"{"rain_mm_h":0}"#);
    std::iter::once(dry).chain((0..count).map(of)).collect()
}

/// Two critical samples of P1, and dry weather before them.
pub(crate) fn danger() -> FrameBuf {
    let mut batch = weather(T - Millis::minutes(6), r#"{"rain_mm_h":0}"#);
    for r in [leak(T - Millis::minutes(5), 40.0), leak(T, 41.0)] {
        batch.push(record::READING, |out| encode_reading(&r, out));
    }
    batch.closed_at = T.0;
    batch
}

pub(crate) fn open_ids(alerting: &Alerting) -> Vec<(String, String)> {
    let page = alerting.incidents(&Filter::default()).unwrap();
    page.items.into_iter().map(|i| (i.id, i.due_at.unwrap_or_default())).collect()
}

#[test]
fn reports_and_long_lists_wait_for_nobody_and_hold_up_nobody() {
    let station = Station::new();
    let alerting = station.start(Vec::new()).unwrap();
    // A channel looks into its outbox, or somebody moves.
    let held = lock(&alerting.reads);
    let names = crate::report::Names { time_zone: "Asia/Shanghai".to_owned(), ..Default::default() };
    assert_eq!(alerting.month("2026-11", &names).unwrap().total.raised, 0);
    assert_eq!(alerting.shift(T, T + Millis::hours(12), &names).unwrap().opened.count, 0);
    let ended = Filter { state: StateFilter::Ended, ..Filter::default() };
    assert!(alerting.incidents(&ended).unwrap().items.is_empty());
    assert!(alerting.notices(None, None, 9).unwrap().items.is_empty());
    drop(held);
}

#[test]
fn a_dangerous_reading_becomes_an_incident_that_is_stored_and_told() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    alerting.judge(Arc::new(danger()));
    let told = server.next().json();
    let page = alerting.incidents(&Filter::default()).unwrap();
    let incident = &page.items[0];
    assert_eq!(told["incident"]["id"], *incident.id);
    assert_eq!(incident.opened_at, "2026-11-23T12:00:00.000Z");
    assert_eq!(incident.due_at.as_deref(), Some("2026-11-23T12:30:00.000Z"));
    assert!(!incident.evidence.wet);
    let json = serde_json::to_value(incident).unwrap();
    let mut keys: Vec<&str> = json.as_object().unwrap().keys().map(|k| &**k).collect();
    keys.sort_unstable();
    assert_eq!(
        keys.join(" "),
        "arrival arrived_at breached crew drill due_at evidence feeder id kind links maintenance members notes \
         opened_at place post_id remaining_s road safety scope severity shelved_until signal simulated state told_at untold zone"
    );
    wait_for("the notice is noted as sent", || {
        let page = alerting.notices(None, None, 10).unwrap();
        page.items.iter().any(|n| n.outcome == "sent")
    });
    let single = alerting.incident(&incident.id).unwrap().unwrap();
    wait_for("the timeline is whole", || {
        let single = alerting.incident(&incident.id).unwrap().unwrap();
        let words: Vec<String> = single.timeline.unwrap().into_iter().map(|e| e.event).collect();
        words == ["opened", "told"]
    });
    assert!(single.timeline.is_some());
    assert_eq!(alerting.post_state("P1").state, crate::State::Danger);
    assert_eq!(alerting.open_incidents_by_post()["P1"].len(), 1);
    assert!(alerting.weather("all").is_some());
    alerting.shutdown();
    let path = station.dir.path().join("alerting").join(FILE);
    let kinds = crate::verify_file(&path).unwrap().kinds;
    let words: Vec<(&str, u64)> = kinds.iter().map(|(kind, count)| (&**kind, *count)).collect();
    assert_eq!(words, [("opened", 1), ("policy", 1), ("told", 1)]);
}

#[test]
fn fault_p5_a_store_that_takes_nothing_does_not_stop_telling() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    let other = station.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    alerting.judge(Arc::new(danger()));
    let told = server.within(Duration::from_secs(2)).expect("told within 2 s").json();
    assert_eq!(open_ids(&alerting).len(), 1, "readable from memory");
    let id = told["incident"]["id"].as_str().unwrap();
    let single = alerting.incident(id).unwrap().unwrap();
    assert_eq!(single.timeline.unwrap().len(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    wait_for("the commit follows, with the same notice", || {
        let page = alerting.notices(None, None, 10).unwrap();
        page.items.iter().any(|n| n.outcome == "sent" && n.id == told["notice"]["id"])
    });
    assert!(server.within(Duration::from_millis(300)).is_none(), "told once");
}

#[test]
fn situation_s40_a_kill_between_telling_and_commit_repeats_the_same_notice_and_loses_none() {
    let mut station = Station::new();
    station.keep(danger());
    let first = {
        let server = Server::start(Vec::new());
        let alerting = station.start(vec![server.channel("hook")]).unwrap();
        let told = server.next().json();
        drop(alerting);
        told
    };
    // As if nothing but the journal had reached the disk.
    for minute in [2, 12] {
        std::fs::remove_dir_all(station.dir.path().join("alerting")).unwrap();
        station.clock.set(minutes(minute));
        let server = Server::start(Vec::new());
        let alerting = station.start(vec![server.channel("hook")]).unwrap();
        let again = server.next().json();
        assert_eq!(again["incident"]["id"], first["incident"]["id"]);
        assert_eq!(again["incident"]["opened_at"], first["incident"]["opened_at"]);
        assert_eq!(again["incident"]["due_at"], first["incident"]["due_at"]);
        assert_eq!(again["incident"]["remaining_s"], (30 - minute) * 60);
        assert_eq!(again["notice"]["attempt"], 2, "marked as a repeat");
        if minute == 2 {
            assert_eq!(again["notice"]["id"], first["notice"]["id"]);
        } else {
            // What became due meanwhile is one telling, and the opening is in it.
            let rung = (&again["event"], &again["notice"]["step"]);
            assert_eq!(rung, (&"incident.escalated".into(), &3.into()));
        }
        assert!(server.within(Duration::from_millis(1500)).is_none());
        drop(alerting);
    }
}

#[test]
fn fault_n10_a_restart_keeps_every_deadline_and_tells_nobody_again() {
    let mut station = Station::new();
    let server = Server::start(Vec::new());
    let before = {
        let alerting = station.start(vec![server.channel("hook")]).unwrap();
        let danger = danger();
        alerting.judge(Arc::new(danger.clone()));
        station.keep(danger);
        server.next();
        wait_for("the notice is noted as sent", || {
            let page = alerting.notices(None, None, 10).unwrap();
            page.items.iter().any(|n| n.outcome == "sent")
        });
        open_ids(&alerting)
    };
    for hours in [0, 1, 7] {
        station.clock.set(T + Millis::hours(hours));
        station.open_journal();
        let alerting = station.start(vec![server.channel("hook")]).unwrap();
        assert_eq!(open_ids(&alerting), before);
        let page = alerting.incidents(&Filter::default()).unwrap();
        assert_eq!(page.items[0].breached, hours > 0);
        let recorded = || {
            let timeline = alerting.incident(&before[0].0).unwrap().unwrap().timeline.unwrap();
            let count = |kind| timeline.iter().filter(|event| event.event == kind).count();
            (count("breached"), count("rung")) == (usize::from(hours > 0), usize::from(hours > 1))
        };
        wait_for(
            "the breach is recorded once, and what comes every ten minutes once behind a night",
            recorded,
        );
    }
    let mut told = Vec::new();
    while let Some(request) = server.within(Duration::from_millis(300)) {
        told.push(request.json()["event"].clone());
    }
    told.retain(|event| event != "weather.unknown");
    let said = ["incident.breached", "incident.escalated"];
    assert_eq!(told, said, "told once, once that nobody came in time, and once more since nobody has come");
}

#[test]
fn replaying_twice_gives_the_same_incidents_and_nothing_twice() {
    let mut station = Station::new();
    station.keep(weather(T - Millis::minutes(30), r#"{"rain_mm_h":0}"#));
    station.keep(batch(&[leak(T - Millis::minutes(20), 17.0), leak(T - Millis::minutes(15), 17.0)]));
    station.keep(weather(T - Millis::minutes(12), r#"{"warning":"red"}"#));
    station.keep(danger());
    station.keep(batch(&[shell(minutes(1), 90.0), shell(minutes(2), 90.0)]));
    let mut seen = Vec::new();
    for _ in 0..3 {
        station.open_journal();
        let alerting = station.start(Vec::new()).unwrap();
        let id = open_ids(&alerting);
        wait_for("the first tick", || {
            let single = alerting.incident(&id[0].0).unwrap().unwrap();
            single.timeline.unwrap().iter().any(|event| event.event == "rung")
        });
        let single = alerting.incident(&id[0].0).unwrap().unwrap();
        let words: Vec<String> = single.timeline.unwrap().into_iter().map(|e| e.event).collect();
        assert_eq!(single.evidence.wet_because.as_deref(), Some("warning"));
        seen.push((id, words, single.opened_at));
        drop(alerting);
        let path = station.dir.path().join("alerting").join(FILE);
        assert_eq!(
            crate::verify_file(&path).unwrap().events,
            4,
            "and the policy, and the rungs of the first start, once"
        );
    }
    // What was due before the start is told at its first tick.
    seen.iter_mut().for_each(|(_, words, _)| words.retain(|word| word != "rung"));
    assert_eq!(seen[0].1, ["opened", "evidence"]);
    assert_eq!(seen[0].2, "2026-11-23T11:48:00.000Z", "at the wet switch");
    assert!(seen.iter().all(|s| *s == seen[0]));
}

#[test]
fn the_cursor_stays_forty_minutes_behind_and_holds_the_journal() {
    let mut station = Station::new();
    let alerting = station.start(Vec::new()).unwrap();
    let follower = || station.tail.followers()[FOLLOWER];
    assert_eq!(follower(), 0);
    drop(alerting);
    let mut ends = Vec::new();
    for minute in 0..60 {
        station.clock.set(minutes(minute));
        station.keep(batch(&[leak(minutes(minute), 1.0)]));
        ends.push(station.tail.end());
    }
    station.open_journal();
    let alerting = station.start(Vec::new()).unwrap();
    // The frame of minute 19 is the newest that is 40 min old.
    wait_for("the cursor moves", || station.tail.followers()[FOLLOWER] == ends[18]);
    drop(alerting);
    assert_eq!(station.tail.followers()[FOLLOWER], ends[18], "after a restart replay starts there");
    let alerting = station.start(Vec::new()).unwrap();
    assert_eq!(station.tail.followers()[FOLLOWER], ends[18]);
    drop(alerting);
}

#[test]
fn unknown_weather_is_told_once_and_not_again_after_a_restart() {
    let mut station = Station::new();
    let server = Server::start(Vec::new());
    {
        let alerting = station.start(vec![server.channel("hook")]).unwrap();
        let quiet = batch(&[leak(T, 1.0), leak(minutes(3), 1.0)]);
        alerting.judge(Arc::new(quiet.clone()));
        station.keep(quiet);
        let told = server.next().json();
        assert_eq!(told["event"], "weather.unknown");
        assert_eq!(told["incident"], serde_json::Value::Null);
        assert!(told["text"].as_str().unwrap().contains("z1, z2"), "{told}");
        wait_for("the notice is noted as sent", || {
            let page = alerting.notices(None, None, 10).unwrap();
            page.items.iter().any(|n| n.outcome == "sent")
        });
    }
    station.clock.set(minutes(4));
    station.open_journal();
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    assert!(server.within(Duration::from_millis(1500)).is_none());
    assert!(alerting.post_state("P1").wet);
}

#[test]
fn the_cursor_can_be_asked_for_before_the_start() {
    let mut station = Station::new();
    let dir = station.dir.path().join("alerting");
    assert_eq!(stored_cursor(&dir).unwrap(), None);
    station.keep(danger());
    drop(station.start(Vec::new()).unwrap());
    assert_eq!(stored_cursor(&dir).unwrap(), Some(0));
}

#[test]
fn without_a_cursor_danger_of_long_ago_is_left_to_the_history() {
    let mut station = Station::new();
    station.keep(danger());
    station.clock.set(minutes(120));
    let alerting = station.start(Vec::new()).unwrap();
    assert!(open_ids(&alerting).is_empty());
}

#[test]
fn lists_go_on_where_the_last_page_ended() {
    let station = Station::new();
    let alerting = station.start(Vec::new()).unwrap();
    for n in 0..25 {
        let name = format!("D{n}");
        let mut pair = [leak(T, 40.0), leak(minutes(1) + Millis(n), 40.0)];
        for r in &mut pair {
            (r.post, r.device, r.zone) = (&name, &name, "unregistered");
        }
        alerting.judge(Arc::new(batch(&pair)));
    }
    wait_for("25 incidents", || open_ids(&alerting).len() == 25);
    let mut filter = Filter { limit: 10, state: StateFilter::All, ..Filter::default() };
    let mut sizes = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let page = alerting.incidents(&filter).unwrap();
        sizes.push(page.items.len());
        seen.extend(page.items.into_iter().map(|i| i.id));
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!((sizes, seen.len()), (vec![10, 10, 5], 25));
    let none = Filter { zone: Some("z1".to_owned()), ..Filter::default() };
    assert!(alerting.incidents(&none).unwrap().items.is_empty());
}

#[test]
fn shutdown_with_a_hanging_channel_takes_less_than_two_seconds_and_its_notice_stays() {
    let station = Station::new();
    let server = Server::start(vec![Answer::Hang(Duration::from_secs(30)); 3]);
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    alerting.judge(Arc::new(danger()));
    server.next();
    let started = Instant::now();
    alerting.shutdown();
    assert!(started.elapsed() < Duration::from_secs(2));
    drop(alerting);
    let good = Server::start(Vec::new());
    let alerting = station.start(vec![good.channel("hook")]).unwrap();
    assert_eq!(good.next().json()["notice"]["attempt"], 2);
    drop(alerting);
}

#[test]
fn records_that_cannot_be_read_cost_only_themselves() {
    let (station, server) = (Station::new(), Server::start(Vec::new()));
    let alerting = station.start(vec![server.channel("hook")]).unwrap();
    let mut bad = weather(T, "not json");
    bad.push(record::READING, |out| out.extend_from_slice(b"short"));
    bad.push(77, |out| out.extend_from_slice(b"from the future"));
    alerting.judge(Arc::new(bad));
    alerting.judge(Arc::new(danger()));
    server.next();
}

#[test]
fn a_wrong_time_zone_and_a_newer_store_are_refused() {
    let station = Station::new();
    let mut setup_site = site();
    setup_site.time_zone = "Asia/Xinxiang".to_owned();
    let setup = |site| Setup {
        dir: station.dir.path().join("alerting"),
        journal_dir: station.dir.path().join("journal"),
        tail: station.tail.clone(),
        register: register(),
        policy: Policies::default(),
        lighting: None,
        rota: Rota::default(),
        channels: Vec::new(),
        proof: None,
        tests: None,
        ladders: Ladders::default(),
        restored: None,
        site,
        clock: station.clock.clock(),
        registry: Registry::new(),
    };
    let refused = Alerting::start(setup(setup_site)).err().unwrap();
    assert!(matches!(refused, AlertingError::TimeZone(_)));
    drop(Alerting::start(setup(site())).unwrap());
    station.database().pragma_update(None, "user_version", 9).unwrap();
    let refused = Alerting::start(setup(site())).err().unwrap();
    assert!(matches!(refused, AlertingError::Store(StoreError::Newer { found: 9 })));
}
