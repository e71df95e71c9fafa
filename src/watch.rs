//! What we stand on, told to the rules: brokers, databases, the disk of the journal, the incident store.
//!
//! Silence of posts counts only while their source is connected, and what fails for a minute is a P1 of its own
//! (policy.md 2, `system`). The state is that of the metrics, so that both never differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;

use crate::serve::Instance;

/// How often it is looked at. A word that finds the queue of the rules full is said again then.
const EVERY: Duration = Duration::from_secs(2);

/// Tells the rules what changed, until `ending`.
pub(crate) async fn run(instance: Arc<Instance>, mut ending: watch::Receiver<bool>) {
    let mut told: BTreeMap<String, bool> = BTreeMap::new();
    let mut looks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = ending.changed() => return,
        }
        for (part, good) in parts(&instance) {
            if told.get(&part) != Some(&good) && instance.alerting.system(&part, good) {
                told.insert(part, good);
            }
        }
    }
}

/// Each part by name, and whether it works.
fn parts(instance: &Instance) -> Vec<(String, bool)> {
    let registry = &instance.registry;
    let of = |name: &str| gauges(registry, name);
    let brokers = of("lampguard_broker_up").into_iter().map(|(id, up)| (format!("broker:{id}"), up > 0.0));
    let databases = of("lampguard_tsdb_up").into_iter().map(|(_, up)| ("database".to_owned(), up > 0.0));
    let store = of("lampguard_alerting_store_failing");
    let store = store.into_iter().map(|(_, failing)| ("store".to_owned(), failing < 1.0));
    let stopped = instance.ingester.get().is_some_and(|handles| handles.inlet.gate.is_stopped());
    let disk = ("disk".to_owned(), !stopped);
    brokers.chain(databases).chain(store).chain([disk]).collect()
}

/// The values of a gauge, by its first label, or under `up` when it has none.
pub(crate) fn gauges(registry: &Registry, name: &str) -> Vec<(String, f64)> {
    let families = registry.gather();
    let found = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
    found
        .map(|metric| {
            let label = metric.get_label().first().map_or("up", |label| label.value());
            (label.to_owned(), metric.get_gauge().get_value())
        })
        .collect()
}
