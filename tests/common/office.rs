//! A running instance behind which both databases stand, and people with tokens.

use serde_json::Value;

use super::{Influx, Lampguard, Site, Victoria, http, lit_now, site};

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
        // People are told of what opens.
        let site = Site::new().with("[[channel]]\nid = \"console\"\nkind = \"console\"\n");
        site.write("posts.csv", &fuller_register());
        Self::at(site, policy)
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

/// The sensor in the cabinet of the register of [`Office::open`]: it measures the feeder F1 of z1.
pub const CABINET: &str = "B001";

/// The register with three low-lying posts, one in z1, and two in z2, of which P041 is never heard; and with [`CABINET`].
fn fuller_register() -> String {
    let low = |line: &str| line.starts_with("P001,") || line.starts_with("P021,");
    let lines = site::register();
    let mut text: String = lines
        .lines()
        .map(|line| if low(line) { line.replace(",false,", ",true,") } else { line.to_owned() } + ",\n")
        .collect();
    text = text.replacen(",\n", ",kind\n", 1);
    text += "P041,,z2,解放路,41,,F1,C1,113.62,34.75,1,100,true,2020-01-01,,\n";
    text += &format!("{CABINET},,z1,解放路,C1,,F1,C1,113.62,34.75,0,0,false,2020-01-01,,feeder\n");
    text
}
