//! One row a zone: what its posts say, its lamps, what is open, and how far incidents came. The same looks as those of
//! `GET /api/v1/zones`, so that both never differ; whether a zone is blind is what the rules found.

use std::collections::BTreeSet;
use std::sync::Arc;

use lampguard_alerting::Totals;
use lampguard_ingester::tsdb::{Points, whole};
use lampguard_model::series::{RESPONSE_BUCKETS, STAGE_FIELDS, ZONE};
use lampguard_model::{Post, Timestamp};

use super::abnormal::{Colours, ColoursByZone};
use super::incidents::{Open, OpenByZone};
use super::{is_foreign, seconds_between};
use crate::api::zones;
use crate::serve::Instance;

type Value = (&'static str, Option<i64>);

/// Writes every configured zone that is ours, and every other that something is open of or was. Gives those that are ours.
pub(super) fn look(
    instance: &Instance,
    node: &str,
    (open, colours): (&OpenByZone, &ColoursByZone),
    now: Timestamp,
    points: &mut Points,
) -> BTreeSet<Arc<str>> {
    let own = |post: &Post| !is_foreign(instance, &post.zone, &post.feeder);
    let posts = zones::look_at_own(instance, now, own);
    let rates = zones::rates_of_own(instance, now, own);
    let totals = instance.alerting.totals();
    let configured = instance.config.zones.iter().map(|zone| Arc::<str>::from(&*zone.id));
    let with_incidents = open.keys().chain(totals.iter().flat_map(|totals| totals.keys()));
    // The system has no zone.
    let others = with_incidents.filter(|zone| !zone.is_empty()).cloned();
    // A zone that is another node's has a row here while it has incidents of this one, which stood in for it.
    let is_own = |zone: &Arc<str>| posts.contains_key(zone) || !is_foreign(instance, zone, "");
    let all: BTreeSet<Arc<str>> = configured.filter(is_own).chain(others).collect();
    for id in &all {
        let zone = posts.get(id).cloned().unwrap_or_default();
        let lamps = rates.zones.get(id).copied().unwrap_or_default();
        let open = open.get(id).copied().unwrap_or_default();
        let mut fields: Vec<Value> = vec![
            ("posts", whole(zone.posts)),
            ("reporting", whole(zone.reporting)),
            ("posts_low_lying", whole(zone.low_lying)),
            ("reporting_low_lying", whole(zone.reporting_low_lying)),
            ("data_age_s", zone.newest.map(|newest| seconds_between(newest, now))),
            ("lamps_due", whole(lamps.due)),
            ("lamps_lit", whole(lamps.lit)),
            ("lamps_unknown", whole(lamps.unknown)),
            ("lamps_excluded", whole(lamps.excluded)),
            ("leakage_ma_max", zone.leakage.map(|(value, _)| value)),
            ("shell_v_max", zone.shell.map(|(value, _)| value)),
        ];
        fields.extend(colour_fields(colours.get(id).copied().unwrap_or_default()));
        if !is_own(id) {
            fields.clear();
        }
        fields.push(("blind", whole(u64::from(open.blind))));
        fields.extend(open_fields(open));
        if let Some(totals) = &totals {
            fields.extend(total_fields(totals.get(id).unwrap_or(&Totals::default())));
        }
        points.push(&ZONE, now, &[("zone", id), ("node", node)], &fields);
    }
    all.into_iter().filter(is_own).collect()
}

fn colour_fields(colours: Colours) -> [Value; 5] {
    [
        ("posts_danger", whole(colours.danger)),
        ("posts_warning", whole(colours.warning)),
        ("posts_silent", whole(colours.silent)),
        ("posts_unpowered", whole(colours.unpowered)),
        ("posts_unmonitored", whole(colours.unmonitored)),
    ]
}

fn open_fields(open: Open) -> [Value; 7] {
    let [p1, p2, p3, p4] = open.by_severity;
    [
        ("open_p1", whole(p1)),
        ("open_p2", whole(p2)),
        ("open_p3", whole(p3)),
        ("open_p4", whole(p4)),
        ("open_breached", whole(open.breached)),
        ("open_unacknowledged", whole(open.unacknowledged)),
        ("remaining_s_min", open.remaining_s.and_then(|seconds| seconds.checked_mul(1000))),
    ]
}

fn total_fields(totals: &Totals) -> Vec<Value> {
    let mut fields = vec![
        ("opened_total", whole(totals.opened)),
        ("arrived_total", whole(totals.arrived)),
        ("breached_total", whole(totals.breached)),
        ("closed_total", whole(totals.closed)),
        ("response_total", whole(totals.responses)),
        // Milliseconds are thousandths of a second.
        ("response_s_total", Some(totals.response.0)),
    ];
    let buckets = RESPONSE_BUCKETS.iter().zip(totals.within);
    fields.extend(buckets.map(|((_, name), within)| (*name, whole(within))));
    let handling = &totals.handling;
    for ((count, sum), stage) in STAGE_FIELDS.iter().zip(handling.stages) {
        fields.extend([(*count, whole(stage.count)), (*sum, Some(stage.time.0))]);
    }
    fields.extend([
        ("repeat_total", whole(handling.repeats)),
        ("voided_total", whole(handling.voided)),
        ("false_alarm_total", whole(handling.false_alarms)),
    ]);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_zone_stands_in_the_table_and_is_written_by_somebody() {
        let seen = ["posts", "reporting", "data_age_s", "blind", "lamps_due", "lamps_lit", "lamps_unknown"];
        let more =
            ["lamps_excluded", "leakage_ma_max", "shell_v_max", "posts_low_lying", "reporting_low_lying"];
        let names = colour_fields(Colours::default()).into_iter().chain(open_fields(Open::default()));
        let names = names.chain(total_fields(&Totals::default())).map(|(name, _)| name);
        let written: BTreeSet<_> = names.chain(seen).chain(more).collect();
        assert_eq!(written, ZONE.fields.iter().map(|field| field.name).collect());
    }
}
