//! `/posts/{id}`: what a post says now, by which limits it is judged and why, its last day, its incidents.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use lampguard_alerting::desk::Telling;
use lampguard_alerting::{Explanation, Incident, PostState, Teller};
use lampguard_history::{LIMIT_MAX, LatestReading, Row};
use lampguard_model::units::Thousandths;
use lampguard_model::{Field, Flags, Millis, Post, Timestamp};
use maud::{Markup, html};

use super::chart::{Chart, LimitLine, draw};
use super::incident::DoneQuery;
use super::layout::{self, Page};
use super::look::Look;
use super::row::{self, line, row};
use super::{fields, take, words};
use crate::api::{ApiError, Shared};
use crate::device_moves::DeviceMoves;
use crate::serve::Instance;

/// Reads of the history for one chart; each gives up to [`LIMIT_MAX`] rows.
const READS_MAX: usize = 4;
/// Older values are said to be old.
const OLD_S: i64 = 900;

/// Everything about one post.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) id: String,
    pub(super) post: Option<Arc<Post>>,
    pub(super) state: PostState,
    pub(super) told: Explanation,
    pub(super) latest: Option<LatestReading>,
    pub(super) rows: Vec<Row>,
    /// There are more rows than were read.
    pub(super) cut: bool,
    pub(super) incidents: Vec<Incident>,
    /// Devices that came and went.
    pub(super) devices: Arc<DeviceMoves>,
    pub(super) tellings: Option<Vec<Telling>>,
    /// To be looked at in the next rain, or in this one.
    pub(super) recheck: Option<bool>,
}

pub(crate) async fn show(
    State(instance): Shared,
    look: Look,
    Path(id): Path<String>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, ApiError> {
    let (now, lang) = (look.now, look.lang);
    let view = tokio::task::spawn_blocking(move || gather(&instance, &id, now)).await;
    let view = view.map_err(ApiError::unavailable)??;
    let simulated = view.latest.as_ref().is_some_and(|last| last.row.flags.has(Flags::SIMULATED));
    let done = query.done.as_deref().and_then(take::done);
    let page = Page { title: &view.id, simulated, done, ..Page::default() };
    debug_assert_eq!(look.lang, lang);
    Ok(layout::page(&look, &page, &render(&look, &view)))
}

fn gather(instance: &Instance, id: &str, now: Timestamp) -> Result<View, ApiError> {
    let register = instance.register.get();
    let post = register.by_post(id).or_else(|| register.by_device(id)).cloned();
    let id = post.as_ref().map_or_else(|| id.to_owned(), |post| post.post_id.to_string());
    let latest = instance.latest.get(&id);
    if post.is_none() && latest.is_none() {
        return Err(ApiError::not_found(format!("no post and no device {id:?} is known")));
    }
    let (mut rows, mut after, mut cut) = (Vec::new(), None, false);
    for read in 0..READS_MAX {
        let from = now - Millis::hours(24);
        let answer =
            instance.history.rows(&id, from, now, LIMIT_MAX, after).map_err(ApiError::unavailable)?;
        rows.extend(answer.rows);
        after = answer.next;
        cut = after.is_some() && read + 1 == READS_MAX;
        if after.is_none() {
            break;
        }
    }
    let open = instance.alerting.open_incidents_by_post();
    let ids = open.get(&*id).map_or(&[][..], Vec::as_slice);
    let cases = ids.iter().filter_map(|id| instance.alerting.case(id, 0).ok().flatten());
    let incidents: Vec<Incident> = cases.map(|case| case.incident).collect();
    let tellings = instance.alerting.tellings(incidents.iter().map(|incident| &*incident.id));
    let recheck = instance.alerting.rechecks().into_iter().find(|task| *task.post == *id);
    Ok(View {
        devices: instance.device_moves.get(),
        state: instance.alerting.post_state(&id),
        told: instance.alerting.explain(&id),
        recheck: recheck.map(|task| task.asked_at.is_some()),
        id,
        post,
        latest,
        rows,
        cut,
        incidents,
        tellings,
    })
}

pub(super) fn render(look: &Look, view: &View) -> Markup {
    html! {
        (head(look, view))
        @if !view.incidents.is_empty() {
            ol.list {
                @for (n, incident) in view.incidents.iter().enumerate() {
                    @let telling = view.tellings.as_ref().and_then(|tellings| tellings.get(n));
                    (row(look, &row::Row { incident, post: view.post.as_deref(), telling }))
                }
            }
        } @else { p.hint { (look.say(words::NO_INCIDENTS)) } }
        section.card { h2 { (look.say(words::CHART)) } (charts(look, view)) }
        div.columns {
            section.card { h2 { (look.say(words::LATEST)) } (latest(look, view)) }
            div {
                section.card { h2 { (look.say(words::LIMITS_IN_FORCE)) } (limits(look, view)) }
                @if let Some(post) = &view.post {
                    section.card { h2 { (look.say(words::REGISTER)) } (register(look, view, post)) }
                }
            }
        }
    }
}

fn word(state: lampguard_alerting::State) -> &'static str {
    use lampguard_alerting::State::{Danger, Normal, Silent, Unmonitored, Unpowered, Unregistered, Warning};
    match state {
        Normal => "normal",
        Warning => "warning",
        Danger => "danger",
        Silent => "silent",
        Unpowered => "unpowered",
        Unmonitored => "unmonitored",
        Unregistered => "unregistered",
    }
}

fn head(look: &Look, view: &View) -> Markup {
    let state = word(view.state.state);
    let teller = Teller { chinese: look.lang.is_chinese(), zone: look.zone.clone() };
    let title = view.post.as_ref().map_or_else(String::new, |post| {
        let number = look.either("号杆", "");
        format!("{} {} {}{number}", post.road, post.landmark, post.number)
    });
    html! {
        section.card.post-head.(state) {
            h1 { (title) " " small { (view.id) } }
            p { span.post-state.(state) { (shape(state)) " " (look.say(words::post_state(state))) } " "
                span.chip { (row::wet(look, view.state.wet, &view.state.wet_because)) }
                @match view.recheck {
                    Some(true) => { " " span.chip.warn { (look.say(words::RECHECK_DUE)) } }
                    Some(false) => { " " span.chip { (look.say(words::RECHECK_NEXT)) } }
                    None => {}
                }
            }
            p.why { b { (look.say(words::WHY)) ": " } @for line in teller.answer(&view.told) { (line) " " } }
            @if look.reports() {
                p { a.button href={ "/hand-test?post=" (fields::encoded(&view.id)) } { (look.say(words::HAND_TEST)) }
                    @if look.is_desk() {
                        " " a.button href={ "/report?post=" (fields::encoded(&view.id)) } { (look.say(words::REPORT)) }
                    } }
            }
        }
    }
}

fn shape(state: &str) -> &'static str {
    match state {
        "danger" => "◆",
        "warning" => "▲",
        "normal" => "✓",
        _ => "□",
    }
}

fn limit_lines(look: &Look, told: &Explanation, field: Field) -> Vec<LimitLine> {
    if field == Field::SupplyV {
        return Vec::new();
    }
    let of = told.quantities.iter().filter(|quantity| quantity.field == field.name());
    of.flat_map(|quantity| {
        let line = |value, word, danger| LimitLine { value, word: look.say(word), danger };
        [line(quantity.limit, words::DANGER, true), line(quantity.warning, words::WARNING, false)]
    })
    .collect()
}

fn charts(look: &Look, view: &View) -> Markup {
    let marks: Vec<(Timestamp, String)> =
        view.incidents.iter().map(|incident| (incident.opened_at, incident.id.to_string())).collect();
    let (from, to) = (look.now - Millis::hours(24), look.now);
    html! {
        @if view.cut { p.hint { (look.say(words::CHART_CUT)) } }
        @for field in [Field::ShellV, Field::LeakageMa, Field::SupplyV] {
            @let limits = limit_lines(look, &view.told, field);
            (draw(look, &view.rows, &Chart { field, from, to, limits: &limits, marks: &marks }))
        }
    }
}

fn shown(look: &Look, field: Field, value: i64) -> String {
    let info = field.info();
    match (field, info.boolean, value) {
        (Field::Check, _, 0) => look.say(words::CHECK_OK).to_owned(),
        (Field::Check, _, 1000) => look.say(words::CHECK_SUSPECT).to_owned(),
        (Field::Check, ..) => look.say(words::CHECK_LIVE).to_owned(),
        (_, true, 0) => look.say(words::NO).to_owned(),
        (_, true, _) => look.say(words::YES).to_owned(),
        _ => format!("{} {}", Thousandths(value), info.unit),
    }
}

fn latest(look: &Look, view: &View) -> Markup {
    let Some(last) = &view.latest else { return html! { p { (look.say(words::NEVER_HEARD)) } } };
    html! {
        table {
            thead { tr { th { (look.say(words::QUANTITY)) } th { (look.say(words::VALUE)) } th { (look.say(words::AGE)) } } }
            tbody {
                @for (field, _) in last.row.fields.iter() {
                    @if let Some((value, at)) = last.value(field) {
                        @let old = look.now.since(at).as_seconds() > OLD_S;
                        tr.old[old] {
                            td { (look.say(words::field(field))) } td { b { (shown(look, field, value)) } }
                            td { @if old { "⚠ " } (look.ago(at)) }
                        }
                    }
                }
            }
        }
        p.hint {
            (look.say(words::MEASURED)) " " (look.moment(last.row.measured_at())) " · "
            (look.say(words::RECEIVED)) " " (look.moment(last.row.received_at))
            @if let Some(by) = &last.by { " · " (by) }
        }
    }
}

fn limits(look: &Look, view: &View) -> Markup {
    html! {
        table {
            thead { tr {
                th { (look.say(words::QUANTITY)) } th { (look.say(words::WARNING)) } th { (look.say(words::DANGER)) }
            } }
            tbody { @for quantity in &view.told.quantities { tr {
                td { (Field::from_name(&quantity.field).map_or(quantity.field.as_str(), |field| look.say(words::field(field)))) }
                td { (quantity.warning) " " (quantity.unit) }
                td { b { (quantity.limit) " " (quantity.unit) } }
            } } }
        }
        p.hint { (look.say(words::POLICY)) " " (row::policy(&view.told.policy_hash)) }
    }
}

fn register(look: &Look, view: &View, post: &Post) -> Markup {
    let lamps = format!("{} × {} W", post.lamps, post.lamp_w);
    let lines: [(words::Text, &str); 8] = [
        (words::ZONE, &post.zone),
        (words::ROAD, &post.road),
        (words::NUMBER, &post.number),
        (words::LANDMARK, &post.landmark),
        (words::FEEDER, &post.feeder),
        (words::CABINET, &post.cabinet),
        (words::LAMPS, &lamps),
        (words::LOW_LYING, look.say(if post.low_lying { words::YES } else { words::NO })),
    ];
    html! {
        dl {
            @for (word, value) in lines { (line(look.say(word), value)) }
            (line(look.say(words::DEVICE), device(look, view, post)))
            (line(look.say(words::COORDINATES), html! {
                a href=(super::navigate::geo(post.lon, post.lat)) { (format!("{:.6}, {:.6}", post.lat, post.lon)) }
            }))
        }
    }
}

/// Which device hangs there, since when, and what did before: readings of the chart may be those of another one.
fn device(look: &Look, view: &View, post: &Post) -> Markup {
    let hung = view.devices.hung(&post.post_id, &post.device_id);
    html! {
        (post.device_id)
        @if let Some((at, before, came)) = hung {
            " · " (look.say(words::HANGS_SINCE)) " " (look.moment(at))
            @if came.renamed { @if let Some(from) = &came.from { " · " (look.say(words::POST_WAS_CALLED)) " " (from) } }
            @else {
                @if let Some(before) = before { " · " (look.say(words::HUNG_BEFORE)) " " (before.device) }
                @if let Some(from) = &came.from { " · " (look.say(words::CAME_FROM)) " " (from) }
            }
        }
    }
}
