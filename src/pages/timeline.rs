//! The life of an incident in words: who, what, when; the claimed time beside the time of receipt.

use lampguard_alerting::Signal;
use lampguard_alerting::incident::EventView;
use lampguard_alerting::life::{Stage, Verb};
use maud::{Markup, html};
use serde_json::Value;

use super::look::Look;
use super::words;

/// Events of one page at most; the newest are shown, and how many are not.
const EVENTS_MAX: usize = 500;

/// Fields of a move that people read, and their words. Nothing else of a body is printed.
const TOLD: [(&str, words::Text); 14] = [
    ("note", words::NOTE),
    ("method", words::METHOD),
    ("breaker", words::BREAKER),
    ("extent", words::EXTENT),
    ("cause", words::CAUSE),
    ("parts", words::PARTS),
    ("reason", words::REASON),
    ("owner", words::OWNER),
    ("to", words::REASSIGN_TO),
    ("answer", words::ANSWER),
    ("post", words::POST_NUMBER),
    ("until", words::UNTIL),
    ("follow_up_at", words::FOLLOW_UP_AT),
    ("review_at", words::REVIEW_AT),
];

/// The label of a field without its hint in brackets.
fn label(look: &Look, text: words::Text) -> &'static str {
    let label = look.say(text);
    label.split(['（', '(']).next().unwrap_or(label).trim()
}

pub(super) fn render(look: &Look, events: &[EventView], sees_phones: bool) -> Markup {
    let hidden = events.len().saturating_sub(EVENTS_MAX);
    html! {
        ol.timeline {
            @if hidden > 0 { li { "… " (hidden) } }
            @for event in &events[hidden..] {
                li.(event.event) {
                    span.at { (look.time_of(&event.at)) }
                    div { b { (title(look, event)) } " " (who(look, event)) (details(look, event, sees_phones)) }
                }
            }
        }
    }
}

fn title(look: &Look, event: &EventView) -> String {
    let text = words::event(&event.event).or_else(|| Verb::from_name(&event.event).map(words::verb));
    // What a person wrote, and what the rules noted, share a word.
    text.map_or_else(|| event.event.clone(), |text| look.say(text).to_owned())
}

fn text<'v>(body: &'v Value, name: &str) -> Option<&'v str> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn who(look: &Look, event: &EventView) -> Markup {
    let body = &event.body;
    let (by, actor) = (text(body, "by"), text(body, "actor"));
    let channel = body.get("body").and_then(|body| text(body, "channel"));
    let channel = channel.and_then(|word| match word {
        "phone" => Some(words::PHONE),
        "radio" => Some(words::RADIO),
        "sms" => Some(words::SMS),
        _ => None,
    });
    html! {
        @if let Some(by) = by { span.by { (by) } }
        @if let Some(actor) = actor.filter(|actor| Some(*actor) != by) {
            " (" @if let Some(channel) = channel { (look.say(channel)) ": " } (actor) ")"
        }
    }
}

fn details(look: &Look, event: &EventView, sees_phones: bool) -> Markup {
    let body = &event.body;
    let said = body.get("body").unwrap_or(&Value::Null);
    let claimed = text(said, "at");
    let value = |name: &str, text: &str| match name {
        "method" => serde_json::from_value(Value::from(text))
            .map_or_else(|_| text.to_owned(), |method| look.say(words::method(method)).to_owned()),
        "extent" if text == "feeder" => look.say(words::EXTENT_FEEDER).to_owned(),
        "extent" => look.say(words::EXTENT_POST).to_owned(),
        "until" | "follow_up_at" | "review_at" => look.time_of(text),
        _ => text.to_owned(),
    };
    let told = TOLD.iter().filter_map(|(name, words)| Some((*name, *words, text(said, name)?)));
    html! {
        @if let Some(claimed) = claimed {
            " · " (look.say(words::CLAIMED)) " " (look.time_of(claimed)) ", "
            (look.say(words::RECEIVED)) " " (look.time_of(text(body, "received_at").unwrap_or(&event.at)))
        }
        @for (name, words, text) in told { " · " (label(look, words)) ": " (value(name, text)) }
        @if sees_phones { @if let Some(contact) = text(said, "contact") {
            " · " (look.say(words::CONTACT)) ": " (contact)
        } }
        @if let Some(reading) = said.get("reading").filter(|reading| reading.is_object()) {
            " · " (hand_reading(look, reading))
        }
        (of_engine(look, event))
    }
}

fn hand_reading(look: &Look, reading: &Value) -> String {
    let number = |name: &str, unit: &str| Some(format!("{} {unit}", reading.get(name)?.as_f64()?));
    let check = match text(reading, "check") {
        Some("ok") => Some(look.say(words::CHECK_OK).to_owned()),
        Some("suspect") => Some(look.say(words::CHECK_SUSPECT).to_owned()),
        Some("live") => Some(look.say(words::CHECK_LIVE).to_owned()),
        _ => None,
    };
    let pen = number("pen_band_v", "V").map(|volts| format!("{} {volts}", label(look, words::PEN_BAND)));
    let parts = [check, pen, number("shell_v", "V"), number("leakage_ma", "mA")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What the rules wrote down.
fn of_engine(look: &Look, event: &EventView) -> Markup {
    let body = &event.body;
    let list = |name: &str| {
        let items = body.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().take(20).filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    html! {
        @match event.event.as_str() {
            "signal" => { @if let Some(word) = text(body, "signal") {
                (look.say(words::signal(Signal::from_name(word))))
            } }
            "opened" | "escalated" => {
                @if let Some(severity) = text(body, "severity") { (severity) }
                @if let Some(due) = text(body, "due_at") { " · " (look.say(words::DUE)) " " (look.time_of(due)) }
            }
            "note" => { @if body.get("move").is_none() { (text(body, "note").unwrap_or("")) } }
            "members" => { (list("members")) }
            "linked" => { @if let Some(id) = text(body, "incident") { a href={ "/incidents/" (id) } { (id) } } }
            "told" => { (text(body, "to").unwrap_or("")) " · " (text(body, "channel").unwrap_or("")) }
            "refused" | "second_wanted" => {
                @if let Some(verb) = text(body, "move").and_then(Verb::from_name) {
                    " · " (look.say(words::verb(verb)))
                }
                @if let Some(reason) = text(body, "reason") { " · " (words::reason(look.lang, reason)) }
            }
            _ => { @if let Some(state) = text(body, "state").and_then(Stage::from_name) {
                " → " (look.say(words::state(state)))
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pages::look::test_look;
    use crate::pages::words::Lang;

    fn event(kind: &str, body: Value) -> EventView {
        EventView { at: "2026-11-23T11:50:00Z".to_owned(), event: kind.to_owned(), body }
    }

    fn shown(lang: Lang, event: EventView, phones: bool) -> String {
        render(&test_look(lang, None), &[event], phones).0
    }

    #[test]
    fn a_move_is_told_with_who_claimed_and_received_time_and_how_it_came_in() {
        let body = json!({"move": "arrive", "by": "王五", "actor": "值班员", "state": "arrived",
            "received_at": "2026-11-23T11:50:00Z",
            "body": {"key": "k", "at": "2026-11-23T11:45:00Z", "channel": "phone", "post": "P7"}});
        let text = shown(Lang::Zh, event("arrive", body), false);
        for part in ["到达现场", "王五", "电话代录: 值班员", "自报 19:45:00", "收到 19:50:00", "P7", "已到场"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn page_w34_notes_with_markup_are_text_and_contacts_are_for_those_who_call() {
        let body = json!({"by": "<img src=x onerror=1>", "actor": "a",
            "body": {"note": "<script>", "contact": "13800000000", "unknown": "not printed"}});
        let text = shown(Lang::En, event("return", body.clone()), false);
        assert!(
            !text.contains("<img") && !text.contains("<script") && !text.contains("not printed"),
            "{text}"
        );
        assert!(!text.contains("13800000000"));
        assert!(shown(Lang::En, event("return", body), true).contains("13800000000"));
    }

    #[test]
    fn what_the_rules_wrote_is_said_in_words_and_a_new_event_is_shown_by_its_name() {
        let signal = event("signal", json!({"signal": "silent"}));
        assert!(shown(Lang::Zh, signal, false).contains("无数据，未核实"));
        let refused = event(
            "refused",
            json!({"move": "close", "by": "x", "actor": "x", "reason": "close: it is not repaired yet: repair first"}),
        );
        assert!(shown(Lang::Zh, refused, false).contains("尚未修复"));
        assert!(shown(Lang::Zh, event("rung_told", json!({})), false).contains("rung_told"));
    }
}
