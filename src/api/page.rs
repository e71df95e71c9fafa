//! The frame of the small pages: sign-in, notices, refusals. Server-rendered; no JavaScript, no picture.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::lang::Lang;

/// The style of these pages, as a file of its own: the policy of content forbids styles within a page.
pub(super) async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("plain.css")).into_response()
}

/// A whole page around `body`; `path` is where the other language is found, empty for the address itself.
pub(super) fn page(lang: Lang, site: &str, title: &str, path: &str, body: &Markup) -> Markup {
    let (other, its) = lang.pick(("en", "English"), ("zh", "中文"));
    let join = if path.contains('?') { '&' } else { '?' };
    html! {
        (DOCTYPE)
        html lang=(lang.word()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · " (site) }
                link rel="stylesheet" href="/plain.css";
            }
            body {
                main { h1 { (title) } (body) }
                footer { span { (site) } a href={ (path) (join) "lang=" (other) } lang=(other) { (its) } }
            }
        }
    }
}

/// A page with a status.
pub(super) fn answer(status: StatusCode, page: Markup) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response()
}

/// A few words with a way out.
pub(super) struct Words<'a> {
    pub(super) lang: Lang,
    pub(super) site: &'a str,
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    /// Where the button leads, and what stands on it.
    pub(super) way: Option<(&'a str, &'a str)>,
}

impl Words<'_> {
    pub(super) fn answer(&self, status: StatusCode) -> Response {
        let body = html! {
            p { (self.text) }
            @if let Some((to, text)) = self.way { a .button href=(to) { (text) } }
        };
        answer(status, page(self.lang, self.site, self.title, self.way.map_or("", |way| way.0), &body))
    }
}
