//! Who may do what, on the built program: signing in, forms, waits, walls, zones, and what never shows a secret.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::http::{Browser, try_get, try_post, try_put};
use common::process::{program, texts};
use common::{Lampguard, Site, now_ms, seconds, wait_until};
use serde_json::json;

const PASSWORD: &str = "rain on the river";

/// `user add` with a password that is piped in.
fn add_user(site: &Site, name: &str, role: &str, more: &[&str]) {
    let output = piped(site, &[&["user", "add", name, "--role", role], more].concat(), PASSWORD);
    assert!(output.status.success(), "{}", texts(&output).1);
}

fn piped(site: &Site, arguments: &[&str], input: &str) -> std::process::Output {
    use std::io::Write;
    site.configure();
    let mut child = program()
        .arg("--config")
        .arg(site.path("lampguard.toml"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{input}\n").as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The first token that a form of the session needs; made here a second time, by the words of docs/accounts.md.
fn csrf_of(cookie: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(cookie.as_bytes()).unwrap();
    mac.update(b"lampguard form");
    mac.finalize().into_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn told(lampguard: &Lampguard, token: &str, key: &str, post: &str) -> String {
    let body = json!({"key": key, "what": "live", "post_id": post}).to_string();
    let answer =
        try_post(&format!("{}/api/v1/incidents", lampguard.url), Some(token), body.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_first_start_makes_admin_whose_password_opens_the_pages_until_signed_out() {
    let site = Site::new();
    let lampguard = site.start();
    let file = site.data().join("first_login");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let password = text.strip_prefix("admin ").unwrap().trim().to_owned();
    assert!(
        !lampguard.process.stderr().contains(&password) && !lampguard.process.stdout().contains(&password)
    );
    let mut browser = Browser::new(&lampguard.url);
    let sent_away = browser.get("/?x=1");
    assert_eq!((sent_away.status, sent_away.header("location")), (303, "/signin?next=/%3Fx%3D1"));
    let page = browser.get("/signin?next=/%3Fx%3D1");
    assert!(page.text.contains(r#"<input type="hidden" name="next" value="/?x=1">"#), "{}", page.text);
    let wrong = browser.sign_in("admin", "not the password");
    assert!(wrong.status == 401 && wrong.text.contains("wrong"), "{}", wrong.text);
    let right = browser.form("/signin", &format!("name=admin&password={password}&next=/%3Fx%3D1"));
    assert_eq!((right.status, right.header("location")), (303, "/?x=1"), "{}", right.text);
    let cookie = right.header("set-cookie").to_owned();
    for word in ["lampguard_session=", "; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age=2592000"] {
        assert!(cookie.contains(word), "{word} in {cookie}");
    }
    assert!(!cookie.contains("Secure") && browser.cookie("lampguard_session").unwrap().len() == 64);
    assert_eq!((browser.get("/").status, browser.get("/api/v1/zones").status), (200, 200));
    assert!(browser.get("/signin").text.contains("Signed in as"));
    let stolen = browser.cookies.clone();
    assert_eq!(browser.get("/signout").status, 200);
    assert_eq!(browser.get("/").status, 200, "a GET signs nobody out");
    assert_eq!(browser.form("/signout", "").status, 303);
    assert_eq!((browser.cookies.len(), browser.get("/").status), (0, 303));
    browser.cookies = stolen;
    assert_eq!(browser.get("/").status, 303, "the session is over, not only the cookie");
    // A restart makes no second one.
    std::fs::remove_file(&file).unwrap();
    lampguard.stop();
    let lampguard = site.start();
    assert!(!file.exists());
    assert_eq!(Browser::new(&lampguard.url).sign_in("admin", &password).status, 303);
    let listed = texts(&site.run(&["user", "list"])).0;
    assert!(listed.starts_with("admin\tadmin\tall zones\tactive\tlast signed in 20"), "{listed}");
}

#[test]
fn a_post_by_cookie_needs_the_token_of_its_form_and_a_page_of_ours() {
    let site = Site::new();
    let lampguard = site.start();
    add_user(&site, "desk", "duty", &[]);
    let mut browser = Browser::new(&lampguard.url);
    assert_eq!(browser.sign_in("desk", PASSWORD).status, 303);
    let csrf = csrf_of(browser.cookie("lampguard_session").unwrap());
    let hazard = |key: &str| json!({"key": key, "what": "live", "post_id": "P001"}).to_string();
    let refused = browser.json("/api/v1/incidents", &hazard("1"));
    assert!(refused.status == 403 && refused.text.contains("\"csrf\""), "{}", refused.text);
    let as_form = browser.form("/api/v1/incidents", &format!("csrf={csrf}"));
    assert_eq!(as_form.status, 400, "let in by its field, and no JSON: {}", as_form.text);
    browser.headers = vec![("X-CSRF-Token".to_owned(), csrf_of("another"))];
    assert_eq!(browser.json("/api/v1/incidents", &hazard("2")).status, 403);
    for (name, value) in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")] {
        browser.headers =
            vec![("X-CSRF-Token".to_owned(), csrf.clone()), (name.to_owned(), value.to_owned())];
        assert_eq!(browser.json("/api/v1/incidents", &hazard("3")).status, 403, "{name}");
    }
    assert!(lampguard.items("/api/v1/incidents").is_empty());
    browser.headers.truncate(1);
    assert_eq!(browser.json("/api/v1/incidents", &hazard("4")).status, 201);
    // Another site may neither sign in nor sign out in somebody's browser.
    let mut evil = Browser::new(&lampguard.url).saying("Sec-Fetch-Site", "cross-site");
    evil.cookies.clone_from(&browser.cookies);
    assert_eq!((evil.sign_in("desk", PASSWORD).status, evil.form("/signout", "").status), (403, 403));
    assert_eq!(browser.get("/").status, 200);
    // Tokens need none of it.
    let token = site.token("duty", &[]);
    assert_eq!(told(&lampguard, &token, "5", "P030").len(), 15);
}

#[test]
fn who_guesses_waits_the_office_gets_in_and_what_is_taken_away_counts_at_once() {
    let site = Site::new().with_web("proxies = [\"127.0.0.1\"]");
    let lampguard = site.start();
    add_user(&site, "desk", "duty", &[]);
    let from = |address: &str| Browser::new(&lampguard.url).saying("X-Forwarded-For", address);
    let mut office = from("10.0.0.7");
    assert_eq!(office.sign_in("desk", PASSWORD).status, 303);
    let mut stranger = from("203.0.113.9");
    let guesses: Vec<u16> = (0..5).map(|_| stranger.sign_in("desk", "guess after guess").status).collect();
    assert_eq!(guesses, [401; 5]);
    wait_until("a wait of some seconds", seconds(60), || {
        let waits = stranger.sign_in("desk", "guess after guess");
        waits.status == 429 && waits.header("retry-after").parse::<u32>().unwrap() >= 7
    });
    let waits = stranger.sign_in("desk", PASSWORD);
    assert!(waits.status == 429 && waits.text.contains("wait"), "the right password is not looked at either");
    assert_eq!(from("198.51.100.1").sign_in("desk", PASSWORD).status, 429, "the name, from anywhere unknown");
    assert_eq!(from("10.0.0.7").sign_in("desk", PASSWORD).status, 303, "the office's own address");
    assert_eq!(office.get("/").status, 200, "who is in stays in");
    let locked = site.run(&["user", "lock", "desk"]);
    assert!(locked.status.success(), "{}", texts(&locked).1);
    assert_eq!(office.get("/").status, 303);
    let told = from("10.0.0.7").sign_in("desk", PASSWORD);
    assert!(told.status == 403 && told.text.contains("locked"), "{}", told.text);
    assert!(site.run(&["user", "unlock", "desk"]).status.success());
    assert_eq!(office.get("/").status, 303, "an ended session stays ended");
    assert_eq!(office.sign_in("desk", PASSWORD).status, 303);
    let changed = piped(&site, &["user", "password", "desk"], "another in the rain");
    assert!(changed.status.success());
    assert_eq!((office.get("/").status, office.sign_in("desk", PASSWORD).status), (303, 401));
    let weak = piped(&site, &["user", "password", "desk"], "short");
    assert!(weak.status.code() == Some(2) && texts(&weak).1.contains("10 characters"));
    let generated = texts(&site.run(&["user", "password", "desk", "--generate"])).0;
    assert_eq!(from("10.0.0.7").sign_in("desk", generated.trim()).status, 303);
    assert!(site.run(&["user", "remove", "desk"]).status.success());
    assert_eq!(from("10.0.0.7").sign_in("desk", generated.trim()).status, 401);
}

#[test]
fn a_wall_gets_its_cookie_by_one_visit_and_only_looks() {
    let site = Site::new();
    let lampguard = site.start();
    let token = site.token_named("viewer", "wall", &["--kiosk"]);
    let id = told(&lampguard, &site.token("duty", &[]), "1", "P001");
    let mut wall = Browser::new(&lampguard.url);
    assert_eq!(wall.get("/kiosk/0000").status, 403);
    let visit = wall.get(&format!("/kiosk/{token}"));
    assert_eq!((visit.status, visit.header("location")), (303, "/"));
    assert!(visit.header("set-cookie").contains("HttpOnly"), "{:?}", visit.headers);
    assert_eq!((wall.get("/").status, wall.get("/api/v1/incidents").status), (200, 200));
    let acted = wall.json(&format!("/api/v1/incidents/{id}/acknowledge"), r#"{"key":"1"}"#);
    assert_eq!(acted.status, 403);
    let api = site.token_named("viewer", "script", &[]);
    assert_eq!(Browser::new(&lampguard.url).get(&format!("/kiosk/{api}")).status, 403, "no kiosk token");
    let refused = site.run(&["token", "create", "--role", "duty", "--name", "wall", "--kiosk"]);
    assert_eq!(refused.status.code(), Some(2));
    let listed = texts(&site.run(&["token", "list"])).0;
    let line = listed.lines().find(|line| line.contains("kiosk")).unwrap();
    assert!(!listed.contains(&token));
    assert!(site.run(&["token", "remove", line.split('\t').next().unwrap()]).status.success());
    assert_eq!((wall.get("/").status, wall.get("/api/v1/zones").status), (303, 401));
}

/// Method, path, body, and the answer for duty with zone z1, duty without zone, crew of z1. OWN and OTHER are
/// incidents in z1 and z2; Z1, Z2 and ALL stretches of the rota there.
type Scoped = (&'static str, &'static str, &'static str, [u16; 3]);

const SCOPES: [Scoped; 23] = [
    ("POST", "/api/v1/incidents/OWN/note", r#"{"key":"KEY","note":"x"}"#, [200, 200, 200]),
    ("POST", "/api/v1/incidents/OTHER/note", r#"{"key":"KEY","note":"x"}"#, [403, 200, 403]),
    ("POST", "/api/v1/incidents/OTHER/acknowledge", r#"{"key":"KEY"}"#, [403, 200, 403]),
    ("POST", "/api/v1/readings", r#"{"post_id":"P001","leakage_ma":1}"#, [200, 200, 200]),
    ("POST", "/api/v1/readings", r#"{"post_id":"P030","leakage_ma":1}"#, [403, 200, 403]),
    ("POST", "/api/v1/weather", r#"{"zone":"z1","rain_mm_h":1}"#, [200, 200, 403]),
    ("POST", "/api/v1/weather", r#"{"zone":"z2","rain_mm_h":1}"#, [403, 200, 403]),
    ("POST", "/api/v1/weather", r#"{"rain_mm_h":1}"#, [403, 200, 403]),
    (
        "POST",
        "/api/v1/maintenance",
        r#"{"key":"KEY","scope":{"post_id":"P011"},"crew":"c1","reason":"x"}"#,
        [201, 200, 403],
    ),
    (
        "POST",
        "/api/v1/maintenance",
        r#"{"key":"KEY","scope":{"post_id":"P031"},"crew":"c1","reason":"x"}"#,
        [403, 201, 403],
    ),
    // The road runs through both zones.
    (
        "POST",
        "/api/v1/maintenance",
        r#"{"key":"KEY","scope":{"road":"解放路"},"crew":"c1","reason":"x"}"#,
        [403, 201, 403],
    ),
    // A hazard the desk takes for anywhere.
    ("POST", "/api/v1/incidents", r#"{"key":"KEY","what":"live","post_id":"P033"}"#, [201, 201, 403]),
    ("POST", "/api/v1/links/revoke", r#"{"incident_id":"OWN"}"#, [200, 200, 403]),
    ("POST", "/api/v1/links/revoke", r#"{"incident_id":"OTHER","crew":"c1"}"#, [403, 200, 403]),
    // A crew goes to incidents of every zone.
    ("POST", "/api/v1/links/revoke", r#"{"crew":"c1"}"#, [403, 200, 403]),
    ("PUT", "/api/v1/rota", r#"{"overrides":[Z1]}"#, [200, 200, 403]),
    ("PUT", "/api/v1/rota", r#"{"overrides":[Z1,Z2]}"#, [403, 200, 403]),
    ("PUT", "/api/v1/rota", r#"{"duty":[],"overrides":[Z2]}"#, [200, 200, 403]),
    ("PUT", "/api/v1/rota", r#"{"overrides":[]}"#, [403, 200, 403]),
    ("PUT", "/api/v1/rota", r#"{"duty":[Z2]}"#, [403, 200, 403]),
    ("PUT", "/api/v1/rota", r#"{"overrides":[ALL]}"#, [403, 200, 403]),
    // Everybody looks everywhere.
    ("GET", "/api/v1/incidents/OTHER", "", [200, 200, 200]),
    ("GET", "/api/v1/posts/P030", "", [200, 200, 200]),
];

#[test]
fn who_has_a_zone_acts_there_alone_and_looks_everywhere() {
    let site = Site::new();
    let lampguard = site.start();
    let desk = site.token("duty", &[]);
    let (own, other) = (told(&lampguard, &desk, "a", "P001"), told(&lampguard, &desk, "b", "P030"));
    let who = [
        site.token_named("duty", "of z1", &["--zone", "z1"]),
        site.token_named("duty", "of all", &[]),
        site.token_named("crew", "c1", &["--zone", "z1"]),
    ];
    for (n, (method, path, body, expected)) in SCOPES.iter().enumerate() {
        for (role, expected) in expected.iter().enumerate() {
            let url = format!("{}{}", lampguard.url, path.replace("OWN", &own).replace("OTHER", &other));
            let body = body.replace("KEY", &format!("{n}-{role}"));
            let mut body = body.replace("OWN", &own).replace("OTHER", &other);
            for (word, zone) in [("Z1", "z1"), ("Z2", "z2"), ("ALL", "all")] {
                let (from, to) = ("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z");
                let stretch = json!({"from": from, "to": to, "zone": zone, "crew": "c2"}).to_string();
                body = body.replace(word, &stretch);
            }
            let answer = match *method {
                "PUT" => try_put(&url, Some(&who[role]), body.as_bytes()).unwrap(),
                "GET" => try_get(&url, Some(&who[role])).unwrap(),
                _ => try_post(&url, Some(&who[role]), body.as_bytes()).unwrap(),
            };
            assert_eq!(answer.status, *expected, "{method} {path} {body} as {role}: {}", answer.text);
        }
    }
}

#[test]
fn a_form_or_body_of_who_may_not_is_refused_before_it_is_read() {
    let site = Site::new();
    let lampguard = site.start();
    let other = told(&lampguard, &site.token("duty", &[]), "b", "P030");
    for (zone, form, json) in [(&["--zone", "z1"][..], 403, 403), (&[], 422, 400)] {
        let token = site.token_named("duty", "of a zone", zone);
        let mut desk = Browser::new(&lampguard.url).saying("Authorization", &format!("Bearer {token}"));
        let refused = desk.form(&format!("/incidents/{other}/note"), "key=1&note=x&lon=east&lat=1");
        assert_eq!(refused.status, form, "{zone:?}: {}", refused.text);
        let refused = desk.json(&format!("/api/v1/incidents/{other}/note"), "no json");
        assert_eq!(refused.status, json, "{zone:?}: {}", refused.text);
    }
}

#[test]
fn every_page_carries_the_headers_that_keep_others_out_and_speaks_both_languages() {
    let site = Site::new();
    let lampguard = site.start();
    let mut browser = Browser::new(&lampguard.url);
    for path in
        ["/signin", "/signout", "/", "/kiosk/x", "/c/x", "/api/v1/zones", "/no-such-page", "/plain.css"]
    {
        let page = browser.get(path);
        for (name, word) in [
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert!(page.header(name).contains(word), "{path} {name}: {}", page.header(name));
        }
        assert_eq!(page.header("strict-transport-security"), "", "no TLS, no promise of it");
        assert!(!page.text.contains("<script") && !page.text.contains("style="), "{path}");
    }
    let page = browser.get("/signin?lang=zh");
    assert!(page.text.contains("用户名") && page.text.contains(r#"<html lang="zh">"#), "{}", page.text);
    assert!(browser.get("/signin").text.contains("用户名"), "the choice is kept");
    assert!(browser.sign_in("desk", "guess after guess").text.contains("用户名或密码错误"));
    assert!(browser.get("/c/x").text.contains("链接打不开"));
    assert!(browser.get("/signin?lang=en").text.contains("Password"));
    for bad in ["https://evil.example", "//evil.example", "/%5Cevil.example"] {
        let page = browser.get(&format!("/signin?next={bad}"));
        assert!(page.text.contains(r#"name="next" value="/""#), "{bad}: {}", page.text);
    }
    let page = browser.form("/signin", "name=%3Cscript%3Ealert(1)%3C%2Fscript%3E&password=1234567890");
    assert!(page.status == 401 && !page.text.contains("<script>"), "{}", page.text);
    let post = browser.form("/c/x/note", "key=1");
    assert!(post.status == 403 && post.header("content-type").starts_with("text/html"));
}

/// Uses every secret there is in every way; what was shown by it, and the secrets.
fn use_every_way(site: &Site, lampguard: &Lampguard) -> (String, Vec<String>) {
    let (url, token) = (lampguard.url.as_str(), lampguard.token.as_str());
    let kiosk = site.token_named("viewer", "wall", &["--kiosk"]);
    let id = told(lampguard, token, "1", "P001");
    let link = site.crew_link(&id, "c1", now_ms() + 3_600_000);
    let last_word = |name: &str| {
        let text = std::fs::read_to_string(site.data().join(name)).unwrap();
        text.lines().last().unwrap().split(' ').next_back().unwrap().to_owned()
    };
    let (wrong, no_token) = ("a+wrong+canary+password", "canary0token0that0is0wrong");
    let (mut browser, mut seen) = (Browser::new(url), String::new());
    seen += &browser.sign_in("desk", wrong).text;
    seen += &browser.sign_in("nobody", PASSWORD).text;
    assert_eq!(browser.sign_in("desk", PASSWORD).status, 303);
    let cookie = browser.cookie("lampguard_session").unwrap().to_owned();
    for path in [
        "/",
        "/signin",
        "/api/v1/notices",
        "/api/v1/incidents?state=all",
        "/metrics",
        "/readyz",
        "/api/v1/openapi.json",
        "/api/v1/policy",
        "/api/v1/no-such",
        "/posts/none",
    ] {
        // The forms of a session's own pages carry its CSRF token: they have to. Nothing else does.
        seen += &browser.get(path).text.replace(&format!("name=\"csrf\" value=\"{}\"", csrf_of(&cookie)), "");
    }
    let mut wall = Browser::new(url);
    wall.get(&format!("/kiosk/{kiosk}"));
    seen += &wall.get("/").text;
    // A crew's page names its own address, for the other language; nothing else does.
    let mut crew = Browser::new(url);
    assert_eq!(crew.get(&format!("/c/{link}")).status, 200);
    assert_eq!(crew.form(&format!("/c/{link}/note"), "key=1&note=x").status, 303);
    seen += &crew.get(&format!("/c/{link}x")).text;
    for (path, token) in [("/api/v1/zones", no_token), ("/api/v1/readings", token)] {
        seen += &try_post(&format!("{url}{path}"), Some(token), b"{").unwrap().text;
    }
    let one = lampguard.json(&format!("/api/v1/incidents/{id}")).to_string();
    assert!(one.contains("\"by\":\"c1\""), "what is done by a link bears the crew's name: {one}");
    seen += &one;
    for output in [site.run(&["user", "list"]), site.run(&["token", "list"]), site.run(&["doctor"])] {
        let (out, err) = texts(&output);
        seen += &(out + &err);
    }
    seen += &(lampguard.process.stdout() + &lampguard.process.stderr());
    let (first, key, csrf) = (last_word("first_login"), last_word("links.key"), csrf_of(&cookie));
    let wrong = wrong.replace('+', " ");
    let secrets = [PASSWORD, &wrong, no_token, token, &kiosk, &cookie, &csrf, &link, &key, &first];
    (seen, secrets.map(str::to_owned).to_vec())
}

#[test]
fn no_secret_shows_in_logs_pages_metrics_or_errors() {
    let site = Site::new();
    site.configure();
    let mut command = program();
    command.env("LAMPGUARD_LOG", "trace").arg("--config").arg(site.path("lampguard.toml")).arg("serve");
    let mut process = common::Program::start("lampguard serve", command);
    wait_until("lampguard to be ready", seconds(30), || {
        assert!(process.is_alive(), "{}", process.stderr());
        process.stderr().contains(" ready ")
    });
    add_user(&site, "desk", "duty", &[]);
    let url = format!("http://127.0.0.1:{}", site.web);
    let lampguard = Lampguard { process, url, token: site.token("duty", &[]) };
    let (seen, secrets) = use_every_way(&site, &lampguard);
    for word in ["signed in", "a sign-in failed"] {
        assert!(seen.contains(word), "the log was not looked at: no {word}");
    }
    for secret in &secrets {
        assert!(!seen.contains(secret), "{secret} shows in:\n{seen}");
    }
    // Nor do accounts keep one as it was given.
    let files = ["accounts.db", "accounts.db-wal"].iter();
    let kept: Vec<u8> =
        files.flat_map(|name| std::fs::read(site.data().join(name)).unwrap_or_default()).collect();
    let holds = |text: &str| kept.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("desk") && holds("$argon2id"), "accounts.db was not looked at");
    for secret in &secrets {
        assert!(!holds(secret), "{secret} stands in accounts.db");
    }
}
