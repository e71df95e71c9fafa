//! The thread `points:ID`: writes points into one database, over a connection of its own.
//!
//! ```text
//!  1 take    the oldest lines that wait
//!  2 probe   alive? the same process as before? another one: what it may have lost goes first, again
//!  3 send    accepted: kept for the replay window, should the database lose it
//!            refused: halved until the bad row stands alone, which is given up and counted
//!            anything else: kept; tried again after a wait
//! ```
//! It shares nothing with the readings' follower: whatever happens here, readings, acknowledgements and alarms do not
//! notice. [`PointWriter::put`] never waits for it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lampguard_model::Millis;

use super::points::{Points, Waiting};
use super::send::{Answer, Sink, pack};
use super::window::Life;
use crate::config::TsdbConfig;
use crate::metrics::TsdbMetrics;
use crate::run::Clock;

/// How often the thread looks for points, and for `stop`.
const TICK: Duration = Duration::from_millis(100);
/// First and longest wait after a failure.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];
/// Why points are given up.
pub(crate) const DROPPED_WORDS: [&str; 3] = ["full", "refused", "bad_name"];

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    waiting: Mutex<Waiting>,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running writer of one database.
pub struct PointWriter {
    id: String,
    shared: Arc<Shared>,
    metrics: TsdbMetrics,
    thread: Option<JoinHandle<()>>,
}

impl PointWriter {
    /// Starts the thread. A configuration that [`Sink::check`] refuses sends nothing; it is tried again, because a
    /// missing token file may come.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        config: TsdbConfig,
        replay_window: Duration,
        metrics: TsdbMetrics,
        clock: Clock,
    ) -> std::io::Result<Self> {
        // A counter that was never raised is absent from /metrics, and an alert on it can never fire.
        for word in DROPPED_WORDS {
            metrics.points_dropped.with_label_values(&[word]);
        }
        let shared = Arc::<Shared>::default();
        let id = config.id.clone();
        let hold = Millis(i64::try_from(replay_window.as_millis()).unwrap_or(i64::MAX / 2));
        let work = Work { config, hold, metrics: metrics.clone(), clock, shared: shared.clone() };
        let thread = std::thread::Builder::new().name(format!("points:{id}")).spawn(move || work.run())?;
        Ok(Self { id, shared, metrics, thread: Some(thread) })
    }

    /// Hands over points. Where too much waits, the oldest are given up and counted.
    pub fn put(&self, points: &Points) {
        let dropped = |word: &str| self.metrics.points_dropped.with_label_values(&[word]);
        if points.bad_names() > 0 {
            dropped("bad_name").inc_by(points.bad_names());
        }
        if points.rows() == 0 {
            return;
        }
        let (given_up, bytes) = {
            let mut waiting = self.shared.waiting();
            (waiting.put(points.text(), points.rows()), waiting.bytes())
        };
        dropped("full").inc_by(given_up);
        self.metrics.points_waiting.with_label_values(&[&self.id]).set(bytes as i64);
    }

    /// False once its thread has ended by itself: then nothing is written any more.
    pub fn runs(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Something waits for the database.
    pub fn waits(&self) -> bool {
        self.shared.waiting().first().is_some()
    }

    /// Ends it in under two seconds. What waits is lost: points are no readings.
    pub fn stop(mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        super::end(thread, &self.id, "writer of points");
    }
}

impl Drop for PointWriter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

struct Work {
    config: TsdbConfig,
    hold: Millis,
    metrics: TsdbMetrics,
    clock: Clock,
    shared: Arc<Shared>,
}

impl Work {
    fn run(self) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(tsdb = self.config.id, error = %error, "writer of points could not start");
                return;
            }
        };
        runtime.block_on(self.work());
        // A request under way on another thread is left alone; its answer interests nobody any more.
        runtime.shutdown_background();
    }

    async fn work(&self) -> Option<()> {
        let mut sink = self.open().await?;
        let (mut life, mut tries, mut bad_since) = (None, 0, None);
        loop {
            self.pause(TICK).await?;
            self.shared.waiting().forget((self.clock)(), self.hold);
            while self.shared.waiting().first().is_some() {
                match self.send(&mut sink, &mut life).await? {
                    Ok(()) => {
                        tries = 0;
                        if let Some(since) = bad_since.take() {
                            let lasted_s = (self.clock)().since(since).as_seconds();
                            tracing::info!(tsdb = self.config.id, lasted_s, "database takes points again");
                        }
                    }
                    Err((wait, error)) => {
                        if bad_since.is_none() {
                            tracing::warn!(tsdb = self.config.id, error, "database does not take points");
                            bad_since = Some((self.clock)());
                        }
                        let wait = wait.unwrap_or_else(|| BACKOFF[0].saturating_mul(1 << tries.min(8)));
                        tries += 1;
                        self.pause(wait.min(BACKOFF[1])).await?;
                    }
                }
            }
        }
    }

    /// The configuration was checked before; what is wrong now is a token file, and that may be mended. The readings'
    /// follower says so.
    async fn open(&self) -> Option<Sink> {
        loop {
            if let Ok(sink) = Sink::new(self.config.clone()) {
                return Some(sink);
            }
            self.pause(BACKOFF[0]).await?;
        }
    }

    /// Steps 2 and 3 with the oldest lines. An error says how long to wait, and why.
    async fn send(
        &self,
        sink: &mut Sink,
        life: &mut Option<Life>,
    ) -> Option<Result<(), (Option<Duration>, String)>> {
        let prober = sink.prober().clone();
        let asked = self.attend(tokio::task::spawn_blocking(move || prober.ask())).await?;
        match asked.unwrap_or_else(|error| Err(error.to_string())) {
            Err(error) => return Some(Err((None, error))),
            Ok(now) => {
                if life.is_some_and(|before| before != now) {
                    self.shared.waiting().again();
                }
                *life = Some(now);
            }
        }
        let (number, body) = {
            let waiting = self.shared.waiting();
            let Some((number, text)) = waiting.first() else { return Some(Ok(())) };
            (number, pack(text))
        };
        let answer = self.attend(sink.write(body)).await?;
        Some(match answer {
            Answer::Accepted => {
                let rows = self.shared.waiting().accepted(number, (self.clock)());
                self.metrics.points_written.inc_by(rows);
                self.show();
                Ok(())
            }
            Answer::Refused(text) | Answer::TooLarge(text) => {
                let given_up = self.shared.waiting().refused(number);
                self.metrics.points_dropped.with_label_values(&["refused"]).inc_by(given_up);
                self.show();
                // A wrong address refuses everything: not in one go.
                if given_up > 0 { Err((Some(BACKOFF[0]), text)) } else { Ok(()) }
            }
            Answer::Busy(wait, text) => Err((wait, text)),
            Answer::Denied(text) => {
                let wait = sink.reread_token().then_some(Duration::ZERO);
                Err((wait, text))
            }
            Answer::Failed(text) => {
                sink.prober().doubt();
                Err((None, text))
            }
        })
    }

    fn show(&self) {
        let bytes = self.shared.waiting().bytes();
        self.metrics.points_waiting.with_label_values(&[&self.config.id]).set(bytes as i64);
    }

    async fn pause(&self, long: Duration) -> Option<()> {
        self.attend(tokio::time::sleep(long)).await
    }

    /// Waits for something slow; `None` as soon as it is told to stop.
    async fn attend<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            if self.shared.stop.load(Ordering::Acquire) {
                return None;
            }
            if let Ok(result) = tokio::time::timeout(TICK, &mut work).await {
                return Some(result);
            }
        }
    }
}
