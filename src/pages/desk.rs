//! Forms of the desk: a hazard told by phone, a test by hand.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::forms;
use super::layout::{self, Page};
use super::look::Look;
use super::words::{self, Text};
use crate::api::Shared;
use crate::serve::Instance;

/// The telephone of the desk, where the configuration knows one.
pub(super) fn phone(instance: &Instance) -> Option<Arc<str>> {
    instance.alerting.rota().desk.as_ref().and_then(|desk| desk.phone.clone())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FormQuery {
    post: String,
}

pub(crate) async fn report(State(instance): Shared, look: Look, Query(query): Query<FormQuery>) -> Response {
    const WHAT: [(&str, Text); 4] =
        [("", words::CHOOSE), ("shock", words::SHOCK), ("live", words::LIVE), ("other", words::OTHER)];
    const HOW: [(&str, Text); 3] = [("phone", words::PHONE), ("radio", words::RADIO), ("sms", words::SMS)];
    let title = look.say(words::REPORT);
    // Somewhere in the city, so that only the last digits have to be changed.
    let register = instance.register.get();
    let near = register.posts().first();
    let body = html! {
        section.card {
            h1 { (title) }
            form.sheet method="post" action="/report" {
                (forms::hidden(&look))
                (forms::select(&look, "what", words::WHAT_HAPPENED, &WHAT, true))
                label { (look.say(words::WHICH_POST))
                    input type="text" name="post_id" value=(query.post) maxlength="64" autocomplete="off"; }
                fieldset {
                    legend { (look.say(words::OR_PLACE)) }
                    label { (look.say(words::PLACE_TEXT)) input type="text" name="place" maxlength="300"; }
                    div.group {
                        label { (look.say(words::LON))
                            input type="number" step="any" name="lon" min="-180" max="180"
                                placeholder=[near.map(|post| post.lon)]; }
                        label { (look.say(words::LAT))
                            input type="number" step="any" name="lat" min="-90" max="90"
                                placeholder=[near.map(|post| post.lat)]; }
                    }
                    p.hint { (look.say(words::TWO_PLACES)) }
                }
                label { (look.say(words::CALLER_FIELD)) input type="text" name="caller" maxlength="200"; }
                div.group {
                    (forms::select(&look, "channel", words::HOW_TOLD, &HOW, false))
                    label { (look.say(words::AT)) input type="time" name="at"; }
                    label { (look.say(words::SEVERITY_OTHER))
                        select name="severity" { @for s in ["P3", "P1", "P2", "P4"] { option value=(s) { (s) } } } }
                }
                label.tick { input type="checkbox" name="drill" value="1"; " " (look.say(words::IS_DRILL)) }
                button.go.danger { (look.say(words::REPORT_NOW)) }
            }
        }
    };
    layout::page(&look, &Page { title, ..Page::default() }, &body)
}

pub(crate) async fn hand_test(look: Look, Query(query): Query<FormQuery>) -> Response {
    let title = look.say(words::HAND_TEST);
    let name = look.who.as_ref().map_or("", |who| who.name.as_str());
    let body = html! {
        section.card {
            h1 { (title) }
            form.sheet method="post" action="/hand-test" {
                (forms::hidden(&look))
                label { (look.say(words::TEST_POST)) span.must { " *" }
                    input type="text" name="post" value=(query.post) maxlength="64" required autocomplete="off"; }
                (forms::reading(&look))
                label { (look.say(words::WHO_TESTED)) input type="text" name="by" value=(name) maxlength="100"; }
                button.go { (look.say(words::SAVE)) }
            }
        }
    };
    layout::page(&look, &Page { title, ..Page::default() }, &body)
}
