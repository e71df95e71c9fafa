//! An office of four zones on a rainy night, with as many incidents as a test needs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::common::http::{Answer, PageAnswer, try_get, try_post};
use super::common::site::HEADER;
use super::common::{Browser, Lampguard, Site, now_ms, seconds, wait_until};

/// Roads of each zone.
const ROADS: [[&str; 5]; 4] = [
    ["解放路", "人民东路", "花园街", "文化路", "东风大道"],
    ["中原西路", "建设路", "桐柏路", "陇海西路", "冉屯路"],
    ["航海东路", "未来路", "紫荆山南路", "城东路", "货站街"],
    ["金水路", "农业路", "经三路", "南阳路", "黄河路"],
];
pub const POSTS: usize = 320;
/// Who asks.
pub const ROLES: [&str; 6] = ["nobody", "viewer", "crew", "duty", "engineer", "admin"];

pub struct Night {
    pub site: Site,
    pub lampguard: Lampguard,
    tokens: Vec<Option<String>>,
}

pub fn post(n: usize) -> String {
    format!("Z{}-{:03}", n % 4 + 1, n / 4)
}

/// A form's fields as a browser sends them.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

fn register() -> String {
    let mut text = format!("{HEADER}\n");
    for n in 0..POSTS {
        let (zone, place) = (n % 4, n / 4);
        let (road, landmark) =
            (ROADS[zone][place % 5], ["", "<img src=x onerror=alert(1)>", "大桥下", "学校门口"][place % 4]);
        let (lon, lat) = (113.6 + place as f64 * 0.0007, 34.7 + zone as f64 * 0.02);
        writeln!(
            text,
            "{},,z{},{road},{},{landmark},F{}-{},C{},{lon:.5},{lat:.5},1,100,{},2019-05-01,",
            post(n),
            zone + 1,
            100 + place,
            zone + 1,
            place % 5,
            zone + 1,
            place % 9 == 0
        )
        .unwrap();
    }
    text
}

impl Night {
    pub fn start(sections: &str) -> Self {
        let zones = "[[zone]]\nid = \"z3\"\nname = \"南城责任区\"\ncrew = \"c1\"\n[[zone]]\nid = \"z4\"\nname = \"北城责任区\"\ncrew = \"c2\"\n";
        let site = Site::new().with(zones).with(sections);
        site.write("posts.csv", &register());
        site.write("secret.txt", "a secret of this test\n");
        let lampguard = site.start();
        let mut tokens = vec![None];
        for role in &ROLES[1..] {
            let zone: &[&str] = if *role == "crew" { &["--zone", "z1"] } else { &[] };
            tokens.push(Some(site.token_named(role, role, zone)));
        }
        let night = Self { site, lampguard, tokens };
        let dry = night.lampguard.post("/api/v1/weather", r#"{"zone":"all","rain_mm_h":0}"#);
        assert_eq!(dry.status, 200, "{}", dry.text);
        night
    }

    pub fn token(&self, role: &str) -> Option<&str> {
        let place = ROLES.iter().position(|known| *known == role).unwrap();
        self.tokens[place].as_deref()
    }

    /// A page as somebody sees it.
    pub fn page(&self, role: &str, path: &str) -> Answer {
        try_get(&format!("{}{path}", self.lampguard.url), self.token(role)).unwrap()
    }

    /// A browser with somebody's token.
    pub fn browser(&self, role: &str) -> Browser {
        let browser = Browser::new(&self.lampguard.url);
        match self.token(role) {
            Some(token) => browser.saying("Authorization", &format!("Bearer {token}")),
            None => browser,
        }
    }

    /// A form as somebody sends it.
    pub fn form(&self, role: &str, path: &str, fields: &[(&str, &str)]) -> PageAnswer {
        self.browser(role).form(path, &encoded(fields))
    }

    /// The link of a crew to an incident.
    pub fn link(&self, id: &str) -> String {
        self.site.crew_link(id, "c1", now_ms() + 3_600_000)
    }

    /// A move as JSON, by the desk unless said otherwise.
    pub fn act(&self, role: &str, id: &str, verb: &str, body: &Value) -> Answer {
        let url = format!("{}/api/v1/incidents/{id}/{verb}", self.lampguard.url);
        try_post(&url, self.token(role), body.to_string().as_bytes()).unwrap()
    }

    /// A hazard that somebody told, and its id.
    pub fn told(&self, key: &str, post: &str, what: &str) -> String {
        let body =
            json!({"key": key, "what": what, "post_id": post, "caller": "张女士 13800000000"}).to_string();
        let url = format!("{}/api/v1/incidents", self.lampguard.url);
        let answer = try_post(&url, self.token("duty"), body.as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Brings `count` posts into danger, and waits until each has its incident.
    pub fn storm(&self, count: usize) {
        let mut readings = Vec::new();
        for n in 0..count {
            let (post, now) = (post(n), now_ms());
            for age in [20_000, 10_000, 0] {
                let ts = now - age;
                let mut reading = json!({"post_id": post, "ts": ts, "supply_v": 226.5, "lamp_w": 98.0,
                    "leakage_ma": 0.8 + n as f64 * 0.01, "shell_v": 0.4});
                match n % 4 {
                    0 => reading["shell_v"] = json!(48.0 + n as f64 * 0.3),
                    1 => reading["leakage_ma"] = json!(36.0 + n as f64 * 0.2),
                    2 => reading["shell_v"] = json!(13.5),
                    _ => {
                        reading["shell_v"] = json!(86.5);
                        reading["leakage_ma"] = json!(41.0);
                    }
                }
                readings.push(reading);
            }
        }
        for batch in readings.chunks(300) {
            let answer = self.lampguard.post("/api/v1/readings", &json!(batch).to_string());
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        wait_until("every incident of the storm", seconds(30), || self.open().len() >= count.min(1000));
    }

    /// Ids of what is open, by deadline.
    pub fn open(&self) -> Vec<String> {
        let items = self.lampguard.items("/api/v1/incidents?limit=1000");
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Some of them on their way, with crews, so that a page shows every state.
    pub fn work(&self) {
        let ids = self.open();
        let key = |n: usize| format!("work-{n}");
        for (n, id) in ids.iter().take(7).enumerate() {
            let crew = json!({"key": key(n), "on_behalf_of": "抢修一班 王五", "channel": "phone"});
            let with = |more: Value| {
                let mut body = crew.clone();
                body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                body
            };
            let steps: Vec<(&str, Value)> = vec![
                ("acknowledge", crew.clone()),
                ("depart", crew.clone()),
                ("arrive", crew.clone()),
                (
                    "make_safe",
                    with(if n == 4 {
                        json!({"method": "guarded"})
                    } else {
                        json!({"method": "isolated", "breaker": "QF3", "extent": "post"})
                    }),
                ),
                ("repair", with(json!({"cause": "接线盒进水", "parts": "端子排"}))),
            ];
            for (verb, body) in steps.iter().take(n) {
                let answer = self.act("duty", id, verb, body);
                assert_eq!(answer.status, 200, "{verb}: {}", answer.text);
            }
        }
    }
}
