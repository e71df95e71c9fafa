use std::time::Duration;

use lampguard_model::series::{self, ABNORMAL, Course, ZONE};

use super::super::PointWriter;
use super::super::stub::{Bench, Database, Stub, clock, config, now, parse, spoiled, status, until};
use super::*;

const NOW: Timestamp = Timestamp(1_795_435_200_000);

fn zone(n: u64) -> Points {
    let mut points = Points::default();
    assert!(points.push(&ZONE, NOW + Millis(n as i64), &[("zone", "z1")], &[("posts", whole(n))]));
    points
}

#[test]
fn a_point_is_written_with_what_is_known_and_nothing_else() {
    let mut points = Points::default();
    let tags = [("post", "P 1"), ("zone", "z1"), ("road", "解放路,东"), ("geohash", "")];
    assert!(points.push(&ABNORMAL, NOW, &tags, &[("state", whole(2))]));
    assert!(points.push(
        &ZONE,
        NOW,
        &[("zone", "z1")],
        &[("leakage_ma_max", Some(-30_050)), ("posts", None)]
    ));
    let text = std::str::from_utf8(points.text()).unwrap();
    assert_eq!(
        text,
        "abnormal,post=P\\ 1,zone=z1,road=解放路\\,东 state=2 1795435200000\nzone,zone=z1 leakage_ma_max=-30.05 1795435200000\n"
    );
    assert!(text.lines().all(|row| parse(row).is_some()));
    let kept = text.len();
    assert!(!points.push(&ZONE, NOW, &[("zone", "z1")], &[("posts", None)]), "nothing to say");
    assert!(!points.push(&ZONE, NOW, &[("zone", "a\\")], &[("posts", whole(1))]), "no such name");
    assert_eq!((points.text().len(), points.rows(), points.bad_names()), (kept, 2, 1));
}

#[test]
fn rows_of_readings_and_weather_hold_to_the_table() {
    // What the encoder of `line.rs` can write: the fields of readings are those of the table by a test of the model.
    for (measurement, tags) in [
        (series::LAMP, vec!["post", "zone", "feeder"]),
        (series::CABINET, vec!["post", "zone", "feeder"]),
        (series::WEATHER, vec!["zone"]),
    ] {
        assert_eq!(measurement.tags.iter().map(|tag| tag.name).collect::<Vec<_>>(), tags);
    }
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    let json = br#"{"rain_mm_h":12.5,"warning":"red","wet":true}"#;
    lampguard_model::record::encode_weather(NOW, "all", json, &mut bytes);
    let limits = super::super::line::Limits::at(NOW, 30);
    super::super::line::encode(lampguard_model::record::WEATHER, &bytes, limits, &mut out).unwrap();
    let line = parse(std::str::from_utf8(&out).unwrap().trim_end()).unwrap();
    let fields: Vec<_> = series::WEATHER.fields.iter().map(|field| field.name).collect();
    let mut written: Vec<_> = line.fields.keys().map(String::as_str).collect();
    written.sort_by_key(|name| fields.iter().position(|field| field == name));
    assert_eq!((line.measurement.as_str(), written), (series::WEATHER.name, fields));
    assert!(ZONE.fields.iter().any(|field| field.course == Course::Counter));
}

#[test]
fn what_waits_has_a_limit_the_newest_stay_and_the_others_are_counted() {
    let mut waiting = Waiting::default();
    let row = zone(5);
    let (mut put, mut given_up) = (0, 0);
    while given_up < 1000 {
        given_up += waiting.put(row.text(), 1);
        put += 1;
    }
    assert!(waiting.bytes() <= POINTS_BYTES_MAX && waiting.bytes() > POINTS_BYTES_MAX - 2 * BATCH_BYTES);
    let mut kept = 0;
    while let Some((number, text)) = waiting.first() {
        assert!(text.len() <= BATCH_BYTES);
        kept += waiting.accepted(number, NOW);
    }
    assert_eq!(kept + given_up, put);
    // What was accepted makes room first, and is no loss.
    assert_eq!((waiting.bytes(), waiting.put(row.text(), 1)), (0, 0));
    waiting.forget(NOW + Millis::minutes(10), Millis::minutes(2));
    assert_eq!((waiting.bytes, waiting.bytes()), (row.text().len(), row.text().len()));
}

#[test]
fn a_refused_batch_is_halved_until_the_bad_row_stands_alone() {
    for bad in 0..7u64 {
        let mut waiting = Waiting::default();
        let mut points = Points::default();
        for n in 0..7 {
            points.push(&ZONE, NOW, &[("zone", "z1")], &[("posts", whole(10u64.pow(n)))]);
        }
        waiting.put(points.text(), points.rows());
        let (mut taken, mut refused) = (0, 0);
        while let Some((number, text)) = waiting.first() {
            let bad = format!("posts={} ", 10u64.pow(bad as u32));
            match std::str::from_utf8(text).unwrap().contains(&bad) {
                true => refused += waiting.refused(number),
                false => taken += waiting.accepted(number, NOW),
            }
        }
        assert_eq!((taken, refused), (6, 1), "row {bad}");
    }
}

#[test]
fn what_was_accepted_is_sent_again_in_its_order_and_counted_once() {
    let mut waiting = Waiting::default();
    for n in 0..4 {
        waiting.put(zone(n).text(), 1);
        if n < 3 {
            let (number, _) = waiting.first().unwrap();
            assert_eq!(waiting.accepted(number, NOW + Millis::minutes(n as i64)), 1);
        }
    }
    waiting.forget(NOW + Millis::minutes(2), Millis::seconds(90));
    waiting.again();
    let mut sent = Vec::new();
    let mut first_time = 0;
    while let Some((number, text)) = waiting.first() {
        sent.push(parse(std::str::from_utf8(text).unwrap().trim_end()).unwrap().fields["posts"]);
        first_time += waiting.accepted(number, NOW);
    }
    assert_eq!((sent, first_time), (vec![1.0, 2.0, 3.0], 1));
}

fn start(stub: &Stub, bench: &Bench) -> PointWriter {
    let window = Duration::from_secs(120);
    PointWriter::start(config(&stub.url()), window, bench.metrics.clone(), clock()).unwrap()
}

fn now_zone(n: u64) -> Points {
    let mut points = Points::default();
    points.push(&ZONE, now() + Millis(n as i64), &[("zone", "z1")], &[("posts", whole(n))]);
    points
}

#[test]
fn points_survive_an_outage_and_a_database_that_forgets_its_last_seconds() {
    let (stub, database) = spoiled(3, |turn, _| status([500, 503, 401][turn]));
    let bench = Bench::new();
    let writer = start(&stub, &bench);
    for n in 0..20 {
        writer.put(&now_zone(n));
    }
    until("all points", || database.points("zone", "posts") == (0..20).collect::<Vec<_>>());
    database.restart_and_forget(Duration::from_secs(600));
    assert!(database.points("zone", "posts").is_empty());
    writer.put(&now_zone(20));
    until("all points again", || database.points("zone", "posts") == (0..=20).collect::<Vec<_>>());
    until("all counted", || bench.metrics.points_written.get() == 21);
    let dropped = |word: &str| bench.metrics.points_dropped.with_label_values(&[word]).get();
    assert_eq!((dropped("full"), dropped("refused"), dropped("bad_name")), (0, 0, 0));
    until("nothing waits", || bench.metrics.points_waiting.with_label_values(&["main"]).get() == 0);
    writer.stop();
}

#[test]
fn a_point_that_a_database_refuses_is_given_up_alone_and_counted() {
    let kept = Database::default();
    let database = kept.clone();
    let stub = Stub::start(move |request| {
        if request.is_write() && request.rows().iter().any(|row| row.contains("posts=7 ")) {
            return status(400);
        }
        kept.answer(request)
    });
    let bench = Bench::new();
    let writer = start(&stub, &bench);
    let mut points = Points::default();
    for n in 0..12 {
        points.push(&ZONE, now() + Millis(n as i64), &[("zone", "z1")], &[("posts", whole(n))]);
    }
    points.push(&ZONE, now(), &[("zone", "\n")], &[("posts", whole(1))]);
    writer.put(&points);
    let others: Vec<u64> = (0..12).filter(|n| *n != 7).collect();
    until("the others", || database.points("zone", "posts") == others);
    let dropped = |word: &str| bench.metrics.points_dropped.with_label_values(&[word]).get();
    until("the count", || (dropped("refused"), dropped("bad_name")) == (1, 1));
    writer.stop();
}

#[test]
fn a_database_that_hangs_holds_up_neither_who_hands_over_nor_the_end() {
    let stub = Stub::start(|_| super::super::stub::Reply::Silence);
    let bench = Bench::new();
    let writer = start(&stub, &bench);
    let began = std::time::Instant::now();
    for n in 0..1000 {
        writer.put(&now_zone(n));
    }
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    std::thread::sleep(Duration::from_millis(300));
    let began = std::time::Instant::now();
    writer.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
