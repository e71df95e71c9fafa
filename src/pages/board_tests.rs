use std::sync::Arc;

use lampguard_model::Millis;

use super::*;
use crate::pages::look::test_look;
use crate::pages::words::Lang;
use crate::tokens::Role;

fn tile(name: &str) -> ZoneTile {
    ZoneTile { id: "z1".to_owned(), name: name.to_owned(), ..ZoneTile::default() }
}

fn shown(lang: Lang, board: &Board) -> String {
    render(&test_look(lang, Some(Role::Viewer)), board).0
}

#[test]
fn page_w3_a_calm_board_has_no_word_and_no_class_of_danger() {
    let mut zone = tile("东区");
    zone.duty.crew = Some(Arc::default());
    let look = test_look(Lang::Zh, None);
    let board = Board { zones: vec![zone], newest: Some(look.now), ..Board::default() };
    let text = shown(Lang::Zh, &board);
    assert!(text.contains("当前没有未结险情") && text.contains("系统: 正常"), "{text}");
    for loud in ["bad", "count p1", "count p2", "⚠", "row p1"] {
        assert!(!text.contains(loud), "{loud} in {text}");
    }
}

#[test]
fn what_fails_is_said_in_words_and_old_data_are_old() {
    let look = test_look(Lang::Zh, None);
    let board = Board {
        failing: vec!["channel:dingtalk".to_owned()],
        journal_stopped: true,
        newest: Some(look.now - Millis::minutes(20)),
        ..Board::default()
    };
    let text = shown(Lang::Zh, &board);
    for part in ["异常", "channel:dingtalk", "磁盘不可写，报警继续", "最新数据: 20 分前"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(shown(Lang::En, &Board::default()).contains("no data yet"));
}

#[test]
fn a_zone_says_who_is_on_duty_how_wet_it_is_and_that_nobody_is() {
    let mut zone = tile("<东区>");
    zone.wet = Some("unknown");
    let board = |zone: &ZoneTile| Board { zones: vec![zone.clone()], ..Board::default() };
    let text = shown(Lang::Zh, &board(&zone));
    assert!(text.contains("无人当班") && text.contains("天气未知，按潮湿限值"), "{text}");
    assert!(text.contains("&lt;东区&gt;") && !text.contains("<东区>"));
    let name = "抢修一班".to_owned();
    zone.duty.crew = Some(Arc::new(lampguard_alerting::Crew { name, ..Default::default() }));
    zone.wet = Some("rain");
    let text = shown(Lang::Zh, &board(&zone));
    assert!(text.contains("抢修一班") && text.contains("3 小时内有雨"), "{text}");
}

#[test]
fn lighting_is_never_rounded_up_to_a_hundred() {
    assert_eq!((percent(1.0), percent(0.99999), percent(0.0)), ("100.0".into(), "99.9".into(), "0.0".into()));
}

#[test]
fn page_w11_links_keep_the_filter_and_begin_at_the_first_page() {
    let query = BoardQuery {
        zone: Some("z1".to_owned()),
        page: Some(3),
        done: Some("help".to_owned()),
        ..BoardQuery::default()
    };
    let road = query.with(|query| query.road = Some("解放路 & 1".to_owned()));
    assert_eq!(road, "/?zone=z1&road=%E8%A7%A3%E6%94%BE%E8%B7%AF%20%26%201");
    assert_eq!(query.with(|query| query.page = Some(2)), "/?zone=z1&page=2");
    assert_eq!(query.with(|query| query.zone = None), "/");
    assert_eq!(query.filter().skip, 400);
    let far = BoardQuery { page: Some(usize::MAX), ..BoardQuery::default() };
    assert!(far.filter().skip < usize::MAX / 2, "no overflow");
}
