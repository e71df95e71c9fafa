//! The crew's page for one incident: may it be touched, what comes next, where it is. Everything else below.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use lampguard_alerting::Incident;
use lampguard_alerting::life::{Stage, Verb, is_crew_move, is_over};
use lampguard_alerting::links::LinkError;
use lampguard_alerting::notice_text::value_text;
use lampguard_model::Post;
use maud::{Markup, html};

use super::fields::Fields;
use super::incident::DoneQuery;
use super::layout::{self, Page};
use super::look::Look;
use super::{forms, navigate, row, take, words};
use crate::api::moves::make;
use crate::api::{ApiError, CrewLink, Shared, links};
use crate::tokens::Identity;

/// The page of a link. Changes nothing.
pub(crate) async fn show(
    State(instance): Shared,
    Extension(link): Extension<CrewLink>,
    look: Look,
    Query(query): Query<DoneQuery>,
) -> Result<Response, ApiError> {
    let (its, id) = (instance.clone(), link.incident.clone());
    let case = tokio::task::spawn_blocking(move || its.alerting.case(&id, 0)).await;
    let case = case.map_err(ApiError::unavailable)?.map_err(ApiError::unavailable)?;
    let incident = case.ok_or_else(|| ApiError::not_found("the incident is not known"))?.incident;
    let post = incident.post_in(&look.register).cloned();
    let page = Page {
        title: &incident.id,
        simulated: row::is_simulated(&incident),
        drill: incident.life.drill,
        bare: true,
        done: query.done.as_deref().and_then(take::done),
        ..Page::default()
    };
    let desk_phone = super::desk::phone(&instance);
    let base = link.path();
    let crew = CrewPage {
        incident: &incident,
        post: post.as_deref(),
        base: &base,
        desk_phone: desk_phone.as_deref(),
    };
    Ok(layout::page(&look, &page, &render(&look, &crew)))
}

/// A move by a form of that page. Back to it when it is made; why not, when it is refused.
pub(crate) async fn act(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    Extension(link): Extension<CrewLink>,
    look: Look,
    Path((_, verb)): Path<(String, String)>,
    form: Bytes,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&form)?;
    // A form names its incident, so that a page of yesterday never moves the incident of today.
    if fields.get("incident").is_some_and(|incident| *incident != *link.incident) {
        return Ok(links::refuse(LinkError::OtherIncident, &look.site, look.lang));
    }
    let verb =
        Verb::from_name(&verb).ok_or_else(|| ApiError::not_found(format!("there is no move {verb:?}")))?;
    let acted = make(&instance, &who, &link.incident, verb, || fields.body(&look)).await?;
    let word = if acted.durable { verb.name() } else { "not_durable" };
    Ok(take::see_other(&format!("{}?done={word}", link.path())))
}

/// What the page shows.
pub(super) struct CrewPage<'c> {
    pub(super) incident: &'c Incident,
    pub(super) post: Option<&'c Post>,
    /// Forms go to `{base}/{move}`.
    pub(super) base: &'c str,
    pub(super) desk_phone: Option<&'c str>,
}

pub(super) fn render(look: &Look, page: &CrewPage<'_>) -> Markup {
    let incident = page.incident;
    // Where nobody goes to a post there is nothing to be careful of.
    let rules = match incident.family {
        lampguard_alerting::Family::System => &[],
        _ => look.safety.rules(look.lang.is_chinese()),
    };
    html! {
        section.card.crew.(row::colour(incident.severity)) {
            // A page that stands open says how old its word is: nobody may touch a post by one of an hour ago.
            p.first { (row::safety(look, incident)) " " small { (look.say(words::AS_OF)) " " (look.moment(look.now)) } }
            @if !rules.is_empty() { ul.rules { @for rule in rules { li { (rule) } } } }
            div.split {
                h1 { (row::badge(incident.severity)) " " (row::kind_title(incident.evidence.kind, look.lang)) }
                (row::time_left(look, incident))
            }
            (next(look, page))
            @if forms::allowed(&incident.life).contains(&Verb::Help) {
                (forms::big(look, Verb::Help, &format!("{}/{}", page.base, Verb::Help.name())))
            }
            (place(look, page))
            @if let Some(value) = value_text(&incident.evidence, look.lang.is_chinese()) { p.value { (value) } }
            @for note in &incident.notes { p.note { (note) } }
            p { (row::state(look, &incident.life)) " · " (look.say(words::signal(incident.signal))) }
            @if let Some(phone) = page.desk_phone {
                p { a.button.wide href={ "tel:" (phone) } { "☎ " (look.say(words::CALL_DESK)) " " (phone) } }
            }
        }
        (others(look, page))
        p.hint { (incident.id) " · " (look.say(words::LINK_ONLY)) }
    }
}

/// One button, or why there is none.
fn next(look: &Look, page: &CrewPage<'_>) -> Markup {
    let life = &page.incident.life;
    let waits = match life.state {
        Stage::Repaired => Some(words::WAIT_FOR_CHECK),
        Stage::Verifying => Some(words::WAIT_FOR_CLOSE),
        Stage::Returned | Stage::Pending => Some(words::HANDED_ON),
        _ if is_over(life.state) => Some(words::IS_OVER),
        _ => None,
    };
    match (waits, forms::next_step(life)) {
        (Some(text), _) => html! { p.waits { (look.say(text)) } },
        (None, Some(verb)) => forms::big(look, verb, &format!("{}/{}", page.base, verb.name())),
        (None, None) => html! {},
    }
}

fn place(look: &Look, page: &CrewPage<'_>) -> Markup {
    let told = page.incident.told_place().map(|place| (place.lon, place.lat));
    let at = told.or_else(|| page.post.and_then(navigate::place_of));
    let name = row::place(look, page.incident, page.post);
    html! {
        p.place { (name) }
        @if let Some(at) = at { (navigate::links(look, at, &name)) }
        @if !page.incident.members.is_empty() {
            p { (look.say(words::MEMBERS)) ": "
                @for post in page.incident.members.iter().take(50) { (post) " " } }
        }
    }
}

/// The other moves of a crew that the present state allows.
fn others(look: &Look, page: &CrewPage<'_>) -> Markup {
    let next = forms::next_step(&page.incident.life);
    let rest = |verb: &Verb| is_crew_move(*verb) && Some(*verb) != next && *verb != Verb::Help;
    let moves: Vec<Verb> = forms::allowed(&page.incident.life).into_iter().filter(rest).collect();
    html! {
        section.card {
            h2 { (look.say(words::OTHER_STEPS)) }
            div.moves {
                @for verb in moves { (forms::form(look, verb, &format!("{}/{}", page.base, verb.name()), false)) }
            }
        }
    }
}
