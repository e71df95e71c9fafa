//! Real Mosquitto, VictoriaMetrics and InfluxDB 1, left out when they are not installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::process::Program;
use super::{everything_is_asked_for, free_port, http, wait_until};

const START: Duration = Duration::from_secs(30);

/// A program on PATH, or where Debian puts servers.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Where a program is; `None` says that the test is left out, unless everything was asked for.
pub fn installed(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        assert!(!everything_is_asked_for(), "{name} is not installed and LAMPGUARD_TESTS=all");
        // Test harnesses swallow what a passing test prints; this goes around them.
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "left out: {name} is not installed (tests/run installs it)");
    }
    found
}

fn as_ourselves() -> &'static str {
    // Otherwise Mosquitto becomes the user mosquitto, who may not write to our folder.
    if rustix::process::geteuid().is_root() { "user root\n" } else { "" }
}

/// A real Mosquitto in a folder of its own.
pub struct Mosquitto {
    program: PathBuf,
    home: TempDir,
    pub port: u16,
    pub process: Program,
}

impl Mosquitto {
    /// With the settings of `deploy/mosquitto.conf` but its limit of packets, so that lampguard meets long ones;
    /// `None` when it is not installed.
    pub fn start() -> Option<Self> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/mosquitto.conf");
        let shipped = std::fs::read_to_string(shipped).unwrap();
        let adapted = |home: &Path, port: u16| {
            let lines = shipped.lines().map(|line| match line.split_whitespace().next() {
                Some("listener") => format!("listener {port} 127.0.0.1\n"),
                Some("persistence_location") => format!("persistence_location {}/\n", home.display()),
                Some("max_packet_size") => String::new(),
                _ => format!("{line}\n"),
            });
            lines.collect()
        };
        Self::start_with(adapted)
    }

    /// With nothing but its own defaults.
    pub fn start_bare() -> Option<Self> {
        Self::start_with(|_, port| format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
    }

    /// Open to everybody, with these rules of what may be read and written.
    pub fn start_with_rules(rules: &str) -> Option<Self> {
        Self::start_with(|home, port| {
            let file = home.join("rules.acl");
            std::fs::write(&file, rules).unwrap();
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {}\n", file.display())
        })
    }

    /// With the settings that are made for its folder and port.
    pub fn start_with(settings: impl FnOnce(&Path, u16) -> String) -> Option<Self> {
        let program = installed("mosquitto")?;
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let text = settings(home.path(), port) + as_ourselves();
        std::fs::write(home.path().join("mosquitto.conf"), text).unwrap();
        let process = spawn_mosquitto(&program, home.path(), port);
        Some(Self { program, home, port, process })
    }

    /// Where its files are.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// SIGTERM: it saves its sessions and ends.
    pub fn stop(&mut self) {
        self.process.terminate(Duration::from_secs(20));
    }

    /// Starts again on the same folder and port.
    pub fn start_again(&mut self) {
        self.process = spawn_mosquitto(&self.program, self.home.path(), self.port);
    }
}

fn spawn_mosquitto(program: &Path, home: &Path, port: u16) -> Program {
    let mut command = Command::new(program);
    command.arg("-c").arg(home.join("mosquitto.conf"));
    let mut process = Program::start("mosquitto", command);
    wait_until("mosquitto to listen", START, || {
        assert!(process.is_alive(), "mosquitto ended at once:\n{}", process.stderr());
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    process
}

/// Flags of `deploy/victoria-metrics.default` that are not about this machine.
const SHIPPED: [&str; 3] =
    ["-retentionPeriod=13", "-dedup.minScrapeInterval=1ms", "-search.latencyOffset=1s"];

/// A real VictoriaMetrics in a folder of its own.
pub struct Victoria {
    program: PathBuf,
    home: TempDir,
    pub port: u16,
    flags: Vec<String>,
    pub process: Program,
}

impl Victoria {
    /// With the shipped flags; `None` when it is not installed.
    pub fn start() -> Option<Self> {
        let text = include_str!("../../deploy/victoria-metrics.default");
        SHIPPED.iter().for_each(|flag| assert!(text.contains(flag), "{flag} is not shipped"));
        Self::start_with(SHIPPED.map(str::to_owned).to_vec())
    }

    /// With the shipped flags, scraping by this file.
    pub fn start_scraping(config: &Path) -> Option<Self> {
        let scrape = format!("-promscrape.config={}", config.display());
        Self::start_with(SHIPPED.map(str::to_owned).into_iter().chain([scrape]).collect())
    }

    /// Without deduplication.
    pub fn start_without_dedup() -> Option<Self> {
        Self::start_with(vec!["-retentionPeriod=13".to_owned()])
    }

    fn start_with(flags: Vec<String>) -> Option<Self> {
        let program = installed("victoria-metrics")?;
        let (home, port) = (tempfile::tempdir().unwrap(), free_port());
        let process = spawn_victoria(&program, home.path(), port, &flags);
        Some(Self { program, home, port, flags, process })
    }

    /// Starts again on the same folder and port.
    pub fn start_again(&mut self) {
        self.process = spawn_victoria(&self.program, self.home.path(), self.port, &self.flags);
    }

    /// Every series of a selector as VictoriaMetrics exports it: labels, times, values.
    pub fn export(&self, selector: &str) -> Vec<Value> {
        let root = format!("http://127.0.0.1:{}", self.port);
        // What came last is in memory and hidden until then.
        http::try_get(&format!("{root}/internal/force_flush"), None).unwrap();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("match[]", selector);
        let answer = http::try_get(&format!("{root}/api/v1/export?{}", query.finish()), None).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How often each (post, boot, seq) is there.
    pub fn rows(&self) -> BTreeMap<(String, u64, u64), u32> {
        let root = format!("http://127.0.0.1:{}", self.port);
        // What came last is in memory and hidden until then.
        http::try_get(&format!("{root}/internal/force_flush"), None).unwrap();
        let series = |field: &str| {
            let url =
                format!("{root}/api/v1/export?match%5B%5D=%7B__name__%3D~%22(lamp%7Ccabinet)_{field}%22%7D");
            let answer = http::try_get(&url, None).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text);
            samples(&answer.text)
        };
        let boots = series("boot");
        let mut rows = BTreeMap::new();
        for ((post, ts), numbers) in series("seq") {
            let boot = boots.get(&(post.clone(), ts)).map_or(0, |boots| boots[0]);
            for seq in numbers {
                *rows.entry((post.clone(), boot, seq)).or_default() += 1;
            }
        }
        rows
    }
}

/// Every sample by post and time.
fn samples(export: &str) -> BTreeMap<(String, i64), Vec<u64>> {
    let mut found: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for line in export.lines() {
        let series: Value = serde_json::from_str(line).unwrap();
        let post = series["metric"]["post"].as_str().unwrap();
        let times = series["timestamps"].as_array().unwrap();
        let values = series["values"].as_array().unwrap();
        for (time, value) in times.iter().zip(values) {
            let key = (post.to_owned(), time.as_i64().unwrap());
            found.entry(key).or_default().push(value.as_f64().unwrap() as u64);
        }
    }
    found
}

fn spawn_victoria(program: &Path, home: &Path, port: u16, flags: &[String]) -> Program {
    let mut command = Command::new(program);
    command
        .arg(format!("-storageDataPath={}", home.display()))
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        .arg("-memory.allowedBytes=64MiB")
        .args(flags);
    let mut process = Program::start("victoria-metrics", command);
    wait_until("victoria-metrics to answer", START, || {
        assert!(process.is_alive(), "victoria-metrics ended at once:\n{}", process.stderr());
        http::try_get(&format!("http://127.0.0.1:{port}/health"), None)
            .is_ok_and(|answer| answer.status == 200)
    });
    process
}

/// A real InfluxDB 1 in a folder of its own, with an empty database `lampguard`.
pub struct Influx {
    home: TempDir,
    pub port: u16,
    pub process: Program,
}

impl Influx {
    /// `None` when it is not installed.
    pub fn start() -> Option<Self> {
        let program = installed("influxd")?;
        let (home, port) = (tempfile::tempdir().unwrap(), free_port());
        let folder = |name: &str| home.path().join(name).display().to_string();
        let settings = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{}\"\n[meta]\ndir = \"{}\"\n\
             [data]\ndir = \"{}\"\nwal-dir = \"{}\"\n[http]\nbind-address = \"127.0.0.1:{port}\"\n\
             [monitor]\nstore-enabled = false\n",
            free_port(),
            folder("meta"),
            folder("data"),
            folder("wal"),
        );
        let file = home.path().join("influxdb.conf");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(program);
        command.arg("-config").arg(file);
        let mut process = Program::start("influxd", command);
        wait_until("influxd to answer", START, || {
            assert!(process.is_alive(), "influxd ended at once:\n{}", process.stderr());
            http::try_get(&format!("http://127.0.0.1:{port}/ping"), None)
                .is_ok_and(|answer| answer.status == 204)
        });
        let influx = Self { home, port, process };
        influx.ask("CREATE DATABASE lampguard");
        Some(influx)
    }

    /// The answer to one statement of InfluxQL, times in milliseconds.
    pub fn ask(&self, statement: &str) -> Value {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("db", "lampguard").append_pair("epoch", "ms").append_pair("q", statement);
        let url = format!("http://127.0.0.1:{}/query?{}", self.port, query.finish());
        // Changes are asked for by POST.
        let answer = if statement.starts_with("CREATE") {
            http::try_post(&url, None, b"").unwrap()
        } else {
            http::try_get(&url, None).unwrap()
        };
        let answer: Value = serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{}", answer.text));
        let error = &answer["results"][0]["error"];
        assert!(error.is_null() && answer["error"].is_null(), "{statement}: {answer}");
        answer["results"][0].clone()
    }

    /// The series of an answer.
    pub fn series(&self, statement: &str) -> Vec<Value> {
        self.ask(statement)["series"].as_array().cloned().unwrap_or_default()
    }
}
