//! Pages by plain requests: what is shown to whom, and what forms do.

use serde_json::{Value, json};

use super::common::http::PageAnswer;
use super::common::{WebhookStub, free_port, seconds, wait_until};
use super::night::{Night, encoded, post};

/// Where in a text something stands.
fn place(text: &str, part: &str) -> usize {
    text.find(part).unwrap_or_else(|| panic!("{part} is not in:\n{text}"))
}

/// The value of a hidden field of the first form that goes to an address.
fn hidden(page: &str, action: &str, name: &str) -> String {
    let form = &page[place(page, &format!("action=\"{action}\""))..];
    let field = &form[place(form, &format!("name=\"{name}\" value=\""))..];
    field.split('"').nth(3).unwrap().to_owned()
}

#[test]
fn page_w2_the_style_is_kept_for_ever_and_no_page_lets_a_script_run() {
    let night = Night::start("");
    let page = night.browser("viewer").get("/");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (page.header("x-content-type-options"), page.header("cache-control")),
        ("nosniff", "no-store")
    );
    let path = page.text.split('"').find(|part| part.starts_with("/pages.css?v=")).unwrap();
    let style = night.browser("nobody").get(path);
    assert_eq!((style.status, style.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(style.header("cache-control").contains("immutable"));
    assert!(!page.text.contains("<script") && !page.text.contains("https://"), "{}", page.text);
    let missing = night.browser("duty").get("/nowhere?lang=zh");
    assert_eq!(missing.status, 404);
    assert!(missing.text.contains("没有找到") && missing.header("content-type").starts_with("text/html"));
    assert_eq!(night.browser("duty").get("/api/v1/nowhere").header("content-type"), "application/json");
}

#[test]
fn page_w5_w6_w7_the_gravest_comes_first_with_its_time_left_and_acknowledging_does_not_stop_it() {
    let night = Night::start("");
    night.storm(3);
    let items = night.lampguard.items("/api/v1/incidents");
    let id = |severity: &str| -> Vec<String> {
        let of = items.iter().filter(|item| item["severity"] == severity);
        of.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let page = night.page("duty", "/?lang=zh").text;
    for p1 in id("P1") {
        assert!(place(&page, &format!("id=\"{p1}\"")) < place(&page, &format!("id=\"{}\"", id("P2")[0])));
    }
    assert!(page.contains(">29:5") || page.contains(">30:00"), "{page}");
    assert!(page.contains("http-equiv=\"refresh\" content=\"10\""));
    let own = &id("P1")[0];
    let action = format!("/incidents/{own}/acknowledge");
    let key = hidden(&page, &action, "key");
    let tap = || night.form("duty", &action, &[("key", &key), ("back", "/?zone=z1")]);
    let (first, second) = (tap(), tap());
    assert_eq!((first.status, first.header("location")), (303, "/?zone=z1&done=acknowledge"));
    assert_eq!(second.status, 303, "a double tap: {}", second.text);
    let said = night.page("duty", "/?zone=z1&done=acknowledge").text;
    assert!(said.contains("content=\"10;url=/?zone=z1\""), "it is said once: {said}");
    let page = night.page("duty", "/?lang=zh").text;
    let row = &page[place(&page, &format!("id=\"{own}\""))..];
    let row = &row[..place(row, "</li>")];
    assert!(row.contains("已确认") && row.contains("duty") && row.contains(">29:"), "{row}");
    assert!(!row.contains("acknowledge"), "what is done is not offered again: {row}");
    let elsewhere = night.form(
        "duty",
        &format!("/incidents/{own}/note"),
        &[("key", "n"), ("note", "x"), ("back", "//evil.example/")],
    );
    assert_eq!(elsewhere.header("location"), format!("/incidents/{own}?done=note"));
}

#[test]
fn page_w34_w35_strangers_names_are_text_and_viewers_see_neither_forms_nor_telephones() {
    let night = Night::start("");
    // This post stands beside a landmark of markup.
    let id = night.told("call", &post(4), "shock");
    night.act("duty", &id, "note", &json!({"key": "n", "note": "<script>alert(1)</script>"}));
    let paths = ["/".to_owned(), format!("/incidents/{id}"), format!("/posts/{}", post(4))];
    for path in &paths {
        let (desk, viewer) = (night.page("duty", path), night.page("viewer", path));
        assert_eq!((desk.status, viewer.status), (200, 200), "{path}");
        for page in [&desk.text, &viewer.text] {
            assert!(!page.contains("<img") && !page.contains("<script"), "{path}: {page}");
            assert!(page.contains("&lt;img"), "{path}");
        }
        assert!(!viewer.text.contains("<form") && !viewer.text.contains("13800000000"), "{path}");
    }
    assert!(night.page("duty", &paths[1]).text.contains("13800000000"));
    assert!(night.page("crew", &paths[1]).text.contains("13800000000"), "its own zone");
    assert!(night.page("duty", &paths[1]).text.contains("&lt;script&gt;"));
    let refused = night.form("viewer", &format!("{}/note", paths[1]), &[("key", "k"), ("note", "x")]);
    assert_eq!(refused.status, 403);
    assert_eq!(night.browser("nobody").get("/").status, 303, "to the sign-in");
}

#[test]
fn get_and_head_change_nothing() {
    let night = Night::start("");
    let id = night.told("call", &post(0), "live");
    let link = night.link(&id);
    let shown = || night.lampguard.json(&format!("/api/v1/incidents/{id}"))["life"].clone();
    let events = || {
        let timeline = night.lampguard.json(&format!("/api/v1/incidents/{id}"))["timeline"].clone();
        let kinds = timeline.as_array().unwrap().iter().map(|event| event["event"].clone());
        kinds.filter(|kind| kind != "told").collect::<Vec<Value>>()
    };
    wait_until("the telling", seconds(10), || !shown()["told_at"].is_null());
    let before = (shown(), events());
    let mut browser = night.browser("duty");
    for path in [
        "/",
        "/?shelved=1",
        "/report",
        "/hand-test",
        "/posts/Z1-000",
        &format!("/incidents/{id}"),
        &format!("/c/{link}"),
        &format!("/c/{link}/acknowledge"),
        &format!("/incidents/{id}/acknowledge"),
    ] {
        for _ in 0..5 {
            browser.get(path);
            browser.head(path);
        }
    }
    assert_eq!((shown(), events()), before);
}

#[test]
fn page_w42_a_whole_life_by_plain_forms_with_the_safety_words_of_each_state() {
    let night = Night::start("");
    let id = night.told("call", &post(0), "shock");
    let page = format!("/incidents/{id}");
    let mut key = 0;
    let mut make = |role: &str, verb: &str, more: &[(&str, &str)]| {
        key += 1;
        let key = format!("k{key}");
        let mut fields = vec![("key", key.as_str())];
        fields.extend(more);
        let answer = night.form(role, &format!("{page}/{verb}?lang=zh"), &fields);
        assert_eq!(answer.status, 303, "{verb}: {}", answer.text);
        assert_eq!(answer.header("location"), format!("{page}?done={verb}"));
        night.page(role, &format!("{page}?lang=zh&done={verb}")).text
    };
    let live = "未确认断电，视为带电";
    assert!(night.page("duty", &format!("{page}?lang=zh")).text.contains(live));
    assert!(
        make("duty", "depart", &[("on_behalf_of", "王五"), ("channel", "web")]).contains("电话代录: duty")
    );
    let shown = make("crew", "arrive", &[("post", &post(0))]);
    assert!(shown.contains("按时到场") && shown.contains(live) && !shown.contains("到场未核实"), "{shown}");
    assert!(make("crew", "make_safe", &[("method", "guarded")]).contains("已围护, 未断电, 视为带电"));
    let isolated = [("method", "isolated"), ("breaker", "QF3"), ("extent", "post")];
    let shown = make("crew", "make_safe", &isolated);
    assert!(shown.contains("✓ 已断电") && shown.contains("QF3"), "{shown}");
    make("crew", "repair", &[("cause", "接线盒进水"), ("parts", "端子")]);
    assert!(make("crew", "restore", &[]).contains(live), "power is back");
    let own = night.form(
        "crew",
        &format!("{page}/verify?lang=zh"),
        &[("key", "v"), ("check", "ok"), ("shell_v", "0.4"), ("supply", "on")],
    );
    assert_eq!(own.status, 403);
    assert!(own.text.contains("修复人不能复核自己的修复"), "{}", own.text);
    make("duty", "verify", &[("check", "ok"), ("shell_v", "0.4"), ("supply", "on")]);
    let closed = make("duty", "close", &[]);
    assert!(closed.contains("已结案") && closed.contains("已结束，只能补记"), "{closed}");
    let again = night.form("duty", &format!("{page}/depart?lang=zh"), &[("key", "late")]);
    assert_eq!(again.status, 409);
    for part in ["当前状态不能这样操作", "险情已结束，只能补记", "已结案", &format!("href=\"{page}\"")]
    {
        assert!(again.text.contains(part), "{part}: {}", again.text);
    }
    assert!(!night.page("duty", "/").text.contains(&format!("id=\"{id}\"")));
}

#[test]
fn page_w28_shelving_by_two_people_hides_it_behind_a_count_and_new_evidence_brings_it_back() {
    let night = Night::start("");
    let id = night.told("call", &post(0), "shock");
    let action = format!("/incidents/{id}/shelve");
    let asked = night.form("duty", &action, &[("key", "1"), ("reason", "重复"), ("for_hours", "2")]);
    assert_eq!(
        (asked.status, asked.header("location")),
        (303, &*format!("/incidents/{id}?done=second_wanted"))
    );
    let own = night.page("duty", &format!("/incidents/{id}?lang=zh")).text;
    assert!(own.contains("等待另一人同意") && own.contains("须由另一账号同意"), "{own}");
    let other = night.page("admin", &format!("/incidents/{id}?lang=zh")).text;
    let second = hidden(&other, &action, "second");
    assert_eq!(
        night.form("admin", &action, &[("key", "2"), ("second", &second), ("reason", "重复")]).status,
        303
    );
    let row = format!("id=\"{id}\"");
    let page = night.page("duty", "/?lang=zh").text;
    assert!(!page.contains(&row) && page.contains("已暂挂 1"), "{page}");
    assert!(night.page("duty", "/?lang=zh&shelved=1").text.contains(&row));
    assert!(night.page("duty", "/").text.contains("◆P1 <b>1</b>"), "zones still count it");
    night.lampguard.post(
        "/api/v1/readings",
        &json!({"post_id": post(0), "check": "live", "cause": "manual", "by": "x"}).to_string(),
    );
    wait_until("it to come back", seconds(10), || night.page("duty", "/").text.contains(&row));
}

#[test]
fn a_hazard_told_by_phone_and_a_test_by_hand_are_one_each_however_often_they_are_sent() {
    let night = Night::start("");
    let fields = [
        ("key", "r1"),
        ("what", "live"),
        ("place", "<b>桥下</b>"),
        ("lon", "113.61"),
        ("lat", "34.71"),
        ("caller", "李先生 139"),
        ("drill", "1"),
    ];
    let told = [night.form("duty", "/report", &fields), night.form("duty", "/report", &fields)];
    assert_eq!(told[0].status, 303, "{}", told[0].text);
    assert_eq!(told[0].header("location"), told[1].header("location"));
    assert_eq!(night.open().len(), 1);
    let page = night.page("duty", told[0].header("location")).text;
    assert!(
        page.contains("演练") && page.contains("geo:34.710000,113.610000") && page.contains("&lt;b&gt;桥下"),
        "{page}"
    );
    let test = [
        ("key", "h1"),
        ("post", "Z2-003"),
        ("check", "live"),
        ("pen_band_v", "220"),
        ("supply", "on"),
        ("by", "赵六"),
    ];
    for _ in 0..2 {
        let sent = night.form("crew", "/hand-test", &[("key", "h0"), ("post", "Z2-003"), ("check", "ok")]);
        assert_eq!(sent.status, 403, "another zone: {}", sent.text);
        let sent = night.form("duty", "/hand-test", &test);
        assert_eq!(
            (sent.status, sent.header("location")),
            (303, "/posts/Z2-003?done=hand_test"),
            "{}",
            sent.text
        );
    }
    wait_until("the danger of the pen", seconds(10), || night.open().len() == 2);
    assert_eq!(night.lampguard.stored(), 1, "one reading, sent twice");
    let post = night.page("duty", "/posts/Z2-003?lang=zh").text;
    assert!(post.contains("赵六 (duty)") && post.contains("220 V") && post.contains("带电"), "{post}");
    // Where it is, in words alone, stays with the incident of the post.
    let words = [("key", "w"), ("what", "live"), ("post_id", "Z2-005"), ("place", "桥洞里面")];
    for _ in 0..2 {
        let told = night.form("duty", "/report", &words);
        assert_eq!(told.status, 303, "{}", told.text);
        let page = night.page("duty", told.header("location")).text;
        assert_eq!(page.matches("桥洞里面").count(), 1, "{page}");
    }
    let slip = night.form("duty", "/hand-test", &[("key", "h2"), ("post", "Z9-999"), ("check", "live")]);
    assert_eq!(slip.status, 404, "no post of that number");
    assert_eq!(night.form("duty", "/hand-test", &[("key", "h3"), ("post", "Z2-003")]).status, 422);
}

#[test]
fn a_p1_that_was_told_to_nobody_is_red_on_the_board_and_says_so_in_words() {
    let dead = free_port();
    let night = Night::start(&format!(
        "[[channel]]\nid = \"dead\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{dead}/hook\"\nsecret_file = \"secret.txt\"\n"
    ));
    let id = night.told("call", &post(0), "shock");
    let page = night.page("viewer", "/?lang=zh").text;
    assert!(page.contains("⚠ 未通知到任何人"), "{page}");
    assert!(night.page("viewer", &format!("/incidents/{id}?lang=en")).text.contains("told to nobody"));
    let stub = WebhookStub::start_on(dead);
    wait_until("the telling", seconds(60), || !stub.hooks().is_empty());
    wait_until("the board to say so", seconds(10), || {
        !night.page("viewer", "/?lang=zh").text.contains("未通知到任何人")
    });
}

#[test]
fn page_w27_three_hundred_dangers_are_two_pages_with_roads_above_them_and_come_in_two_seconds() {
    let night = Night::start("");
    night.storm(300);
    let started = std::time::Instant::now();
    let page = night.page("duty", "/?lang=zh").text;
    let took = started.elapsed();
    assert!(took < seconds(2), "the first page took {took:?}");
    let rows = |page: &str| page.matches("<li class=\"row").count();
    assert_eq!(rows(&page), 200);
    assert!(page.contains("按道路") && page.contains("解放路") && page.contains("◆15"));
    assert_eq!(rows(&night.page("duty", "/?page=2").text), 100);
    assert_eq!(rows(&night.page("duty", "/?page=9").text), 0);
    assert_eq!(rows(&night.page("duty", "/?severity=P2").text), 75);
    let road = night.page("duty", &format!("/?{}", encoded(&[("zone", "z1"), ("road", "解放路")]))).text;
    assert_eq!(rows(&road), 15);
    // A page that is asked for with nonsense is a page still.
    for query in ["?page=-1", "?severity=P9&zone=%3Cscript%3E", "?road=%FF", "?page=99999999999999999999"] {
        let page = night.page("duty", &format!("/{query}"));
        assert!(
            matches!(page.status, 200 | 400) && !page.text.contains("<script"),
            "{query}: {}",
            page.status
        );
    }
}

#[test]
fn page_w36_w37_a_crews_link_opens_its_incident_with_one_next_step_and_taps_count_once() {
    let night = Night::start("[desk]\nname = \"值班台\"\nphone = \"037312345\"\nchannels = [\"console\"]\n");
    let (id, other) = (night.told("a", &post(0), "shock"), night.told("b", &post(8), "live"));
    let link = format!("/c/{}", night.link(&id));
    let mut phone = night.browser("nobody");
    let page = phone.get(&format!("{link}?lang=zh")).text;
    for part in ["未确认断电，视为带电", "确认收到", "geo:34.7", "WGS-84", "tel:037312345", &id]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(page.matches("class=\"next\"").count(), 1);
    assert!(place(&page, "未确认断电") < place(&page, "class=\"next\""), "safety words come first");
    assert!(place(&page, "页面时间") < place(&page, "class=\"next\""), "and of when they are");
    assert!(!page.contains(&other) && !page.contains("/void") && !page.contains("/close"));
    for (verb, next) in [("acknowledge", "depart"), ("depart", "arrive"), ("arrive", "make_safe")] {
        let page = phone.get(&link).text;
        let action = format!("{link}/{verb}");
        let fields =
            [("key", hidden(&page, &action, "key")), ("incident", hidden(&page, &action, "incident"))];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for _ in 0..3 {
            let sent = phone.form(&action, &encoded(&fields));
            assert_eq!(
                (sent.status, sent.header("location")),
                (303, &*format!("{link}?done={verb}")),
                "{}",
                sent.text
            );
        }
        assert!(phone.get(&link).text.contains(&format!("action=\"{link}/{next}\"")));
    }
    // Help is one tap too: one form with one button under the next step, nothing to open or to type.
    let page = phone.get(&link).text;
    let form = &page[place(&page, &format!("action=\"{link}/help\""))..];
    let form = &form[..place(form, "</form>")];
    assert!(form.contains("class=\"next danger\"") && !form.contains("type=\"text\""), "{form}");
    assert_eq!((form.matches("<button").count(), page.matches("/help\"").count()), (1, 1), "{page}");
    assert!(!page[..place(&page, "/help\"")].contains("<details"), "{page}");
    let fields = [("key", hidden(&page, &format!("{link}/help"), "key")), ("incident", id.clone())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(phone.form(&format!("{link}/help"), &encoded(&fields)).status, 303);
    let made = phone.form(&format!("{link}/make_safe"), "key=m&method=isolated&breaker=QF1&extent=post");
    assert_eq!(made.status, 303);
    assert!(phone.get(&link).text.contains("✓ 已断电"));
    let early = phone.form(&format!("{link}/verify?lang=zh"), "key=v");
    assert!(
        early.status == 409 && early.text.contains("尚未修复") && early.text.contains(&link),
        "{}",
        early.text
    );
    assert_eq!(phone.form(&format!("{link}/close"), "key=c").status, 403, "a move of the desk");
    let wrong = phone.form(&format!("{link}/help"), &format!("key=h&incident={other}"));
    assert_eq!(wrong.status, 403);
    let life = night.lampguard.json(&format!("/api/v1/incidents/{id}"));
    let moves =
        life["timeline"].as_array().unwrap().iter().filter(|event| event["event"] == "arrive").count();
    assert_eq!(moves, 1);
}

#[test]
fn a_session_carries_its_csrf_in_every_form_and_a_form_without_it_does_nothing() {
    let night = Night::start("");
    let id = night.told("call", &post(0), "shock");
    let first = std::fs::read_to_string(night.site.data().join("first_login")).unwrap();
    let (name, password) = first.trim().split_once(' ').unwrap();
    let mut browser = night.browser("nobody");
    assert_eq!(browser.sign_in(name, password).status, 303);
    for path in ["/".to_owned(), format!("/incidents/{id}"), "/report".to_owned(), "/hand-test".to_owned()] {
        let page = browser.get(&path).text;
        let (forms, fields) = (page.matches("<form").count(), page.matches("name=\"csrf\"").count());
        assert!(forms > 0 && forms == fields, "{path}: {forms} forms, {fields} fields");
    }
    let action = format!("/incidents/{id}/acknowledge");
    let page = browser.get(&format!("/incidents/{id}")).text;
    let (key, csrf) = (hidden(&page, &action, "key"), hidden(&page, &action, "csrf"));
    assert_eq!(browser.form(&action, &encoded(&[("key", &key)])).status, 403);
    assert_eq!(browser.form(&action, &encoded(&[("key", &key), ("csrf", "0000")])).status, 403);
    assert_eq!(browser.form(&action, &encoded(&[("key", &key), ("csrf", &csrf)])).status, 303);
    assert_eq!(night.lampguard.json(&format!("/api/v1/incidents/{id}"))["state"], "acknowledged");
}

#[test]
fn page_w10_two_who_press_at_once_one_has_it_and_the_other_reads_who() {
    let night = Night::start("");
    let id = night.told("call", &post(0), "shock");
    let action = format!("/incidents/{id}/acknowledge?lang=zh");
    let sent: Vec<(&str, PageAnswer)> = std::thread::scope(|scope| {
        let press = |role: &'static str| {
            let (night, action) = (&night, &action);
            scope.spawn(move || (role, night.form(role, action, &[("key", role)])))
        };
        // Two of the desk: a crew may still take what the desk alone has acknowledged.
        [press("duty"), press("admin")].into_iter().map(|pressed| pressed.join().unwrap()).collect()
    });
    let first = sent.iter().find(|(_, answer)| answer.status == 303).unwrap();
    let second = sent.iter().find(|(_, answer)| answer.status == 409).unwrap();
    for part in ["已有人接手", first.0, "已确认"] {
        assert!(second.1.text.contains(part), "{part}: {}", second.1.text);
    }
    let page = night.page("duty", &format!("/incidents/{id}?lang=zh")).text;
    assert!(page.contains("操作被拒绝") && page.contains(second.0), "both tries are recorded: {page}");
}

#[test]
fn page_w46_pages_are_small_enough_for_a_bad_line() {
    let night = Night::start("");
    night.storm(20);
    let id = &night.open()[0];
    let sizes = [("/", 60_000), (&*format!("/c/{}", night.link(id)), 16_000), ("/pages.css", 20_000)];
    for (path, most) in sizes {
        let size = night.browser("duty").get(path).text.len();
        assert!(size > 1000 && size < most, "{path} has {size} bytes of {most}");
    }
}
