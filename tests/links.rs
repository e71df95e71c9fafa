//! Crew links on the built program: what one opens, and what it does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::http::{Browser, try_get, try_post};
use common::process::texts;
use common::{Lampguard, Site, now_ms, seconds, wait_until};
use serde_json::{Value, json};

const HOUR: i64 = 3_600_000;

struct Street {
    site: Site,
    lampguard: Lampguard,
    desk: String,
}

impl Street {
    fn open() -> Self {
        Self::open_on(Site::new())
    }

    fn open_on(site: Site) -> Self {
        let lampguard = site.start();
        let desk = site.token("duty", &[]);
        Self { site, lampguard, desk }
    }

    fn told(&self, key: &str, post: &str) -> String {
        let body = json!({"key": key, "what": "live", "post_id": post, "caller": "13800000000"}).to_string();
        let url = format!("{}/api/v1/incidents", self.lampguard.url);
        let answer = try_post(&url, Some(&self.desk), body.as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    fn incident(&self, id: &str) -> Value {
        let mut incident = self.lampguard.json(&format!("/api/v1/incidents/{id}"));
        // What time alone changes.
        incident["remaining_s"] = Value::Null;
        incident["timeline"].as_array_mut().unwrap().retain(|event| event["event"] != "told");
        incident
    }

    fn link(&self, id: &str) -> String {
        format!("/c/{}", self.site.crew_link(id, "c1", now_ms() + HOUR))
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.lampguard.url)
    }
}

#[test]
fn fifty_gets_and_heads_of_a_link_change_nothing() {
    let street = Street::open();
    let id = street.told("1", "P001");
    wait_until("the telling", seconds(10), || !street.incident(&id)["told_at"].is_null());
    let (link, before) = (street.link(&id), street.incident(&id));
    let mut phone = street.browser();
    for _ in 0..50 {
        let page = phone.get(&link);
        assert!(page.status == 200 && page.text.contains("未确认断电"), "{}", page.text);
        assert_eq!(phone.head(&link).status, 200);
        // What chat programs ask for before anybody has tapped.
        for verb in ["acknowledge", "arrive", "help"] {
            assert_eq!(phone.get(&format!("{link}/{verb}")).status, 405);
            assert_eq!(phone.head(&format!("{link}/{verb}")).status, 405);
        }
    }
    assert!(phone.cookies.is_empty(), "a link signs nobody in: {:?}", phone.cookies);
    assert_eq!(street.incident(&id), before);
}

#[test]
fn the_offices_own_safety_words_stand_first_on_the_crews_page_and_in_what_is_told() {
    let site = Site::new().with_site("safety_text_file = \"safety.toml\"");
    site.write(
        "safety.toml",
        "[zh]\nlive = \"未确认断电，视为带电，先验电\"\nrules = [\"穿绝缘靴 <戴手套>\", \"两人同行\"]\n\
         [en]\nlive = \"not confirmed dead, treat as live; test first\"\nrules = [\"rubber boots\"]\n",
    );
    let street = Street::open_on(site);
    let id = street.told("1", "P001");
    let (link, mut phone) = (street.link(&id), street.browser());
    for (lang, words, rules) in [
        ("zh", "未确认断电，视为带电，先验电", ["<li>穿绝缘靴 &lt;戴手套&gt;</li>", "<li>两人同行</li>"]),
        (
            "en",
            "未确认断电，视为带电 (not confirmed dead, treat as live; test first)",
            ["<li>rubber boots</li>"; 2],
        ),
    ] {
        let text = phone.get(&format!("{link}?lang={lang}")).text;
        let place =
            |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not on the page: {text}"));
        let mut before = place(words);
        for part in rules {
            assert!(place(part) > before, "the words first, then the rules: {text}");
            before = place(words);
        }
        assert!(place(rules[1]) < place("<button"), "both before anything can be pressed: {text}");
    }
    wait_until("the telling", seconds(10), || {
        street.lampguard.process.stdout().contains("not confirmed dead, treat as live; test first")
    });
    assert_eq!(street.incident(&id)["safety"], "未确认断电，视为带电", "programs read what the rules say");
}

#[test]
fn a_crew_moves_its_incident_by_plain_forms_and_a_double_tap_counts_once() {
    let street = Street::open();
    let id = street.told("1", "P001");
    let (link, mut phone) = (street.link(&id), street.browser());
    let act = |phone: &mut Browser, verb: &str, body: &str| {
        let answer = phone.form(&format!("{link}/{verb}"), &format!("incident={id}&{body}"));
        (answer.status, answer.header("location") == format!("{link}?done={verb}"), answer.text)
    };
    assert!(matches!(act(&mut phone, "acknowledge", "key=1"), (303, true, _)));
    assert_eq!(street.incident(&id)["crew"], "c1");
    let arrived = "key=2&position.lon=113.62&position.lat=34.75&position.accuracy_m=12";
    assert!(matches!(act(&mut phone, "arrive", arrived), (303, true, _)));
    let once = street.incident(&id);
    assert_eq!((&once["state"], &once["arrival"]), (&json!("arrived"), &json!("proven")));
    assert!(matches!(act(&mut phone, "arrive", arrived), (303, true, _)));
    assert_eq!(street.incident(&id), once, "a double tap");
    for (verb, body, status) in [
        ("depart", "key=3", 409),
        ("make_safe", "key=4&method=isolated", 422),
        ("note", "key=5&colour=red", 422),
        ("void", "key=6&reason=x", 403),
        ("close", "key=7", 403),
        ("dance", "key=8", 404),
        ("note", "note=without+a+key", 422),
    ] {
        let (told, _, text) = act(&mut phone, verb, body);
        assert_eq!(told, status, "{verb}: {text}");
        assert!(text.contains("Nothing was done") && text.contains(&link), "{verb}: {text}");
    }
    assert!(matches!(
        act(&mut phone, "make_safe", "key=9&method=guarded&note=%E5%9B%B4%E6%8C%A1"),
        (303, true, _)
    ));
    assert_eq!(street.incident(&id)["state"], "made_safe");
}

#[test]
fn a_link_that_is_expired_changed_taken_back_or_for_another_incident_opens_nothing() {
    let street = Street::open();
    let (id, other) = (street.told("1", "P001"), street.told("2", "P002"));
    // That they are told is recorded behind their opening.
    wait_until("both tellings", seconds(10), || {
        [&id, &other].iter().all(|id| !street.incident(id)["told_at"].is_null())
    });
    let mut phone = street.browser();
    let mut refused = |link: &str, status: u16, word: &str| {
        let before = (street.incident(&id), street.incident(&other));
        let pages = [phone.get(link), phone.form(&format!("{link}/acknowledge"), "key=1")];
        for page in pages {
            assert_eq!(page.status, status, "{link}: {}", page.text);
            assert!(page.text.contains(word) && !page.text.contains("P001"), "{}", page.text);
        }
        assert_eq!((street.incident(&id), street.incident(&other)), before, "{link}");
    };
    let sign = |id: &str, expires| format!("/c/{}", street.site.crew_link(id, "c1", expires));
    refused(&sign(&id, now_ms() - 1000), 410, "expired");
    refused(&sign(&id, 0), 410, "expired");
    refused(&sign("LG-NOSUCHTHING1", now_ms() + HOUR), 410, "over");
    let good = sign(&id, now_ms() + HOUR);
    for changed in [good.replacen("/c/", "/c/A", 1), good[..good.len() - 1].to_owned(), "/c/x".to_owned()] {
        refused(&changed, 403, "not whole");
    }
    // A form of a page of another incident.
    let wrong = street.browser().form(&format!("{good}/acknowledge"), &format!("key=1&incident={other}"));
    assert!(wrong.status == 403 && wrong.text.contains("another incident"), "{}", wrong.text);
    assert_eq!(
        (&street.incident(&id)["state"], &street.incident(&other)["state"]),
        (&json!("open"), &json!("open"))
    );
    // A link is no key for anything else.
    let token = good.strip_prefix("/c/").unwrap();
    for path in ["/api/v1/incidents", "/api/v1/zones"] {
        let answer = try_get(&format!("{}{path}", street.lampguard.url), Some(token)).unwrap();
        assert_eq!(answer.status, 401, "{path}");
    }
    let sneaky =
        street.browser().form(&format!("/c/{token}/../../api/v1/incidents/{other}/acknowledge"), "key=1");
    assert!(matches!(sneaky.status, 401 | 404 | 405), "{}", sneaky.status);
    // Taken back by the desk, for good: also after a restart.
    assert_eq!(street.browser().get(&good).status, 200);
    let url = format!("{}/api/v1/links/revoke", street.lampguard.url);
    let body = json!({"incident_id": id, "crew": "c1"}).to_string();
    let answer = try_post(&url, Some(&street.desk), body.as_bytes()).unwrap();
    assert_eq!((answer.status, &answer.json()["crew"]), (200, &json!("c1")), "{}", answer.text);
    assert_eq!(try_post(&url, Some(&street.desk), b"{}").unwrap().status, 400);
    // What nobody knows takes nothing back, and says so. A crew goes by its name too.
    for unknown in [json!({"crew": "c9"}), json!({"incident_id": "LG-NOSUCHTHING1"})] {
        let answer = try_post(&url, Some(&street.desk), unknown.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 422, "{unknown}: {}", answer.text);
    }
    let named = json!({"incident_id": id, "crew": "Crew 2"}).to_string();
    let answer = try_post(&url, Some(&street.desk), named.as_bytes()).unwrap();
    assert_eq!((answer.status, &answer.json()["crew"]), (200, &json!("c2")), "{}", answer.text);
    refused(&good, 410, "taken this link back");
    let others = sign(&other, now_ms() + HOUR);
    assert_eq!(street.browser().get(&others).status, 200, "another incident's link is as it was");
    let Street { site, lampguard, .. } = street;
    lampguard.stop();
    let lampguard = site.start();
    let mut phone = Browser::new(&lampguard.url);
    assert_eq!((phone.get(&good).status, phone.get(&others).status), (410, 200));
    // A new key: links that are out stay good; with --now they do not.
    let rotated = site.run(&["link", "rotate"]);
    assert!(rotated.status.success(), "{}", texts(&rotated).1);
    let newer = format!("/c/{}", site.crew_link(&other, "c1", now_ms() + HOUR));
    assert_eq!((phone.get(&others).status, phone.get(&newer).status), (200, 200));
    assert!(site.run(&["link", "rotate", "--now"]).status.success());
    assert_eq!((phone.get(&others).status, phone.get(&newer).status), (403, 403));
    let revoke = |words: &[&str]| site.run(&[&["link", "revoke"][..], words].concat()).status.code();
    assert_eq!(revoke(&["--crew", "Crew 1", "--incident", &other]), Some(0));
    for wrong in [&[][..], &["--crew", "c9"], &["--incident", "LG-NOSUCHTHING1"]] {
        assert_eq!(revoke(wrong), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_link_stays_good_for_its_note_after_the_incident_is_over() {
    let street = Street::open();
    let id = street.told("1", "P001");
    let (link, mut phone) = (street.link(&id), street.browser());
    let url = format!("{}/api/v1/incidents/{id}/void", street.lampguard.url);
    let first = try_post(&url, Some(&street.desk), br#"{"key":"1","reason":"prank"}"#).unwrap();
    let second = json!({"key": "2", "reason": "prank", "second": first.json()["pending_id"]}).to_string();
    let admin = street.site.token_named("admin", "head", &[]);
    assert_eq!(try_post(&url, Some(&admin), second.as_bytes()).unwrap().json()["state"], "void");
    let page = phone.get(&link);
    assert!(page.status == 200 && page.text.contains("void"), "{}", page.text);
    assert_eq!(phone.form(&format!("{link}/depart"), "key=1").status, 409);
}
