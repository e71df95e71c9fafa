//! The tests of people on duty: the list, a word by account, and a word by the link that the person got.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use lampguard_alerting::Confirm;
use lampguard_alerting::test_dispatch::{Test, read_link};
use lampguard_model::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, ApiError, Shared, limit_of, page, reading, time_of};
use crate::serve::Instance;
use crate::tokens::{Identity, Role};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestsQuery {
    from: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list(State(instance): Shared, Query(query): Query<TestsQuery>) -> Answer {
    let from = time_of("from", query.from.as_deref())?.unwrap_or(Timestamp(i64::MIN));
    let limit = limit_of(query.limit)?;
    let now = (instance.clock)();
    let found = reading(move || instance.alerting.tests(from, query.cursor.as_deref(), limit)).await?;
    let items: Vec<Value> = found.items.iter().map(|test| test.view(now)).collect();
    Ok(page(items, found.next))
}

/// The desk for whoever calls in, a crew for its own zone.
pub(super) async fn confirm(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    Path(id): Path<String>,
    _body: Bytes,
) -> Answer {
    let unknown = || ApiError::not_found(format!("no test {id:?} of the last two days is known"));
    let test = look(&instance, Arc::from(&*id)).await?.ok_or_else(unknown)?;
    let own = |zone: &str| test.zones.iter().any(|known| **known == *zone);
    // A duty account with a zone acts in its zone alone, as everywhere.
    let bound = who.role == Role::Crew || who.zone.is_some();
    if bound && !who.zone.as_deref().is_some_and(own) {
        let text = "whoever has a zone confirms the tests of that zone";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text));
    }
    let confirm = Confirm { id: test.id.clone(), by: Some(who.name) };
    let now = (instance.clock)();
    let test = aside(&instance, confirm).await?.ok_or_else(unknown)?;
    Ok(Json(test.view(now)))
}

async fn aside(instance: &Arc<Instance>, confirm: Confirm) -> Result<Option<Test>, ApiError> {
    let shared = instance.clone();
    reading(move || shared.alerting.confirm_test(confirm)).await
}

/// The test as memory has it: a disk that takes nothing makes no link void.
async fn look(instance: &Arc<Instance>, id: Arc<str>) -> Result<Option<Test>, ApiError> {
    let shared = instance.clone();
    reading(move || shared.alerting.test(&id)).await
}

/// Which test a link is for; none: it is not ours, or has expired.
fn of_link(instance: &Instance, token: &str) -> Option<Arc<str>> {
    read_link(instance.watchers.test_links()?, token, (instance.clock)())
}

/// GET changes nothing: chat programs fetch links before anybody has read them.
pub(super) async fn show(State(instance): Shared, Path(token): Path<String>) -> Response {
    let Some(id) = of_link(&instance, &token) else { return gone() };
    let test = match look(&instance, id).await {
        Ok(test) => test,
        Err(fault) => return fault.into_response(),
    };
    match test {
        None => gone(),
        Some(test) if test.confirmed.is_some() => {
            html(StatusCode::OK, &sheet(&test, "<p>已确认。Confirmed. Thank you.</p>"))
        }
        Some(test) => {
            let form = "<form method=\"post\"><button>确认收到 / I got it</button></form>";
            html(StatusCode::OK, &sheet(&test, form))
        }
    }
}

pub(super) async fn by_link(State(instance): Shared, Path(token): Path<String>) -> Response {
    let Some(id) = of_link(&instance, &token) else { return gone() };
    match aside(&instance, Confirm { id, by: None }).await {
        Ok(Some(test)) => html(StatusCode::OK, &sheet(&test, "<p>已确认。Confirmed. Thank you.</p>")),
        Ok(None) => gone(),
        Err(fault) => fault.into_response(),
    }
}

fn gone() -> Response {
    let text =
        "<p>链接无效或已过期，请联系值班台。</p><p>This link is not valid or has expired: call the desk.</p>";
    html(StatusCode::NOT_FOUND, text)
}

fn sheet(test: &Test, what: &str) -> String {
    let (id, person) = (escape(&test.id), escape(&test.person));
    format!("<h1>【演练】通道测试 / test</h1><p>不是险情。No danger.</p><p>{person} · {id}</p>{what}")
}

/// Text for HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn html(status: StatusCode, body: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"zh-CN\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <title>lampguard</title></head><body>{body}</body></html>\n"
    );
    let mut response = (status, page).into_response();
    let fixed = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_the_page_is_text_whatever_it_is_made_of() {
        let name = "<img src=x onerror=alert('1')>&\"";
        assert_eq!(escape(name), "&lt;img src=x onerror=alert(&#39;1&#39;)&gt;&amp;&quot;");
    }
}
