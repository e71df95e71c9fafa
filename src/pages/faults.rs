//! Faults in words: what cannot be done, why, and the way on. Programs get the same as JSON.

use axum::http::StatusCode;
use axum::response::Response;
use lampguard_alerting::life::Stage;
use maud::html;

use super::layout::{Page, answer, frame};
use super::look::Look;
use super::words::{self, Text};
use crate::api::ApiError;

fn title(status: StatusCode) -> Text {
    match status.as_u16() {
        400 => words::FAULT_400,
        401 => words::FAULT_401,
        403 => words::FAULT_403,
        404 => words::FAULT_404,
        409 => words::FAULT_409,
        410 => words::FAULT_410,
        413 => words::FAULT_413,
        422 => words::FAULT_422,
        503 => words::FAULT_503,
        _ => words::FAULT_OTHER,
    }
}

/// A fault as a page of its status; `acted`: somebody wanted to change something.
pub(super) fn page(look: &Look, fault: &ApiError, acted: bool) -> Response {
    let title = look.say(title(fault.status));
    let state = fault.state.and_then(Stage::from_name).map(words::state);
    let bare = look.who.is_none() || look.here.starts_with("/c/");
    let back = ["/incidents/", "/c/"].iter().find_map(|start| {
        let rest = look.here.strip_prefix(start)?;
        Some(format!("{start}{}", rest.split(['/', '?']).next()?))
    });
    let body = html! {
        section.card.fault {
            h1 { "⚠ " (title) }
            p.reason { (words::reason(look.lang, &fault.message)) }
            @if let Some(state) = state {
                p { (look.say(words::PRESENT_STATE)) ": " b { (look.say(state)) } }
            }
            @if acted { p { (look.say(words::NOTHING_CHANGED)) " " (look.say(words::TRY_BACK)) } }
            p {
                @if let Some(back) = back.filter(|_| acted) { a.button href=(back) { (look.say(words::BACK)) } " " }
                @if fault.status == StatusCode::UNAUTHORIZED {
                    a.button href="/signin" { (look.say(words::SIGN_IN)) }
                } @else if !bare {
                    a.button href="/" { (look.say(words::BOARD)) }
                }
            }
        }
    };
    answer(fault.status, &frame(look, &Page { title, bare, ..Page::default() }, &body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::look::test_look;
    use crate::pages::words::Lang;
    use crate::tokens::Role;

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_refused_move_says_why_and_where_the_incident_stands() {
        let mut look = test_look(Lang::Zh, Some(Role::Duty));
        look.here = "/incidents/LG-ABC/make_safe".to_owned();
        let fault = ApiError {
            state: Some("open"),
            ..ApiError::new(
                StatusCode::CONFLICT,
                "illegal_move",
                "make_safe: nobody has arrived yet: arrive first",
            )
        };
        let response = page(&look, &fault, true);
        assert_eq!(response.status(), 409);
        let text = text(response).await;
        assert!(text.contains("还没有人到场") && text.contains("待确认"), "{text}");
        assert!(text.contains("href=\"/incidents/LG-ABC\""));
    }

    #[tokio::test]
    async fn faults_show_markup_as_text_and_tell_strangers_to_sign_in() {
        let look = test_look(Lang::En, None);
        let shown = text(page(&look, &ApiError::not_found("no post \"<script>\" is known"), false)).await;
        assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script"));
        let stranger = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "x");
        assert!(text(page(&look, &stranger, false)).await.contains("/signin"));
    }
}
