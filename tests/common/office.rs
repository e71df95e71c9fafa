//! A running instance behind which both databases stand, and people with tokens.

use serde_json::Value;

use super::{Influx, Lampguard, Site, Victoria, http, lit_now};

pub struct Office {
    pub victoria: Victoria,
    pub influx: Influx,
    pub site: Site,
    pub lampguard: Lampguard,
    /// Desk, crew of z1, admin.
    pub tokens: [String; 3],
}

impl Office {
    /// With a policy file of its own, if not empty. None when a database is not installed.
    pub fn open(policy: &str) -> Option<Self> {
        Self::at(Site::new(), policy)
    }

    /// The same at a site that has more.
    pub fn at(site: Site, policy: &str) -> Option<Self> {
        let (victoria, influx) = (Victoria::start()?, Influx::start()?);
        let second = format!(
            "[[tsdb]]\nid = \"influx\"\nurl = \"http://127.0.0.1:{}\"\napi = \"v1\"\nbatch_ms = 200\n",
            influx.port
        );
        let mut site = site.with_database(victoria.port).with(&second).with(&lit_now());
        if !policy.is_empty() {
            site = site.with("[policy]\nfile = \"policy.toml\"\n");
            site.write("policy.toml", policy);
        }
        let lampguard = site.start();
        let tokens = [
            site.token_named("duty", "desk", &[]),
            site.token_named("crew", "c1", &["--zone", "z1"]),
            site.token_named("admin", "head", &[]),
        ];
        Some(Self { victoria, influx, site, lampguard, tokens })
    }

    /// Says it with the token of that place; the answer has to be good.
    pub fn post(&self, by: usize, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.lampguard.url);
        let answer = http::try_post(&url, Some(&self.tokens[by]), body.to_string().as_bytes()).unwrap();
        assert!(answer.status < 300, "{path} {body}: {} {}", answer.status, answer.text);
        answer.json()
    }
}
