//! Every form in which tellings come.

use lampguard_model::{Millis, Timestamp};
use serde_json::{Value, json};

use super::facts::Family;
use super::lines::At;
use super::tellings::{ESCALATED, Reader, Tellings};
use std::path::Path;

const T: i64 = 1_795_435_200_000;

fn all(lines: &[Value]) -> anyhow::Result<Tellings> {
    let mut reader = Reader::default();
    for (place, line) in lines.iter().enumerate() {
        reader.take(&At::new(Path::new("told.jsonl"), place as u64 + 1), line.clone())?;
    }
    reader.finish(Path::new("told.jsonl"))
}

fn fault(lines: &[Value]) -> String {
    let e = all(lines).err().unwrap();
    assert!(e.is::<crate::UsageError>(), "{e:#}");
    e.to_string()
}

fn rfc(seconds: i64) -> String {
    Timestamp(T + seconds * 1000).to_rfc3339()
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp(T) + Millis::seconds(seconds))
}

/// An incident as the HTTP interface shows it.
fn incident(id: &str, severity: &str) -> Value {
    json!({"id": id, "kind": "leak_critical", "severity": severity, "scope": "post", "post_id": "P1",
           "feeder": "F1", "zone": "z1", "place": null, "opened_at": rfc(0), "due_at": rfc(1800),
           "state": "open", "signal": "active", "notes": [], "crew": null, "arrived_at": null,
           "breached": false, "remaining_s": 1800, "members": [], "links": []})
}

fn with(mut line: Value, key: &str, value: Value) -> Value {
    line[key] = value;
    line
}

fn notice(id: &str, outcome: &str, to: &str, seconds: i64) -> Value {
    json!({"id": "N-1", "incident_id": id, "event": "incident.opened", "step": 0, "to": to,
           "channel": "console", "outcome": outcome, "attempt": 1, "at": rfc(seconds)})
}

#[test]
fn lines_of_a_backtest_say_themselves_when_people_were_told() {
    let line = incident("LG-1", "P1");
    let line = with(with(line, "p1_at", json!(T + 60_000)), "first_notice_at", json!(rfc(1)));
    let untold = with(with(incident("LG-2", "P2"), "p1_at", json!(null)), "first_notice_at", json!(null));
    let read = all(&[line, untold]).unwrap();
    assert_eq!((read.told.len(), read.messages), (2, None));
    let of = |id: &str| read.told.iter().find(|told| told.id == id).unwrap();
    assert_eq!((of("LG-1").first_notice_at, of("LG-1").p1_at), (at(1), at(60)));
    assert_eq!(of("LG-1").p1_told_at(), at(60));
    assert_eq!((&of("LG-1").posts[..], of("LG-1").family), (&["P1".to_owned()][..], Family::Electric));
    assert_eq!((of("LG-2").p1_told_at(), of("LG-2").going.due_at), (None, at(1800)));
    assert_eq!(read.feeders["P1"], "F1");
}

#[test]
fn of_the_notices_only_accepted_ones_count_and_the_first_of_them_is_the_telling() {
    let lines = [
        notice("LG-1", "failed", "crew-1", 1),
        notice("LG-1", "sent", "desk", 9),
        notice("LG-1", "sent", "crew-1", 5),
        notice("LG-1", "queued", "leader", 2),
        json!({"id": "N-2", "incident_id": null, "event": "weather.unknown", "step": 0, "to": "desk",
               "channel": "c", "outcome": "sent", "attempt": 1, "at": T}),
        incident("LG-1", "P1"),
        incident("LG-2", "P1"),
    ];
    let read = all(&lines).unwrap();
    assert_eq!(read.told.iter().find(|told| told.id == "LG-1").unwrap().first_notice_at, at(5));
    assert_eq!(read.told.iter().find(|told| told.id == "LG-2").unwrap().first_notice_at, None);
    assert_eq!((read.not_accepted, read.messages.unwrap().len()), (2, 3));
}

#[test]
fn a_rise_to_p1_whose_own_notice_nobody_took_is_not_told() {
    let event = |notice: Value, word: &str| with(notice, "event", json!(word));
    let escalated =
        |outcome: &str, seconds: i64| event(notice("LG-1", outcome, "crew-1", seconds), ESCALATED);
    // Told as P2 at 0 and due in 24 h; P1 since 1200 s, due half an hour later.
    let rose = with(incident("LG-1", "P1"), "due_at", json!(rfc(3000)));
    let lines = [rose.clone(), notice("LG-1", "sent", "desk", 0), escalated("failed", 1201)];
    let read = all(&lines).unwrap();
    assert_eq!((read.told[0].first_notice_at, read.told[0].p1_told_at()), (at(0), None));
    let later = [&lines[..], &[escalated("sent", 1500)]].concat();
    assert_eq!(all(&later).unwrap().told[0].p1_told_at(), at(1500));
    // A deadline of half an hour either way says nothing of the rise; its notice does.
    let warned = with(incident("LG-1", "P1"), "kind", json!("shell_critical"));
    let lines = [warned, notice("LG-1", "sent", "desk", 0), escalated("failed", 600)];
    assert_eq!(all(&lines).unwrap().told[0].p1_told_at(), None);
    let same = [&lines[..], &[escalated("sent", 600)]].concat();
    assert_eq!(all(&same).unwrap().told[0].p1_told_at(), at(600));
}

#[test]
fn a_post_that_an_incident_got_later_counts_from_the_notice_that_named_it() {
    let dark = |members: &[&str]| {
        let line = with(incident("LG-1", "P1"), "kind", json!("critical_then_silent"));
        with(with(line, "post_id", json!(null)), "members", json!(members))
    };
    let posts = |read: &Tellings| -> Vec<(Vec<String>, Option<Timestamp>)> {
        read.told.iter().map(|told| (told.posts.clone(), told.p1_told_at())).collect()
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    // A back-test says it itself: with the first notice, with a later one, never.
    let line = with(with(dark(&["A", "B", "C"]), "p1_at", json!(rfc(0))), "first_notice_at", json!(rfc(0)));
    let line = with(line, "p1_notice_at", json!(rfc(0)));
    let line = with(line, "members_told_at", json!([rfc(0), rfc(60), null]));
    let read = all(&[line]).unwrap();
    assert_eq!(posts(&read), [(names(&["A"]), at(0)), (names(&["B"]), at(60))]);
    assert_eq!(read.undated, 0);
    // The single view of an instance says when it got them.
    let lives = |seconds: i64, member: &str| json!({"at": rfc(seconds), "event": "members", "body": {"members": [member]}});
    let line = with(dark(&["A", "B", "C"]), "timeline", json!([lives(60, "B"), lives(700, "C")]));
    let lines = [line, notice("LG-1", "sent", "desk", 1), notice("LG-1", "sent", "desk", 600)];
    let read = all(&lines).unwrap();
    assert_eq!(posts(&read), [(names(&["A"]), at(1)), (names(&["B"]), at(600))]);
    // Nothing says it: the first notice counts, and the reader is told.
    let read = all(&[dark(&["A", "B"]), notice("LG-1", "sent", "desk", 1)]).unwrap();
    assert_eq!((posts(&read), read.undated), (vec![(names(&["A", "B"]), at(1))], 1));
}

#[test]
fn incidents_of_simulated_readings_are_noticed() {
    let line = with(incident("LG-1", "P1"), "first_notice_at", json!(rfc(1)));
    assert!(!all(std::slice::from_ref(&line)).unwrap().simulated);
    assert!(all(&[with(line.clone(), "notes", json!(["模拟数据"]))]).unwrap().simulated);
    assert!(all(&[with(line, "simulated", json!(true))]).unwrap().simulated);
}

#[test]
fn pages_and_lists_are_taken_apart_and_a_missing_page_is_noticed() {
    let page = |items: &[Value], next: Value| json!({"items": items, "next": next});
    let notices = page(&[notice("LG-1", "sent", "desk", 5), notice("LG-2", "sent", "desk", 6)], json!("c"));
    let whole =
        [notices.clone(), page(&[incident("LG-1", "P1")], json!("o.1")), json!([incident("LG-2", "P1")])];
    assert_eq!(all(&whole).unwrap().told.len(), 2);
    let end = page(&[incident("LG-1", "P1"), incident("LG-2", "P1")], json!(null));
    assert!(!all(&[notices.clone(), end]).unwrap().unfinished);
    let torn = page(&[incident("LG-1", "P1"), incident("LG-2", "P1")], json!("o.2"));
    assert!(all(&[notices, torn]).unwrap().unfinished);
}

#[test]
fn webhook_bodies_tell_their_time_by_the_time_left_and_posts_count_since_they_were_named() {
    let body = |event: &str, incident: Value, attempt: u32| {
        json!({"event": event, "incident": incident, "notice": {"id": "N-1", "step": 0, "to": "crew-1",
               "attempt": attempt, "link": null}, "site": "s", "drill": false, "text": "t"})
    };
    let opened = with(incident("LG-1", "P2"), "remaining_s", json!(1798));
    let rose = with(incident("LG-1", "P1"), "remaining_s", json!(1700));
    let rose = with(rose, "members", json!(["P2", "P1"]));
    let done = with(with(incident("LG-1", "P1"), "remaining_s", json!(-60)), "arrived_at", json!(rfc(1850)));
    let lines = [
        body("incident.opened", opened, 1),
        body("incident.escalated", rose.clone(), 1),
        body("incident.escalated", rose, 2),
        body("incident.made_safe", with(done, "crew", json!("A")), 1),
        with(body("incident.opened", incident("LG-9", "P1"), 1), "drill", json!(true)),
        body("weather.unknown", json!(null), 1),
    ];
    let read = all(&lines).unwrap();
    assert_eq!((read.told.len(), read.drills), (2, 1));
    let (first, later) = (&read.told[0], &read.told[1]);
    assert_eq!(
        (&first.posts[..], first.first_notice_at, first.p1_at),
        (&["P1".to_owned()][..], at(2), at(100))
    );
    assert_eq!((&later.posts[..], later.first_notice_at), (&["P2".to_owned()][..], at(100)));
    assert_eq!((later.going.arrived_at, later.going.made_safe_at), (at(1850), at(1860)));
    assert_eq!(first.going.crew.as_deref(), Some("A"));
    // A body that came as P1 from the start is one since it opened; a time that its keeper noted wins.
    let noted = with(body("incident.opened", incident("LG-1", "P1"), 1), "received_at", json!(rfc(7)));
    let read = all(&[noted, body("incident.voided", incident("LG-1", "P1"), 1)]).unwrap();
    assert_eq!((read.told[0].p1_at, read.told[0].voided), (at(0), true));
}

#[test]
fn without_p1_at_a_p1_is_one_since_it_opened_or_half_an_hour_before_it_is_due() {
    let lines = |line: Value| [line, notice("LG-1", "sent", "desk", 1)];
    let p1_at = |line: Value| all(&lines(line)).unwrap().told[0].p1_at;
    assert_eq!(p1_at(incident("LG-1", "P1")), at(0));
    assert_eq!(p1_at(with(incident("LG-1", "P1"), "due_at", json!(rfc(2400)))), at(600));
    assert_eq!(p1_at(incident("LG-1", "P2")), None);
}

#[test]
fn states_families_and_places_are_read() {
    let told = |line: Value| {
        let line = with(line, "first_notice_at", json!(rfc(1)));
        all(&[line]).unwrap().told.remove(0)
    };
    assert!(told(with(incident("LG-1", "P1"), "state", json!("void"))).voided);
    let kind = |kind: &str| with(incident("LG-1", "P1"), "kind", json!(kind));
    assert_eq!(told(kind("neutral_break")).family, Family::Neutral);
    assert_eq!(told(kind("reported")).family, Family::Electric);
    assert_eq!(told(with(kind("reported"), "what", json!("other"))).family, Family::Other);
    assert_eq!(told(with(kind("erdschluss"), "family", json!("electric"))).family, Family::Electric);
    let place =
        with(with(kind("reported"), "post_id", json!("")), "place", json!({"text": "北门", "lon": 1}));
    let place = told(place);
    assert_eq!((place.place.as_deref(), place.posts.len()), (Some("北门"), 0));
}

#[test]
fn what_cannot_be_read_or_joined_is_named_with_its_line_and_the_way_out() {
    for (line, word) in [
        (json!({"post_id": "P1"}), "its keys are [post_id]"),
        (json!(7), "its keys are []"),
        (json!({"id": 7, "kind": "x"}), "incident: invalid type"),
        (with(notice("LG-1", "sent", "x", 1), "at", json!("soon")), "notice: \"soon\" is no time"),
        (with(notice("LG-1", "sent", "x", 1), "at", json!(null)), "an accepted notice without at"),
        (json!({"event": "e", "notice": {}, "incident": {"id": "LG-1"}}), "without due_at and remaining_s"),
    ] {
        let fault = fault(&[incident("LG-1", "P1"), line]);
        assert!(fault.starts_with("told.jsonl: line 2: ") && fault.contains(word), "{fault}");
        assert!(fault.contains("docs/score.md"), "{fault}");
    }
    let lonely = fault(&[notice("LG-7", "sent", "desk", 1)]);
    assert!(lonely.contains("line 1: a notice of incident LG-7") && lonely.contains("state=all"), "{lonely}");
    let silent = fault(&[incident("LG-1", "P1")]);
    assert!(silent.contains("1 incident(s) and no line that says") && silent.contains("/api/v1/notices"));
    assert_eq!(all(&[]).unwrap().told.len(), 0, "nothing was told: that is an answer too");
}

#[test]
fn a_rung_of_a_ladder_is_no_rise_and_a_list_tells_of_each_that_it_names() {
    let rung = |step: u64, seconds: i64| {
        with(with(notice("LG-1", "sent", "Al", seconds), "event", json!(ESCALATED)), "step", json!(step))
    };
    let lines = [incident("LG-1", "P1"), notice("LG-1", "sent", "desk", 1), rung(1, 180), rung(2, 360)];
    let read = all(&lines).unwrap();
    assert_eq!(read.told[0].p1_told_at(), at(1), "told as the P1 that it was from the start");
    assert_eq!(read.messages.unwrap().len(), 3);
    let list = json!({"id": "N-9", "incident_id": null, "event": "digest", "step": 0, "to": "desk", "channel": "c",
        "outcome": "sent", "attempt": 1, "at": rfc(61), "incidents": ["LG-1", "LG-2"]});
    let read = all(&[incident("LG-1", "P1"), incident("LG-2", "P1"), list]).unwrap();
    assert!(read.told.iter().all(|told| told.p1_told_at() == at(61)), "{:?}", read.told);
    assert_eq!(read.messages.unwrap().len(), 1, "and is one message");
}
