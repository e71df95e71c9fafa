use lampguard_model::record::{self, Record, StoredReading};
use lampguard_model::{Field, Marks};

use super::*;

const T: Timestamp = Timestamp(1_795_435_200_000);

fn register() -> Arc<Register> {
    let header = lampguard_model::register::header();
    let line = |n: u32| format!("P{n},D{n},z1,r,{n},,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M,300");
    Arc::new(Register::parse(format!("{header}\n{}\n{}\n", line(1), line(2)).as_bytes()).unwrap())
}

/// A reading that came out: post, leakage in thousandths, marks.
type Came = (String, Option<i64>, Marks);

/// What came out of an intake: readings, outcomes, other records.
fn out_of(messages: &[(i64, &str, &str, bool)]) -> (Vec<Came>, Totals, usize) {
    let mut offline = Offline::new(register(), Offline::mappings());
    let (mut readings, mut others) = (Vec::new(), 0);
    let mut keep = |frame: &FrameBuf| {
        for (_, kind, bytes) in frame.records() {
            match record::decode(kind, bytes).unwrap() {
                Record::Reading(StoredReading { post, fields, marks, .. }) => {
                    readings.push((post.to_owned(), fields.get(Field::LeakageMa), marks));
                }
                _ => others += 1,
            }
        }
    };
    for (after, topic, payload, retain) in messages {
        offline.take(Timestamp(T.0 + after), topic, payload.as_bytes(), *retain, &mut keep);
    }
    offline.flush(&mut keep);
    let totals = offline.totals().clone();
    (readings, totals, others)
}

#[test]
fn old_messages_are_placed_and_admitted_as_live_ones_are() {
    let (ts, old) = (T.0, T.0 - 3_600_000);
    let first = format!(r#"{{"ts":{ts},"boot":1,"seq":1,"leakage_ma":1.5}}"#);
    let saturated = format!(r#"{{"ts":{ts},"boot":1,"seq":2,"leakage_ma":65535}}"#);
    let stale = format!(r#"{{"ts":{old},"boot":1,"seq":3,"leakage_ma":40}}"#);
    let late = format!(r#"{{"ts":{old},"boot":1,"seq":4,"leakage_ma":2}}"#);
    let topic = "lamp/z9/D1/reading";
    let (readings, totals, others) = out_of(&[
        (0, topic, &first, false),
        (900, topic, &first, false),
        (1000, topic, &saturated, false),
        (2000, topic, &stale, true),
        (3000, topic, &late, false),
        (4000, "lamp/z1/stranger/reading", r#"{"leakage_ma":3}"#, false),
        (5000, "weather/z1/rain", r#"{"rain_mm_h":1}"#, false),
        (6000, "lamp/z1/D1/status", "online", true),
        (7000, topic, "no JSON", false),
        (8000, "other/topic", "{}", false),
    ]);
    let marks: Vec<Vec<&str>> = readings.iter().map(|(_, _, marks)| marks.names().collect()).collect();
    assert_eq!(marks[0], ["zone_mismatch"]);
    assert_eq!(marks[1], ["saturated", "zone_mismatch", "ts_moved"]);
    assert_eq!(marks[2], ["late", "zone_mismatch"]);
    assert_eq!(marks[3], ["unregistered", "no_identity"]);
    assert_eq!((&*readings[0].0, readings[0].1), ("P1", Some(1500)));
    assert_eq!(readings[3].0, "stranger");
    assert_eq!((totals.stored, totals.duplicate), (4, 1));
    assert_eq!(totals.refused_by_reason().collect::<Vec<_>>(), [("retained_stale", 1)]);
    assert_eq!(totals.quarantined_by_reason().collect::<Vec<_>>(), [("json", 1), ("topic", 1)]);
    assert_eq!(others, 4, "weather, status and two refused payloads");
}

#[test]
fn a_post_named_on_the_topic_of_another_one_is_heard_and_marked_and_an_unknown_device_is_heard() {
    let (own, gateway) = ("lamp/z1/D1/reading", "lamp/z1/gateway/reading");
    let (readings, totals, _) = out_of(&[
        (0, own, r#"[{"device":"D1","leakage_ma":1},{"post_id":"P1","leakage_ma":2}]"#, false),
        (1, own, r#"[{"device":"D2","leakage_ma":3},{"device":"SN-8877","leakage_ma":45}]"#, false),
        (2, gateway, r#"[{"device":"D1","leakage_ma":5},{"device":"D2","leakage_ma":6}]"#, false),
    ]);
    let other: Vec<bool> = readings.iter().map(|(_, _, marks)| marks.has(Marks::OTHER_TOPIC)).collect();
    assert_eq!(other, [false, false, true, false, false, false]);
    assert_eq!((&*readings[2].0, &*readings[3].0, totals.stored), ("P2", "SN-8877", 6));
}

#[test]
fn a_batch_in_which_nobody_is_named_is_kept_once() {
    let payload = format!("[{}]", vec![r#"{"leakage_ma":1}"#; 1000].join(","));
    let (readings, totals, others) = out_of(&[(0, "street/x/report", "{}", false), (1, "", &payload, false)]);
    assert_eq!((readings.len(), others), (0, 2), "{totals:?}");
}

#[test]
fn what_a_broker_kept_says_nothing_of_the_weather_now_and_unknown_zones_have_none() {
    let (ts, rain) = (T.0, "weather/z1/rain");
    let dated = format!(r#"{{"ts":{ts},"rain_mm_h":0}}"#);
    let (_, totals, others) = out_of(&[
        (0, rain, r#"{"rain_mm_h":0}"#, true),
        (1, rain, r#"{"ts":12,"rain_mm_h":0}"#, true),
        (2, rain, &dated, true),
        (3, rain, r#"{"rain_mm_h":0}"#, false),
        (4, "weather/all/rain", r#"{"wet":true}"#, false),
        (5, "weather/zone1/rain", r#"{"rain_mm_h":0}"#, false),
    ]);
    assert_eq!(totals.refused_by_reason().collect::<Vec<_>>(), [("retained_stale", 2)]);
    assert_eq!(totals.quarantined_by_reason().collect::<Vec<_>>(), [("weather", 1)]);
    assert_eq!(others, 4, "three of weather, and the refused payload");
}

#[test]
fn payloads_of_known_makers_are_read_by_their_topics() {
    let (readings, totals, _) = out_of(&[
        (0, "street/x/report", r#"{"device_id":"D1","leak_current":301}"#, false),
        (1, "device_report", r#"{"leakage":{"id":"D1","param":{"I":7}}}"#, false),
        (2, "tele/D1/SENSOR", r#"{"ENERGY":{"Voltage":229}}"#, false),
        (3, "D1/events/rpc", r#"{"params":{"em1:0":{"voltage":230.1}}}"#, false),
    ]);
    assert_eq!(totals.stored, 4, "{totals:?}");
    assert!(readings.iter().all(|(post, ..)| post == "P1"));
    let leakage: Vec<Option<i64>> = readings.iter().map(|(_, leakage, _)| *leakage).collect();
    assert_eq!(leakage, [Some(30_100), Some(7000), None, None]);
}

#[test]
fn frames_come_as_they_fill_and_in_order() {
    let mut offline = Offline::new(register(), Offline::mappings());
    let (mut frames, mut last, mut count) = (0, 0, 0);
    let mut look = |frame: &FrameBuf| {
        frames += 1;
        for (seq, kind, bytes) in frame.records() {
            let Ok(Record::Reading(reading)) = record::decode(kind, bytes) else { panic!("not a reading") };
            assert!(reading.received_at.0 > last && seq == count);
            (last, count) = (reading.received_at.0, count + 1);
        }
    };
    for n in 0..3000 {
        let payload = format!(r#"{{"boot":1,"seq":{n},"leakage_ma":1}}"#);
        offline.take(Timestamp(T.0 + n), "lamp/z1/D1/reading", payload.as_bytes(), false, &mut look);
    }
    offline.flush(&mut look);
    assert!(frames > 2 && count == 3000, "{frames} frames, {count} readings");
}
