//! What the databases are given beside readings and weather: zones, crews, open incidents, posts that are not normal, our
//! own main metrics. Names, units and codes stand in [`lampguard_model::series`].
//!
//! ```text
//!  series      every 15 s   own.rs         one row of our own metrics
//!              every 30 s   zones.rs       one row a zone
//!                           crews.rs       one row a zone and crew
//!                           incidents.rs   the most dangerous open ones, and a last row of what ended
//!                           abnormal.rs    the worst posts, and a last row of what is well again
//!   └► points:ID            a buffer and a connection for each database (ingester/src/tsdb/point_writer.rs)
//! ```
//! These are facts worked out from what is kept elsewhere: no reading, no acknowledgement and no alarm waits for them, and
//! the books do not count them. The thread takes locks of the alerting thread for some hundred posts or incidents at a
//! time and lets go in between.

mod abnormal;
mod crews;
mod incidents;
mod own;
mod zones;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lampguard_ingester::Ingester;
use lampguard_ingester::config::TsdbConfig;
use lampguard_ingester::tsdb::{PointWriter, Points};
use lampguard_model::Timestamp;
use prometheus::{IntGauge, Registry};
use tracing::{error, warn};

use crate::metrics::series_up;
use crate::nodes;
use crate::serve::Instance;

/// How often our own metrics are written.
const OWN_EVERY: Duration = Duration::from_secs(15);
/// Zones, incidents and posts are written at every second of these looks.
const CITY_EVERY: u64 = 2;
/// So long the first look waits for the totals of the store.
const TOTALS_WAIT: Duration = Duration::from_secs(5);
/// So long the writers have for the rows of the last look.
const LAST_WAIT: Duration = Duration::from_millis(1500);
/// How often the thread looks for `stop`.
const TICK: Duration = Duration::from_millis(50);

/// 1 while the thread and its writers run: in `/metrics`, and a part of the system of which people are told
/// (`watch.rs`). It falls with the thread, also in panic.
struct Alive(IntGauge);

impl Alive {
    fn register(registry: &Registry) -> Result<Self> {
        let gauge = series_up(registry)?;
        gauge.set(1);
        Ok(Self(gauge))
    }

    fn say(&self, all_run: bool) {
        self.0.set(i64::from(all_run));
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

/// What is remembered between two looks.
#[derive(Default)]
struct Known {
    incidents: incidents::Known,
    abnormal: abnormal::Known,
    crews: crews::Known,
}

/// The running thread with its writers.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Starts it with a writer for each database; nothing where there is none.
pub(crate) fn start(instance: &Arc<Instance>, ingester: &Ingester) -> Result<Option<Running>> {
    let config = &instance.config;
    let window = Duration::from_secs(config.journal.replay_window_s);
    let open = |database: &TsdbConfig| {
        let (metrics, clock) = (ingester.metrics().tsdb, instance.clock.clone());
        PointWriter::start(database.clone(), window, metrics, clock)
    };
    let writers = config.tsdbs.iter().map(open).collect::<std::io::Result<Vec<_>>>();
    let writers = writers.context("starting a writer of points")?;
    if writers.is_empty() {
        return Ok(None);
    }
    let stop = Arc::<AtomicBool>::default();
    let (instance, stopped) = (instance.clone(), stop.clone());
    let alive = Alive::register(&instance.registry)?;
    let work = move || run(&instance, writers, &stopped, &alive);
    let thread = std::thread::Builder::new().name("series".to_owned()).spawn(work);
    Ok(Some(Running { stop, thread: thread.context("starting the thread of series")? }))
}

impl Running {
    /// Ends it in about three seconds.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            warn!("the thread of series ended in panic");
        }
    }
}

fn run(instance: &Arc<Instance>, writers: Vec<PointWriter>, stopped: &AtomicBool, alive: &Alive) {
    wait_for_totals(instance, stopped);
    let (mut known, began) = (Known::default(), Instant::now());
    for look in 0u64.. {
        let due = began + OWN_EVERY.saturating_mul(u32::try_from(look).unwrap_or(u32::MAX));
        // A look that took long makes the next ones later, not more.
        while Instant::now() < due && !stopped.load(Ordering::Acquire) {
            std::thread::sleep(TICK);
        }
        if stopped.load(Ordering::Acquire) {
            break;
        }
        let points = look_around(instance, &mut known, began.elapsed(), look % CITY_EVERY == 0);
        writers.iter().for_each(|writer| writer.put(&points));
        alive.say(writers.iter().all(PointWriter::runs));
    }
    say_last(instance, &mut known, began.elapsed(), &writers);
    std::thread::scope(|scope| {
        for writer in writers {
            scope.spawn(move || writer.stop());
        }
    });
}

/// One more look before the end: what was closed since the one before gets its last row now, because the next start does
/// not know of it. A database that takes nothing is waited for in vain, and not for long.
fn say_last(instance: &Arc<Instance>, known: &mut Known, up: Duration, writers: &[PointWriter]) {
    let points = look_around(instance, known, up, true);
    writers.iter().for_each(|writer| writer.put(&points));
    let until = Instant::now() + LAST_WAIT;
    while writers.iter().any(PointWriter::waits) && Instant::now() < until {
        std::thread::sleep(TICK);
    }
}

/// What a counter grew by before its first row shows in no difference: the first look has the totals, as a rule.
fn wait_for_totals(instance: &Instance, stopped: &AtomicBool) {
    let until = Instant::now() + TOTALS_WAIT;
    while instance.alerting.totals().is_none() && Instant::now() < until && !stopped.load(Ordering::Acquire) {
        std::thread::sleep(TICK);
    }
}

fn look_around(instance: &Arc<Instance>, known: &mut Known, up: Duration, city: bool) -> Points {
    let now = (instance.clock)();
    let mut points = Points::default();
    let node = node(instance);
    if city && judges(instance) {
        let mut tally = crews::Tally::new(instance.alerting.rota(), now);
        let open = incidents::look(instance, &mut known.incidents, &mut tally, now, &mut points);
        let colours = abnormal::look(instance, &mut known.abnormal, now, &mut points);
        let own = zones::look(instance, &node, (&open, &colours), now, &mut points);
        crews::look(instance, &node, &own, &tally, &mut known.crews, &mut points);
    }
    let left_out = (known.incidents.left_out(), known.abnormal.left_out());
    own::look(instance, &node, left_out, up, now, &mut points);
    if points.bad_names() > 0 {
        error!(rows = points.bad_names(), "names that line protocol cannot carry: these rows are left out");
    }
    points
}

/// The name of this node where there are several, else nothing: then the tag is left out.
fn node(instance: &Instance) -> String {
    instance.nodes.as_ref().map_or_else(String::new, |nodes| nodes.owners.id(nodes.owners.own()).to_owned())
}

/// Whether another node writes of this post: the rows of all nodes add up to the city.
fn is_foreign(instance: &Instance, zone: &str, feeder: &str) -> bool {
    instance.nodes.as_ref().is_some_and(|nodes| nodes.owners.is_foreign(zone, feeder, None))
}

/// A node that judges nothing knows neither incidents nor colours: their owners write them.
fn judges(instance: &Instance) -> bool {
    !nodes::is_silent(&instance.config)
}

/// Whole seconds from `from` to `to`, as a field's value.
fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.since(from).0.max(0) / 1000 * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_in_panic_or_loses_a_writer_is_a_part_of_the_system_that_fails() {
        let registry = Registry::new();
        let alive = Alive::register(&registry).unwrap();
        let shown = || crate::watch::of_series(&registry).collect::<Vec<_>>();
        assert_eq!(shown(), [("series".to_owned(), true)]);
        alive.say(false);
        assert_eq!(shown(), [("series".to_owned(), false)]);
        alive.say(true);
        let work = move || {
            let _alive = alive;
            panic!("a look that goes wrong");
        };
        assert!(std::thread::spawn(work).join().is_err());
        assert_eq!(shown(), [("series".to_owned(), false)]);
        assert_eq!(crate::watch::of_series(&Registry::new()).count(), 0, "without a database there is none");
    }
}
