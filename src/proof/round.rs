//! One proof after the other, of one zone by one way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lampguard_ingester::intake::{Fate, Mapping};
use lampguard_ingester::source::http::submit;
use lampguard_model::Timestamp;
use lampguard_model::record::Source;
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{Awaited, Failed, INSIDE, Step, Watch, Way, lock, mqtt, post_of};
use crate::serve::Instance;

/// Sources need a moment to come up.
const FIRST: Duration = Duration::from_secs(3);
/// After a failure it is tried again so soon, at most: what was a hiccup is no incident.
const AGAIN: Duration = Duration::from_secs(20);
/// Zones begin so far apart.
const APART: Duration = Duration::from_millis(200);

/// The leak that every proof tells of, mA: beyond every limit that a policy may set, and within what sensors measure.
const LEAKAGE_MA: u32 = 250;

pub(super) struct Rounds {
    pub(super) instance: Arc<Instance>,
    pub(super) watch: Arc<Watch>,
    pub(super) zone: String,
    pub(super) way: Way,
    pub(super) every: Duration,
    pub(super) within: Duration,
}

fn payload(device: &str, ts: Timestamp, number: u64) -> Vec<u8> {
    let reading = json!({
        "device": device, "ts": ts.0, "seq": number, "cause": "alarm", "leakage_ma": LEAKAGE_MA,
        "flags": ["leak_alarm", "simulated"],
    });
    reading.to_string().into_bytes()
}

impl Rounds {
    pub(super) async fn run(self, place: usize, mut ending: watch::Receiver<bool>) {
        let mut pause = FIRST + APART * u32::try_from(place).unwrap_or(0);
        let mut was_good = true;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = ending.changed() => return,
            }
            pause = self.every;
            if self.source_is_down() {
                // That is a fault of its own, and told as such.
                continue;
            }
            let at = (self.instance.clock)();
            let outcome = self.once(at).await;
            if let Err(failed) = &outcome {
                pause = self.every.min(AGAIN);
                if was_good {
                    let (zone, way, step) = (&self.zone, &self.way.name, failed.step.name());
                    warn!(zone, way, step, because = failed.because, "a proof did not come out");
                }
            } else if !was_good {
                info!(zone = self.zone, way = self.way.name, "proofs come out again");
            }
            was_good = outcome.is_ok();
            self.watch.conclude(&self.zone, &self.way.name, at, outcome);
        }
    }

    fn source_is_down(&self) -> bool {
        let Some(id) = self.way.name.strip_prefix("broker:") else { return false };
        let brokers = crate::watch::gauges(&self.instance.registry, "lampguard_broker_up");
        brokers.iter().any(|(known, up)| known == id && *up < 1.0)
    }

    /// Steps 1 to 6.
    async fn once(&self, ts: Timestamp) -> Result<Duration, Failed> {
        let device = post_of(&self.zone);
        let number = self.watch.key.number(&device, ts);
        let topic = format!("lamp/{}/{device}/reading", self.zone);
        let bytes = payload(&device, ts, number);
        let client_id = format!("lampguard-proof-{:08x}", rand::random::<u32>());
        let (awaited, told) = self.watch.await_proof(&device, number);
        let began = Instant::now();
        let late = |what: &str| format!("{what} within {} s", self.within.as_secs());
        let connected = timeout(self.within, mqtt::Client::connect(&self.way.port, &client_id)).await;
        let mut client = match connected {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(Failed { step: Step::Connect, because: format!("{error:#}") }),
            Err(_) => return Err(Failed { step: Step::Connect, because: late("no answer to CONNECT") }),
        };
        let left = self.within.saturating_sub(began.elapsed());
        let published = async { timeout(left, client.publish(&topic, &bytes)).await };
        let came_out = async { timeout(left, told).await.map(|_| began.elapsed()) };
        let (published, came_out) = tokio::join!(published, came_out);
        let acknowledged = match published {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(_) => Err(late("no PUBACK")),
        };
        awaited.judge(acknowledged, came_out.ok(), &late("nothing"))
    }
}

/// A proof by no port: from the intake over journal, rules and outbox to the sink.
pub(crate) async fn inside(instance: &Instance, watch: &Watch, within: Duration) -> Result<Duration, Failed> {
    let (device, ts) = (post_of(INSIDE), (instance.clock)());
    let number = watch.key.number(&device, ts);
    let (awaited, told) = watch.await_proof(&device, number);
    let Some(handles) = instance.ingester.get() else {
        return Err(Failed { step: Step::Arrive, because: "the intake has not begun".to_owned() });
    };
    let began = Instant::now();
    let body = Bytes::from(payload(&device, ts, number));
    let topic = format!("lamp/{INSIDE}/{device}/reading");
    let taken = submit(&handles.inlet, Source::Http, Mapping::canonical(), &topic, body, Fate::Read, ts);
    let (taken, came_out) = tokio::join!(timeout(within, taken), timeout(within, told));
    let acknowledged = match taken {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("not on disk within {} s", within.as_secs())),
    };
    let late = format!("nothing within {} s", within.as_secs());
    awaited.judge(acknowledged, came_out.ok().map(|_| began.elapsed()), &late)
}

/// A proof that is awaited until this is dropped.
struct Waiting<'w> {
    watch: &'w Watch,
    key: (String, u64),
}

impl Watch {
    fn await_proof(&self, device: &str, number: u64) -> (Waiting<'_>, oneshot::Receiver<()>) {
        let (sender, told) = oneshot::channel();
        let key = (device.to_owned(), number);
        let awaited = Awaited { arrived: false, raised: false, told: Some(sender) };
        lock(&self.awaited).insert(key.clone(), awaited);
        (Waiting { watch: self, key }, told)
    }
}

impl Waiting<'_> {
    /// Where it stopped, if it did.
    fn judge(
        &self,
        acknowledged: Result<(), String>,
        came_out: Option<Duration>,
        late: &str,
    ) -> Result<Duration, Failed> {
        let (arrived, raised) = {
            let awaited = lock(&self.watch.awaited);
            awaited.get(&self.key).map_or((false, false), |awaited| (awaited.arrived, awaited.raised))
        };
        let fail = |step, because: String| Err(Failed { step, because });
        match (came_out, acknowledged) {
            (Some(took), Ok(())) => Ok(took),
            (Some(_), Err(because)) => {
                fail(Step::Keep, format!("it came out and was not acknowledged: {because}"))
            }
            (None, _) if raised => fail(Step::Tell, format!("raised, and {late} at the sink")),
            (None, _) if arrived => fail(Step::Judge, format!("it came in, and {late} was raised")),
            (None, Ok(())) => fail(Step::Arrive, "acknowledged, and it never came in".to_owned()),
            (None, Err(because)) => fail(Step::Publish, because),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.watch.awaited).remove(&self.key);
    }
}
