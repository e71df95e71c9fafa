use lampguard_model::{Cause, Field, Flags, field};
use proptest::prelude::*;

use super::super::stub::{Line, parse};
use super::*;

const NOW: Timestamp = Timestamp(1_795_435_200_000);

fn row(reading: &StoredReading<'_>) -> Result<Line, Skipped> {
    let mut bytes = Vec::new();
    record::encode_reading(reading, &mut bytes);
    let mut out = b"before\n".to_vec();
    let encoded = encode(record::READING, &bytes, Limits::at(NOW, 30), &mut out);
    let text = std::str::from_utf8(&out).unwrap().strip_prefix("before\n").unwrap();
    if let Err(skipped) = encoded {
        assert_eq!(text, "");
        return Err(skipped);
    }
    assert_eq!(encoded, Ok(Some(reading.received_at)));
    let row = text.strip_suffix('\n').unwrap();
    assert!(!row.contains('\n'));
    Ok(parse(row).unwrap_or_else(|| panic!("not line protocol: {row}")))
}

fn reading<'a>(post: &'a str, zone: &'a str, feeder: &'a str) -> StoredReading<'a> {
    StoredReading { post, zone, feeder, stored_ts: NOW, ..super::super::stub::reading(5) }
}

/// What a float tells apart exactly; every field's range lies far within.
const THOUSANDTHS: std::ops::Range<i64> = -(1 << 52)..1 << 52;

fn names() -> impl Strategy<Value = String> {
    // Every separator often, and now and then anything at all.
    prop_oneof![
        "[a-z,= \"'é号\\-]{1,12}",
        "[ ,=]{1,6}",
        "\\PC{1,20}",
        any::<String>().prop_map(|text| text.chars().take(50).collect()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back_or_is_refused(
        post in names(), zone in names(), feeder in names(),
        values in proptest::collection::btree_map(0..field::FIELD_COUNT, THOUSANDTHS, 0..22),
        seq in proptest::option::of(any::<u64>()),
        boot in proptest::option::of(any::<u32>()),
        ahead in -30_000_000_000i64..2_000_000_000,
        of_cabinet in any::<bool>(),
    ) {
        let mut reading = reading(&post, &zone, &feeder);
        if of_cabinet {
            reading.marks.add(Marks::CABINET);
        }
        reading.stored_ts = Timestamp(NOW.0 + ahead);
        (reading.seq, reading.boot) = (seq, boot);
        reading.fields = lampguard_model::Fields::default();
        for (number, value) in &values {
            reading.fields.set(field::ALL[*number], *value);
        }
        let doubtful = |name: &String| name.contains('\\') || name.chars().any(char::is_control);
        match row(&reading) {
            Ok(line) => {
                prop_assert_eq!(line.measurement.as_str(), if of_cabinet { "cabinet" } else { "lamp" });
                prop_assert_eq!(line.ts, reading.stored_ts.0);
                prop_assert_eq!(&line.tags["post"], &post);
                prop_assert_eq!(&line.tags["zone"], &zone);
                prop_assert_eq!(line.tags.get("feeder").cloned().unwrap_or_default(), feeder);
                let count = values.len() + usize::from(seq.is_some()) + usize::from(boot.is_some());
                prop_assert_eq!(line.fields.len(), count);
                for (number, value) in &values {
                    let written = line.fields[field::ALL[*number].name()];
                    prop_assert_eq!(written, *value as f64 / 1000.0);
                }
                if let Some(seq) = seq {
                    prop_assert_eq!(line.fields["seq"], seq as f64);
                }
            }
            Err(Skipped::BadName) => prop_assert!(
                post.is_empty() || zone.is_empty() || [&post, &zone, &feeder].into_iter().any(doubtful)
            ),
            Err(Skipped::Empty) => prop_assert!(values.is_empty() && seq.is_none() && boot.is_none()),
            Err(Skipped::TooOld) => prop_assert!(ahead < -(30 * 24 - 1) * 3_600_000),
            Err(Skipped::TooNew) => prop_assert!(ahead > 47 * 3_600_000),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_bytes_make_a_row_that_is_not_line_protocol(
        kind in 0u8..6,
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut out = Vec::new();
        if let Ok(Some(_)) = encode(kind, &bytes, Limits::at(NOW, 30), &mut out) {
            let text = std::str::from_utf8(&out).unwrap();
            prop_assert!(parse(text.strip_suffix('\n').unwrap()).is_some(), "{}", text);
        } else {
            prop_assert!(out.is_empty());
        }
    }
}

#[test]
fn a_row_is_written_as_the_contract_draws_it() {
    let mut reading = reading("Z1-000001", "z1", "F 1");
    reading.stored_ts = Timestamp(1_795_435_200_123);
    reading.fields.set(Field::TemperatureC, -500);
    let mut bytes = Vec::new();
    record::encode_reading(&reading, &mut bytes);
    let mut out = Vec::new();
    encode(record::READING, &bytes, Limits::at(NOW, 30), &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "lamp,post=Z1-000001,zone=z1,feeder=F\\ 1 \
         leakage_ma=0.82,shell_v=0.005,supply=1,temperature_c=-0.5,seq=5,boot=7 1795435200123\n"
    );
    reading.marks.add(Marks::CABINET);
    assert_eq!(row(&reading).unwrap().measurement, "cabinet");
}

#[test]
fn what_has_no_series_no_number_or_no_time_gives_no_row() {
    let skipped = |change: &dyn Fn(&mut StoredReading<'static>)| {
        let mut reading = StoredReading { stored_ts: NOW, ..super::super::stub::reading(5) };
        change(&mut reading);
        row(&reading).err()
    };
    assert_eq!(skipped(&|_| ()), None);
    assert_eq!(skipped(&|r| r.marks.add(Marks::UNTRACKED)), Some(Skipped::Untracked));
    assert_eq!(skipped(&|r| r.stored_ts = NOW - Millis::hours(24 * 30)), Some(Skipped::TooOld));
    assert_eq!(skipped(&|r| r.stored_ts = NOW + Millis::hours(48)), Some(Skipped::TooNew));
    assert_eq!(
        skipped(&|r| {
            (r.seq, r.boot) = (None, None);
            r.fields = lampguard_model::Fields::default();
            r.flags = Flags::LEAK_ALARM;
            r.cause = Cause::Alarm;
        }),
        Some(Skipped::Empty)
    );
    assert_eq!(skipped(&|r| r.post = "a\\"), Some(Skipped::BadName));
    assert_eq!(skipped(&|r| r.zone = "a\nlamp"), Some(Skipped::BadName));
    assert_eq!(skipped(&|r| r.feeder = ""), None);
    let mut out = Vec::new();
    let limits = Limits::at(NOW, 30);
    assert_eq!(encode(record::READING, b"x", limits, &mut out), Err(Skipped::Unreadable));
    assert_eq!(encode(record::STATUS, b"x", limits, &mut out), Ok(None));
    assert_eq!(encode(record::QUARANTINED, b"x", limits, &mut out), Ok(None));
}

#[test]
fn weather_is_written_as_numbers() {
    let weather = |zone: &str, json: &str| {
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        record::encode_weather(NOW, zone, json.as_bytes(), &mut bytes);
        encode(record::WEATHER, &bytes, Limits::at(NOW, 30), &mut out)
            .map(|_| String::from_utf8(out).unwrap())
    };
    assert_eq!(
        weather("all", r#"{"rain_mm_h":12.5,"warning":"red","wet":true}"#).unwrap(),
        "weather,zone=all rain_mm_h=12.5,warning=4,wet=1 1795435200000\n"
    );
    assert_eq!(
        weather("z1", r#"{"ts":1795435100000,"wet":false}"#).unwrap(),
        "weather,zone=z1 wet=0 1795435100000\n"
    );
    assert_eq!(weather("z1", r#"{"warning":"none"}"#).unwrap(), "weather,zone=z1 warning=0 1795435200000\n");
    assert_eq!(weather("z1", "{}"), Err(Skipped::Unreadable));
}

#[test]
fn rows_are_cut_where_they_end() {
    let mut rows = Rows::default();
    let limits = Limits::at(NOW, 30);
    for seq in 0..10 {
        let reading = StoredReading { stored_ts: NOW, ..super::super::stub::reading(seq) };
        let mut bytes = Vec::new();
        record::encode_reading(&reading, &mut bytes);
        rows.push(seq * 2, record::READING, &bytes, limits).unwrap();
        rows.push(seq * 2 + 1, record::STATUS, b"", limits).unwrap();
    }
    let whole = rows.text(0, 10).to_vec();
    let mut parts: Vec<u8> = (0..10).flat_map(|n| rows.text(n, n + 1).to_vec()).collect();
    assert_eq!(parts, whole);
    assert_eq!(rows.before(0, 10, 6), 3);
    assert_eq!(rows.before(5, 10, 6), 0);
    rows.drop_front(4);
    assert_eq!(rows.len(), 6);
    assert_eq!(rows.get(0).unwrap().seq, 8);
    parts = (0..6).flat_map(|n| rows.text(n, n + 1).to_vec()).collect();
    assert_eq!(rows.text(0, 6), parts);
    assert!(whole.ends_with(&parts));
    rows.clear();
    assert_eq!(rows.text(0, 0), b"");
}
