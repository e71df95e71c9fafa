//! The duty board: zones, how the system is, and the open incidents, gravest first. It refreshes itself; forms in
//! which somebody types stand on pages of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use lampguard_alerting::desk::{Counts, DeskFilter, DeskPage, RoadCount, Telling};
use lampguard_alerting::lighting::Tally;
use lampguard_alerting::{OnDuty, Severity};
use lampguard_model::units::Thousandths;
use lampguard_model::{Post, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Page, data_age};
use super::look::Look;
use super::row::{Row, is_simulated, row};
use super::{fields, take, words};
use crate::api::zones::{self, Zone};
use crate::api::{ApiError, Shared};
use crate::serve::Instance;
use crate::watch;

/// Incidents of one page.
pub(super) const ROWS_MAX: usize = 200;
/// Seconds between two loads.
const REFRESH_S: u32 = 10;
/// More than so many: roads are counted above the list.
const GROUPED_ABOVE: usize = 20;
/// Roads that are counted by name.
const ROADS_MAX: usize = 14;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BoardQuery {
    zone: Option<String>,
    road: Option<String>,
    severity: Option<String>,
    shelved: Option<String>,
    page: Option<usize>,
    done: Option<String>,
}

impl BoardQuery {
    /// The same page with something else: none of `zone`, `road` when they are given as empty.
    fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut to = self.clone();
        (to.page, to.done) = (None, None);
        change(&mut to);
        let page = to.page.filter(|page| *page > 1).map(|page| page.to_string());
        let pairs = [
            ("zone", to.zone),
            ("road", to.road),
            ("severity", to.severity),
            ("shelved", to.shelved),
            ("page", page),
        ];
        let pairs: Vec<String> = pairs
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", fields::encoded(&value?))))
            .collect();
        if pairs.is_empty() { "/".to_owned() } else { format!("/?{}", pairs.join("&")) }
    }

    fn filter(&self) -> DeskFilter {
        let some = |text: &Option<String>| text.clone().filter(|text| text != "*");
        DeskFilter {
            zone: some(&self.zone),
            road: some(&self.road),
            severity: self.severity.as_deref().and_then(Severity::from_name),
            shelved: self.shelved.is_some(),
            skip: (self.page.unwrap_or(1).clamp(1, 1_000_000) - 1) * ROWS_MAX,
            limit: ROWS_MAX,
        }
    }
}

/// One zone as the board shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct ZoneTile {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) now: Zone,
    pub(super) counts: Counts,
    pub(super) lamps: Tally,
    pub(super) duty: OnDuty,
    /// A word of `wet::Because`; none when dry.
    pub(super) wet: Option<&'static str>,
    /// Why it is blind, as far as it is known.
    pub(super) blind_because: Vec<String>,
}

/// Everything the board shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    pub(super) zones: Vec<ZoneTile>,
    /// Parts of the system that fail.
    pub(super) failing: Vec<String>,
    pub(super) journal_stopped: bool,
    pub(super) newest: Option<Timestamp>,
    pub(super) simulated: bool,
    pub(super) page: DeskPage,
    /// Of each incident of the page; `None` when the store cannot be read.
    pub(super) tellings: Option<Vec<Telling>>,
    pub(super) posts: Vec<Option<Arc<Post>>>,
    pub(super) query: BoardQuery,
}

pub(crate) async fn show(
    State(instance): Shared,
    look: Look,
    Query(query): Query<BoardQuery>,
) -> Result<Response, ApiError> {
    let done = query.done.as_deref().and_then(take::done);
    // What was done is said once; a load of the same address keeps the place on the page.
    let refresh = match done {
        Some(_) => format!("{REFRESH_S};url={}", query.with(|to| to.page = query.page)),
        None => REFRESH_S.to_string(),
    };
    let gather = move || gather(&instance, query);
    let board = tokio::task::spawn_blocking(gather).await.map_err(ApiError::unavailable)?;
    let (title, simulated) = (look.say(words::BOARD), board.simulated);
    let page = Page { title, refresh: Some(&refresh), simulated, done, ..Page::default() };
    Ok(layout::page(&look, &page, &render(&look, &board)))
}

fn gather(instance: &Instance, query: BoardQuery) -> Board {
    let now = (instance.clock)();
    let page = instance.alerting.desk(&query.filter());
    let tellings = instance.alerting.tellings(page.items.iter().map(|incident| &*incident.id));
    let (register, rota) = (instance.register.get(), instance.alerting.rota());
    let posts = page.items.iter().map(|incident| incident.post_in(&register).cloned());
    let posts = posts.collect();
    let mut seen = zones::look(instance, now);
    let rates = zones::rates_now(instance, now);
    let tile = |zone: &crate::config::Zone| {
        let id: Arc<str> = Arc::from(&*zone.id);
        ZoneTile {
            now: seen.remove(&id).unwrap_or_default(),
            counts: page.zones.get(&id).copied().unwrap_or_default(),
            lamps: rates.zones.get(&id).copied().unwrap_or_default(),
            duty: rota.on_duty_now(&zone.id, now),
            wet: instance.alerting.wet_because(&zone.id).map(lampguard_alerting::wet::Because::name),
            blind_because: page.blind.get(&id).cloned().unwrap_or_default(),
            id: zone.id.clone(),
            name: zone.name.clone(),
        }
    };
    let zones: Vec<ZoneTile> = instance.config.zones.iter().map(tile).collect();
    let parts = watch::parts(instance).into_iter();
    Board {
        failing: parts.filter(|(part, good)| !good && part != "disk").map(|(part, _)| part).collect(),
        journal_stopped: instance.ingester.get().is_some_and(|handles| handles.inlet.gate.is_stopped()),
        newest: zones.iter().filter_map(|zone| zone.now.newest).max(),
        simulated: zones.iter().any(|zone| zone.now.simulated) || page.items.iter().any(is_simulated),
        zones,
        page,
        tellings,
        posts,
        query,
    }
}

pub(super) fn render(look: &Look, board: &Board) -> Markup {
    html! {
        h1.sr { (look.say(words::BOARD)) }
        section.zones { @for zone in &board.zones { (tile(look, board, zone)) } }
        div.bar { (filters(look, board)) (system(look, board)) }
        @if board.page.found > GROUPED_ABOVE { (roads(look, board)) }
        (list(look, board))
        (pages(look, board))
    }
}

/// One line: what fails is said in words.
fn system(look: &Look, board: &Board) -> Markup {
    html! {
        p.system {
            @if board.failing.is_empty() && !board.journal_stopped {
                span.chip { (look.say(words::SYSTEM)) ": " (look.say(words::ALL_GOOD)) }
            } @else {
                span.chip.bad {
                    "⚠ " (look.say(words::SYSTEM)) " " (look.say(words::FAILING)) ": " (board.failing.join(", "))
                    @if board.journal_stopped { " " (look.say(words::JOURNAL_STOPPED)) }
                }
            }
            " " (data_age(look, board.newest))
            @if board.page.drills > 0 {
                " " span.chip.drill { (look.say(words::DRILLS)) " " (board.page.drills) }
            }
        }
    }
}

fn percent(rate: f64) -> String {
    // Never 100 % while one lamp is dark.
    format!("{:.1}", (rate * 1000.0).floor() / 10.0)
}

fn tile(look: &Look, board: &Board, zone: &ZoneTile) -> Markup {
    let blind = zone.now.blind_since(look.now);
    let href = board.query.with(|query| (query.zone, query.road) = (Some(zone.id.clone()), None));
    let chosen = board.query.zone.as_deref() == Some(&*zone.id);
    html! {
        a.zone.blind[blind.is_some()].chosen[chosen] href=(href) {
            div.head {
                b { (zone.name) }
                span.counts {
                    span.count.p1[zone.counts.p1() > 0] { "◆P1 " b { (zone.counts.p1()) } }
                    " " span.count.p2[zone.counts.p2() > 0] { "▲P2 " b { (zone.counts.p2()) } }
                }
            }
            @if let Some(since) = blind {
                div.bad {
                    "⚠ " (look.say(words::BLIND_SINCE)) " " (look.moment(since))
                    @if let Some(because) = zone.blind_because.first() {
                        " · " (look.say(words::BECAUSE)) ": " (because)
                    }
                }
            }
            @if zone.counts.breached > 0 {
                div.bad { "⚠ " (look.say(words::BREACHED)) " " (zone.counts.breached) }
            }
            @if zone.counts.untold > 0 {
                div.bad { "⚠ P1 " (look.say(words::TOLD_NOBODY)) " " (zone.counts.untold) }
            }
            div {
                (look.say(words::REPORTING)) " " b { (zone.now.reporting) "/" (zone.now.posts) } " · "
                (look.say(words::LIGHTING)) " "
                @match (zone.lamps.lower(), zone.lamps.upper()) {
                    (Some(low), Some(high)) => { b { (percent(low)) "–" (percent(high)) "%" } }
                    _ => { (look.say(words::NO_LAMPS_DUE)) }
                }
            }
            div {
                @if let Some((value, _)) = &zone.now.leakage {
                    (look.say(words::HIGHEST)) " " b { (Thousandths(*value)) " mA" } " · "
                }
                @match zone.wet {
                    Some("unknown") => { span.warn { "? " (look.say(words::WEATHER_UNKNOWN)) } }
                    Some(because) => {
                        (look.say(words::WET_SHORT)) ": " (look.say(words::wet_because(because)))
                    }
                    None => { (look.say(words::DRY)) }
                }
            }
            div {
                @match &zone.duty.crew {
                    Some(crew) => { (look.say(words::ON_DUTY)) " " b { (crew.name) } }
                    None => { span.bad { "⚠ " (look.say(words::NOBODY_ON_DUTY)) } }
                }
                @if let Some(until) = zone.duty.until { " " small { (look.say(words::UNTIL)) " " (look.moment(until)) } }
            }
        }
    }
}

fn filters(look: &Look, board: &Board) -> Markup {
    let (query, page) = (&board.query, &board.page);
    let mut sums = [0; 4];
    for counts in page.zones.values() {
        sums.iter_mut().zip(counts.by).for_each(|(sum, count)| *sum += count);
    }
    let chosen = |name: Option<&str>| query.severity.as_deref() == name && query.shelved.is_none();
    html! {
        nav.filters {
            h2 { (look.say(words::OPEN_INCIDENTS)) " " b { (page.found) } }
            a.chosen[chosen(None)] href=(query.with(|q| (q.severity, q.shelved) = (None, None))) {
                (look.say(words::ALL))
            }
            @for (severity, sum) in [Severity::P1, Severity::P2, Severity::P3, Severity::P4].into_iter().zip(sums) {
                @let name = severity.name();
                a.chosen[chosen(Some(name))]
                    href=(query.with(|q| (q.severity, q.shelved) = (Some(name.to_owned()), None))) {
                    (super::row::shape(severity)) " " (name) " " (sum)
                }
            }
            a.chosen[query.shelved.is_some()]
                href=(query.with(|q| (q.severity, q.shelved) = (None, Some("1".to_owned())))) {
                (look.say(words::SHELVED)) " " (page.shelved)
            }
            @if query.zone.is_some() || query.road.is_some() {
                a href=(query.with(|q| (q.zone, q.road) = (None, None))) { "✕ " (look.say(words::ALL_ZONES)) }
            }
            @if let Some(road) = &query.road { span.chip { (road) } }
        }
    }
}

/// In a flood: where the dangers are, in a few lines.
fn roads(look: &Look, board: &Board) -> Markup {
    let names: BTreeMap<&str, &str> =
        board.zones.iter().map(|zone| (zone.id.as_str(), zone.name.as_str())).collect();
    let more = board.page.roads.len().saturating_sub(ROADS_MAX);
    let road = |road: &RoadCount| {
        let (zone, name) = (road.zone.to_string(), road.road.to_string());
        let href = board.query.with(|query| (query.zone, query.road) = (Some(zone), Some(name)));
        let zone = names.get(&*road.zone).copied().unwrap_or(&road.zone);
        html! {
            a.road.p1[road.counts.p1() > 0] href=(href) {
                b { @if road.road.is_empty() { (look.say(words::NO_ROAD)) } @else { (road.road) } } " "
                small { (zone) } " "
                @if road.counts.p1() > 0 { "◆" (road.counts.p1()) " " }
                @if road.counts.p2() > 0 { "▲" (road.counts.p2()) " " }
                @let rest = road.counts.all() - road.counts.p1() - road.counts.p2();
                @if rest > 0 { "●" (rest) }
            }
        }
    };
    html! {
        section.roads aria-label=(look.say(words::BY_ROAD)) {
            b { (look.say(words::BY_ROAD)) } " "
            @for of in board.page.roads.iter().take(ROADS_MAX) { (road(of)) " " }
            @if more > 0 { span { "+ " (more) " " (look.say(words::MORE_ROADS)) } }
        }
    }
}

fn list(look: &Look, board: &Board) -> Markup {
    let page = &board.page;
    if page.items.is_empty() {
        let filtered = page.zones.values().any(|counts| counts.all() > 0) || page.shelved > 0;
        let text = if filtered { words::NONE_FOUND } else { words::NONE_OPEN };
        return html! { p.none { (look.say(text)) } };
    }
    html! {
        ol.list {
            @for (n, incident) in page.items.iter().enumerate() {
                @let telling = board.tellings.as_ref().and_then(|tellings| tellings.get(n));
                @let post = board.posts.get(n).and_then(Option::as_deref);
                (row(look, &Row { incident, post, telling }))
            }
        }
    }
}

fn pages(look: &Look, board: &Board) -> Markup {
    let count = board.page.found.div_ceil(ROWS_MAX).max(1);
    let at = board.query.page.unwrap_or(1).max(1);
    let to = |page: usize| board.query.with(|query| query.page = Some(page));
    html! {
        @if count > 1 || at > 1 {
            nav.pages {
                @if at > 1 { a.button href=(to(at.min(count + 1) - 1)) { "‹ " (look.say(words::PREVIOUS_PAGE)) } }
                " " (look.say(words::PAGE)) " " b { (at) } " / " (count) " "
                @if at < count { a.button href=(to(at + 1)) { (look.say(words::NEXT_PAGE)) " ›" } }
            }
        }
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
