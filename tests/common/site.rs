//! A temporary folder with register and configuration, and `lampguard` running on it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Answer};
use super::process::{self, Program, program, texts};
use super::{free_port, seconds, wait_until};

/// Longest start.
const START: Duration = Duration::from_secs(30);
/// Posts of the register: P001 to P040, the second half in zone z2.
pub const POSTS: u32 = 40;

/// The register's first line.
pub const HEADER: &str = "post_id,device_id,zone,road,number,landmark,feeder,cabinet,lon,lat,lamps,lamp_w,low_lying,installed,external_code";

/// A register of [`POSTS`] posts.
pub fn register() -> String {
    let mut text = format!("{HEADER}\n");
    for n in 1..=POSTS {
        let zone = if n <= POSTS / 2 { "z1" } else { "z2" };
        text += &format!("P{n:03},,{zone},解放路,{n},,F{},C1,113.62,34.75,1,100,false,2020-01-01,\n", n % 4);
    }
    text
}

/// Zones and crews that the register needs.
pub const ZONES: &str = "[[zone]]\nid = \"z1\"\nname = \"Zone 1\"\ncrew = \"c1\"\n\
    [[zone]]\nid = \"z2\"\nname = \"Zone 2\"\ncrew = \"c2\"\n\
    [[crew]]\nid = \"c1\"\nname = \"Crew 1\"\n[[crew]]\nid = \"c2\"\nname = \"Crew 2\"\n";

/// A site: files and ports; nothing runs yet.
pub struct Site {
    home: TempDir,
    pub web: u16,
    pub listener: u16,
    data: PathBuf,
    site_keys: String,
    listener_keys: String,
    web_keys: String,
    sections: String,
}

impl Site {
    /// A site with a listener, without broker, database and webhook.
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let site = Self {
            home,
            web: free_port(),
            listener: free_port(),
            data,
            site_keys: String::new(),
            listener_keys: String::new(),
            web_keys: String::new(),
            sections: String::new(),
        };
        site.write("posts.csv", &register());
        site
    }

    /// Adds sections to the configuration.
    pub fn with(mut self, sections: &str) -> Self {
        self.sections += sections;
        self.sections.push('\n');
        self
    }

    /// Adds keys to `[site]`.
    pub fn with_site(mut self, keys: &str) -> Self {
        self.site_keys += keys;
        self.site_keys.push('\n');
        self
    }

    /// Adds keys to `[listener]`.
    pub fn with_listener(mut self, keys: &str) -> Self {
        self.listener_keys += keys;
        self.listener_keys.push('\n');
        self
    }

    /// Adds keys to `[web]`.
    pub fn with_web(mut self, keys: &str) -> Self {
        self.web_keys += keys;
        self.web_keys.push('\n');
        self
    }

    /// Adds a `[[broker]]` on that port, with more keys or mappings.
    pub fn with_broker(self, port: u16, more: &str) -> Self {
        self.with(&format!("[[broker]]\nid = \"main\"\nurl = \"mqtt://127.0.0.1:{port}\"\n{more}"))
    }

    /// Adds a `[[tsdb]]` on that port.
    pub fn with_database(self, port: u16) -> Self {
        self.with(&format!("[[tsdb]]\nid = \"main\"\nurl = \"http://127.0.0.1:{port}\"\nbatch_ms = 200\n"))
    }

    /// Puts the data directory somewhere else.
    pub fn with_data(mut self, data: &Path) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The configuration as it stands.
    pub fn toml(&self) -> String {
        format!(
            "[site]\nname = \"test\"\nlanguage = \"en\"\ndata_dir = \"{}\"\n{}[posts]\nfile = \"posts.csv\"\n\
             [web]\nbind = \"127.0.0.1:{}\"\n{}[listener]\nbind = \"127.0.0.1:{}\"\n{}\n{ZONES}{}",
            self.data.display(),
            self.site_keys,
            self.web,
            self.web_keys,
            self.listener,
            self.listener_keys,
            self.sections
        )
    }

    /// Runs the program beside or without an instance, on this site's configuration.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.configure();
        let file = self.path("lampguard.toml");
        let mut all = vec!["--config", file.to_str().unwrap()];
        all.extend(arguments);
        process::run(self.dir(), &all, seconds(60))
    }

    /// A crew link as an instance of this site makes them, from its key file: written here a second time, by the
    /// drawing in `alerting/src/links.rs`.
    pub fn crew_link(&self, incident: &str, crew: &str, expires_ms: i64) -> String {
        use base64::Engine as _;
        use hmac::{Hmac, KeyInit, Mac};
        let keys = std::fs::read_to_string(self.data.join("links.key")).unwrap();
        let mut words = keys.lines().last().unwrap().split(' ');
        let (id, secret) = (words.next().unwrap().parse::<u8>().unwrap(), words.nth(1).unwrap());
        let secret: Vec<u8> =
            (0..32).map(|n| u8::from_str_radix(&secret[2 * n..2 * n + 2], 16).unwrap()).collect();
        let mut body = vec![id];
        body.extend(((expires_ms / 1000) as u32).to_be_bytes());
        body.push(incident.len() as u8);
        body.extend(incident.bytes().chain(crew.bytes()));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).unwrap();
        mac.update(b"lampguard crew link 1");
        mac.update(&body);
        body.extend(&mac.finalize().into_bytes()[..16]);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(body)
    }

    /// Writes the configuration.
    pub fn configure(&self) {
        self.write("lampguard.toml", &self.toml());
    }

    /// Starts `serve` without waiting.
    pub fn spawn(&self) -> Program {
        self.configure();
        let mut command = program();
        command.arg("--config").arg(self.path("lampguard.toml")).arg("serve");
        Program::start("lampguard serve", command)
    }

    /// Starts `serve`, waits until it is ready, and makes an engineer's token beside it.
    pub fn start(&self) -> Lampguard {
        let mut process = self.spawn();
        let url = format!("http://127.0.0.1:{}", self.web);
        wait_until("lampguard to be ready", START, || {
            assert!(process.is_alive(), "lampguard ended at once:\n{}", process.stderr());
            // The listener opens last; /readyz answers a moment before.
            http::try_get(&format!("{url}/readyz"), None).is_ok_and(|answer| answer.status == 200)
                && process.stderr().contains(" ready ")
        });
        let token = self.token("engineer", &[]);
        Lampguard { process, url, token }
    }

    /// A new token, made by the command line.
    pub fn token(&self, role: &str, more: &[&str]) -> String {
        self.token_named(role, "test", more)
    }

    /// A new token of a person or crew of that name.
    pub fn token_named(&self, role: &str, name: &str, more: &[&str]) -> String {
        let mut arguments = vec!["token", "create", "--role", role, "--name", name];
        arguments.extend(more);
        let output = self.run(&arguments);
        let (out, err) = texts(&output);
        assert!(output.status.success(), "token create: {err}");
        out.split_whitespace().last().unwrap().to_owned()
    }
}

/// A running instance.
pub struct Lampguard {
    pub process: Program,
    pub url: String,
    pub token: String,
}

impl Lampguard {
    /// GET with our token.
    pub fn get(&self, path: &str) -> Answer {
        http::try_get(&format!("{}{path}", self.url), Some(&self.token)).unwrap()
    }

    /// GET with our token; a JSON answer of 200.
    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text);
        answer.json()
    }

    /// POST with our token.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        http::try_post(&format!("{}{path}", self.url), Some(&self.token), body.as_bytes()).unwrap()
    }

    /// The items of a list.
    pub fn items(&self, path: &str) -> Vec<Value> {
        self.json(path)["items"].as_array().unwrap().clone()
    }

    pub fn accounting(&self) -> Value {
        self.json("/api/v1/accounting")
    }

    pub fn stored(&self) -> u64 {
        self.accounting()["stored"].as_u64().unwrap()
    }

    pub fn is_ready(&self) -> bool {
        http::try_get(&format!("{}/readyz", self.url), None).is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until nothing is pending, and asserts that the books balance.
    pub fn balanced(&self) -> Value {
        wait_until("nothing to be pending", seconds(20), || self.accounting()["pending"] == 0);
        let books = self.accounting();
        assert_eq!(books["balanced"], true, "{books}");
        books
    }

    /// Waits for that many stored readings, and asserts that there are no more.
    pub fn wait_for_stored(&self, count: u64, patience: Duration) {
        wait_until(&format!("{count} stored readings"), patience, || self.stored() >= count);
        assert_eq!(self.stored(), count, "{}", self.accounting());
    }

    /// The sum over all series of a metric whose name and labels begin like this.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let series = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| name.ends_with('}') || rest.starts_with([' ', '{']))
        });
        series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Rows of one post's history, as (time, values of `fields`).
    pub fn history(&self, post: &str, fields: &str) -> Vec<Value> {
        let answer = self.json(&format!("/api/v1/posts/{post}/history?fields={fields}"));
        answer["rows"].as_array().unwrap().clone()
    }

    /// Waits until the broker's subscription stands.
    pub fn wait_for_broker(&self) {
        wait_until("the subscription at the broker", seconds(40), || {
            self.metric("lampguard_broker_up") > 0.0
        });
    }

    /// SIGTERM, and a good end in under 5 seconds.
    pub fn stop(mut self) {
        let (status, took) = self.process.terminate(seconds(10));
        assert!(status.success(), "{status}: {}", self.process.stderr());
        assert!(took < seconds(5), "the end took {took:?}");
    }
}
