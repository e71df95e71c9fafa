//! Posts: how each stands now, its past, and the devices nobody registered.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use lampguard_history::{LatestReading, Row};
use lampguard_model::wire::field_json;
use lampguard_model::{Field, Marks, Millis, Post, PostKind, UNREGISTERED};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, ApiError, Shared, limit_of, page, time_of};
use crate::device_moves;
use crate::serve::Instance;

/// Rows of one history answer.
const ROWS_MAX: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PostsQuery {
    zone: Option<String>,
    state: Option<String>,
    q: Option<String>,
    kind: Option<KindOfLine>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Which lines of the register: posts, or the sensors in cabinets, which are not counted among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindOfLine {
    #[default]
    Post,
    Feeder,
}

/// A line of the list: registered posts in the order of the register, then devices nobody registered.
enum Entry {
    Registered(Arc<Post>),
    Unregistered(String),
}

impl Entry {
    fn id(&self) -> &str {
        match self {
            Self::Registered(post) => &post.post_id,
            Self::Unregistered(device) => device,
        }
    }

    fn zone(&self) -> &str {
        match self {
            Self::Registered(post) => &post.zone,
            Self::Unregistered(_) => UNREGISTERED,
        }
    }

    fn is_of(&self, kind: KindOfLine) -> bool {
        let cabinet = matches!(self, Self::Registered(post) if post.kind == PostKind::Feeder);
        cabinet == (kind == KindOfLine::Feeder)
    }

    /// True when id, road, number, landmark or city code hold the text.
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Registered(post) => [
                &*post.post_id,
                &post.device_id,
                &post.road,
                &post.number,
                &post.landmark,
                &post.external_code,
            ]
            .iter()
            .any(|part| part.contains(text)),
            Self::Unregistered(device) => device.contains(text),
        }
    }
}

pub(super) async fn list(State(instance): Shared, Query(query): Query<PostsQuery>) -> Answer {
    let limit = limit_of(query.limit)?;
    let start: usize = match query.cursor.as_deref() {
        None => 0,
        Some(cursor) => {
            cursor.parse().map_err(|_| ApiError::bad(format!("cursor {cursor:?} is none of ours")))?
        }
    };
    let open = instance.alerting.open_incidents_by_post();
    let rechecks = rechecks(&instance);
    let (mut items, mut next) = (Vec::new(), None);
    for (place, entry) in entries(&instance, &open).into_iter().enumerate().skip(start) {
        if !entry.is_of(query.kind.unwrap_or_default())
            || query.zone.as_deref().is_some_and(|zone| zone != entry.zone())
            || query.q.as_deref().is_some_and(|text| !entry.holds(text))
        {
            continue;
        }
        let item = describe(&instance, &entry, &incidents_of(&entry, &open), &rechecks);
        if query.state.as_deref().is_some_and(|state| item["state"] != state) {
            continue;
        }
        if items.len() == limit {
            next = Some(place.to_string());
            break;
        }
        items.push(item);
    }
    Ok(page(items, next))
}

/// Ids of open incidents by post.
type Open<S> = HashMap<Arc<str>, Vec<Arc<str>>, S>;

/// A post that was taken out of the register is listed as long as something of it is open.
fn entries<S: BuildHasher>(instance: &Instance, open: &Open<S>) -> Vec<Entry> {
    let register = instance.register.get();
    let mut entries: Vec<Entry> = register.posts().iter().cloned().map(Entry::Registered).collect();
    let mut others = Vec::new();
    instance.latest.for_each(|reading| {
        let shown = reading.row.marks.has(Marks::UNREGISTERED) || open.contains_key(&*reading.post);
        if shown && register.named(&reading.post).is_none() {
            others.push(reading.post.to_string());
        }
    });
    others.sort_unstable();
    entries.extend(others.into_iter().map(Entry::Unregistered));
    entries
}

fn incidents_of<S: BuildHasher>(entry: &Entry, open: &Open<S>) -> Vec<Arc<str>> {
    open.get(entry.id()).cloned().unwrap_or_default()
}

/// `next_wet` or `due` for every post that people look at in the rain.
fn rechecks(instance: &Instance) -> HashMap<Arc<str>, &'static str> {
    let word = |asked: bool| if asked { "due" } else { "next_wet" };
    let tasks = instance.alerting.rechecks().into_iter();
    tasks.map(|task| (task.post, word(task.asked_at.is_some()))).collect()
}

fn describe(
    instance: &Instance,
    entry: &Entry,
    incidents: &[Arc<str>],
    rechecks: &HashMap<Arc<str>, &'static str>,
) -> Value {
    let state = instance.alerting.post_state(entry.id());
    let last = instance.latest.get(entry.id());
    let simulated = last.as_ref().is_some_and(|last| last.row.flags.has(lampguard_model::Flags::SIMULATED));
    let (road, feeder) = match entry {
        Entry::Registered(post) => (&*post.road, &*post.feeder),
        Entry::Unregistered(_) => ("", ""),
    };
    json!({
        "post_id": entry.id(), "zone": entry.zone(), "road": road, "feeder": feeder,
        "state": state.state, "why": state.why, "wet": state.wet, "wet_because": state.wet_because,
        "last": last.as_ref().map(last_json), "incidents": incidents, "simulated": simulated,
        "recheck": rechecks.get(entry.id()),
    })
}

fn last_json(last: &LatestReading) -> Value {
    let fields: Map<String, Value> = last
        .row
        .fields
        .iter()
        .map(|(field, value)| (field.name().to_owned(), field_json(field, value)))
        .collect();
    let aged: Map<String, Value> =
        last.aged.iter().map(|(field, at)| (field.name().to_owned(), json!(at.to_rfc3339()))).collect();
    json!({
        "ts": last.row.measured_at().to_rfc3339(), "received_at": last.row.received_at.to_rfc3339(),
        "fields": fields, "measured_earlier": aged,
        "flags": last.row.flags.names().collect::<Vec<_>>(), "marks": last.row.marks.names().collect::<Vec<_>>(),
    })
}

fn find(instance: &Instance, id: &str) -> Result<Entry, ApiError> {
    let register = instance.register.get();
    match register.by_post(id).or_else(|| register.by_device(id)) {
        Some(post) => Ok(Entry::Registered(post.clone())),
        None if instance.latest.get(id).is_some() => Ok(Entry::Unregistered(id.to_owned())),
        None => Err(ApiError::not_found(format!("no post and no device {id:?} is known"))),
    }
}

pub(super) async fn one(State(instance): Shared, Path(id): Path<String>) -> Answer {
    let entry = find(&instance, &id)?;
    let open = instance.alerting.open_incidents_by_post();
    let mut item = describe(&instance, &entry, &incidents_of(&entry, &open), &rechecks(&instance));
    if let (Entry::Registered(post), Some(item)) = (&entry, item.as_object_mut()) {
        let more = json!({
            "device_id": post.device_id, "number": post.number, "landmark": post.landmark, "cabinet": post.cabinet,
            "lon": post.lon, "lat": post.lat, "lamps": post.lamps, "lamp_w": post.lamp_w,
            "low_lying": post.low_lying, "monitored": post.monitored, "external_code": post.external_code,
            "devices": instance.device_moves.get().of_post(&post.post_id).map(device_moves::shown).collect::<Vec<_>>(),
        });
        item.extend(more.as_object().cloned().unwrap_or_default());
    }
    Ok(Json(item))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    from: Option<String>,
    to: Option<String>,
    fields: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn history(
    State(instance): Shared,
    Path(id): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Answer {
    let entry = find(&instance, &id)?;
    let to = time_of("to", query.to.as_deref())?.unwrap_or_else(|| (instance.clock)() + Millis::minutes(5));
    let from = time_of("from", query.from.as_deref())?.unwrap_or(to - Millis::hours(24));
    let after = time_of("cursor", query.cursor.as_deref())?;
    let limit = query.limit.unwrap_or(ROWS_MAX);
    if !(1..=ROWS_MAX).contains(&limit) {
        return Err(ApiError::bad(format!("limit {limit} is not 1 to {ROWS_MAX}")));
    }
    let fields = fields_of(query.fields.as_deref())?;
    let (view, post) = (instance.history.clone(), entry.id().to_owned());
    let answer = tokio::task::spawn_blocking(move || view.rows(&post, from, to, limit, after)).await;
    let answer = answer.map_err(ApiError::unavailable)?.map_err(ApiError::unavailable)?;
    let names: Vec<&str> = std::iter::once("ts").chain(fields.iter().map(|field| field.name())).collect();
    let rows: Vec<Value> = answer.rows.iter().map(|row| row_json(row, &fields)).collect();
    let damaged: Vec<String> = answer.damaged.iter().map(ToString::to_string).collect();
    let next = answer.next.map(|next| next.0.to_string());
    Ok(Json(json!({ "fields": names, "rows": rows, "next": next, "damaged": damaged })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    at: Option<String>,
}

/// Why a post did or did not raise: now, or at a past time out of the journal.
pub(super) async fn explain(
    State(instance): Shared,
    Path(id): Path<String>,
    Query(query): Query<ExplainQuery>,
) -> Answer {
    let (at, now) = (time_of("at", query.at.as_deref())?, (instance.clock)());
    let entry = find(&instance, &id);
    let told = match at {
        None => instance.alerting.explain(entry?.id()),
        Some(at) if at > now => {
            return Err(ApiError::bad(format!("at {} is not over yet", at.to_rfc3339())));
        }
        Some(at) => {
            let dir = instance.config.site.data_dir.join("journal");
            let (register, policies) = (instance.register.get(), (*instance.policies.get()).clone());
            let replay = move || crate::explain::from_journal(&dir, &register, policies, &id, at);
            let told = tokio::task::spawn_blocking(replay).await.map_err(ApiError::unavailable)?;
            told.map_err(|e| ApiError::not_found(format!("{e:#}")))?
        }
    };
    Ok(Json(json!(told)))
}

fn fields_of(asked: Option<&str>) -> Result<Vec<Field>, ApiError> {
    match asked {
        None | Some("") => Ok(lampguard_model::field::ALL.to_vec()),
        Some(asked) => asked
            .split(',')
            .map(|name| {
                Field::from_name(name.trim()).ok_or_else(|| ApiError::bad(format!("{name:?} is no field")))
            })
            .collect(),
    }
}

fn row_json(row: &Row, fields: &[Field]) -> Value {
    let values = fields
        .iter()
        .map(|field| row.fields.get(*field).map_or(Value::Null, |value| field_json(*field, value)));
    std::iter::once(json!(row.stored_ts.to_rfc3339())).chain(values).collect()
}

/// True when the newest reading of the post came from this device.
fn speaks_for(instance: &Instance, post: &Post, device: &str) -> bool {
    instance.latest.get(&post.post_id).is_some_and(|last| *last.device == *device)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DevicesQuery {
    registered: Option<bool>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn devices(State(instance): Shared, Query(query): Query<DevicesQuery>) -> Answer {
    let limit = limit_of(query.limit)?;
    let (mut found, register) = (Vec::new(), instance.register.get());
    let moves = instance.device_moves.get();
    let newest = moves.newest();
    instance.latest.for_each(|reading| {
        let post = register.named(&reading.device);
        let registered = post.is_some();
        // The post that a device left still shows what it said there: that is no second device.
        let elsewhere = post.is_some_and(|post| *post.post_id != *reading.post);
        if elsewhere && post.is_some_and(|post| speaks_for(&instance, post, &reading.device)) {
            return;
        }
        let behind = query.cursor.as_deref().is_none_or(|cursor| &*reading.device > cursor);
        if behind && query.registered.is_none_or(|asked| asked == registered) {
            found.push((
                reading.device.to_string(),
                post.map_or_else(|| reading.post.to_string(), |post| post.post_id.to_string()),
                registered,
                last_json(reading),
            ));
        }
    });
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let next = found.get(limit).and(found.get(limit - 1)).map(|(device, ..)| device.clone());
    let items = found.into_iter().take(limit).map(|(device, post, registered, last)| {
        let moved = newest.get(&*device);
        json!({
            "device": device, "post_id": registered.then_some(post), "registered": registered, "last": last,
            "since": moved.map(|(at, _)| at.to_rfc3339()), "from": moved.and_then(|(_, one)| one.from.as_deref()),
        })
    });
    Ok(page(items.collect(), next))
}
