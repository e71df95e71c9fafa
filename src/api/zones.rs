//! Zones at a glance: posts, who reports, open incidents, lamps that burn, worst values, crew, blind since when.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use lampguard_alerting::lighting::{Rates, Seen, Tally, rates_of};
use lampguard_alerting::{Filter, Policy};
use lampguard_history::LatestReading;
use lampguard_model::units::to_f64;
use lampguard_model::{Field, Flags, Millis, Post, PostKind, Quantity as _, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, ApiError, Shared};
use crate::proof::Verdict;
use crate::serve::Instance;

/// Data older than this, or than three periods of the post, says nothing of now.
const FRESH_MIN: Millis = Millis::minutes(10);
/// Open incidents of a zone that are counted at most.
const INCIDENTS_MAX: usize = 100_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZonesQuery {
    /// With the roads of each zone.
    roads: Option<bool>,
}

/// What a zone's posts say right now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zone {
    pub(crate) posts: u64,
    pub(crate) reporting: u64,
    /// Of both those that stand low.
    pub(crate) low_lying: u64,
    pub(crate) reporting_low_lying: u64,
    /// Some post's newest reading is simulated.
    pub(crate) simulated: bool,
    pub(crate) newest: Option<Timestamp>,
    /// The zone is blind after so long.
    patience: Millis,
    /// Highest values of fresh data, thousandths, and whose they are.
    pub(crate) leakage: Option<(i64, Arc<str>)>,
    pub(crate) shell: Option<(i64, Arc<str>)>,
}

impl Zone {
    fn add(&mut self, post: &Post, last: Option<&LatestReading>, policy: &Policy, now: Timestamp) {
        if post.kind != PostKind::Post {
            return;
        }
        self.posts += 1;
        // A post without a sensor never reports.
        let low_lying = u64::from(post.low_lying && post.monitored);
        self.low_lying += low_lying;
        let Some(last) = last else { return };
        self.simulated |= last.row.flags.has(Flags::SIMULATED);
        self.newest = self.newest.max(Some(last.row.received_at));
        self.patience = self.patience.max(Millis(2 * period(post, policy).0));
        if !is_fresh(post, last.row.received_at, policy, now) {
            return;
        }
        self.reporting += 1;
        self.reporting_low_lying += low_lying;
        for (field, worst) in [(Field::LeakageMa, &mut self.leakage), (Field::ShellV, &mut self.shell)] {
            let value = value_now(post, last, field, policy, now);
            if let Some(value) = value.filter(|value| worst.as_ref().is_none_or(|(known, _)| value > known)) {
                *worst = Some((value, post.post_id.clone()));
            }
        }
    }

    pub(crate) fn blind_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.newest.filter(|newest| now.since(*newest) > self.patience.max(FRESH_MIN))
    }
}

impl Zone {
    /// Null while it is heard. A zone of which nothing was ever heard is blind too, since nobody knows when.
    fn blind_because(&self, instance: &Instance, id: &str, now: Timestamp) -> Option<String> {
        let never = self.newest.is_none() && self.posts > 0;
        if self.blind_since(now).is_none() && !never {
            return None;
        }
        let because = instance.alerting.why_blind(id);
        let proven = instance.watchers.proofs.as_ref().and_then(|proofs| proofs.verdict(id));
        Some(match proven.map(|(_, last)| last.outcome) {
            // Readings would come through: it is the posts, their gateway or their network.
            Some(Ok(_)) => format!("{because}; 自检正常 (the way in is proven good)"),
            Some(Err(failed)) => {
                format!("{because}; 自检失败 (proof failed at {}: {})", failed.step.name(), failed.because)
            }
            None => because,
        })
    }
}

fn proof_json(way: &str, last: &Verdict) -> Value {
    let failed = last.outcome.as_ref().err();
    json!({
        "at": last.at.to_rfc3339(), "by": way, "good": failed.is_none(), "took_ms": last.outcome.as_ref().ok(),
        "step": failed.map(|failed| failed.step.name()), "because": failed.map(|failed| &failed.because),
    })
}

fn period(post: &Post, policy: &Policy) -> Millis {
    post.period_s.map_or(policy.period.unknown, |period_s| Millis::seconds(i64::from(period_s)))
}

fn is_fresh(post: &Post, at: Timestamp, policy: &Policy, now: Timestamp) -> bool {
    now.since(at) <= Millis(3 * period(post, policy).0).max(FRESH_MIN)
}

/// A value of the newest reading, if it was measured lately.
fn value_now(
    post: &Post,
    last: &LatestReading,
    field: Field,
    policy: &Policy,
    now: Timestamp,
) -> Option<i64> {
    last.value(field).filter(|(_, at)| is_fresh(post, *at, policy, now)).map(|(value, _)| value)
}

/// What is known of the lamps of a post.
fn seen(post: &Post, last: Option<&LatestReading>, policy: &Policy, now: Timestamp) -> Seen {
    let Some(last) = last else { return Seen::default() };
    let value = |field| value_now(post, last, field, policy, now);
    let none = policy.samples.powered_above.thousandths();
    let unpowered = value(Field::SupplyV).map_or(value(Field::Supply) == Some(0), |volts| volts <= none);
    Seen { watts: value(Field::LampW), unpowered }
}

/// Lamps due, lit, dark and unknown right now.
pub(crate) fn rates_now(instance: &Instance, now: Timestamp) -> Rates {
    rates_of_own(instance, now, |_| true)
}

/// The same of the posts that are `own`.
pub(crate) fn rates_of_own(instance: &Instance, now: Timestamp, own: impl Fn(&Post) -> bool) -> Rates {
    let policies = instance.policies.get();
    let policy = &policies.at(now).policy;
    let see = |post: &Post| seen(post, instance.latest.get(&post.post_id).as_ref(), policy, now);
    let exemptions = instance.alerting.exemptions(now);
    let register = instance.register.get();
    let posts = register.posts().iter().map(AsRef::as_ref).filter(|post| own(post));
    rates_of(&instance.lighting.get(), posts, now, see, |post| exemptions.of(post))
}

fn rate_json(tally: Tally) -> Value {
    json!({ "lower": tally.lower(), "upper": tally.upper() })
}

fn worst_json(worst: Option<&(i64, Arc<str>)>) -> Value {
    worst.map_or(Value::Null, |(value, post)| json!({ "value": to_f64(*value), "post_id": post }))
}

pub(super) async fn list(State(instance): Shared, Query(query): Query<ZonesQuery>) -> Answer {
    let with_roads = query.roads.unwrap_or(false);
    let answer = tokio::task::spawn_blocking(move || zones(&instance, with_roads)).await;
    answer.map_err(ApiError::unavailable)?
}

/// What the posts of every zone say at `now`.
pub(crate) fn look(instance: &Instance, now: Timestamp) -> BTreeMap<Arc<str>, Zone> {
    look_at_own(instance, now, |_| true)
}

/// The same of the posts that are `own`.
pub(crate) fn look_at_own(
    instance: &Instance,
    now: Timestamp,
    own: impl Fn(&Post) -> bool,
) -> BTreeMap<Arc<str>, Zone> {
    let mut zones: BTreeMap<Arc<str>, Zone> = BTreeMap::new();
    let policies = instance.policies.get();
    let policy = &policies.at(now).policy;
    for post in instance.register.get().posts().iter().filter(|post| own(post)) {
        let last = instance.latest.get(&post.post_id);
        zones.entry(post.zone.clone()).or_default().add(post, last.as_ref(), policy, now);
    }
    zones
}

fn zones(instance: &Instance, with_roads: bool) -> Answer {
    let now = (instance.clock)();
    let rates = rates_now(instance, now);
    let mut zones = look(instance, now);
    let rota = instance.alerting.rota();
    let mut items = Vec::new();
    for configured in &instance.config.zones {
        let id: Arc<str> = Arc::from(&*configured.id);
        let zone = zones.remove(&id).unwrap_or_default();
        let tally = rates.zones.get(&id).copied().unwrap_or_default();
        let filter = Filter { zone: Some(configured.id.clone()), limit: INCIDENTS_MAX, ..Filter::default() };
        let mut open = instance.alerting.incidents(&filter).map_err(ApiError::unavailable)?.items;
        // Drills count nowhere (policy.md 5).
        open.retain(|incident| !incident.drill);
        let p1 = open.iter().filter(|incident| incident.severity == "P1").count();
        let crew = rota.on_duty_now(&configured.id, now).crew;
        let mut item = json!({
            "zone": configured.id, "name": configured.name, "posts": zone.posts, "reporting": zone.reporting,
            "open_incidents": open.len(), "open_p1": p1, "lamps": tally, "lighting_rate": rate_json(tally),
            "worst": {
                "leakage_ma": worst_json(zone.leakage.as_ref()), "shell_v": worst_json(zone.shell.as_ref()),
            },
            "crew": crew.map(|crew| json!({ "id": crew.id, "name": crew.name })),
            "blind_since": zone.blind_since(now).map(Timestamp::to_rfc3339),
            "blind_because": zone.blind_because(instance, &id, now),
            "proof": instance.watchers.proofs.as_ref().and_then(|proofs| proofs.verdict(&id)).map(|(way, last)| proof_json(&way, &last)),
            "simulated": zone.simulated,
        });
        if with_roads {
            item["roads"] = roads(&rates, &id);
        }
        items.push(item);
    }
    let city = json!({ "lamps": rates.city, "lighting_rate": rate_json(rates.city) });
    Ok(Json(json!({ "items": items, "next": null, "city": city, "at": now.to_rfc3339() })))
}

fn roads(rates: &Rates, zone: &Arc<str>) -> Value {
    let own = rates.roads.iter().filter(|((of, _), _)| of == zone);
    own.map(|((_, road), tally)| json!({ "road": road, "lamps": tally, "lighting_rate": rate_json(*tally) }))
        .collect()
}

#[cfg(test)]
mod tests {
    use lampguard_model::Register;

    use super::*;

    #[test]
    fn how_long_a_reading_is_of_now_is_told_by_the_policy_where_the_register_tells_no_period() {
        let rows = "P1,,z1,r,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M1,\n\
                    P2,,z1,r,1,,F1,C1,113.2,35.2,1,100,false,,,post,all,true,M1,60\n";
        let text = format!("{}\n{rows}", lampguard_model::register::header());
        let register = Register::parse(text.as_bytes()).unwrap();
        let (at, now) = (Timestamp(1_795_435_200_000), Timestamp(1_795_435_200_000) + Millis::minutes(80));
        let fresh = |policy: &Policy| {
            register.posts().iter().map(|post| is_fresh(post, at, policy, now)).collect::<Vec<_>>()
        };
        let mut policy = Policy::default();
        assert_eq!(fresh(&policy), [false, false]);
        policy.period.unknown = Millis::minutes(30);
        assert_eq!(fresh(&policy), [true, false]);
    }
}
