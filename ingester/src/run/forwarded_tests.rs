//! What another node received: the same reading by two ways is one, and nothing of it is passed on.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lampguard_journal::{FrameBuf, Recovery};
use lampguard_model::record::{Source, encode_reading};
use lampguard_model::{Millis, Register, Timestamp};
use prometheus::Registry;

use super::*;
use crate::accounts::Accounts;
use crate::admit::Admission;
use crate::intake::{Fate, Gate, Tally};
use crate::loss::LossBook;
use crate::metrics::Metrics;
use crate::run::{Foreign, Setup};

const NOW: Timestamp = Timestamp(1_795_435_200_000);
const HEADER: &str = "post_id,device_id,zone,road,number,landmark,feeder,cabinet,lon,lat,lamps,lamp_w,low_lying,installed,external_code";

/// An intake that owns all zones but these, and the frames that it closed.
fn node(others: &'static [&'static str]) -> Intake {
    let text =
        format!("{HEADER}\nP1,D1,z1,r,1,,F1,C,113,34,1,100,false,,\nP2,,z2,r,1,,F2,C,113,34,1,100,false,,\n");
    let metrics = Metrics::register(&Registry::new());
    let foreign: Foreign = Arc::new(|zone, _, hint| {
        others.contains(&zone) || (zone.is_empty() && hint.is_some_and(|zone| others.contains(&zone)))
    });
    let setup = Setup {
        register: Arc::new(Register::parse(text.as_bytes()).unwrap()).into(),
        judge: Box::new(|_| {}),
        clock: Arc::new(|| NOW),
        gate: Gate::new(metrics.clone()),
        metrics,
        accounts: Arc::new(Accounts::default()),
        losses: Arc::new(LossBook::in_memory()),
        proofs: None,
        foreign: Some(foreign),
    };
    Intake::new(setup, Admission::default(), &Recovery::default())
}

fn take(intake: &mut Intake, topic: &str, payload: &[u8], received_at: Timestamp, judges: bool) -> Tally {
    let forwarded = topic.is_empty();
    let fate = if forwarded { Fate::Forwarded } else { Fate::Read };
    let source = if forwarded { Source::Node } else { Source::Broker };
    let payload = Bytes::copy_from_slice(payload);
    let message =
        Message { topic: topic.to_owned(), payload, token: None, retain: false, alone: false, fate };
    let tally = Tally::default();
    let mut context =
        Context { source, received_at, retain_counts: true, judges, origin: 0, readings: 0, tally };
    intake.take_message(&message, Some(None), &mut context);
    assert_eq!(context.readings, context.tally.stored + context.tally.duplicate);
    intake.close_frame();
    context.tally
}

/// Everything that was put into frames since the last time: kind and bytes.
fn frames(intake: &mut Intake) -> Vec<(u8, Vec<u8>)> {
    let frames: Vec<Arc<FrameBuf>> = intake.unit.frames.drain(..).collect();
    let all = frames.iter().flat_map(|frame| frame.records().map(|(_, kind, bytes)| (kind, bytes.to_vec())));
    all.collect()
}

/// The body that a node would send of these.
fn body(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    records.iter().for_each(|(kind, bytes)| put_record(*kind, bytes, &mut body));
    body
}

fn only(records: &[(u8, Vec<u8>)]) -> StoredReading<'_> {
    assert_eq!(records.len(), 1);
    match record::decode(records[0].0, &records[0].1) {
        Ok(Record::Reading(reading)) => reading,
        other => panic!("{other:?}"),
    }
}

#[test]
fn anothers_reading_is_kept_and_marked_and_ones_own_is_judged_by_whichever_source_it_comes() {
    let mut node = node(&["z1"]);
    take(&mut node, "lamp/z1/D1/reading", br#"{"boot":1,"seq":1,"leakage_ma":40}"#, NOW, true);
    let kept = frames(&mut node);
    let reading = only(&kept);
    assert!(reading.marks.has(Marks::FOREIGN) && reading.marks.has(Marks::NOT_JUDGED));
    take(&mut node, "lamp/z2/P2/reading", br#"{"boot":1,"seq":1,"leakage_ma":40}"#, NOW, false);
    let kept = frames(&mut node);
    let reading = only(&kept);
    assert!(!reading.marks.has(Marks::FOREIGN) && !reading.marks.has(Marks::NOT_JUDGED));
}

#[test]
fn what_is_forwarded_is_stored_once_however_often_and_by_however_many_nodes_it_comes() {
    let (mut first, mut second, mut owner) = (node(&["z1"]), node(&["z1"]), node(&[]));
    let payload = br#"{"boot":3,"seq":9,"leakage_ma":40,"shell_v":2.5}"#;
    take(&mut first, "lamp/z1/D1/reading", payload, NOW, true);
    take(&mut second, "lamp/z1/D1/reading", payload, NOW + Millis::seconds(40), true);
    let (one, two) = (body(&frames(&mut first)), body(&frames(&mut second)));
    let later = NOW + Millis::minutes(2);
    assert_eq!(take(&mut owner, "", &one, later, true).stored, 1);
    let kept = frames(&mut owner);
    let reading = only(&kept);
    assert_eq!((reading.post, reading.device, reading.zone, reading.feeder), ("P1", "D1", "z1", "F1"));
    assert_eq!((reading.source, reading.received_at, reading.measured_at()), (Source::Node, later, NOW));
    assert!(!reading.marks.has(Marks::FOREIGN) && !reading.marks.has(Marks::NOT_JUDGED));
    assert_eq!(take(&mut owner, "", &one, later, true).duplicate, 1, "sent again after a kill");
    assert_eq!(take(&mut owner, "", &two, later, true).duplicate, 1, "the broker gave it to both");
    assert_eq!(take(&mut owner, "lamp/z1/D1/reading", payload, later, true).duplicate, 1, "and to the owner");
    assert!(frames(&mut owner).is_empty());
    assert_eq!((owner.totals.stored, owner.totals.duplicate), (1, 3));
}

#[test]
fn a_reading_without_identity_that_is_forwarded_again_is_the_same_whether_it_was_judged_alone_or_stored() {
    let (mut first, mut owner) = (node(&["z1"]), node(&[]));
    // Two of one device in one message: the same time, other values.
    take(&mut first, "lamp/z1/D1/reading", br#"[{"leakage_ma":40},{"leakage_ma":41}]"#, NOW, true);
    let kept = frames(&mut first);
    assert_eq!(kept.len(), 2);
    let judged = Arc::new(Mutex::new(Vec::new()));
    let said = judged.clone();
    owner.setup.judge = Box::new(move |frame| {
        for (_, kind, bytes) in frame.records() {
            let reading = (kind, bytes.to_vec());
            let reading = only(std::slice::from_ref(&reading));
            assert!(reading.marks.has(Marks::NO_IDENTITY));
            said.lock().unwrap().push((reading.identity, reading.measured_at()));
        }
    });
    for (minute, judge_only) in [(1, true), (2, true), (3, false), (4, false)] {
        owner.judge_only = judge_only;
        let tally = take(&mut owner, "", &body(&kept[..1]), NOW + Millis::minutes(minute), true);
        let taken = if minute == 4 { (0, 1) } else { (1, 0) };
        assert_eq!((tally.stored, tally.duplicate), taken, "minute {minute}");
    }
    let same = (only(&kept[..1]).identity, NOW);
    assert_eq!(*judged.lock().unwrap(), [same; 3], "by which the judge knows it again");
    frames(&mut owner);
    assert_eq!(take(&mut owner, "", &body(&kept[1..]), NOW, true).stored, 1);
    let other = frames(&mut owner);
    assert!(!only(&other).marks.has(Marks::SEQ_REUSED), "it has no number");
}

#[test]
fn a_node_that_is_not_said_to_own_it_judges_what_is_forwarded_all_the_same() {
    let (mut first, mut other) = (node(&["z1"]), node(&["z1"]));
    take(&mut first, "lamp/z1/D1/reading", br#"{"boot":1,"seq":1,"leakage_ma":40}"#, NOW, true);
    let sent = body(&frames(&mut first));
    assert_eq!(take(&mut other, "", &sent, NOW, true).stored, 1);
    let kept = frames(&mut other);
    assert!(!only(&kept).marks.has(Marks::FOREIGN), "a standby judges, and nothing goes round in circles");
}

#[test]
fn a_clock_that_cannot_be_right_counts_as_measured_when_the_first_node_got_it() {
    let (mut first, mut owner) = (node(&["z1"]), node(&[]));
    take(&mut first, "lamp/z1/D1/reading", br#"{"ts":1000,"boot":1,"seq":1,"leakage_ma":1}"#, NOW, true);
    let sent = body(&frames(&mut first));
    take(&mut owner, "", &sent, NOW + Millis::minutes(30), true);
    let kept = frames(&mut owner);
    let reading = only(&kept);
    assert_eq!(reading.measured_at(), NOW);
    assert!(reading.marks.has(Marks::LATE) && !reading.marks.has(Marks::CLOCK));
}

#[test]
fn weather_is_heard_and_not_passed_on_again_and_what_nobody_knows_is_refused() {
    let (mut first, mut owner) = (node(&["z1"]), node(&[]));
    take(&mut first, "weather/z1/rain", br#"{"rain_mm_h":4}"#, NOW, true);
    let told = frames(&mut first);
    assert_eq!(told[0].0, record::WEATHER);
    take(&mut owner, "", &body(&told), NOW, true);
    assert_eq!(frames(&mut owner)[0].0, record::HEARD_WEATHER);
    let tally = take(&mut owner, "", &body(&[(77, vec![1, 2])]), NOW, true);
    assert_eq!(tally.quarantined, [(0, "record")]);
    let whole = body(&told);
    for cut in 1..whole.len() {
        assert!(records(&whole[..cut]).any(|record| record.is_none()), "cut at {cut}");
    }
}

#[test]
fn forwarded_weather_holds_from_when_the_first_node_got_it_however_late_and_often_it_comes() {
    let (mut first, mut owner) = (node(&["z1"]), node(&[]));
    let later = NOW + Millis::minutes(40);
    let heard = |owner: &mut Intake, told: &[(u8, Vec<u8>)]| {
        take(owner, "", &body(told), later, true);
        let kept = frames(owner);
        match record::decode(kept[0].0, &kept[0].1) {
            Ok(Record::Weather(received_at, "z1", json)) => {
                let report = WeatherReport::decode(json).unwrap();
                assert_eq!((kept[0].0, received_at), (record::HEARD_WEATHER, later));
                (report.at(received_at), report.rain_mm_h, report.warning)
            }
            other => panic!("{other:?}"),
        }
    };
    take(&mut first, "weather/z1/rain", br#"{"rain_mm_h":4,"by":"gauge"}"#, NOW, true);
    let told = frames(&mut first);
    assert_eq!(heard(&mut owner, &told), (NOW, Some(4.0), None), "without a time of its own");
    assert_eq!(heard(&mut owner, &told).0, NOW, "and again by a retry");
    for (ts, at) in [
        (NOW - Millis::minutes(7), NOW - Millis::minutes(7)),
        (NOW + Millis::minutes(2), NOW),
        (Timestamp(1000), NOW),
    ] {
        let text = format!(r#"{{"ts":{},"warning":"red"}}"#, ts.0);
        take(&mut first, "weather/z1/rain", text.as_bytes(), NOW, true);
        let told = frames(&mut first);
        assert_eq!(heard(&mut owner, &told), (at, None, Some(lampguard_model::Warning::Red)), "{text}");
    }
}

#[test]
fn a_stored_reading_survives_being_forwarded_with_what_its_payload_showed() {
    let mut owner = node(&[]);
    let mut marks = Marks::SATURATED;
    marks.add(Marks::OUT_OF_RANGE);
    marks.add(Marks::ZONE_MISMATCH);
    marks.add(Marks::FOREIGN);
    let seen = StoredReading { marks, identity: 77, hint: Some("z2"), ..StoredReading::at("Unknown", NOW) };
    let mut bytes = Vec::new();
    encode_reading(&seen, &mut bytes);
    take(&mut owner, "", &body(&[(record::READING, bytes)]), NOW, true);
    let kept = frames(&mut owner);
    let reading = only(&kept);
    assert_eq!((reading.identity, reading.hint, reading.zone), (77, Some("z2"), "unregistered"));
    assert!(reading.marks.has(Marks::SATURATED) && reading.marks.has(Marks::UNREGISTERED));
    assert!(reading.marks.has(Marks::OUT_OF_RANGE) && !reading.marks.has(Marks::FOREIGN));
}

#[test]
fn a_standby_takes_what_it_had_received_for_the_owner_once_also_after_a_restart() {
    let mut standby = node(&["z1"]);
    let payload = br#"{"boot":1,"seq":1,"leakage_ma":40}"#;
    take(&mut standby, "lamp/z1/D1/reading", payload, NOW, true);
    assert_eq!(take(&mut standby, "lamp/z1/D1/reading", payload, NOW, true).duplicate, 1);
    let received = frames(&mut standby);
    let mut restarted = node(&["z1"]);
    let (place, reading) = (Place { post: None, device: None }, only(&received));
    restarted.admission.learn(&place, &reading);
    assert_eq!(take(&mut restarted, "lamp/z1/D1/reading", payload, NOW, true).duplicate, 1);
    for standby in [&mut standby, &mut restarted] {
        assert_eq!(take(standby, "", &body(&received), NOW, true).stored, 1);
        let kept = frames(standby);
        let judged = only(&kept);
        assert!(!judged.marks.has(Marks::NOT_JUDGED) && judged.stored_ts == reading.stored_ts);
        assert_eq!(take(standby, "", &body(&received), NOW, true).duplicate, 1);
    }
}
