//! One incident in the list: how grave, what, where, whether it may be touched, who was told, how long is left.

use lampguard_alerting::desk::{Telling, is_about_current};
use lampguard_alerting::incident::NOTE_SIMULATED;
use lampguard_alerting::life::Life;
use lampguard_alerting::notice_text::{place_text, title, value_text};
use lampguard_alerting::{Incident, Kind, Severity};
use lampguard_model::Post;
use maud::{Markup, Render, html};

use super::look::{Look, clock_of};
use super::words::{self, Lang};
use super::{fields, forms, layout};

/// A shape beside the colour: ◆ danger, ▲ soon, ● list, ○ daily list.
pub(super) fn shape(severity: Severity) -> &'static str {
    match severity {
        Severity::P1 => "◆",
        Severity::P2 => "▲",
        Severity::P3 => "●",
        Severity::P4 => "○",
    }
}

/// Class of the colour.
pub(super) fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::P1 => "p1",
        Severity::P2 => "p2",
        Severity::P3 => "p3",
        Severity::P4 => "p4",
    }
}

pub(super) fn badge(severity: Severity) -> Markup {
    html! { span.badge.(colour(severity)) { span.shape aria-hidden="true" { (shape(severity)) } (severity.name()) } }
}

pub(super) fn kind_title(kind: Kind, lang: Lang) -> &'static str {
    title(kind)[usize::from(!lang.is_chinese())]
}

pub(super) fn is_simulated(incident: &Incident) -> bool {
    incident.notes.iter().any(|note| note == NOTE_SIMULATED)
}

/// Whether it is wet, and why.
pub(super) fn wet(look: &Look, wet: bool, because: &str) -> Markup {
    html! {
        @if wet { (look.say(words::WET)) ": " (look.say(words::wet_because(because))) } @else { (look.say(words::DRY)) }
    }
}

/// The first letters of a policy's fingerprint; all of them when it is pointed at.
pub(super) fn policy(hash: &str) -> Markup {
    html! { code title=(hash) { (hash.get(..12).unwrap_or(hash)) } }
}

/// One line of a list of facts.
pub(super) fn line(name: &str, value: impl Render) -> Markup {
    html! { dt { (name) } dd { (value) } }
}

/// The safety words; nothing where nobody goes to a post.
pub(super) fn safety(look: &Look, incident: &Incident) -> Markup {
    if incident.family == lampguard_alerting::Family::System {
        return layout::empty();
    }
    let words = incident.life.safety();
    let dead = words == lampguard_alerting::life::DEAD;
    let text = match (look.safety.of(words, look.lang.is_chinese()), look.lang.is_chinese()) {
        (None, _) => look.say(words::safety(words)).to_owned(),
        (Some(own), true) => own.to_owned(),
        (Some(own), false) => format!("{words} ({own})"),
    };
    match (dead, is_about_current(incident)) {
        (true, _) => html! { span.safety.dead { "✓ " (text) } },
        (false, true) => html! { span.safety.live { "⚡ " (text) } },
        (false, false) => html! { span.safety { (text) } },
    }
}

/// Minutes and seconds to the deadline, or behind it; they stop at the first arrival.
pub(super) fn time_left(look: &Look, incident: &Incident) -> Markup {
    let Some(due) = incident.due() else {
        return html! { div.left.none { (look.say(words::NO_DEADLINE)) } };
    };
    let life = &incident.life;
    let left = life.remaining_s(due, look.now);
    let by = html! { small { (look.say(words::DUE)) " " (look.moment(due)) } };
    let over = format!("{} +{}", look.say(words::OVERDUE), clock_of(left));
    match (life.arrived.is_some(), left < 0) {
        (false, false) => html! {
            div.left.(urgency(incident, left)) {
                span.sr { (look.say(words::LEFT)) " " } b { (clock_of(left)) } (by)
            }
        },
        (false, true) => html! { div.left.over { b { (over) } (by) } },
        (true, false) => html! {
            div.left.met { b { (look.say(words::IN_TIME)) } small { (look.say(words::LEFT)) " " (clock_of(left)) } }
        },
        (true, true) => html! {
            div.left.over { b { (look.say(words::ARRIVED_LATE)) } small { (over) } }
        },
    }
}

/// More than half of the time, less, or less than a fifth.
fn urgency(incident: &Incident, left: i64) -> &'static str {
    let whole = incident.due_at.since(incident.opened_at).as_seconds().max(1);
    match left * 100 / whole {
        50.. => "calm",
        20..50 => "half",
        _ => "near",
    }
}

/// Whether anybody knows of it. A P1 that was told to nobody is the worst thing a board can hide.
pub(super) fn told(look: &Look, incident: &Incident, telling: Option<&Telling>) -> Markup {
    let failed = |count: u32| match count {
        0 => String::new(),
        count => format!(" · {} {count}", look.say(words::FAILED)),
    };
    match telling {
        None => html! { span.chip.warn { "? " (look.say(words::TOLD_UNKNOWN)) } },
        Some(Telling { first_at: Some(at), failed: lost, .. }) => html! {
            span.chip.warn[*lost > 0] { (look.say(words::TOLD)) " " (look.time(*at)) (failed(*lost)) }
        },
        Some(telling) if incident.severity == Severity::P1 && !incident.life.drill => html! {
            span.chip.bad { "⚠ " (look.say(words::TOLD_NOBODY)) (failed(telling.failed)) }
        },
        Some(Telling { queued: 1.., failed: lost, .. }) => html! {
            span.chip.warn { (look.say(words::TELLING)) (failed(*lost)) }
        },
        Some(Telling { failed: lost @ 1.., .. }) => html! {
            span.chip.bad { "⚠ " (look.say(words::TOLD_NOBODY)) (failed(*lost)) }
        },
        Some(_) => html! { span.chip { (look.say(words::NOT_TOLD)) } },
    }
}

/// State and who has it.
pub(super) fn state(look: &Look, life: &Life) -> Markup {
    let unproven =
        life.present_arrival().is_some_and(|a| a.proof.name() == "unproven" && a.confirmed.is_none());
    html! {
        span.state { (look.say(words::state(life.state))) }
        " " span.crew { (life.crew.as_deref().unwrap_or(look.say(words::NO_CREW))) }
        @if unproven { " " span.chip.warn { (look.say(words::UNPROVEN)) } }
    }
}

/// Where it is, for people.
pub(super) fn place(look: &Look, incident: &Incident, post: Option<&Post>) -> String {
    place_text(incident, post, look.lang.is_chinese())
}

/// The same for a list: its post in a few words, number and zone beside it.
fn short_place(look: &Look, incident: &Incident, post: Option<&Post>) -> Markup {
    let Some(post) = post else { return html! { (place(look, incident, post)) } };
    let space = if post.landmark.is_empty() { "" } else { " " };
    html! {
        (post.road) (space) (post.landmark) " "
        @if look.lang.is_chinese() { (post.number) "号杆" } @else { "post " (post.number) }
        " " small { (post.post_id) " · " (post.zone) }
    }
}

/// What is shown of one incident.
pub(super) struct Row<'r> {
    pub(super) incident: &'r Incident,
    pub(super) post: Option<&'r Post>,
    pub(super) telling: Option<&'r Telling>,
}

pub(super) fn row(look: &Look, row: &Row<'_>) -> Markup {
    let incident = row.incident;
    let life = &incident.life;
    let href = format!("/incidents/{}", fields::encoded(&incident.id));
    let chinese = look.lang.is_chinese();
    html! {
        li.row.(colour(incident.severity)) id=(incident.id) {
            div.grave { (badge(incident.severity)) }
            div.what {
                a href=(href) {
                    b { (kind_title(incident.evidence.kind, look.lang)) } " " (short_place(look, incident, row.post))
                }
                div.detail {
                    @if let Some(value) = value_text(&incident.evidence, chinese) { span.value { (value) } }
                    @if life.drill { span.chip.drill { "演练 DRILL" } }
                    @if let Some(job) = &life.job { span.chip { (look.say(words::MAINTENANCE)) " " (job) } }
                    @for note in incident.notes.iter().filter(|note| *note != NOTE_SIMULATED).take(2) {
                        span.note { (note) }
                    }
                }
            }
            div.safe { (safety(look, incident)) }
            div.who {
                div { (state(look, life)) }
                div { (look.say(words::SIGNAL)) ": " (look.say(words::signal(incident.signal))) }
                div { (told(look, incident, row.telling)) }
            }
            (time_left(look, incident))
            div.act {
                (forms::quick(look, incident))
                @if look.moves(incident) {
                    a.button href={ (href) "#moves" } { (look.say(words::ACT)) " ›" }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
