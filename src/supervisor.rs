//! What a supervisor (systemd, by `Type=notify`) hears of us: that we are ready, that we live, that we end.
//!
//! The protocol is one datagram of text to the socket in NOTIFY_SOCKET, so it is written here and no crate is needed.
//! We live while time passes for the rules: a hang of their thread is what a restart cures, and deadlines are stored
//! facts that survive it. A full disk, an absent broker or database is none of it: there a restart would only make deaf.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc;
use std::time::Duration;

use prometheus::Registry;
use tracing::{error, warn};

/// While we start it is asked for more time so often, as long as something moves.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
/// Asked for each time; TimeoutStartSec= of the unit is what a start without any word gets.
const EXTEND_BY: Duration = Duration::from_secs(120);

/// Where the supervisor listens, and how often it wants to hear of us.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that started us; without one nothing is said.
    pub(crate) fn of_environment() -> Self {
        let word = |name: &str| std::env::var(name).ok();
        let Some(place) = word("NOTIFY_SOCKET") else { return Self::default() };
        let socket = match reach(&place) {
            Ok(socket) => Some(socket),
            Err(e) => {
                warn!(place, error = %e, "the supervisor cannot be told that we are ready");
                None
            }
        };
        // WATCHDOG_PID is for those who start children that do not know it.
        let ours = word("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = word("WATCHDOG_USEC").filter(|_| ours).and_then(|text| text.parse().ok());
        Self { socket, watchdog: watchdog.filter(|us| *us > 0).map(Duration::from_micros) }
    }

    /// Says one word; that it is not heard is no reason to do anything else.
    pub(crate) fn say(&self, word: &str) {
        if let Some((socket, place)) = &self.socket
            && let Err(e) = socket.send_to_addr(word.as_bytes(), place)
        {
            warn!(word, error = %e, "the supervisor did not take our word");
        }
    }

    /// Starts, and asks for more time meanwhile for as long as files are read: the journal of a long outage takes longer to
    /// replay than any limit that finds a hang, and a start that is broken off begins anew with all of it.
    pub(crate) async fn while_starting<T>(&self, start: impl Future<Output = T>) -> T {
        let (ended, end) = mpsc::channel::<()>();
        let own =
            self.socket.as_ref().and_then(|(socket, place)| Some((socket.try_clone().ok()?, place.clone())));
        // A thread: the start does its work where the runtime would turn.
        let thread = own.map(|own| {
            let asker = Self { socket: Some(own), watchdog: None };
            std::thread::spawn(move || asker.ask_for_time(EXTEND_EVERY, &end, bytes_read))
        });
        let started = start.await;
        drop(ended);
        if let Some(thread) = thread {
            // It ends at once, and no word of it comes behind READY.
            let _ = thread.join();
        }
        started
    }

    /// Until the other end of `end` is gone.
    fn ask_for_time(&self, every: Duration, end: &mpsc::Receiver<()>, moved: impl Fn() -> Option<u64>) {
        let mut seen = moved();
        while end.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
            let now = moved();
            if now != seen {
                self.say(&format!("EXTEND_TIMEOUT_USEC={}", EXTEND_BY.as_micros()));
            }
            seen = now;
        }
    }

    /// Says that we live, three times in each span of the watchdog, for as long as time passes for the rules.
    pub(crate) async fn feed(&self, registry: &Registry) {
        let (Some(span), true) = (self.watchdog, self.socket.is_some()) else {
            return std::future::pending().await;
        };
        let (mut pauses, mut seen, mut lives) = (tokio::time::interval(span / 3), None, true);
        loop {
            pauses.tick().await;
            let ticks = Some(crate::watch::counter(registry, "lampguard_alerting_ticks_total"));
            match (ticks == seen, lives) {
                (false, _) => self.say("WATCHDOG=1"),
                // Said once: silence is what the supervisor acts on.
                (true, true) => {
                    error!("time stands still for the rules: the supervisor is asked for a restart")
                }
                (true, false) => {}
            }
            (lives, seen) = (ticks != seen, ticks);
        }
    }
}

/// Bytes that this process has read, of whatever; none where the kernel does not count them.
fn bytes_read() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    // Looking reads, too: some hundred bytes are no progress.
    let read: u64 = text.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()?;
    Some(read >> 16)
}

/// A socket of ours, and the supervisor's; one that begins with @ has no file.
fn reach(place: &str) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that reads nothing must not hold us up.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reaches_a_socket_with_and_without_a_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("notify");
        let abstract_name = format!("lampguard-test-{}", std::process::id());
        let places = [
            (file.to_str().unwrap().to_owned(), UnixDatagram::bind(&file).unwrap()),
            (
                format!("@{abstract_name}"),
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap(),
            ),
        ];
        for (place, listens) in places {
            let supervisor = Supervisor { socket: Some(reach(&place).unwrap()), watchdog: None };
            supervisor.say("READY=1");
            let mut heard = [0; 32];
            let length = listens.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1", "{place}");
        }
    }

    #[test]
    fn while_time_stands_still_for_the_rules_it_is_not_said_that_we_live() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("notify");
        let hears = UnixDatagram::bind(&place).unwrap();
        hears.set_nonblocking(true).unwrap();
        let heard = || std::iter::from_fn(|| hears.recv(&mut [0; 32]).ok()).count();
        let socket = Some(reach(place.to_str().unwrap()).unwrap());
        let supervisor = Supervisor { socket, watchdog: Some(Duration::from_millis(30)) };
        let registry = Registry::new();
        let ticks = prometheus::IntCounter::new("lampguard_alerting_ticks_total", "x").unwrap();
        registry.register(Box::new(ticks.clone())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut words = Vec::new();
        runtime.block_on(async {
            let some_looks = async {
                for _ in 0..3 {
                    tokio::time::sleep(Duration::from_millis(120)).await;
                    words.push(heard());
                    ticks.inc();
                }
            };
            tokio::select! {
                () = some_looks => {}
                () = supervisor.feed(&registry) => {}
            }
        });
        assert_eq!(words, [1, 1, 1], "one word for each time that it moved, however long it stood");
    }

    #[test]
    fn while_a_start_moves_more_time_is_asked_for_and_none_when_it_stands_or_has_ended() {
        use std::sync::atomic::{AtomicU64, Ordering};
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("notify");
        let hears = UnixDatagram::bind(&place).unwrap();
        hears.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let word = || {
            let mut word = [0; 64];
            let length = hears.recv(&mut word).ok()?;
            Some(String::from_utf8_lossy(&word[..length]).into_owned())
        };
        let socket = Some(reach(place.to_str().unwrap()).unwrap());
        let supervisor = Supervisor { socket, watchdog: None };
        let (ended, end) = mpsc::channel();
        let (moves, read) = (AtomicU64::new(1), AtomicU64::new(0));
        let moved = || Some(read.fetch_add(moves.load(Ordering::Relaxed), Ordering::Relaxed));
        let ask = |end: mpsc::Receiver<()>| supervisor.ask_for_time(Duration::from_millis(20), &end, moved);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| ask(end));
            for _ in 0..3 {
                assert_eq!(word().as_deref(), Some("EXTEND_TIMEOUT_USEC=120000000"));
            }
            moves.store(0, Ordering::Relaxed);
            while word().is_some() {}
            assert!(!thread.is_finished());
            drop(ended);
            thread.join().unwrap();
        });
        assert!(bytes_read().is_some(), "the kernel counts what we read");
    }

    #[test]
    fn a_supervisor_that_is_gone_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let gone = reach(home.path().join("gone").to_str().unwrap()).unwrap();
        Supervisor { socket: Some(gone), watchdog: None }.say("READY=1");
    }
}
