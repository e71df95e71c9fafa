//! What the pages look like in Debian's Chromium: nothing too wide, nothing cut, no error, nothing from elsewhere.
//! `LAMPGUARD_PICTURES=FOLDER` keeps the pictures.

use serde_json::json;

use super::common::browser::{Chromium, Drawn, keep};
use super::common::seconds;
use super::night::{Night, post};

const SIZES: [(&str, u32, u32, bool); 2] = [("desk", 1366, 768, false), ("phone", 390, 844, true)];

fn check(name: &str, drawn: &Drawn, words: &[&str]) {
    keep(name, &drawn.png);
    assert!(drawn.overflow <= 0, "{name} is {} px too wide", drawn.overflow);
    assert!(drawn.cut.is_empty(), "{name} cuts: {:?}", drawn.cut);
    // The page of a fault is a fault itself to the console.
    let console: Vec<_> = drawn.console.iter().filter(|line| !line.contains("status of 4")).collect();
    assert!(console.is_empty(), "{name}: {console:?}");
    assert!(drawn.foreign.is_empty(), "{name} asks elsewhere: {:?}", drawn.foreign);
    for word in words {
        assert!(drawn.text.contains(word), "{name} does not say {word}:\n{}", drawn.text);
    }
}

fn each(browser: &mut Chromium, night: &Night, page: &str, path: &str, words: [&[&str]; 2]) {
    for (size, width, height, phone) in SIZES {
        browser.window(width, height, phone);
        for (lang, words) in ["zh", "en"].into_iter().zip(words) {
            let join = if path.contains('?') { '&' } else { '?' };
            let url = format!("{}{path}{join}lang={lang}", night.lampguard.url);
            let drawn = browser.open(&url, !page.starts_with("board"));
            check(&format!("{page}-{size}-{lang}"), &drawn, words);
            assert!(drawn.took < seconds(15), "{page} took {:?}", drawn.took);
        }
    }
}

#[test]
fn page_w1_w31_w32_pages_are_whole_in_both_sizes_and_languages_with_0_3_and_300_incidents() {
    let Some(mut browser) = Chromium::start() else { return };
    let night = Night::start("");
    let token = night.token("duty").unwrap().to_owned();
    browser.headers(&json!({ "Authorization": format!("Bearer {token}") }));
    let both = |zh: &'static [&'static str], en: &'static [&'static str]| [zh, en];
    each(&mut browser, &night, "board-0", "/", both(&["当前没有未结险情", "责任区"], &["No open incidents"]));
    night.storm(3);
    night.work();
    each(&mut browser, &night, "board-3", "/", both(&["P1", "未确认断电，视为带电"], &["treat as live"]));
    night.storm(300);
    night.work();
    each(&mut browser, &night, "board-300", "/", both(&["按道路", "下一页"], &["By road", "Next page"]));
    browser.window(1366, 768, false);
    browser.open(&format!("{}/?lang=zh", night.lampguard.url), false);
    let rows = browser.evaluate(
        "[...document.querySelectorAll('.row')].filter(row => row.getBoundingClientRect().bottom <= innerHeight).length",
    );
    assert!(rows.as_u64().unwrap() >= 5, "{rows} rows on the first screen, with roads above them");
    let id = &night.open()[4];
    each(
        &mut browser,
        &night,
        "incident",
        &format!("/incidents/{id}"),
        both(&["处置经过", "确认收到"], &["Timeline"]),
    );
    each(
        &mut browser,
        &night,
        "post",
        &format!("/posts/{}", post(0)),
        both(&["最近 24 小时"], &["Last 24 hours"]),
    );
    each(&mut browser, &night, "report", "/report", both(&["电话报警"], &["Hazard by phone"]));
    each(&mut browser, &night, "hand-test", "/hand-test", both(&["手测登记"], &["Hand test"]));
    let link = format!("/c/{}", night.link(id));
    each(
        &mut browser,
        &night,
        "crew",
        &link,
        both(&["未断电, 视为带电", "修复完成"], &["treat as live", "Repaired"]),
    );
    let fresh = format!("/c/{}", night.link(&night.open()[20]));
    each(
        &mut browser,
        &night,
        "crew-new",
        &fresh,
        both(&["未确认断电，视为带电", "确认收到"], &["treat as live", "Acknowledge"]),
    );
    browser.window(390, 844, true);
    browser.open(&format!("{}{fresh}?lang=zh", night.lampguard.url), false);
    let next = browser.evaluate(
        "(() => { const b = document.querySelector('button.next').getBoundingClientRect(); \
         return [b.height, b.width / innerWidth, b.bottom <= innerHeight]; })()",
    );
    assert!(next[0].as_f64().unwrap() >= 64.0 && next[1].as_f64().unwrap() > 0.8, "{next}");
    assert_eq!(next[2], true, "the next step needs no scrolling: {next}");
    each(&mut browser, &night, "missing", "/incidents/LG-NONE", both(&["没有找到"], &["Not found"]));
}

#[test]
fn page_w41_w42_a_tap_on_the_next_step_works_in_a_browser_without_scripts_on_a_plain_http_name() {
    let Some(mut browser) = Chromium::start() else { return };
    let night = Night::start("");
    let id = night.told("call", &post(0), "shock");
    browser.window(390, 844, true);
    let drawn = browser.open(&format!("{}/c/{}?lang=zh", night.lampguard.url, night.link(&id)), false);
    assert!(drawn.text.contains("确认收到"), "{}", drawn.text);
    let at = browser.evaluate(
        "(() => { const b = document.querySelector('button.next').getBoundingClientRect(); \
         return [b.left + b.width / 2, b.top + b.height / 2]; })()",
    );
    browser.scripts(false);
    browser.forget();
    for kind in ["mousePressed", "mouseReleased"] {
        let event = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
        browser.call("Input.dispatchMouseEvent", &event);
    }
    browser.wait_for_load();
    let state = || night.lampguard.json(&format!("/api/v1/incidents/{id}"))["state"].clone();
    assert_eq!(state(), "acknowledged");
    keep("crew-tapped", &browser.picture(false));
}
