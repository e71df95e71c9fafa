//! Asks the database whether it is alive, and whether it is the same process as before.
//!
//! Its own word comes first: `process_start_time_seconds` (or `vm_app_start_timestamp`) on `/metrics`. A
//! database that does not say it is asked by `/ping` or `/health`, by status only, over one kept connection:
//! when that connection has to be made again, the process behind it may be another one. The same holds when
//! the start time stands on the host's root while we write below a path: it may be that of a proxy.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest_influx::Url;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector, Transport};

use super::send::{agent_config, chain, root};
use super::window::Life;

/// Most that is read of a metrics page. VictoriaMetrics 1.79.5 sends 35 KiB.
const PAGE_MAX: u64 = 16 << 20;
/// Longest wait for one answer.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// Names under which a process tells when it was started.
const START_TIMES: [&str; 2] = ["process_start_time_seconds", "vm_app_start_timestamp"];

/// Counts the connections that are made.
#[derive(Debug)]
struct Counting {
    inner: DefaultConnector,
    dialled: Arc<AtomicU64>,
}

impl Connector<()> for Counting {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        self.inner.connect(details, chained)
    }
}

/// What an address answered.
struct Page {
    status: u16,
    text: String,
}

/// Asks one database.
pub(crate) struct Prober {
    agent: ureq::Agent,
    /// Below these: first the root we write to, then the host's own, if that is another.
    roots: Vec<String>,
    login: Mutex<Option<String>>,
    dialled: Arc<AtomicU64>,
    /// Connections that the database said it would close: no sign of a restart.
    announced: AtomicU64,
    /// Failures after which the process may be another one.
    doubts: AtomicU64,
}

impl Prober {
    pub(super) fn new(url: &Url, login: Option<String>, timeout: Duration) -> Self {
        let dialled = Arc::new(AtomicU64::new(0));
        let counting = Counting { inner: DefaultConnector::default(), dialled: dialled.clone() };
        let config = agent_config(timeout.min(TIMEOUT_MAX));
        let mut roots = vec![root(url).to_owned()];
        if !matches!(url.path(), "" | "/") {
            let mut host = url.clone();
            host.set_path("");
            roots.push(root(&host).to_owned());
        }
        Self {
            agent: ureq::Agent::with_parts(config, counting, DefaultResolver::default()),
            roots,
            login: Mutex::new(login),
            dialled,
            announced: AtomicU64::new(0),
            doubts: AtomicU64::new(0),
        }
    }

    /// Another token from now on.
    pub(super) fn log_in(&self, login: Option<String>) {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = login;
    }

    /// A request failed: where the start time does not tell, the process may be another one.
    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks now, and waits for the answer.
    ///
    /// # Errors
    /// Why it does not count as alive. Ask again later.
    pub(crate) fn ask(&self) -> Result<Life, String> {
        let life = self.look();
        if life.is_err() {
            self.doubt();
        }
        life
    }

    fn look(&self) -> Result<Life, String> {
        for (place, root) in self.roots.iter().enumerate() {
            let page = self.get(&format!("{root}/metrics"))?;
            if let Some(started_ms) = start_time(&page) {
                let connection = if place == 0 { 0 } else { self.connection() };
                return Ok(Life { started_ms: Some(started_ms), connection });
            }
        }
        'asked: for root in &self.roots {
            for name in ["ping", "health"] {
                if self.get(&format!("{root}/{name}"))?.status < 300 {
                    break 'asked;
                }
            }
        }
        // Below 500 on every address: something lives there, even if it knows none of them.
        Ok(Life { started_ms: None, connection: self.connection() })
    }

    /// Number of the connection; another number means that the line was broken in between.
    fn connection(&self) -> u64 {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        count(&self.dialled).wrapping_sub(count(&self.announced)).wrapping_add(count(&self.doubts))
    }

    fn get(&self, url: &str) -> Result<Page, String> {
        let mut request = self.agent.get(url);
        let login = self.login.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(login) = login {
            request = request.header("Authorization", login);
        }
        let mut response = request.call().map_err(|error| format!("{url}: {}", chain(&error)))?;
        let closes = response.headers().get("Connection");
        if closes.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close")) {
            self.announced.fetch_add(1, Ordering::Relaxed);
        }
        let mut page = Vec::new();
        // Read to the end: only then is the connection kept.
        let read = response.body_mut().as_reader().take(PAGE_MAX).read_to_end(&mut page);
        read.map_err(|error| format!("{url}: {}", chain(&error)))?;
        let status = response.status().as_u16();
        if status >= 500 {
            return Err(format!("{url} answers {status}"));
        }
        let text = String::from_utf8_lossy(&page).into_owned();
        Ok(Page { status, text })
    }
}

/// When the process behind a metrics page was started, milliseconds UTC.
fn start_time(page: &Page) -> Option<i64> {
    if page.status >= 300 {
        return None;
    }
    START_TIMES.iter().find_map(|name| {
        page.text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = match rest.strip_prefix('{') {
                Some(labelled) => labelled.split_once('}')?.1,
                None if rest.starts_with(' ') => rest,
                None => return None,
            };
            let seconds: f64 = value.split_whitespace().next()?.parse().ok()?;
            (seconds.is_finite() && seconds > 0.0).then_some((seconds * 1000.0).round() as i64)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_read_in_every_form() {
        let at = |text: &str| start_time(&Page { status: 200, text: text.to_owned() });
        assert_eq!(at("a 1\nprocess_start_time_seconds 1795473990\nb 2"), Some(1_795_473_990_000));
        assert_eq!(at("process_start_time_seconds 1.79547399025e+09\n"), Some(1_795_473_990_250));
        assert_eq!(at("vm_app_start_timestamp{job=\"x\"} 1795473990 1\n"), Some(1_795_473_990_000));
        assert_eq!(at("# HELP process_start_time_seconds\nprocess_start_time_seconds_x 5\n"), None);
        assert_eq!(at("process_start_time_seconds NaN"), None);
        assert_eq!(at(""), None);
    }
}
