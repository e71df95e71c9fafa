//! The pages: rendered here, readable without a script, in Chinese and English.
//!
//! | file | what it holds |
//! |---|---|
//! | `look.rs` | the reader: language, time, role |
//! | `words.rs` | **every word**, in both languages |
//! | `layout.rs` | the frame; `style.css` beside it |
//! | `board.rs` | `/`: zones, system, the list |
//! | `row.rs` | one incident as a row; time left, safety words, who was told |
//! | `incident.rs`, `timeline.rs` | `/incidents/{id}`: everything about one |
//! | `post.rs`, `chart.rs` | `/posts/{id}`: values, limits, 24 hours |
//! | `crew.rs` | the crew's page for one incident |
//! | `navigate.rs` | links to maps, each in its own coordinates |
//! | `forms.rs`, `fields.rs` | moves as plain forms: what is offered, and how a form is read |
//! | `desk.rs` | `/report`, `/hand-test` |
//! | `take.rs` | what forms send: the same calls as the API, answered 303 |
//! | `faults.rs` | faults in words |
//!
//! GET changes nothing. A form carries a key, so a double tap is one move. No page holds more than
//! [`board::ROWS_MAX`] incidents, however many are open.

pub(crate) mod board;
mod chart;
pub(crate) mod crew;
pub(crate) mod desk;
pub(crate) mod faults;
pub(crate) mod fields;
mod forms;
pub(crate) mod incident;
mod layout;
mod look;
mod navigate;
pub(crate) mod post;
mod row;
pub(crate) mod take;
mod timeline;
mod words;

use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::{ApiError, Shared};
use crate::tokens::Identity;
use look::Look;

/// The style sheet.
pub(crate) async fn style() -> Response {
    let kind = (header::CONTENT_TYPE, "text/css; charset=utf-8");
    let keep = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    ([kind, keep], layout::CSS).into_response()
}

/// What programs ask for stays JSON; everything else is for people.
fn is_for_people(path: &str) -> bool {
    !path.starts_with("/api/") && !matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// Makes pages of faults.
pub(crate) async fn dress(State(instance): Shared, request: Request, next: Next) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let acted = !matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = next.run(request).await;
    if !is_for_people(uri.path()) {
        return response;
    }
    let Some(fault) = response.extensions_mut().remove::<ApiError>() else { return response };
    let who = response.extensions_mut().remove::<Identity>();
    faults::page(&Look { who, ..Look::of(&instance, &uri, &headers) }, &fault, acted)
}
