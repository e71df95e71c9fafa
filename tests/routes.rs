//! Every route for every role on a running instance, each answer held against `/api/v1/openapi.json`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeSet;

use common::http::{Answer, try_get, try_post, try_put};
use common::schema::faults;
use common::{Lampguard, Site, WebhookStub, now_ms, seconds, wait_until};
use serde_json::{Value, json};

/// Who asks, in the order of the columns below.
const ROLES: [&str; 6] = ["nobody", "viewer", "crew", "duty", "engineer", "admin"];
/// A seventh, which may do one thing alone.
const NODE: &str = "/api/v1/forward";

/// Method, route, where to, body, and the answer for each of [`ROLES`].
type Line = (&'static str, &'static str, &'static str, Option<&'static str>, [u16; 6]);

const OPEN: [u16; 6] = [200; 6];
const LOOK: [u16; 6] = [401, 200, 200, 200, 200, 200];
const PAGE: [u16; 6] = [303, 200, 200, 200, 200, 200];
const MOVE: [u16; 6] = [401, 403, 200, 200, 403, 200];
const TECHNICIANS: [u16; 6] = [401, 403, 403, 403, 200, 200];

const TABLE: &[Line] = &[
    ("GET", "/healthz", "/healthz", None, OPEN),
    ("GET", "/readyz", "/readyz", None, OPEN),
    ("GET", "/metrics", "/metrics", None, OPEN),
    ("GET", "/plain.css", "/plain.css", None, OPEN),
    ("GET", "/tiles/{z}/{x}/{y}", "/tiles/15/26712/13021.png", None, OPEN),
    ("GET", "/zones.geojson", "/zones.geojson", None, OPEN),
    ("GET", "/signin", "/signin", None, OPEN),
    ("POST", "/signin", "/signin", Some("name=&password="), [401; 6]),
    ("GET", "/signout", "/signout", None, OPEN),
    ("POST", "/signout", "/signout", Some(""), [303; 6]),
    ("GET", "/kiosk/{token}", "/kiosk/0000", None, [403; 6]),
    ("GET", "/c/{token}", "/c/LINK", None, OPEN),
    ("POST", "/c/{token}/{move}", "/c/LINK/note", Some("key=t&note=words"), [303; 6]),
    ("GET", "/pages.css", "/pages.css", None, OPEN),
    ("GET", "/", "/", None, PAGE),
    ("GET", "/posts/{id}", "/posts/P001", None, PAGE),
    ("GET", "/incidents/{id}", "/incidents/ID", None, PAGE),
    (
        "POST",
        "/incidents/{id}/{move}",
        "/incidents/ID/note",
        Some("key=f&note=x"),
        [401, 403, 303, 303, 403, 303],
    ),
    ("GET", "/report", "/report", None, [303, 403, 403, 200, 403, 200]),
    ("POST", "/report", "/report", Some("key=f&what=other&post_id=P019"), [401, 403, 403, 303, 403, 303]),
    ("GET", "/hand-test", "/hand-test", None, [303, 403, 200, 200, 200, 200]),
    ("POST", "/hand-test", "/hand-test", Some("key=f&post=P001&check=ok"), [401, 403, 303, 303, 303, 303]),
    ("GET", "/api/v1/openapi.json", "/api/v1/openapi.json", None, LOOK),
    ("GET", "/api/v1/posts", "/api/v1/posts", None, LOOK),
    ("GET", "/api/v1/posts/{id}", "/api/v1/posts/P001", None, LOOK),
    ("GET", "/api/v1/posts/{id}/history", "/api/v1/posts/P001/history", None, LOOK),
    ("GET", "/api/v1/posts/{id}/explain", "/api/v1/posts/P001/explain", None, LOOK),
    ("GET", "/api/v1/zones", "/api/v1/zones?roads=true", None, LOOK),
    ("GET", "/api/v1/policy", "/api/v1/policy", None, LOOK),
    ("GET", "/api/v1/devices", "/api/v1/devices", None, LOOK),
    ("GET", "/api/v1/incidents", "/api/v1/incidents?state=all", None, LOOK),
    (
        "POST",
        "/api/v1/incidents",
        "/api/v1/incidents",
        Some(r#"{"key":"t","what":"other","post_id":"P009"}"#),
        [401, 403, 403, 201, 403, 201],
    ),
    ("GET", "/api/v1/incidents/{id}", "/api/v1/incidents/ID", None, LOOK),
    (
        "POST",
        "/api/v1/incidents/{id}/{move}",
        "/api/v1/incidents/ID/note",
        Some(r#"{"key":"t","note":"words"}"#),
        MOVE,
    ),
    ("GET", "/api/v1/notices", "/api/v1/notices", None, LOOK),
    ("GET", "/api/v1/reports/monthly", "/api/v1/reports/monthly?month=2026-11", None, LOOK),
    ("GET", "/api/v1/reports/monthly.csv", "/api/v1/reports/monthly.csv?month=2026-11", None, LOOK),
    ("GET", "/api/v1/reports/shift", "/api/v1/reports/shift", None, LOOK),
    ("GET", "/api/v1/test-dispatch", "/api/v1/test-dispatch", None, LOOK),
    (
        "POST",
        "/api/v1/test-dispatch/{id}/confirm",
        "/api/v1/test-dispatch/TD-NONE/confirm",
        Some("{}"),
        [401, 403, 404, 404, 403, 404],
    ),
    ("GET", "/t/{token}", "/t/NONE.00", None, [404; 6]),
    ("POST", "/t/{token}", "/t/NONE.00", Some(""), [404; 6]),
    ("GET", "/api/v1/accounting", "/api/v1/accounting", None, LOOK),
    ("GET", "/api/v1/maintenance", "/api/v1/maintenance", None, LOOK),
    (
        "POST",
        "/api/v1/maintenance",
        "/api/v1/maintenance",
        Some(r#"{"key":"t","scope":{"post_id":"P010"},"crew":"c1","reason":"test"}"#),
        [401, 403, 403, 201, 403, 200],
    ),
    ("GET", "/api/v1/rota", "/api/v1/rota", None, LOOK),
    (
        "PUT",
        "/api/v1/rota",
        "/api/v1/rota",
        Some(
            r#"{"duty":[],"overrides":[{"from":"2026-11-23T12:00:00Z","to":"2026-11-24T12:00:00Z","zone":"z1","crew":"c2"}]}"#,
        ),
        [401, 403, 403, 200, 403, 200],
    ),
    (
        "POST",
        "/api/v1/readings",
        "/api/v1/readings",
        Some(r#"{"post_id":"P001","leakage_ma":0.5}"#),
        [401, 403, 200, 200, 200, 200],
    ),
    // For other nodes alone: tests/nodes.rs.
    ("POST", NODE, NODE, Some(""), [401, 403, 403, 403, 403, 403]),
    (
        "POST",
        "/api/v1/weather",
        "/api/v1/weather",
        Some(r#"{"zone":"z1","rain_mm_h":0}"#),
        [401, 403, 403, 200, 200, 200],
    ),
    (
        "POST",
        "/api/v1/links/revoke",
        "/api/v1/links/revoke",
        Some(r#"{"crew":"c2"}"#),
        [401, 403, 403, 200, 403, 200],
    ),
    ("POST", "/api/v1/quarantine/retry", "/api/v1/quarantine/retry", Some("{}"), TECHNICIANS),
    ("GET", "/api/v1/recording", "/api/v1/recording", None, TECHNICIANS),
];

/// The site with a token of each role; a crew's is for z1.
struct Office {
    site: Site,
    lampguard: Lampguard,
    tokens: Vec<Option<String>>,
    document: Value,
}

impl Office {
    fn open(sections: &str) -> Self {
        let site = Site::new().with(sections);
        site.write("secret.txt", "a secret of this test\n");
        let lampguard = site.start();
        let mut tokens = vec![None];
        for role in &ROLES[1..] {
            let zone: &[&str] = if *role == "crew" { &["--zone", "z1"] } else { &[] };
            tokens.push(Some(site.token_named(role, role, zone)));
        }
        let document = lampguard.json("/api/v1/openapi.json");
        Self { site, lampguard, tokens, document }
    }

    /// Asks as a role, and holds the answer against the description.
    fn ask(&self, line: &Line, to: &str, role: usize, body: Option<&str>) -> Answer {
        let url = format!("{}{to}", self.lampguard.url);
        let token = self.tokens[role].as_deref();
        let answer = match body {
            Some(body) if line.0 == "PUT" => try_put(&url, token, body.as_bytes()).unwrap(),
            Some(body) => try_post(&url, token, body.as_bytes()).unwrap(),
            None => try_get(&url, token).unwrap(),
        };
        let operation = &self.document["paths"][line.1][line.0.to_lowercase()];
        let answers = &operation["responses"];
        let described = answers.get(answer.status.to_string()).unwrap_or(&answers["default"]);
        if let Some(schema) = described["content"].get("application/json").map(|content| &content["schema"]) {
            let faults = faults(&self.document, schema, &answer.json());
            assert!(faults.is_empty(), "{} {to} as {}: {faults:#?}", line.0, ROLES[role]);
        }
        answer
    }

    fn told(&self, key: &str, post: &str, what: &str) -> String {
        let body = json!({"key": key, "what": what, "post_id": post, "caller": "13800000000"}).to_string();
        let answer = try_post(
            &format!("{}/api/v1/incidents", self.lampguard.url),
            self.tokens[3].as_deref(),
            body.as_bytes(),
        );
        let answer = answer.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// A move as a role.
    fn act(&self, role: &str, id: &str, verb: &str, body: &Value) -> Answer {
        let line = TABLE.iter().find(|line| line.1 == "/api/v1/incidents/{id}/{move}").unwrap();
        let role = ROLES.iter().position(|known| *known == role).unwrap();
        let body = body.to_string();
        self.ask(line, &format!("/api/v1/incidents/{id}/{verb}"), role, Some(&body))
    }
}

#[test]
fn every_route_answers_each_role_as_the_table_says_and_as_it_is_described() {
    let office = Office::open("");
    let id = office.told("first", "P001", "live");
    let described: BTreeSet<String> = office.document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let names = methods.as_object().unwrap().keys();
            names.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let tried: BTreeSet<String> = TABLE.iter().map(|line| format!("{} {}", line.0, line.1)).collect();
    assert_eq!(described, tried, "a route is missing from the table of this test, or is no route");
    let link = office.site.crew_link(&id, "c1", now_ms() + 3_600_000);
    for line in TABLE {
        for (role, expected) in line.4.iter().enumerate() {
            // What never ends is only asked whether it would begin.
            if line.1.ends_with("/recording") && *expected == 200 {
                continue;
            }
            let answer = office.ask(line, &line.2.replace("ID", &id).replace("LINK", &link), role, line.3);
            let who = ROLES[role];
            assert_eq!(answer.status, *expected, "{} {} as {who}: {}", line.0, line.1, answer.text);
            match expected {
                _ if !line.1.starts_with("/api/") => {}
                401 => assert_eq!(answer.code(), "unauthorized"),
                403 => assert_eq!(answer.code(), "forbidden"),
                _ => {}
            }
        }
        // The roles of the description are those that were let in.
        let operation = &office.document["paths"][line.1][line.0.to_lowercase()];
        let named: Vec<&str> = operation["x-roles"]
            .as_array()
            .map_or_else(Vec::new, |roles| roles.iter().filter_map(Value::as_str).collect());
        for (role, status) in ROLES.iter().zip(line.4).skip(1).filter(|_| !named.is_empty()) {
            let let_in = named.contains(role);
            assert_eq!(let_in, !matches!(status, 401 | 403), "{} {} as {role}", line.0, line.1);
        }
    }
}

#[test]
fn a_node_may_do_nothing_but_forward() {
    let site = Site::new();
    site.write("secret.txt", "a secret of this test\n");
    let lampguard = site.start();
    let token = site.token_named("node", "n1", &[]);
    for line in TABLE.iter().filter(|line| line.4[0] == 401 && line.1.starts_with("/api/")) {
        let url = format!("{}{}", lampguard.url, line.2);
        let answer = match line.3 {
            Some(body) if line.0 == "PUT" => try_put(&url, Some(&token), body.as_bytes()).unwrap(),
            Some(body) => try_post(&url, Some(&token), body.as_bytes()).unwrap(),
            None => try_get(&url, Some(&token)).unwrap(),
        };
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{} {}", line.0, line.1);
    }
    assert!(
        try_post(&format!("{}{NODE}", lampguard.url), Some(&token), b"").unwrap().text.contains("no [nodes]")
    );
}

#[test]
fn each_move_is_for_the_desk_and_some_for_a_crew_in_its_own_zone() {
    let office = Office::open("");
    let verbs = office.document["components"]["schemas"]["MoveName"]["enum"].as_array().unwrap().clone();
    let of_a_crew = [
        "acknowledge",
        "depart",
        "arrive",
        "make_safe",
        "repair",
        "restore",
        "help",
        "note",
        "return",
        "accept",
        "verify",
    ];
    assert_eq!(verbs.len(), 18);
    let (own, other) = (office.told("a", "P001", "live"), office.told("b", "P030", "live"));
    for verb in verbs.iter().map(|verb| verb.as_str().unwrap()) {
        // A body that lacks what the move needs: let in means 422, 409 or 200, and never 403.
        let body = json!({ "key": format!("k-{verb}") });
        for (role, id, allowed) in [
            ("viewer", &own, false),
            ("engineer", &own, false),
            ("crew", &own, of_a_crew.contains(&verb)),
            ("crew", &other, false),
            ("duty", &other, true),
        ] {
            let answer = office.act(role, id, verb, &body);
            let let_in = matches!(answer.status, 200 | 202 | 409 | 422);
            assert_eq!(let_in, allowed, "{verb} as {role}: {} {}", answer.status, answer.text);
            assert!(let_in || answer.status == 403, "{verb} as {role}: {}", answer.text);
        }
    }
    // Readings too: a crew reports from its own zone, whatever way the post is named.
    let url = format!("{}/api/v1/readings", office.lampguard.url);
    for (body, status) in [
        (r#"{"post_id":"P001","leakage_ma":1}"#, 200),
        (r#"[{"post_id":"P001","leakage_ma":1},{"device":"P030","leakage_ma":1}]"#, 403),
        (r#"{"post_id":"nobody-knows","leakage_ma":1}"#, 200),
        (r#"{"post_id":"#, 400),
    ] {
        let answer = try_post(&url, office.tokens[2].as_deref(), body.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    assert_eq!(office.act("duty", &own, "dance", &json!({"key": "k"})).status, 404);
    assert_eq!(office.act("duty", "LG-NONE", "note", &json!({"key": "k"})).status, 404);
}

#[test]
fn a_life_by_http_from_a_call_to_closing_with_every_status_on_the_way() {
    let stub = WebhookStub::start();
    let office = Office::open(&stub.channel("secret.txt"));
    let id = office.told("call", "P001", "shock");
    let act = |role: &str, verb: &str, body: Value| {
        let answer = office.act(role, &id, verb, &body);
        (answer.status, answer.json())
    };
    let (status, refused) = act("crew", "make_safe", json!({"key": "1", "method": "guarded"}));
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("illegal_move")));
    assert_eq!(refused["error"]["state"], "open", "{refused}");
    assert_eq!(act("crew", "arrive", json!({"kee": "1"})).0, 400, "a key that is not known");
    assert_eq!(act("crew", "arrive", json!({"key": ""})).0, 422);
    let here = json!({"key": "1", "position": {"lon": 113.62, "lat": 34.75, "accuracy_m": 12.0}});
    let (status, arrived) = act("crew", "arrive", here.clone());
    assert_eq!((status, &arrived["state"], &arrived["arrival"]), (200, &json!("arrived"), &json!("proven")));
    assert_eq!(act("crew", "arrive", here).1["arrived_at"], arrived["arrived_at"], "a double tap");
    let isolated = json!({"key": "1", "method": "isolated", "breaker": "QF3", "extent": "post"});
    assert_eq!(act("crew", "make_safe", isolated).1["safety"], "已断电");
    assert_eq!(act("crew", "repair", json!({"key": "1"})).0, 422, "cause and parts are missing");
    act("crew", "repair", json!({"key": "2", "cause": "wet junction", "parts": "terminal"}));
    assert_eq!(act("crew", "restore", json!({"key": "1"})).1["safety"], "未确认断电，视为带电");
    let own = act("crew", "verify", json!({"key": "1", "reason": "looks good"}));
    assert_eq!((own.0, &own.1["error"]["code"]), (403, &json!("forbidden")), "not the own repair");
    let by_hand = json!({"key": "1", "reading": {"shell_v": 0.4, "check": "ok", "supply": "on"}});
    assert_eq!(act("duty", "verify", by_hand).1["state"], "verifying");
    let (status, closed) = act("admin", "close", json!({"key": "1"}));
    assert_eq!((status, &closed["state"], &closed["breached"]), (200, &json!("closed"), &json!(false)));
    assert!(office.lampguard.items("/api/v1/incidents").is_empty());
    assert_eq!(office.lampguard.json("/api/v1/posts/P001")["incidents"], json!([]));
    let one = office.lampguard.json(&format!("/api/v1/incidents/{id}"));
    assert_eq!(one["life"]["repaired"]["cause"], "wet junction", "{one}");
    let words: Vec<&str> =
        one["timeline"].as_array().unwrap().iter().filter_map(|event| event["event"].as_str()).collect();
    for word in ["opened", "refused", "arrive", "make_safe", "repair", "restore", "verify", "close"] {
        assert!(words.contains(&word), "{word} in {words:?}");
    }
    // Five words of progress fit into the ten minutes of one person; that it was closed stands on the board.
    let told = || -> BTreeSet<String> {
        stub.hooks().iter().map(|hook| hook.json()["event"].as_str().unwrap().to_owned()).collect()
    };
    let words = ["opened", "arrived", "made_safe", "repaired", "restored", "verified"]
        .map(|word| format!("incident.{word}"));
    wait_until("every word by webhook", seconds(10), || words.iter().all(|word| told().contains(word)));
}

#[test]
fn two_people_withdraw_a_p1_that_shows_and_phone_numbers_are_for_those_who_call() {
    let office = Office::open("");
    let id = office.told("call", "P001", "shock");
    let first = office.act("duty", &id, "void", &json!({"key": "1", "reason": "prank"}));
    assert_eq!(first.status, 202, "{}", first.text);
    let pending = first.json()["pending_id"].clone();
    let body = json!({"key": "2", "reason": "prank", "second": pending});
    assert_eq!(office.act("duty", &id, "void", &body).status, 409, "the same account");
    // Caller's number: hidden from viewers and from crews of other zones.
    let url = format!("{}/api/v1/incidents/{id}", office.lampguard.url);
    let shown = |token: Option<&str>| try_get(&url, token).unwrap().text.contains("13800000000");
    let elsewhere = office.site.token_named("crew", "elsewhere", &["--zone", "z2"]);
    assert!(!shown(office.tokens[1].as_deref()) && !shown(Some(&elsewhere)));
    assert!(shown(office.tokens[2].as_deref()) && shown(office.tokens[3].as_deref()));
    let done = office.act("admin", &id, "void", &body);
    assert_eq!((done.status, &done.json()["state"]), (200, &json!("void")), "{}", done.text);
    assert_eq!(office.lampguard.items("/api/v1/incidents?state=closed").len(), 1);
}

#[test]
fn a_kill_in_the_middle_of_a_life_changes_no_state_and_no_deadline() {
    let office = Office::open("");
    let id = office.told("call", "P001", "live");
    office.act("crew", &id, "depart", &json!({"key": "1"}));
    office.act("crew", &id, "arrive", &json!({"key": "1", "post": "P001"}));
    let before = office.lampguard.json(&format!("/api/v1/incidents/{id}"));
    let Office { site, mut lampguard, tokens, .. } = office;
    lampguard.process.kill();
    let lampguard = site.start();
    let after = lampguard.json(&format!("/api/v1/incidents/{id}"));
    for key in ["state", "due_at", "opened_at", "arrived_at", "arrival", "crew", "life"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    let url = format!("{}/api/v1/incidents/{id}/arrive", lampguard.url);
    let again = try_post(&url, tokens[2].as_deref(), br#"{"key":"1","post":"P001"}"#).unwrap();
    assert_eq!((again.status, &again.json()["arrived_at"]), (200, &before["arrived_at"]));
}

#[test]
fn an_answer_that_differs_from_its_description_is_found() {
    let document = json!({"components": {"schemas": {"A": {"type": "object", "required": ["a"],
        "properties": {"a": {"type": ["integer", "null"]}, "t": {"type": "string", "format": "date-time"},
        "l": {"type": "array", "items": {"type": "string", "enum": ["x"]}}}, "additionalProperties": false}}}});
    let schema = json!({"$ref": "#/components/schemas/A"});
    let count = |value: Value| faults(&document, &schema, &value).len();
    assert_eq!(count(json!({"a": 1, "t": "2026-11-23T12:00:00Z", "l": ["x"]})), 0);
    for wrong in [
        json!({}),
        json!({"a": "1"}),
        json!({"a": 1, "b": 1}),
        json!({"a": 1, "t": "soon"}),
        json!({"a": 1, "l": ["y"]}),
        json!([]),
    ] {
        assert_eq!(count(wrong.clone()), 1, "{wrong}");
    }
}
