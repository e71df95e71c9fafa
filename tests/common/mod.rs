//! What the end-to-end tests share: the built program as a child, real servers, clients of few words.
//!
//! | file | what it holds |
//! |---|---|
//! | `process.rs` | a child process: its output, its signals, its end in `Drop` by its own pid |
//! | `site.rs` | a temporary folder with register and configuration, `lampguard` running on it |
//! | `http.rs` | questions to the HTTP interface, and a stub that takes webhooks |
//! | `mqtt.rs` | an MQTT client, 3.1.1 and 5, that keeps its own list of acknowledgements |
//! | `schema.rs` | real answers against the schemas of the interface |
//! | `servers.rs` | real Mosquitto, VictoriaMetrics and InfluxDB 1, left out when they are not installed |
//! | `office.rs` | a running instance with both databases behind it |
//! | `panels.rs` | questions of the dashboards to these databases |
//! | `storm.rs` | a simulated city in the rain, sent through Mosquitto, and what is true of it |
//! | `shown.rs`, `listed.rs`, `handled.rs` | what panels have to show of it: numbers and lines, lists, what people did |
//! | `certs.rs` | an authority of our own, certificates of servers and sensors |
//! | `browser.rs` | Chromium without a window, left out when it is not installed |
//! | `disk.rs` | a small disk that can be filled |

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test program uses its part of this module"
)]

pub mod browser;
pub mod certs;
pub mod disk;
pub mod handled;
pub mod http;
pub mod listed;
pub mod mqtt;
pub mod office;
pub mod panels;
pub mod process;
pub mod schema;
pub mod servers;
pub mod shown;
pub mod site;
pub mod storm;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use http::{Answer, Browser, WebhookStub};
pub use mqtt::{Ending, Mqtt};
pub use office::Office;
pub use process::{Program, program};
pub use servers::{Influx, Mosquitto, Victoria};
pub use site::{Lampguard, Site};

/// Ports are taken from below the range of outgoing connections: a client that looks for a server that was
/// just killed could otherwise be given that very port and connect to itself.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// A loopback port that nobody uses now, and that no other test of this program was given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = PORTS.end - PORTS.start;
    let start = std::process::id().wrapping_mul(6151);
    for _ in 0..span {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        let port = (PORTS.start + at) as u16;
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port from {} to {}", PORTS.start, PORTS.end);
}

/// True when a server could listen there. The probe binds and never listens: a child that another test starts at
/// that moment holds a copy of our socket until it has become its program, and a copy that listened would
/// refuse the port to whom it was just given.
fn is_free(port: u16) -> bool {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let probe = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_reuseaddr(&probe, true).unwrap();
    bind(&probe, &address).is_ok()
}

/// Milliseconds UTC.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Looks every 20 ms until something is true; fails the test with `what` after `patience`.
pub fn wait_until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// True when a test that needs something not installed has to fail instead of being left out.
pub fn everything_is_asked_for() -> bool {
    std::env::var("LAMPGUARD_TESTS").is_ok_and(|value| value == "all")
}

/// A reading in the canonical form: leakage in mA, with its own number.
pub fn reading(boot: u32, seq: u64, leakage_ma: f64) -> String {
    format!(
        r#"{{"ts":{},"boot":{boot},"seq":{seq},"leakage_ma":{leakage_ma},"shell_v":0.4,"supply_v":228.0}}"#,
        now_ms()
    )
}

/// Seconds, for patience.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A timetable that has been on for two hours and is so for two more, Asia/Shanghai.
pub fn lit_now() -> String {
    let minute = (now_ms() / 60_000 + 480).rem_euclid(1440);
    let clock = |minute: i64| format!("{:02}:{:02}", minute.rem_euclid(1440) / 60, minute.rem_euclid(60));
    let (on, off) = (clock(minute - 120), clock(minute + 120));
    format!("[lighting]\n[[lighting.timetable]]\nplans = [\"all\"]\non = \"{on}\"\noff = \"{off}\"\n")
}
