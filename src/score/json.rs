//! What `score --json` prints: one object with everything. Times are RFC 3339 UTC, lengths in seconds.

use lampguard_model::{Millis, Timestamp};
use serde_json::{Value, json};

use super::figures::{Arrivals, Delay, Group, Scores};
use super::rule::{Alarm, Graded};

/// The whole comparison.
pub(crate) fn object(scores: &Scores) -> Value {
    let p1 = &scores.p1;
    json!({
        "simulated": scores.simulated,
        "truth": {
            "lines": scores.truths,
            "marginal": scores.marginal,
            "dangerous_without_moment": scores.never_dangerous,
        },
        "all": group(&scores.all),
        "observable": group(&scores.observable),
        "unobservable": group(&scores.unobservable),
        "p1": {
            "incidents": p1.incidents,
            "voided": p1.voided,
            "judged": p1.judged,
            "on_hazard": p1.on_hazard,
            "marginal": p1.on_marginal,
            "no_data": p1.on_no_data,
            "false": p1.false_p1,
            "false_per_1000_post_nights": p1.false_per_1000,
            "marginal_per_1000_post_nights": p1.marginal_per_1000,
            "unjudged": p1.unjudged(),
            "not_judged": p1.not_judged,
        },
        "exposure": scores.exposure.map(|watched| json!({
            "posts": watched.posts,
            "nights": watched.nights,
            "post_nights": watched.post_nights(),
        })),
        "messages": scores.messages.as_ref().map(|messages| json!({
            "count": messages.count,
            "people": messages.people,
            "per_person_per_10_min_max": messages.max,
            "per_person_per_10_min_p99": messages.p99,
            "busiest": messages.busiest,
        })),
        "arrivals": scores.arrivals.map(arrivals),
        "hazards": scores.graded.iter().map(hazard).collect::<Vec<_>>(),
        "alarms": scores.alarms.iter().map(alarm).collect::<Vec<_>>(),
    })
}

fn group(group: &Group) -> Value {
    json!({
        "hazards": group.hazards,
        "found": group.found,
        "late": group.late,
        "missed": group.missed,
        "missed_told_early": group.missed_told_early,
        "missed_voided": group.missed_voided,
        "recall": group.recall(),
        "delay_s": group.delay.map(delay),
    })
}

fn delay(delay: Delay) -> Value {
    json!({
        "count": delay.count,
        "min": seconds(delay.min),
        "median": seconds(delay.median),
        "p90": seconds(delay.p90),
        "max": seconds(delay.max),
    })
}

fn arrivals(arrivals: Arrivals) -> Value {
    json!({
        "incidents": arrivals.incidents,
        "arrived": arrivals.arrived,
        "in_time": arrivals.in_time,
        "late": arrivals.late,
        "late_system": arrivals.system,
        "late_capacity": arrivals.capacity,
        "late_crew": arrivals.crew,
        "late_unknown": arrivals.unknown,
    })
}

fn hazard(graded: &Graded) -> Value {
    let hazard = &graded.hazard;
    json!({
        "post_id": hazard.spot.post,
        "feeder": hazard.spot.feeder,
        "place": hazard.spot.place,
        "kind": hazard.kind,
        "cause": hazard.cause,
        "starts_at": time(hazard.starts_at),
        "dangerous_at": time(graded.dangerous_at),
        "ends_at": hazard.ends_at.map(time),
        "period_s": seconds(hazard.period),
        "sensor": hazard.sensor,
        "observable": hazard.observable,
        "verdict": graded.verdict.name(),
        "incident_id": graded.incident,
        "told_at": graded.told_at.map(time),
        "delay_s": graded.delay().map(seconds),
        "told_early_at": graded.early_at.map(time),
        "voided_told_at": graded.voided_at.map(time),
    })
}

fn alarm(alarm: &Alarm) -> Value {
    json!({
        "incident_id": alarm.incident,
        "kind": alarm.kind,
        "spot": alarm.spot,
        "told_at": time(alarm.at),
        "truth": alarm.ground.name(),
    })
}

fn time(at: Timestamp) -> String {
    at.to_rfc3339()
}

fn seconds(length: Millis) -> f64 {
    length.0 as f64 / 1000.0
}
