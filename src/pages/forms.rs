//! Moves as plain forms. Only what the matrix allows now, and the reader may do, is offered.

use lampguard_alerting::Incident;
use lampguard_alerting::Rota;
use lampguard_alerting::life::{
    Cell, Life, Method, VERBS, Verb, Waiting, cell, is_crew_move, is_said_for_a_crew,
};
use maud::{Markup, html};
use rand::RngExt;

use super::look::Look;
use super::words::{self, Text};
use super::{fields, layout};

/// Makes a double tap known. New with each form.
pub(super) fn key() -> String {
    format!("web-{:016x}", rand::rng().random::<u64>())
}

/// What every form carries.
pub(super) fn hidden(look: &Look) -> Markup {
    html! {
        input type="hidden" name="key" value=(key());
        @if let Some(csrf) = &look.csrf { input type="hidden" name="csrf" value=(csrf); }
        @if let Some(incident) = &look.incident { input type="hidden" name="incident" value=(incident); }
    }
}

/// The moves that the present state allows.
pub(super) fn allowed(life: &Life) -> Vec<Verb> {
    let fits = |verb: &Verb| match cell(life.state, *verb) {
        Cell::To(_) => true,
        Cell::IfClear(_) => life.clear.is_some(),
        Cell::No(_) => false,
    };
    let more = |verb: &Verb| match verb {
        Verb::Void => life.arrived.is_none() && life.earlier.is_empty(),
        Verb::Restore => life.isolation_in_force().is_some(),
        Verb::ConfirmArrival => life.present_arrival().is_some_and(|arrival| arrival.confirmed.is_none()),
        _ => true,
    };
    VERBS.into_iter().filter(fits).filter(more).collect()
}

/// Those of them that the reader may make.
pub(super) fn offered(look: &Look, incident: &Incident) -> Vec<Verb> {
    if !look.moves(incident) {
        return Vec::new();
    }
    let crew = !look.is_desk();
    let mine = |verb: &Verb| !crew || is_crew_move(*verb);
    allowed(&incident.life).into_iter().filter(mine).collect()
}

/// The step that comes next on the way; none when others have the next word.
pub(super) fn next_step(life: &Life) -> Option<Verb> {
    use lampguard_alerting::life::Stage::{
        Acknowledged, Arrived, Closed, Departed, MadeSafe, Merged, Open, Pending, Repaired, Returned,
        Verifying, Void,
    };
    match life.state {
        Open => Some(Verb::Acknowledge),
        Acknowledged => Some(Verb::Depart),
        Departed => Some(Verb::Arrive),
        Arrived => Some(Verb::MakeSafe),
        MadeSafe | Pending | Returned => Some(Verb::Repair),
        Repaired | Verifying | Closed | Void | Merged => None,
    }
}

/// Where the forms of an incident go to.
pub(super) fn address(incident: &Incident, verb: Verb) -> String {
    format!("/incidents/{}/{}", fields::encoded(&incident.id), verb.name())
}

/// On the board: one tap, nothing to type.
pub(super) fn quick(look: &Look, incident: &Incident) -> Markup {
    let next = next_step(&incident.life).filter(|verb| offered(look, incident).contains(verb));
    let tap = |verb: &Verb| matches!(verb, Verb::Acknowledge | Verb::Depart | Verb::Arrive);
    // The desk's own word is its acknowledge; what a crew did it writes down with the crew's name.
    let next = next.filter(|verb| tap(verb) && (!look.is_desk() || *verb == Verb::Acknowledge));
    html! {
        @if let Some(verb) = next {
            form method="post" action=(address(incident, verb)) {
                (hidden(look))
                input type="hidden" name="back" value=(look.here);
                button { (look.say(words::verb(verb))) }
            }
        }
    }
}

fn text(look: &Look, name: &str, label: Text, required: bool) -> Markup {
    html! {
        label { (look.say(label)) @if required { span.must { " *" } }
            input type="text" name=(name) maxlength="500" autocomplete="off" required[required]; }
    }
}

fn number(look: &Look, name: &str, label: Text) -> Markup {
    html! { label { (look.say(label)) input type="number" name=(name) step="any" min="0" inputmode="decimal"; } }
}

pub(super) fn select(
    look: &Look,
    name: &str,
    label: Text,
    options: &[(&str, Text)],
    required: bool,
) -> Markup {
    html! {
        label { (look.say(label)) @if required { span.must { " *" } }
            select name=(name) required[required] {
                @for (value, text) in options { option value=(value) { (look.say(*text)) } }
            }
        }
    }
}

/// What a person measured.
pub(super) fn reading(look: &Look) -> Markup {
    const CHECKS: [(&str, Text); 4] = [
        ("", words::CHOOSE),
        ("ok", words::CHECK_OK),
        ("suspect", words::CHECK_SUSPECT),
        ("live", words::CHECK_LIVE),
    ];
    const SUPPLY: [(&str, Text); 3] =
        [("unknown", words::SUPPLY_UNKNOWN), ("on", words::SUPPLY_ON), ("off", words::SUPPLY_OFF)];
    html! {
        div.group {
            (select(look, "check", words::CHECK, &CHECKS, false))
            label { (look.say(words::PEN_BAND))
                select name="pen_band_v" {
                    option value="" { (look.say(words::CHOOSE)) }
                    @for band in [0, 12, 36, 55, 110, 220] { option value=(band) { (band) } }
                }
            }
            (select(look, "supply", words::SUPPLY, &SUPPLY, false))
            (number(look, "shell_v", words::SHELL_V))
            (number(look, "leakage_ma", words::LEAKAGE_MA))
        }
    }
}

/// The fields of a move.
fn inputs(look: &Look, verb: Verb) -> Markup {
    const METHODS: [(&str, Text); 4] = [
        ("", words::CHOOSE),
        ("isolated", Text("断电", "isolated")),
        ("guarded", Text("专人看守", "guarded")),
        ("barrier", Text("围挡", "barrier")),
    ];
    const EXTENTS: [(&str, Text); 3] =
        [("", words::CHOOSE), ("post", words::EXTENT_POST), ("feeder", words::EXTENT_FEEDER)];
    const THERE: [(&str, Text); 2] = [("", words::THEY_ARE_THERE), ("no", words::NOT_THERE)];
    let field = |name, label, required| text(look, name, label, required);
    match verb {
        Verb::Arrive => field("post", words::POST_NUMBER, false),
        Verb::ConfirmArrival => select(look, "answer", words::ANSWER, &THERE, false),
        Verb::MakeSafe => html! {
            (select(look, "method", words::METHOD, &METHODS, true))
            (field("breaker", words::BREAKER, false))
            (select(look, "extent", words::EXTENT, &EXTENTS, false))
        },
        Verb::Repair => html! {
            (field("cause", words::CAUSE, true)) (field("parts", words::PARTS, true))
            p { (look.say(words::READING_AFTER)) } (reading(look))
        },
        Verb::Verify => html! {
            (reading(look))
            @if look.is_desk() { (field("reason", words::OVERRIDE_REASON, false)) }
        },
        Verb::Void => field("reason", words::REASON, true),
        Verb::Return => html! {
            (field("owner", words::OWNER, true)) (field("contact", words::CONTACT, true))
            label { (look.say(words::FOLLOW_UP_AT)) span.must { " *" }
                input type="datetime-local" name="follow_up_at" required; }
        },
        Verb::Pending => html! {
            (field("reason", words::REASON, true))
            label { (look.say(words::REVIEW_AT)) span.must { " *" } input type="date" name="review_at" required; }
        },
        Verb::Reassign => html! {
            label { (look.say(words::REASSIGN_TO)) span.must { " *" }
                input type="text" name="to" maxlength="500" autocomplete="off" list=(CREWS) required; }
        },
        Verb::Note => html! {
            (field("note", words::NOTE, false))
            label.tick { input type="checkbox" name="clear" value="1"; " " (look.say(words::CLEAR)) }
        },
        Verb::Shelve => html! {
            (field("reason", words::REASON, true))
            label { (look.say(words::FOR_HOURS))
                select name="for_hours" { @for hours in [1, 2, 4, 8] { option value=(hours) { (hours) } } } }
        },
        Verb::RequestIsolation => html! {
            (field("to", words::ASK_WHOM, true)) (field("breaker", words::BREAKER, true))
            (field("answer", words::ASK_ANSWER, false))
        },
        Verb::Acknowledge | Verb::Depart | Verb::Restore | Verb::Close | Verb::Help | Verb::Accept => {
            layout::empty()
        }
    }
}

/// Id of the list of names that fields for another offer.
const CREW_NAMES: &str = "crew-names";

/// Id of the list of crews that fields for another crew offer.
const CREWS: &str = "crews";

/// Names that fields for another offer.
pub(super) fn crew_names(names: &[String]) -> Markup {
    html! { datalist id=(CREW_NAMES) { @for name in names { option value=(name) {} } } }
}

/// Crews that fields for another crew offer.
pub(super) fn crews(rota: &Rota) -> Markup {
    html! { datalist id=(CREWS) { @for crew in rota.crews.values() { option value=(crew.id) { (crew.name) } } } }
}

/// How the desk came to know of it.
fn for_another(look: &Look, verb: Verb) -> Markup {
    const HOW: [(&str, Text); 4] =
        [("web", words::WEB), ("phone", words::PHONE), ("radio", words::RADIO), ("sms", words::SMS)];
    html! {
        @if look.is_desk() {
            div.group.behalf {
                label { (look.say(words::ON_BEHALF_OF)) @if is_said_for_a_crew(verb) { span.must { " *" } }
                    input type="text" name="on_behalf_of" maxlength="500" autocomplete="off"
                        list=(CREW_NAMES) required[is_said_for_a_crew(verb)]; }
                (select(look, "channel", words::HOW_TOLD, &HOW, false))
                label { (look.say(words::AT)) input type="time" name="at"; }
            }
        }
        @if verb != Verb::Note { (text(look, "note", words::NOTE, false)) }
    }
}

/// One move as a form; `action` is where it goes to. `open` shows its fields at once.
pub(super) fn form(look: &Look, verb: Verb, action: &str, open: bool) -> Markup {
    html! {
        details.move open[open] {
            summary { (look.say(words::verb(verb))) }
            form method="post" action=(action) {
                (hidden(look)) (inputs(look, verb)) (for_another(look, verb))
                button.go.danger[matches!(verb, Verb::Void | Verb::Restore)] { (look.say(words::verb(verb))) }
            }
        }
    }
}

/// One tap, as large as a wet glove needs it: the crew's next step, and help.
pub(super) fn big(look: &Look, verb: Verb, action: &str) -> Markup {
    html! {
        form.big method="post" action=(action) {
            (hidden(look)) (inputs(look, verb))
            button.next.danger[verb == Verb::Help] { (look.say(words::verb(verb))) }
        }
    }
}

/// A move that waits for its second person.
pub(super) fn second(look: &Look, incident: &Incident, waiting: &Waiting) -> Markup {
    let own = look.who.as_ref().is_some_and(|who| who.name.trim().eq_ignore_ascii_case(waiting.by.trim()));
    html! {
        section.card.waiting {
            h3 { "※ " (look.say(words::WAITS_FOR_SECOND)) ": " (look.say(words::verb(waiting.verb))) }
            p {
                (look.say(words::ASKED_BY)) " " b { (waiting.by) } " " (look.moment(waiting.at)) " · "
                (look.say(words::REASON)) ": " (waiting.reason)
            }
            @if look.is_desk() && !own {
                form method="post" action=(address(incident, waiting.verb)) {
                    (hidden(look))
                    input type="hidden" name="second" value=(waiting.id);
                    input type="hidden" name="reason" value=(waiting.reason);
                    button.go.danger { (look.say(words::AGREE)) }
                }
            } @else { p { (look.say(words::OTHER_PERSON)) } }
        }
    }
}

/// How it was made safe, in words.
pub(super) fn made_safe(look: &Look, method: Method) -> &'static str {
    look.say(words::method(method))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lampguard_alerting::Crew;
    use lampguard_alerting::life::{Arrival, Mark, STAGES, Stage};
    use lampguard_model::Timestamp;

    use super::*;
    use crate::pages::look::test_look;
    use crate::pages::words::Lang;
    use crate::tokens::Role;

    fn at(state: Stage) -> Life {
        Life { state, ..Life::default() }
    }

    #[test]
    fn what_is_offered_is_what_the_matrix_allows() {
        for state in STAGES {
            for verb in allowed(&at(state)) {
                assert!(!matches!(cell(state, verb), Cell::No(_)), "{verb:?} in {state:?}");
            }
            let next = next_step(&at(state));
            assert!(next.is_none_or(|next| allowed(&at(state)).contains(&next)), "{state:?}");
        }
        assert_eq!(allowed(&at(Stage::Closed)), [Verb::Help, Verb::Note]);
        assert!(!allowed(&at(Stage::MadeSafe)).contains(&Verb::Restore), "no isolation is in force");
    }

    #[test]
    fn nobody_is_offered_to_withdraw_what_a_crew_has_reached() {
        let mark: Mark =
            serde_json::from_str(r#"{"by":"x","channel":"web","at":0,"received_at":0}"#).unwrap();
        let arrived =
            Arrival { mark, proof: lampguard_alerting::life::Proof::Post, distance_m: None, confirmed: None };
        let life = Life { earlier: vec![arrived], ..at(Stage::Open) };
        assert!(allowed(&at(Stage::Open)).contains(&Verb::Void) && !allowed(&life).contains(&Verb::Void));
        assert_eq!(Timestamp(0), Timestamp::default());
    }

    #[test]
    fn page_w37_the_next_step_is_one_button_and_keys_differ() {
        let look = test_look(Lang::Zh, Some(Role::Crew));
        let text = big(&look, Verb::Arrive, "/c/x/arrive").0;
        assert_eq!(text.matches("<button").count(), 1, "{text}");
        assert!(text.contains("到达现场") && text.contains("action=\"/c/x/arrive\""));
        assert_ne!(key(), key());
    }

    #[test]
    fn another_crew_is_chosen_from_those_that_there_are() {
        let crew = |id: &str, name: &str| {
            let crew = Crew { id: Arc::from(id), name: name.to_owned(), ..Crew::default() };
            (crew.id.clone(), Arc::new(crew))
        };
        let rota = Rota { crews: [crew("c1", "一班"), crew("c2", "<二班>")].into(), ..Rota::default() };
        let listed = "<datalist id=\"crews\"><option value=\"c1\">一班</option>\
             <option value=\"c2\">&lt;二班&gt;</option></datalist>";
        assert_eq!(crews(&rota).0, listed);
        let asked = form(&test_look(Lang::Zh, Some(Role::Duty)), Verb::Reassign, "/x", false).0;
        assert!(asked.contains("name=\"to\"") && asked.contains("list=\"crews\" required"), "{asked}");
    }

    #[test]
    fn the_desk_writes_down_for_others_and_a_crew_does_not() {
        let of = |role| form(&test_look(Lang::Zh, Some(role)), Verb::Depart, "/x", false).0;
        assert!(of(Role::Duty).contains("on_behalf_of") && of(Role::Duty).contains("电话代录"));
        assert!(of(Role::Duty).contains("list=\"crew-names\" required"), "the desk's own word is none");
        assert!(
            form(&test_look(Lang::Zh, Some(Role::Duty)), Verb::Accept, "/x", false)
                .0
                .contains("names\" required")
        );
        let names = crew_names(&["王五".to_owned()]).0;
        assert_eq!(names, "<datalist id=\"crew-names\"><option value=\"王五\"></option></datalist>");
        assert!(!of(Role::Crew).contains("on_behalf_of"));
    }
}
