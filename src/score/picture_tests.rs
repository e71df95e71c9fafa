//! The picture: well-formed, bounded, and saying in words what it says in signs.

use lampguard_model::{Millis, Timestamp};

use super::facts::{Class, Family, Going, Hazard, Message, Spot, Told};
use super::picture::{ROWS_MAX, Scene, draw};
use super::recording::Recording;
use super::rule::score;
use crate::cli::Lang;

const T: Timestamp = Timestamp(1_795_435_200_000);

fn minutes(n: i64) -> Timestamp {
    T + Millis::minutes(n)
}

fn hazard(post: &str, danger: i64) -> Hazard {
    Hazard {
        spot: Spot::post(post),
        kind: "electric".to_owned(),
        cause: "wet_joint".to_owned(),
        class: Class::Dangerous,
        starts_at: minutes(danger - 30),
        dangerous_at: Some(minutes(danger)),
        ends_at: (danger % 2 == 0).then(|| minutes(danger + 200)),
        period: Millis::minutes(5),
        sensor: "ok".to_owned(),
        observable: true,
    }
}

fn told(post: &str, at: i64) -> Told {
    Told {
        id: format!("LG-{post}"),
        kind: "leak_critical".to_owned(),
        family: Family::Electric,
        posts: vec![post.to_owned()],
        feeder: None,
        zone: None,
        place: None,
        p1_at: Some(minutes(at)),
        first_notice_at: Some(minutes(at)),
        p1_notice_at: Some(minutes(at)),
        voided: false,
        going: Going::default(),
    }
}

fn picture(hazards: &[Hazard], told: &[Told], recording: Option<&Recording>, lang: Lang) -> String {
    let messages: Vec<Message> = told
        .iter()
        .map(|told| Message { to: "desk".to_owned(), telling: told.id.clone(), at: told.p1_at.unwrap() })
        .collect();
    let scores = score(hazards, told, Some(&messages), None, None);
    let svg = draw(Scene { scores: &scores, told, messages: Some(&messages), recording, lang });
    well_formed(&svg);
    svg
}

/// Every tag closes in order, no stray markup, no number that is none.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("a tag does not end: {piece}"));
        assert!(!text.contains('>'), "stray markup: {piece}");
        assert_eq!(tag.matches('"').count() % 2, 0, "an attribute does not end: {tag}");
        let name = tag.trim_matches('/').split([' ', '\n']).next().unwrap_or_default().to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    for word in ["NaN", "inf", "{", "href", "<script", "url(http"] {
        assert!(!svg.contains(word), "{word} in the picture");
    }
}

fn height(svg: &str) -> u32 {
    let rest = svg.split("height=\"").nth(1).unwrap();
    rest.split('"').next().unwrap().parse().unwrap()
}

#[test]
fn every_verdict_stands_in_the_picture_in_words_of_both_languages() {
    let hazards = [hazard("P1", 0), hazard("P2", 1), hazard("P3", 2), hazard("P4", 3), hazard("P5", 4)];
    let void = Told { voided: true, ..told("P4", 3) };
    let told = [told("P1", 1), told("P2", 60), void, told("P5", -60), told("X1", 5), told("X2", 5)];
    for (lang, words) in [
        (Lang::Zh, ["● 已发现 +60.0 s", "▲ 迟报 +59 min", "✕ 漏报<", "✕ 漏报 (已撤销)", "✕ 漏报 (过早通知)"]),
        (Lang::En, ["● found +60.0 s", "▲ late +59 min", "✕ missed<", "✕ missed (voided)", "✕ missed (told"]),
    ] {
        let svg = picture(&hazards, &told, None, lang);
        for word in words {
            assert!(svg.contains(word), "{word} is missing");
        }
        assert!(svg.contains("×2") && svg.contains("X1, X2 (2)"), "false ones that meet are counted");
        assert!(svg.contains("--readings"), "it says that no recording was given");
    }
}

#[test]
fn nothing_at_all_one_hazard_and_300_give_pictures_of_bounded_height() {
    let nothing = picture(&[], &[], None, Lang::Zh);
    assert!(nothing.contains("真值中没有需要发现的隐患") && height(&nothing) < 400);
    let one = picture(&[hazard("P1", 0)], &[], None, Lang::En);
    assert!(one.contains("✕ missed<"));
    let many: Vec<Hazard> = (0..300).map(|n| hazard(&format!("P{n}"), n)).collect();
    let late: Vec<Told> = (290..300).map(|n| told(&format!("P{n}"), n + 60)).collect();
    let found = (10..290).map(|n| told(&format!("P{n}"), n));
    let all: Vec<Told> = found.chain(late).collect();
    let svg = picture(&many, &all, None, Lang::En);
    assert_eq!(svg.matches("<g><title>P").count(), ROWS_MAX);
    assert_eq!((svg.matches("✕ missed</text>").count(), svg.matches("▲ late").count() / 2), (10, 10));
    assert!(svg.contains("and 240 more not drawn (found 240)"), "missed and late ones are drawn first");
    assert!(height(&svg) < 2100, "{}", height(&svg));
    let none_told = picture(&many, &[], None, Lang::En);
    assert!(none_told.contains("and 240 more not drawn (missed 240)"));
}

#[test]
fn names_from_outside_cannot_break_out_of_the_picture() {
    let mut bad = hazard("</text><script>alert(1)</script>", 0);
    bad.cause = "\"><g onload='x'>&\u{0}\u{1b}".to_owned();
    let svg = picture(&[bad], &[told("<b>", 9)], None, Lang::En);
    assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script") && !svg.contains("<b>"));
}

#[test]
fn rain_is_drawn_where_it_is_known_and_stays_small_however_long_it_rains() {
    let steps = |every_s: i64| (0..50_000).map(move |n| (T + Millis::seconds(n * every_s), (n % 7) as f64));
    let mut recording = Recording { span: Some((minutes(-60), minutes(240))), ..Recording::default() };
    recording
        .rain
        .insert("z<1>".to_owned(), vec![(minutes(-30), 4.0), (minutes(10), 4.0), (minutes(20), 0.0)]);
    recording.rain.insert("z2".to_owned(), steps(1).collect());
    let svg = picture(&[hazard("P1", 0)], &[told("P1", 1)], Some(&recording), Lang::Zh);
    assert!(svg.contains("雨强 z&lt;1&gt;") && svg.contains("≤ 4.0 mm/h") && svg.contains("≤ 6.0 mm/h"));
    assert!(svg.len() < 100_000, "{} bytes", svg.len());
    let dry = Recording { span: Some((T, minutes(5))), ..Recording::default() };
    assert!(picture(&[], &[], Some(&dry), Lang::En).contains("holds no weather"));
    for zone in 0..9 {
        recording.rain.insert(format!("y{zone}"), vec![(T, 1.0)]);
    }
    assert!(picture(&[], &[], Some(&recording), Lang::En).contains("and 5 more not drawn"));
}
