//! The frame of every page: head, top line, marks of simulation and drill, and the headers that keep strangers out.

use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use lampguard_model::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::look::Look;
use super::words::{self, Text};

/// The one style sheet; it needs nothing from anywhere else.
pub(super) const CSS: &str = include_str!("style.css");
/// No script, no frame, nothing from another origin; `geo:` and `tel:` links are followed by the phone itself.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'";

/// One page.
#[derive(Default)]
pub(crate) struct Page<'p> {
    /// Title of the window.
    pub(crate) title: &'p str,
    /// Loads itself anew: `10`, or `10;url=/elsewhere`. Never with a form in which somebody types.
    pub(crate) refresh: Option<&'p str>,
    /// Something on it comes from a simulated city.
    pub(crate) simulated: bool,
    /// It is about a drill.
    pub(crate) drill: bool,
    /// Without the links of the office: what a crew sees by its link.
    pub(crate) bare: bool,
    /// What was just done.
    pub(crate) done: Option<Text>,
}

/// Address of the style sheet: it changes with its content, so browsers may keep it for ever.
pub(super) fn css_path() -> String {
    let digest = Sha256::digest(CSS.as_bytes());
    let hash: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("/pages.css?v={hash}")
}

/// A page as it goes out.
pub(crate) fn page(look: &Look, page: &Page<'_>, body: &Markup) -> Response {
    answer(StatusCode::OK, &frame(look, page, body))
}

/// HTML with its headers.
pub(crate) fn answer(status: StatusCode, text: &Markup) -> Response {
    let mut response = (status, text.0.clone()).into_response();
    protect(response.headers_mut());
    response
}

fn protect(headers: &mut HeaderMap) {
    let set = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The whole document.
pub(crate) fn frame(look: &Look, page: &Page<'_>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(look.lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if let Some(refresh) = page.refresh { meta http-equiv="refresh" content=(refresh); }
                title { (page.title) " · " (look.site) }
                link rel="stylesheet" href=(css_path());
                link rel="icon" href="data:,";
            }
            body {
                (top(look, page))
                @if page.simulated { p.ribbon.simulated { (look.say(words::SIMULATED)) } }
                @if page.drill { p.ribbon.drill { (look.say(words::DRILL)) " · 演练 · DRILL" } }
                @if let Some(done) = page.done {
                    p.done role="status" { "✓ " (look.say(words::DONE)) ": " (look.say(done)) }
                }
                main { (body) }
            }
        }
    }
}

fn top(look: &Look, page: &Page<'_>) -> Markup {
    let (other, address) = look.other_lang();
    html! {
        header.top {
            @if page.bare { b.site { (look.site) } } @else { a.site href="/" { (look.site) } }
            @if !page.bare {
                nav {
                    a href="/" { (look.say(words::BOARD)) }
                    @if look.is_desk() { a href="/report" { (look.say(words::REPORT)) } }
                    @if look.reports() { a href="/hand-test" { (look.say(words::HAND_TEST)) } }
                }
            }
            span.clock { (look.say(words::AS_OF)) " " b { (look.moment(look.now)) } }
            @if let Some(who) = &look.who {
                span.who { (who.name) @if look.csrf.is_some() {
                    " " a href="/signout" { (look.say(words::SIGN_OUT)) }
                } }
            }
            a.lang href=(address) hreflang=(other.tag()) lang=(other.tag()) { (look.say(words::OTHER_LANG)) }
        }
    }
}

/// How old the newest data are; old data are said in words, not by colour alone.
pub(crate) fn data_age(look: &Look, newest: Option<Timestamp>) -> Markup {
    const OLD_S: i64 = 600;
    match newest {
        None => html! { span.chip.bad { "⚠ " (look.say(words::DATA_AGE)) ": " (look.say(words::NO_DATA)) } },
        Some(at) if look.now.since(at).as_seconds() > OLD_S => html! {
            span.chip.bad { "⚠ " (look.say(words::DATA_AGE)) ": " (look.ago(at)) }
        },
        Some(at) => html! { span.chip { (look.say(words::DATA_AGE)) ": " (look.ago(at)) } },
    }
}

/// Nothing.
pub(crate) fn empty() -> Markup {
    PreEscaped(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::look::test_look;
    use crate::pages::words::Lang;
    use crate::tokens::Role;

    #[test]
    fn page_w2_nothing_comes_from_another_origin_and_no_script_may_run() {
        let response = page(&test_look(Lang::Zh, Some(Role::Duty)), &Page::default(), &html! { p { "x" } });
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = frame(&test_look(Lang::Zh, Some(Role::Duty)), &Page::default(), &html! {}).0;
        assert!(
            !text.contains("<script") && !text.contains("http://") && !text.contains("https://"),
            "{text}"
        );
        assert!(!CSS.contains("url(") && !CSS.contains("@import"));
        assert!(css_path().starts_with("/pages.css?v="));
    }

    #[test]
    fn page_w57_simulated_and_drill_are_said_in_words() {
        let look = test_look(Lang::En, Some(Role::Viewer));
        let text = |simulated, drill| frame(&look, &Page { simulated, drill, ..Page::default() }, &empty()).0;
        assert!(text(true, false).contains("Simulated data"));
        assert!(text(false, true).contains("演练"));
        assert!(!text(false, false).contains("ribbon"));
    }

    #[test]
    fn page_w34_markup_in_names_is_shown_as_text() {
        let mut look = test_look(Lang::Zh, Some(Role::Duty));
        look.site = "<script>alert(1)</script>".to_owned();
        look.here = "/?zone=\"><img src=x onerror=1>".to_owned();
        let text = frame(&look, &Page { title: "<b>", ..Page::default() }, &empty()).0;
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("<b>·"), "{text}");
        assert!(text.contains("&lt;script&gt;"));
    }
}
