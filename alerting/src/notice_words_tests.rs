//! Exact texts, in both languages.

use super::*;
use crate::notice::{Address, Notice, SiteText};
use crate::testkit::{T, incident, site};
use lampguard_model::Millis;

fn words(zh: bool) -> Words {
    Words {
        zh,
        severity: "P1".to_owned(),
        title: if zh { "灯杆带电" } else { "live lamp post" }.to_owned(),
        place: if zh { "人民路 塔南路口 3号杆" } else { "Renmin Road post 3" }.to_owned(),
        road: "人民路".to_owned(),
        danger: if zh { "外壳电压 115.5 V" } else { "shell voltage 115.5 V" }.to_owned(),
        safety: safety_words(TREAT_AS_LIVE, zh),
        id: "LG-7F3A".to_owned(),
        due_ms: Some(T.0 + 28 * 60_000 + 59_000),
        urgent: true,
        rank: 1,
        link: Some("https://lamps.example/c/Ab3".to_owned()),
        board: Some("https://lamps.example/".to_owned()),
        ..Words::default()
    }
}

#[test]
fn an_sms_says_what_where_how_dangerous_how_long_and_the_link() {
    let sms = words(true).sms(1, T);
    assert_eq!(
        sms,
        "【P1 灯杆带电】人民路 塔南路口 3号杆，外壳电压 115.5 V，未确认断电，视为带电，剩余28分钟，LG-7F3A https://lamps.example/c/Ab3"
    );
    assert!(units(&sms) <= 134);
    let english = Words { place: "Renmin Road post 3".to_owned(), ..words(false) }.sms(2, T);
    assert_eq!(
        english,
        "[P1 live lamp post #2] Renmin Road post 3, not confirmed dead, treat as live, 28 min left, LG-7F3A https://lamps.example/c/Ab3",
        "the value gave way to the link"
    );
}

#[test]
fn an_sms_with_little_to_say_is_one_part() {
    let short = Words { link: None, danger: String::new(), ..words(true) };
    let sms = short.sms(1, T);
    assert_eq!(sms, "【P1 灯杆带电】人民路 塔南路口 3号杆，未确认断电，视为带电，剩余28分钟，LG-7F3A");
    assert!(units(&sms) <= 70, "{}", units(&sms));
}

#[test]
fn fault_n14_no_name_is_too_long_for_two_parts_and_none_is_cut_in_the_middle_of_a_character() {
    for length in [0, 1, 15, 16, 40, 66, 67, 200, 5000] {
        for letter in ["路", "😀", "x"] {
            for zh in [true, false] {
                let long = Words { place: letter.repeat(length), ..words(zh) };
                let sms = long.sms(1, T);
                assert!(units(&sms) <= 134, "{length} {letter}: {}", units(&sms));
                assert!(sms.contains("P1") && sms.contains("28"), "{sms}");
                assert!(sms.contains(&long.safety), "the words of safety are never cut: {sms}");
                let all = [&long; 30];
                assert!(units(&many_sms(&all).text) <= 134);
            }
        }
    }
    assert_eq!(cut_bytes("路路路", 8), "路…");
    assert_eq!(cut_bytes("路路路", 9), "路路路");
}

/// A base of thirty characters, as an office has it.
const BASE: &str = "https://lamps.city.example.com";

#[test]
fn an_sms_has_room_for_place_value_and_a_crew_link_whole() {
    let mut keys = crate::links::Keys::default();
    assert!(keys.rotate([7; 32], T));
    let (id, expires) = ("LG-ABCDEFGH2345", T + crate::links::LIFE_MAX);
    let claims = crate::links::Claims { incident: id.into(), who: "c1".into(), expires };
    let link = format!("{BASE}/c/{}", keys.sign(&claims).unwrap());
    assert_eq!(BASE.len(), 30);
    let danger = "外壳电压 115 V".to_owned();
    let words = Words { id: id.to_owned(), link: Some(link.clone()), danger, ..words(true) };
    let sms = words.sms(1, T);
    assert!(units(&sms) <= SMS_TWO, "{}", units(&sms));
    for part in ["人民路 塔南路口 3号杆", "外壳电压 115 V", &words.safety, "剩余28分钟"] {
        assert!(sms.contains(part), "{part} in {sms}");
    }
    assert!(sms.ends_with(&link) && link.contains("ABCDEFGH2345"), "the id stands in the link: {sms}");
}

/// The test of 老李, as it goes to `channel`.
fn test_of(n: i64) -> Notice {
    let test = crate::test_dispatch::Test {
        id: format!("TD-ABCDEFGH23{n:02}").into(),
        slot_at: T,
        person: "老李".into(),
        zones: Vec::new(),
        channels: Vec::new(),
        sent_at: T,
        due_at: T + Millis::minutes(15),
        confirmed: None,
        reported_at: None,
    };
    let token = crate::test_dispatch::link(&crate::notify::Secret::new(b"key".to_vec()), &test);
    let site = SiteText { public_url: Some(BASE.to_owned()), ..site() };
    Notice::test(&test, &token, &site, Address { channel: "sms", to: "老李", phone: None })
}

#[test]
fn a_test_by_sms_says_that_it_is_one_and_carries_its_link_whole() {
    let notice = test_of(1);
    let (sms, link) = (notice.words.sms(1, T), notice.words.link.clone().unwrap());
    assert!(sms.starts_with("【演练 通道测试】不是险情，请在 20:15 前点链接确认收到"), "{sms}");
    assert!(sms.ends_with(&link) && units(&sms) <= SMS_TWO, "{} {sms}", units(&sms));
    assert!(notice.body["text"].as_str().unwrap().contains(&link));
    assert!(notice.is_told_by_name() && notice.words.spoken(1, T).starts_with("演练。通道测试"));
}

#[test]
fn a_chat_that_tests_and_dangers_share_counts_the_dangers_and_names_tests_with_their_links() {
    let tests: Vec<Words> = (0..3).map(|n| test_of(n).words).collect();
    let all: Vec<&Words> = tests.iter().collect();
    let alone = many(&all, T, |_| true);
    assert!(alone.text.starts_with("【演练 通道测试 3 条，其中 P1 0 条】"), "{}", alone.text);
    for test in &tests {
        assert!(alone.text.contains(test.link.as_deref().unwrap()), "{}", alone.text);
    }
    let danger = words(true);
    let mixed = many(&[&danger, all[0]], T, |_| true);
    assert!(
        mixed.text.starts_with("【险情 1 条，其中 P1 1 条】") && mixed.text.contains("演练 通道测试"),
        "{}",
        mixed.text
    );
    let sms = many_sms(&[all[0], all[1]]);
    assert_eq!(sms.named, 1, "the other goes in the next one");
    assert!(units(&sms.text) <= SMS_TWO);
}

#[test]
fn a_voice_reads_digits_one_by_one_and_no_symbols() {
    assert_eq!(
        words(true).spoken(1, T),
        "一级险情。灯杆带电。人民路塔南路口三号杆。外壳电压一一五点五伏。未确认断电，视为带电。还剩二八分钟。"
    );
    let late = Words { due_ms: Some(T.0 - 3 * 60_000), drill: true, ..words(false) };
    assert_eq!(
        late.spoken(1, T),
        "this is a drill. priority one. live lamp post. Renmin Road post three. \
         shell voltage one one five point five volts. not confirmed dead, treat as live. three minutes overdue."
    );
    assert_eq!(say("F-12/3#A（潮湿）", true), "F一二三A潮湿");
    assert_eq!(say("-5 ° 30 mA", true), "负五度三零毫安");
}

#[test]
fn twenty_are_named_by_danger_and_the_rest_is_a_count_with_its_roads() {
    let many_words: Vec<Words> = (0..25)
        .map(|n| Words {
            id: format!("LG-{n}"),
            severity: if n < 23 { "P1" } else { "P2" }.to_owned(),
            road: format!("{}路", n % 3),
            danger: String::new(),
            place: format!("{n}号杆"),
            ..words(true)
        })
        .collect();
    let all: Vec<&Words> = many_words.iter().collect();
    let whole = many(&all, T, |_| true);
    assert_eq!(whole.named, 20);
    let lines: Vec<&str> = whole.text.lines().collect();
    assert_eq!(lines[0], "【险情 25 条，其中 P1 23 条】未确认断电，视为带电");
    assert_eq!(lines[1], "P1 灯杆带电 0号杆 剩余 28 分钟 LG-0");
    assert_eq!(lines[20], "P1 灯杆带电 19号杆 剩余 28 分钟 LG-19");
    assert_eq!(lines[21], "另有 5 条（P1 3 条）：2路、0路、1路");
    assert_eq!(lines[22], "https://lamps.example/");
    let small = many(&all, T, |text| text.len() <= 500);
    assert!(
        small.text.len() <= 500
            && small.named < 20
            && small.text.contains(&format!("LG-{}", small.named - 1))
    );
    let sms = many_sms(&all);
    assert_eq!(
        sms.text,
        "【险情25条，P1 23条】未确认断电，视为带电：P1 灯杆带电 0号杆 LG-0；P1 灯杆带电 1号杆 LG-1；P1 灯杆带电 2号杆 LG-2；P1 灯杆带电 3号杆 LG-3；另21条 https://lamps.example/"
    );
    assert_eq!(sms.named, 4);
    let call = many_spoken(&all[..4].iter().map(|words| (*words, 1)).collect::<Vec<_>>(), T);
    assert!(
        call.text.starts_with("共有四条险情，其中一级四条。一级险情。灯杆带电。零号杆。"),
        "{}",
        call.text
    );
    assert_eq!(call.named, 3);
}

#[test]
fn a_chat_says_what_may_be_touched_as_it_is_now() {
    let mut dead = incident(1);
    let to = Address { channel: "c", to: "crew", phone: None };
    assert!(Notice::opened(&dead, None, &site(), to).text(1).contains("未确认断电，视为带电"));
    let now = T + Millis::minutes(1);
    dead.life = crate::testkit::isolated(now);
    let text = Notice::escalated(&dead, now, None, &site(), to);
    assert!(text.text(1).contains("· 已断电 ·") && text.words.safety == "已断电", "{}", text.text(1));
    let english = SiteText { language: "en".to_owned(), ..site() };
    let text = Notice::escalated(&dead, now, None, &english, to);
    assert!(text.text(1).contains("已断电 (power is off)") && text.words.safety == "power is off");
}

#[test]
fn a_text_about_no_incident_is_taken_apart_at_its_brackets() {
    let words = Words::plain("【天气未知】责任区 z1：没有数据", true, None, Some("http://desk.example"));
    assert_eq!((&*words.title, &*words.place, &*words.severity), ("天气未知", "责任区 z1：没有数据", ""));
    assert_eq!(words.sms(1, T), "【天气未知】责任区 z1：没有数据");
    assert_eq!(words.spoken(1, T), "天气未知。责任区z一没有数据。");
    let english = Words::plain("[weather unknown] zones z1: no weather", false, None, None);
    assert_eq!(english.sms(1, T), "[weather unknown] zones z1: no weather");
}

#[test]
fn names_from_outside_turn_no_line_and_hide_nothing() {
    assert_eq!(clean("a\u{202e}b\u{1b}[1m\tc\nd"), "a b [1m c\nd");
}

#[test]
fn old_word_says_of_when_it_is_in_every_form_and_never_that_power_is_off() {
    let mut isolated = incident(1);
    isolated.life = crate::testkit::isolated(T);
    for (language, newer, head) in [
        ("zh-CN", "以新消息为准", "20:00 旧消息，以新消息为准"),
        ("en", "go by the newer message", "OLD 20:00, go by the newer message"),
    ] {
        let site = SiteText { language: language.to_owned(), ..site() };
        let to = Address { channel: "sms", to: "张三", phone: None };
        let event = crate::testkit::event(&isolated, "made_safe");
        let notice = Notice::moved(&isolated, &event, "incident.made_safe", None, &site, to);
        let dead = |text: &str| text.contains("已断电") || text.contains("power is off");
        assert!(dead(&notice.text(1)) && dead(&notice.words.safety));
        let old = notice.overtaken();
        assert_eq!((&old.id, old.created_at), (&notice.id, notice.created_at), "the same telling");
        let chat = old.text(2);
        assert!(chat.contains(head) && chat.contains("LG-TEST1") && chat.contains("#2"), "{chat}");
        let sms = old.words.sms(2, T);
        assert!(sms.contains(head) && units(&sms) <= 134, "{sms}");
        let spoken = old.words.spoken(1, T);
        assert!(
            spoken.contains(if language == "en" {
                "OLD two zero zero zero"
            } else {
                "二零零零旧消息"
            }),
            "{spoken}"
        );
        let shared = many(&[&old.words, &old.words], T, |_| true).text;
        assert!(shared.contains(head), "{shared}");
        for text in [chat, sms, spoken, shared] {
            assert!(!dead(&text) && text.contains(newer.split(' ').next().unwrap()), "{text}");
        }
        let body = old.body_at(2, T);
        assert_eq!(body["notice"]["overtaken"], true);
        assert_eq!(body["notice"]["made_at"], notice.created_at.to_rfc3339());
        assert_eq!(notice.body_at(2, T)["notice"]["overtaken"], serde_json::Value::Null);
        assert_eq!(old.overtaken(), old, "it is marked once");
        // What is not dead keeps its words.
        let live = Notice::opened(&incident(1), None, &site, to).overtaken();
        assert_eq!(live.words.safety, safety_words(TREAT_AS_LIVE, language != "en"));
        assert!(live.text(1).contains("未确认断电，视为带电"));
    }
}

#[test]
fn the_offices_own_safety_words_stand_in_every_form_of_a_telling() {
    let file = "[zh]\nlive = \"未确认断电，视为带电，先验电\"\ndead = \"已断电，先验电再作业\"\n";
    let own = std::sync::Arc::new(crate::safety::SafetyText::parse(file.as_bytes()).unwrap());
    let site = SiteText { safety: own, ..site() };
    let to = Address { channel: "sms", to: "张三", phone: None };
    let (live, mut isolated) = (incident(1), incident(1));
    isolated.life = crate::testkit::isolated(T);
    let event = crate::testkit::event(&live, "rung");
    for (incident, words) in [(&live, "未确认断电，视为带电，先验电"), (&isolated, "已断电，先验电再作业")]
    {
        for notice in [
            Notice::opened(incident, None, &site, to),
            Notice::rung(incident, &event, crate::notice::ESCALATED, 1, None, &site, to),
            Notice::moved(incident, &event, "incident.repeated", None, &site, to),
        ] {
            assert!(notice.text(1).contains(words), "{}", notice.text(1));
            assert!(notice.words.sms(1, T).contains(words), "{}", notice.words.sms(1, T));
            assert!(notice.words.spoken(1, T).contains(words), "{}", notice.words.spoken(1, T));
            let old = notice.overtaken();
            assert!(
                !old.text(1).contains("已断电") && !old.words.safety.contains("已断电"),
                "{}",
                old.text(1)
            );
        }
    }
}

#[test]
fn a_fault_of_the_system_speaks_of_no_voltage_in_any_form() {
    let site = site();
    let to = Address { channel: "sms", to: "陈站长", phone: None };
    let (mut fault, live) = (incident(1), incident(1));
    fault.evidence.kind = crate::Kind::System;
    for (incident, wanted) in [(&fault, false), (&live, true)] {
        let event = crate::testkit::event(incident, "rung");
        for notice in [
            Notice::opened(incident, None, &site, to),
            Notice::rung(incident, &event, crate::notice::ESCALATED, 1, None, &site, to),
            Notice::moved(incident, &event, "incident.acknowledged", None, &site, to),
        ] {
            for text in [notice.text(1), notice.words.sms(1, T), notice.words.spoken(1, T)] {
                assert_eq!(text.contains("视为带电"), wanted, "{text}");
            }
        }
    }
}

#[test]
fn an_sms_of_many_says_what_each_is_whether_it_may_be_touched_and_what_is_a_repeat() {
    let moved = |title: &str, n: usize| Words {
        title: title.to_owned(),
        place: format!("{n}号杆"),
        id: format!("LG-{n}"),
        board: None,
        ..words(true)
    };
    let all = [
        moved("灯杆带电", 1).brief(1),
        moved("已撤销", 2).brief(2),
        moved("旧消息".repeat(9).as_str(), 3).brief(3),
    ];
    let text = many_sms(&all.iter().collect::<Vec<_>>()).text;
    for part in ["P1 灯杆带电 1号杆", "P1 已撤销 #2 2号杆", "】未确认断电，视为带电：P1"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("… #3 3号杆"), "a title that is cut keeps its mark: {text}");
    // What is dead stands there only where all of it is.
    let dead = Words { safety: DEAD.to_owned(), ..moved("已处置", 4) };
    let none = Words { safety: String::new(), ..moved("灯不亮", 5) };
    let live = moved("灯杆带电", 6);
    for (all, says) in [(vec![&dead, &dead], true), (vec![&dead, &none], false), (vec![&dead, &live], false)]
    {
        for text in [many_sms(&all).text, many(&all, T, |_| true).text] {
            assert_eq!((text.contains("】已断电"), text.contains("】未确认断电")), (says, !says), "{text}");
        }
    }
}

#[test]
fn a_call_says_that_it_is_a_repeat_alone_and_among_others() {
    assert!(words(true).spoken(2, T).starts_with("重复通知。一级险情。"));
    assert!(words(false).spoken(3, T).starts_with("repeat. priority one. "));
    assert!(!words(true).spoken(1, T).contains("重复"));
    let (first, second) = (words(true), Words { title: "求助".to_owned(), ..words(true) });
    let call = many_spoken(&[(&first, 1), (&second, 2)], T).text;
    assert!(call.contains("。一级险情。灯杆带电") && call.contains("重复通知。一级险情。求助"), "{call}");
    assert_eq!(call.matches("重复通知").count(), 1);
}

#[test]
fn a_rung_says_the_state_in_words_and_that_of_the_system_whole_seconds_and_nothing_of_current() {
    let to = Address { channel: "sms", to: "值班台", phone: None };
    let mut failing = incident(1);
    (failing.family, failing.scope, failing.place) =
        (crate::incident::Family::System, crate::incident::Scope::System, "certificate:web".into());
    (failing.evidence.kind, failing.evidence.field) = (crate::incident::Kind::System, "failing_s".to_owned());
    failing.notes.clear();
    for (thousandths, zh, en) in
        [(60_014, "已故障 60 秒", "failing for 60 s"), (3_725_900, "已故障 62 分钟", "failing for 62 min")]
    {
        (failing.evidence.thousandths, failing.evidence.limit) = (Some(thousandths), 60_000);
        let mut event = crate::testkit::event(&failing, "rung");
        event.body = r#"{"reason":"board_closed"}"#.to_owned();
        for (language, value, state) in [("zh-CN", zh, " · 待确认"), ("en", en, " · open")] {
            let site = SiteText { language: language.to_owned(), ..site() };
            let rung = Notice::rung(&failing, &event, crate::notice::ESCALATED, 1, None, &site, to);
            let text = rung.text(1);
            assert!(text.contains(value) && text.contains(state), "{text}");
            let moved = Notice::moved(&failing, &event, "incident.acknowledged", None, &site, to);
            for said in
                [text, moved.text(1), rung.words.sms(1, T), rung.words.spoken(1, T), moved.words.sms(1, T)]
            {
                assert!(!said.contains("带电") && !said.contains("live"), "{said}");
            }
        }
    }
    // What may be live says so still, and its state in words.
    let danger = incident(1);
    let event = crate::testkit::event(&danger, "rung");
    let rung = Notice::rung(&danger, &event, crate::notice::ESCALATED, 1, None, &site(), to).text(1);
    assert!(rung.contains(" · 待确认 · 未确认断电，视为带电"), "{rung}");
}
