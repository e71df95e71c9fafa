//! `/incidents/{id}`: everything about one incident, and what can be done with it now. It does not refresh itself:
//! somebody may be typing.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use lampguard_alerting::Incident;
use lampguard_alerting::desk::{Case, Telling};
use lampguard_alerting::life::{Life, is_over};
use lampguard_alerting::notice_text::value_text;
use lampguard_alerting::store::NoticeView;
use lampguard_model::{Post, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Page};
use super::look::Look;
use super::row::line;
use super::{fields, forms, row, take, timeline, words};
use crate::api::{ApiError, Shared};

/// Notices that are shown, the newest.
const NOTICES_MAX: usize = 200;
/// Posts that are named.
const MEMBERS_MAX: usize = 200;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DoneQuery {
    pub(super) done: Option<String>,
}

pub(crate) async fn show(
    State(instance): Shared,
    look: Look,
    Path(id): Path<String>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, ApiError> {
    let (its, asked) = (instance.clone(), id.clone());
    let found = tokio::task::spawn_blocking(move || {
        let case = its.alerting.case(&asked, NOTICES_MAX);
        let telling = its.alerting.tellings(std::iter::once(asked.as_str()));
        case.map(|case| (case, telling.and_then(|tellings| tellings.first().copied())))
    });
    let (case, telling) = found.await.map_err(ApiError::unavailable)?.map_err(ApiError::unavailable)?;
    let case = case.ok_or_else(|| ApiError::not_found(format!("no incident {id:?} is known")))?;
    let post = case.incident.post_in(&look.register).cloned();
    let page = Page {
        title: &case.incident.id,
        simulated: row::is_simulated(&case.incident),
        drill: case.incident.life.drill,
        done: query.done.as_deref().and_then(take::done),
        ..Page::default()
    };
    let body = html! {
        (render(&look, &case, telling, post.as_ref()))
        @if look.is_desk() {
            (forms::crew_names(&instance.alerting.names_of_crew(&case.incident)))
            (forms::crews(&instance.alerting.rota()))
        }
    };
    Ok(layout::page(&look, &page, &body))
}

pub(super) fn render(look: &Look, case: &Case, telling: Option<Telling>, post: Option<&Arc<Post>>) -> Markup {
    let incident = &case.incident;
    html! {
        (head(look, incident, telling, post.map(AsRef::as_ref)))
        @for waiting in incident.life.waiting.iter().filter(|_| !is_over(incident.life.state)) {
            (forms::second(look, incident, waiting))
        }
        (moves(look, incident))
        (facts(look, incident))
        section.card { h2 { (look.say(words::TIMELINE)) }
            (timeline::render(look, &case.timeline, look.sees_phones_of(incident))) }
        section.card { h2 { (look.say(words::NOTICES)) } (notices(look, case.notices.as_deref())) }
    }
}

fn head(look: &Look, incident: &Incident, telling: Option<Telling>, post: Option<&Post>) -> Markup {
    html! {
        section.card.head.(row::colour(incident.severity)) {
            div {
                h1 {
                    (row::badge(incident.severity)) " "
                    (row::kind_title(incident.evidence.kind, look.lang))
                    " " small { (incident.id) }
                }
                p.place {
                    @if incident.post_id.is_empty() { (row::place(look, incident, post)) } @else {
                        a href={ "/posts/" (fields::encoded(&incident.post_id)) } { (row::place(look, incident, post)) }
                    }
                }
                @if let Some(value) = value_text(&incident.evidence, look.lang.is_chinese()) { p.value { (value) } }
                p { (row::safety(look, incident)) }
                p {
                    (row::state(look, &incident.life)) " · " (look.say(words::SIGNAL)) ": "
                    (look.say(words::signal(incident.signal))) " · " (row::told(look, incident, telling.as_ref()))
                }
                @for note in &incident.notes { p.note { (note) } }
            }
            (row::time_left(look, incident))
        }
    }
}

fn moves(look: &Look, incident: &Incident) -> Markup {
    let offered = forms::offered(look, incident);
    let next = forms::next_step(&incident.life);
    html! {
        section.card #moves {
            h2 { (look.say(words::WHAT_TO_DO)) }
            @if is_over(incident.life.state) { p { (look.say(words::OVER)) } }
            @if offered.is_empty() { p { (look.say(words::NO_MOVES)) } }
            div.moves {
                @for verb in &offered {
                    (forms::form(look, *verb, &forms::address(incident, *verb), Some(*verb) == next))
                }
            }
        }
    }
}

/// Evidence, and what people wrote.
fn facts(look: &Look, incident: &Incident) -> Markup {
    let (evidence, life) = (&incident.evidence, &incident.life);
    let kinds: Vec<&str> = incident.kinds.iter().map(|kind| row::kind_title(*kind, look.lang)).collect();
    let links: Vec<&Arc<str>> =
        life.follows.iter().chain(&incident.links).chain(life.parent.as_ref()).collect();
    html! {
        section.card {
            h2 { (look.say(words::EVIDENCE)) }
            dl {
                (line(look.say(words::OPENED), look.moment(incident.opened_at)))
                (line(look.say(words::MEASURED), look.moment(evidence.measured_at)))
                (line(look.say(words::RECEIVED), look.moment(evidence.received_at)))
                (line(look.say(words::RULE), html! { (evidence.rule) " · " (kinds.join(", ")) }))
                (line(look.say(words::LIMIT), row::wet(look, evidence.wet, &evidence.wet_because)))
                (line(look.say(words::POLICY), row::policy(&evidence.policy_hash)))
                @if !incident.feeder.is_empty() { (line(look.say(words::FEEDER), &incident.feeder)) }
                (people(look, life, look.sees_phones_of(incident)))
                @if !links.is_empty() {
                    (line(look.say(words::LINKS), html! {
                        @for id in links { a href={ "/incidents/" (fields::encoded(id)) } { (id) } " " }
                    }))
                }
                @if !incident.members.is_empty() {
                    (line(look.say(words::MEMBERS), html! {
                        (incident.members.len()) ": "
                        @for post in incident.members.iter().take(MEMBERS_MAX) {
                            a href={ "/posts/" (fields::encoded(post)) } { (post) } " "
                        }
                    }))
                }
            }
        }
    }
}

fn people(look: &Look, life: &Life, phones: bool) -> Markup {
    let until = |at: Timestamp| html! { " " (look.say(words::UNTIL)) " " (look.moment(at)) };
    html! {
        @if let Some(told) = &life.told {
            @if let Some(caller) = told.caller.as_ref().filter(|_| phones) {
                (line(look.say(words::CALLER), caller))
            }
            @if let Some(place) = &told.place {
                (line(look.say(words::COORDINATES), html! {
                    a href=(super::navigate::geo(place.lon, place.lat)) { (format!("{:.5}, {:.5}", place.lat, place.lon)) }
                }))
            }
        }
        @if let Some(safe) = &life.safe {
            (line(look.say(words::METHOD), html! {
                (forms::made_safe(look, safe.method)) " "
                @if let Some(breaker) = &safe.breaker { (breaker) }
                " · " (safe.mark.by) " " (look.moment(safe.mark.at))
            }))
        }
        @for asked in &life.isolation {
            (line(look.say(words::ISOLATION_ASKED), html! {
                (asked.to) " · " (asked.breaker) " · " (look.say(words::ANSWER)) ": "
                (asked.answer.as_deref().unwrap_or("–"))
            }))
        }
        @if let Some(handed) = &life.handed {
            (line(look.say(words::OWNER), html! {
                (handed.owner.as_deref().or(handed.reason.as_deref()).unwrap_or("–"))
                @if let Some(contact) = handed.contact.as_ref().filter(|_| phones) { " · " (contact) }
                (until(handed.again_at))
            }))
        }
        @if let Some(shelf) = life.shelved.as_ref().filter(|_| life.is_shelved(look.now)) {
            (line(look.say(words::SHELVED), html! { (shelf.reason) " · " (shelf.mark.by) (until(shelf.until)) }))
        }
    }
}

fn notices(look: &Look, notices: Option<&[NoticeView]>) -> Markup {
    let outcome = |notice: &NoticeView| match notice.outcome.as_str() {
        "sent" => html! { (look.say(words::SENT)) },
        "delivered" => html! { "✓ " (look.say(words::DELIVERED)) },
        "failed" => html! { span.bad { "✕ " (look.say(words::FAILED)) } },
        "queued" => html! { (look.say(words::QUEUED)) },
        other => html! { (other) },
    };
    let Some(notices) = notices else {
        return html! { p.bad { "⚠ " (look.say(words::TOLD_UNKNOWN)) } };
    };
    if notices.is_empty() {
        return html! { p { (look.say(words::NO_NOTICES)) } };
    }
    let heads =
        [words::TIME, words::EVENT, words::STEP, words::TO, words::CHANNEL, words::OUTCOME, words::ATTEMPTS];
    html! {
        div.scroll { table {
            thead { tr { @for head in heads { th { (look.say(head)) } } } }
            tbody { @for notice in notices { tr {
                td { (look.time_of(&notice.at)) } td { (event_word(look, &notice.event)) } td { (notice.step) }
                td { (notice.to) } td { (notice.channel) } td { (outcome(notice)) } td { (notice.attempt) }
            } } }
        } }
    }
}

/// `incident.opened` in words where there are some.
fn event_word(look: &Look, event: &str) -> String {
    let word = event.strip_prefix("incident.").unwrap_or(event);
    let verb = match word {
        "acknowledged" => "acknowledge",
        "departed" => "depart",
        "arrived" => "arrive",
        "made_safe" => "make_safe",
        "repaired" => "repair",
        "restored" => "restore",
        "verified" => "verify",
        "closed" => "close",
        "voided" => "void",
        "returned" => "return",
        "reassigned" => "reassign",
        "accepted" => "accept",
        "isolation_requested" => "request_isolation",
        other => other,
    };
    let text =
        words::event(word).or_else(|| lampguard_alerting::life::Verb::from_name(verb).map(words::verb));
    text.map_or_else(|| event.to_owned(), |text| look.say(text).to_owned())
}
