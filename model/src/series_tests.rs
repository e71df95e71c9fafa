use std::collections::BTreeSet;

use super::*;
use crate::field;

#[test]
fn the_tables_of_readings_have_every_field_of_a_reading_with_its_unit() {
    for measurement in [LAMP, CABINET] {
        let told: Vec<_> = measurement.fields.iter().map(|field| (field.name, field.unit)).collect();
        let known = field::ALL.iter().map(|field| (field.name(), field.info().unit));
        assert_eq!(told, known.chain([("seq", ""), ("boot", "")]).collect::<Vec<_>>());
    }
}

#[test]
fn names_are_plain_and_no_name_of_victoriametrics_stands_for_two_things() {
    let plain = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.bytes().all(allowed) && !name.as_bytes()[0].is_ascii_digit()
    };
    let mut seen = BTreeSet::new();
    for (name, measurement, field) in metric_names() {
        assert!(plain(&name), "{name}");
        assert!(!measurement.has_tag(field.name), "{name}: a tag and a field share a name");
        assert!(seen.insert(name.clone()), "{name} stands twice");
    }
    for measurement in MEASUREMENTS {
        assert!(measurement.tags.iter().all(|tag| plain(tag.name)), "{}", measurement.name);
    }
}

#[test]
fn codes_name_fields_of_the_table_and_every_number_once() {
    for codes in CODES {
        let (of, field) = codes.of.split_once('.').unwrap();
        assert!(measurement(of).unwrap().field(field).is_some(), "{}", codes.of);
        let numbers: BTreeSet<_> = codes.codes.iter().map(|code| code.number).collect();
        let words: BTreeSet<_> = codes.codes.iter().map(|code| code.word).collect();
        assert_eq!((numbers.len(), words.len()), (codes.codes.len(), codes.codes.len()), "{}", codes.of);
    }
    assert_eq!(number_of(&POST_STATES, "danger"), Some(2));
}

/// The tables of the page, as they follow from the constants.
fn tables() -> String {
    let mut text = String::new();
    let put = |text: &mut String, line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for measurement in MEASUREMENTS {
        put(&mut text, format!("### {}\n\nWritten {}.\n", measurement.name, measurement.written));
        put(&mut text, "| tag or field | unit | | what it says |\n|---|---|---|---|".to_owned());
        for tag in measurement.tags {
            put(&mut text, format!("| `{}` | | tag | {} |", tag.name, tag.says));
        }
        for field in measurement.fields {
            let (name, unit, course) = (field.name, field.unit, field.course.word());
            put(&mut text, format!("| `{name}` | {unit} | {course} | {} |", field.says));
        }
        put(&mut text, String::new());
    }
    put(&mut text, "### Codes\n".to_owned());
    put(&mut text, "| field | number | word | 中文 |\n|---|---|---|---|".to_owned());
    for codes in CODES {
        for code in codes.codes {
            put(&mut text, format!("| `{}` | {} | {} | {} |", codes.of, code.number, code.word, code.zh));
        }
    }
    text
}

#[test]
fn the_page_of_series_holds_the_table_of_every_measurement_and_every_code() {
    let page = include_str!("../../docs/series.md");
    let tables = tables();
    if let Some(missing) = tables.lines().find(|line| !page.contains(line)) {
        panic!("docs/series.md has no line {missing:?}; its tables are:\n\n{tables}");
    }
    assert!(
        page.contains(&tables),
        "docs/series.md has lines in another order, or others between; its tables are:\n\n{tables}"
    );
}

#[test]
fn each_stage_has_a_count_and_a_sum_among_the_fields_of_zone() {
    for (count, sum) in STAGE_FIELDS {
        assert_eq!(Some(sum.to_owned()), count.strip_suffix("_total").map(|name| format!("{name}_s_total")));
        assert_eq!(ZONE.field(count).map(|field| field.course), Some(Course::Counter));
        assert_eq!(ZONE.field(sum).map(|field| (field.course, field.unit)), Some((Course::Counter, "s")));
    }
}

#[test]
fn the_buckets_of_responses_are_fields_of_zone_and_rise() {
    for (minutes, name) in RESPONSE_BUCKETS {
        assert_eq!(name, format!("response_le_{minutes}m_total"));
        assert_eq!(ZONE.field(name).map(|field| field.course), Some(Course::Counter));
    }
    assert!(RESPONSE_BUCKETS.is_sorted_by_key(|(minutes, _)| *minutes));
}
