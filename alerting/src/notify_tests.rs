//! The way of a notice, through the webhook.
#![expect(clippy::disallowed_methods, reason = "what is tested waits by a running clock")]

use std::collections::HashSet;

use lampguard_model::Millis;
use prometheus::Registry;

use super::desk::{LeftBehind, pause};
use super::*;
use crate::incident::Event;
use crate::store::{Outcome, Reads, Store, Write};
use crate::testkit::{Answer, HandClock, SECRET, Server, T, event, incident, notice, notice_to, wait_for};
use crate::writer::Writer;

pub(super) struct Office {
    _dir: tempfile::TempDir,
    writer: Writer,
    pub(super) around: Surroundings,
    pub(super) clock: HandClock,
    /// What the ladder was told.
    pub(super) heard: Arc<Mutex<Vec<Delivery>>>,
}

pub(super) fn office() -> Office {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let follower = lampguard_journal::Tail::default().follow("alerting", 0);
    let writer = Writer::start(store, follower, &metrics).unwrap();
    let clock = HandClock::at(T);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let around = Surroundings {
        hears: Arc::new(move |delivery| ears.lock().unwrap().push(delivery)),
        clock: clock.clock(),
        writes: writer.writes(),
        reads: Arc::new(Mutex::new(crate::store::open_for_reading(dir.path()).unwrap())),
        metrics,
    };
    Office { _dir: dir, writer, around, clock, heard }
}

impl Office {
    /// Opens incident `n` for `desks`, the way `run.rs` does: channels first, then the store.
    fn open(&self, n: usize, desks: &[&Desk]) {
        self.open_for(n, "crew", None, desks);
    }

    /// The same for one person.
    pub(super) fn open_for(&self, n: usize, to: &str, phone: Option<&str>, desks: &[&Desk]) {
        let i = incident(n);
        let ticket = Ticket::default();
        let make = |desk: &&Desk| notice_to(&i, &desk.channel().id, to, phone);
        let notices: Vec<Arc<Notice>> = desks.iter().map(make).collect();
        for (desk, notice) in desks.iter().zip(&notices) {
            desk.tell(Job {
                notice: notice.clone(),
                attempt: 1,
                ticket: ticket.clone(),
                watch: None,
                handed_at: Instant::now(),
            });
        }
        let e = event(&i, "opened");
        self.around.writes.push(Write::Open(Box::new(i), e, notices), ticket);
    }

    pub(super) fn outcomes(&self) -> Vec<(String, u32)> {
        let conn = self.around.reads.lock().unwrap();
        let notices = Reads::new(&conn).notices(Timestamp(0), 0, 9999).unwrap();
        notices.into_iter().map(|n| (n.outcome, n.attempt)).collect()
    }

    /// Outcomes that the ladder heard, by their words.
    pub(super) fn words(&self) -> Vec<&'static str> {
        self.heard.lock().unwrap().iter().map(|delivery| delivery.outcome.word()).collect()
    }

    /// Texts of the failures that the ladder heard.
    pub(super) fn failures(&self) -> Vec<String> {
        let text = |delivery: &Delivery| match &delivery.outcome {
            Outcome::Retry(_, text) | Outcome::Failed(text) | Outcome::Undelivered(text) => {
                Some(text.clone())
            }
            Outcome::Sent | Outcome::Delivered => None,
        };
        self.heard.lock().unwrap().iter().filter_map(text).collect()
    }
}

#[test]
fn a_webhook_is_signed_and_says_what_where_and_until_when() {
    let (office, server) = (office(), Server::start(Vec::new()));
    let desk = Desk::start(server.channel("hook"), office.around.clone()).unwrap();
    office.open(1, &[&desk]);
    let request = server.next();
    let expected = sign::webhook(&Secret::new(SECRET.to_vec()), &request.body);
    assert_eq!(request.header(webhook::SIGNATURE), Some(&*expected));
    assert!(expected.starts_with("sha256=") && expected.len() == 7 + 64);
    let body = request.json();
    assert_eq!(body["event"], "incident.opened");
    assert_eq!(body["drill"], false);
    assert_eq!(body["site"], "新乡路灯");
    assert_eq!(body["incident"]["id"], "LG-TEST1");
    assert_eq!(body["incident"]["due_at"], "2026-11-23T12:30:00.001Z");
    assert_eq!(body["incident"]["remaining_s"], 1800);
    assert_eq!(body["notice"]["attempt"], 1);
    assert_eq!(body["notice"]["to"], "crew");
    assert_eq!(body["notice"]["link"], "http://desk.example/incidents/LG-TEST1");
    wait_for("the outbox says sent", || office.outcomes() == [("sent".to_owned(), 1)]);
}

#[test]
fn the_time_to_the_first_channel_is_measured_once_per_alarm() {
    let (office, server) = (office(), Server::start(Vec::new()));
    let i = incident(1);
    let watch = AlarmWatch::new(T - Millis(250));
    let desks = ["a", "b"].map(|id| Desk::start(server.channel(id), office.around.clone()).unwrap());
    for desk in &desks {
        desk.tell(Job {
            notice: notice(&i, &desk.channel().id),
            attempt: 1,
            ticket: Ticket::done(),
            watch: Some(watch.clone()),
            handed_at: Instant::now(),
        });
    }
    server.next();
    server.next();
    let seconds = &office.around.metrics.alarm_seconds;
    assert_eq!(seconds.get_sample_count(), 1);
    assert!((seconds.get_sample_sum() - 0.25).abs() < 1e-9);
}

#[test]
fn fault_n4_a_500_is_tried_again_with_the_same_id() {
    let (office, server) = (office(), Server::start(vec![Answer::Status(500)]));
    let desk = Desk::start(server.channel("hook"), office.around.clone()).unwrap();
    office.open(1, &[&desk]);
    let (first, second) = (server.next().json(), server.next().json());
    assert_eq!(first["notice"]["id"], second["notice"]["id"]);
    assert_eq!(second["notice"]["attempt"], 2);
    wait_for("the outbox says sent", || office.outcomes() == [("sent".to_owned(), 2)]);
    assert!(server.within(Duration::from_millis(200)).is_none());
    let count = |outcome| office.around.metrics.notices.with_label_values(&["hook", outcome]).get();
    assert_eq!((count("retry"), count("sent")), (1, 1));
}

#[test]
fn newer_word_waits_for_no_retry_of_old_word_which_is_told_after_it_and_says_so() {
    // The first attempt fails once the newer word is there; it is tried again a second later.
    let server = Server::start(vec![Answer::Hang(Duration::from_millis(700))]);
    let office = office();
    let desk = Desk::start(server.channel("hook"), office.around.clone()).unwrap();
    let mut safe = incident(1);
    safe.life = crate::testkit::isolated(T);
    let to = crate::notice::Address { channel: "hook", to: "crew", phone: None };
    let tell = |notice: Notice| {
        let (notice, ticket, handed_at) = (Arc::new(notice), Ticket::done(), Instant::now());
        desk.tell(Job { notice, attempt: 1, ticket, watch: None, handed_at });
    };
    let said = event(&safe, "made_safe");
    tell(Notice::moved(&safe, &said, "incident.made_safe", None, &crate::testkit::site(), to));
    assert!(server.next().json()["text"].as_str().unwrap().contains("已断电"));
    let live = incident(1);
    let later = Event { at: live.opened_at + Millis(500), ..event(&live, "repeated") };
    tell(Notice::moved(&live, &later, "incident.repeated", None, &crate::testkit::site(), to));
    let newer = server.next().json();
    assert_eq!(newer["event"], "incident.repeated", "it waited for no pause");
    assert_eq!(newer["notice"]["overtaken"], serde_json::Value::Null);
    let old = server.next().json();
    assert_eq!((&old["event"], &old["notice"]["attempt"]), (&"incident.made_safe".into(), &2.into()));
    assert_eq!(old["notice"]["overtaken"], true);
    let text = old["text"].as_str().unwrap();
    assert!(text.contains("旧消息，以新消息为准") && !text.contains("已断电"), "{text}");
}

#[test]
fn fault_d16_a_redirect_is_a_failure_and_is_never_followed() {
    let (office, server) = (office(), Server::start(vec![Answer::Status(302)]));
    let desk = Desk::start(server.channel("hook"), office.around.clone()).unwrap();
    office.open(1, &[&desk]);
    assert!(server.next().head.starts_with("POST /hook "));
    assert!(server.next().head.starts_with("POST /hook "), "the retry");
}

#[test]
fn fault_n5_peer_p14_a_hanging_channel_delays_no_other() {
    let office = office();
    let hanging = Server::start(vec![Answer::Hang(Duration::from_secs(30)); 4]);
    let good = Server::start(Vec::new());
    let mut slow = Desk::start(hanging.channel("slow"), office.around.clone()).unwrap();
    let quick = Desk::start(good.channel("quick"), office.around.clone()).unwrap();
    office.open(1, &[&slow, &quick]);
    hanging.next();
    for n in 2..12 {
        office.open(n, &[&slow, &quick]);
    }
    for _ in 1..12 {
        assert!(good.within(Duration::from_secs(3)).is_some());
    }
    slow.begin_stop();
    let before = Instant::now();
    slow.end_stop(before + Duration::from_millis(100));
    assert!(before.elapsed() < Duration::from_secs(2), "shutdown does not wait for it");
}

#[test]
fn a_full_queue_leaves_notices_in_the_outbox_and_they_go_out_later() {
    let office = office();
    let server = Server::start(vec![Answer::Hang(Duration::from_millis(1500)); 4]);
    let desk = Desk::start(server.channel("hook"), office.around.clone()).unwrap();
    let many = 2 * QUEUE_MAX + 40;
    for n in 0..many {
        office.open(n, &[&desk]);
    }
    assert!(office.around.metrics.queue_full.with_label_values(&["hook"]).get() > 0);
    let mut seen = HashSet::new();
    while seen.len() < many {
        let request = server.next().json();
        seen.insert(request["notice"]["id"].as_str().unwrap().to_owned());
        office.clock.set(T + Millis::seconds(60));
    }
    wait_for("every notice is sent", || office.outcomes().iter().all(|(outcome, _)| outcome == "sent"));
}

#[test]
fn what_is_left_before_its_commit_is_looked_for_until_the_outbox_shows_it() {
    let (office, left, ticket) = (office(), LeftBehind::default(), Ticket::default());
    left.add(&ticket);
    left.read_next();
    assert!(left.is_some(), "the outbox cannot show it yet");
    left.add(&Ticket::done());
    left.read_next();
    assert!(left.is_some(), "something else was left and found; the first is still to come");
    let i = incident(1);
    let e = event(&i, "opened");
    office.around.writes.push(Write::Open(Box::new(i), e, Vec::new()), ticket.clone());
    assert!(ticket.wait(Duration::from_secs(5)));
    left.read_next();
    assert!(!left.is_some());
}

#[test]
fn what_an_earlier_run_left_unsent_goes_out_marked_as_a_repeat() {
    let (mut office, server) = (office(), Server::start(Vec::new()));
    let i = incident(1);
    let notices = vec![notice(&i, "hook")];
    let e = event(&i, "opened");
    let ticket = Ticket::default();
    office.around.writes.push(Write::Open(Box::new(i), e, notices), ticket.clone());
    assert!(ticket.wait(Duration::from_secs(5)));
    let desk = Desk::start(server.channel("hook"), office.around.clone()).unwrap();
    assert_eq!(server.next().json()["notice"]["attempt"], 2);
    wait_for("the outbox says sent", || office.outcomes() == [("sent".to_owned(), 2)]);
    drop(desk);
    office.writer.stop();
}

#[test]
fn a_notice_is_given_up_after_a_day() {
    let (office, server) = (office(), Server::start(vec![Answer::Status(503); 9]));
    let desk = Desk::start(server.channel("hook"), office.around.clone()).unwrap();
    office.clock.set(T + Millis::hours(25));
    office.open(1, &[&desk]);
    server.next();
    wait_for("the outbox says failed", || office.outcomes() == [("failed".to_owned(), 1)]);
}

#[test]
fn pauses_double_to_a_minute_with_jitter() {
    for (attempt, middle) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (40, 60)] {
        let pause = pause("N-1", attempt).0;
        let middle = middle * 1000;
        assert!((middle - middle / 5..=middle + middle / 5).contains(&pause), "{attempt}: {pause}");
    }
    assert_ne!(pause("N-1", 7), pause("N-2", 7));
}

#[test]
fn a_host_name_that_leads_into_the_own_network_is_refused_and_a_literal_address_is_not() {
    let post = |url: &str, allow_private| {
        let web = Web { url: HiddenUrl::new(url), allow_private, ..Web::default() };
        webhook::Webhook::new(&web).post(&serde_json::json!({}), T).unwrap_err()
    };
    let refused = post("http://localhost:1/x", false);
    assert_eq!((refused.fault, refused.permanent), (Fault::Private, true));
    assert!(refused.text.contains("allow_private"), "{refused}");
    for (url, allow) in [("http://localhost:1/x", true), ("http://127.0.0.1:1/x", false)] {
        assert_eq!(post(url, allow).fault, Fault::Connect);
    }
}

#[test]
fn the_console_prints_one_clear_line_in_the_language_of_the_site() {
    let i = incident(1);
    let mut out = Vec::new();
    console::print(&mut out, &notice(&i, "console"), 1).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "【P1 灯杆带电】未登记设备 P1 · 外壳电压 115 V（潮湿限值 12 V） · 按带电处理，可能断PE · \
         未确认断电，视为带电 · 2026-11-23 20:30:00+08:00 前到场 · LG-TEST1\n"
    );
    let register = crate::engine::tests::register();
    let english = crate::notice::SiteText { language: "en".to_owned(), ..crate::testkit::site() };
    let to = crate::notice::Address { channel: "console", to: "desk", phone: None };
    let post = register.by_post("P1").map(|post| &**post);
    let text = Notice::opened(&i, post, &english, to).text(3);
    for part in [
        "人民路 塔南路口 post 3 (P1, zone z1)",
        "shell voltage 115 V (wet limit 12 V)",
        "be there by 2026-11-23 20:30:00+08:00",
        "LG-TEST1 [#3]",
        "未确认断电，视为带电",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn messages_of_the_last_minute_are_counted_after_a_restart() {
    let (office, server) = (office(), Server::start(Vec::new()));
    let desk = Desk::start(server.channel("hook"), office.around.clone()).unwrap();
    for n in 1..=3 {
        office.clock.set(T + Millis::seconds(40 * n));
        office.open(n as usize, &[&desk]);
        wait_for("it is sent", || office.outcomes() == vec![("sent".to_owned(), 1); n as usize]);
    }
    let conn = office.around.reads.lock().unwrap();
    let since = |seconds| Reads::new(&conn).messages_since("hook", T + Millis::seconds(seconds)).unwrap();
    assert_eq!((since(0), since(60), since(121)), (3, 2, 0));
}
