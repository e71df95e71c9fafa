//! Admission: whom a request comes from, whether it may, and whether it was meant.
//!
//! ```text
//! 1 the route's line in the table          405 when there is none
//! 2 whom: bearer token, else session cookie, else the cookie of a wall; of a crew's page its link
//! 3 may that role                           401 or 403; a page without a session leads to /signin
//! 4 the body, within its limit and time     413, 408
//! 5 a POST by cookie carries its CSRF token and comes from our own page   403
//! 6 the handler, which finds Identity, Csrf and Lang in the extensions
//! ```
//! GET and HEAD change nothing anywhere, so only other methods pass step 5.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::lang::{self, Lang};
use super::page::Words;
use super::server::Peer;
use super::{ApiError, BODY_MAX, ROUTES, Shared, links};
use crate::accounts::{csrf_of, same};
use crate::config::Web;
use crate::serve::Instance;
use crate::tokens::{By, Identity, Role};

/// Longest form.
pub(super) const FORM_MAX: usize = 64 << 10;
/// A body that takes longer ends its request.
const BODY_TIME: Duration = Duration::from_secs(60);
/// What pages may load: nothing from elsewhere, no script, no frame around them.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                              base-uri 'none'; frame-ancestors 'none'";

/// Who may use a route.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    /// Everybody, without a login.
    Open,
    /// These roles.
    Roles(&'static [Role]),
    /// Whoever has a crew link: its token is the second part of the path.
    Link,
}

impl Access {
    pub(super) fn roles(self) -> Option<&'static [Role]> {
        match self {
            Self::Roles(roles) => Some(roles),
            Self::Open | Self::Link => None,
        }
    }
}

/// What every form of a session carries in the field `csrf`; empty where none is needed (tokens, crew links).
#[derive(Clone, Debug)]
pub(crate) struct Csrf(pub(crate) Arc<str>);

/// Why a request was not admitted.
enum Refusal {
    /// Nobody is signed in.
    SignIn,
    Api(ApiError),
    Link(lampguard_alerting::links::LinkError),
}

impl From<ApiError> for Refusal {
    fn from(e: ApiError) -> Self {
        Self::Api(e)
    }
}

/// Lets a request pass that may.
pub(super) async fn admit(State(instance): Shared, mut request: Request, next: Next) -> Response {
    let path =
        request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let lang = Lang::of(&uri, request.headers(), &instance.config.site.language);
    request.extensions_mut().insert(lang);
    let mut response = match decide(&instance, &path, request).await {
        Ok(request) => {
            // For `pages::dress`: a fault is shown to whoever it concerns.
            let who = request.extensions().get::<Identity>().cloned();
            let mut response = super::in_our_form(next.run(request).await).await;
            who.map(|who| response.extensions_mut().insert(who));
            response
        }
        Err(refusal) => refuse(&instance, refusal, &method, &uri, lang),
    };
    if let Some(lang) = Lang::asked(&uri) {
        let text = format!("{}={}; Path=/; Max-Age=31536000; SameSite=Lax", lang::COOKIE, lang.word());
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

/// What every answer carries, also those of no route.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let tls = request.extensions().get::<Peer>().is_some_and(|peer| peer.tls);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(year);
    }
    response
}

async fn decide(instance: &Arc<Instance>, path: &str, request: Request) -> Result<Request, Refusal> {
    // HEAD is answered by the route of GET.
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let route = ROUTES.iter().find(|route| route.method == *method && route.path == path);
    let route = route.ok_or_else(|| {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method", "the route does not take this method")
    })?;
    let (access, changes) = (route.access, *method != Method::GET);
    let (mut parts, body) = request.into_parts();
    let web = &instance.config.web;
    let mut csrf = Csrf(Arc::from(""));
    let mut by_cookie = false;
    match access {
        Access::Open => {}
        Access::Link => {
            let token = parts.uri.path().split('/').nth(2).unwrap_or_default();
            let (its, token) = (instance.clone(), token.to_owned());
            // An incident that is over is looked up in the store.
            let opened = tokio::task::spawn_blocking(move || links::open(&its, &token)).await;
            let (who, link) = opened.map_err(ApiError::unavailable)?.map_err(Refusal::Link)?;
            parts.extensions.insert(link);
            parts.extensions.insert(who);
        }
        Access::Roles(roles) => {
            let who = identify(instance, &parts.headers).ok_or(Refusal::SignIn)?;
            if !roles.contains(&who.role) {
                let text = format!("role {} may not do this", who.role.name());
                return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text).into());
            }
            by_cookie = matches!(who.by, By::Session | By::Kiosk) && bearer(&parts.headers).is_none();
            if who.by == By::Session {
                let cookie = cookie(&parts.headers, web.session_cookie()).unwrap_or_default();
                csrf = Csrf(Arc::from(csrf_of(&cookie)));
                if matches!(who.role, Role::Duty | Role::Admin) && !is_api(path) {
                    instance.alerting.presence();
                }
            }
            parts.extensions.insert(who);
        }
    }
    if !changes {
        parts.extensions.insert(csrf);
        return Ok(Request::from_parts(parts, body));
    }
    let limit = if matches!(access, Access::Roles(_)) { BODY_MAX } else { FORM_MAX };
    let body = collect(body, limit).await?;
    let meant = match access {
        Access::Open => is_own_page(&parts.headers, web),
        // Whoever knows the address has the link.
        Access::Link => true,
        Access::Roles(_) if by_cookie => {
            is_own_page(&parts.headers, web) && carries(&parts.headers, &body, &csrf.0)
        }
        Access::Roles(_) => true,
    };
    if !meant {
        let text = "the form is out of date, or was not sent by our own page: go back, load the page again, \
                    and send it once more";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "csrf", text).into());
    }
    parts.extensions.insert(csrf);
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Pages and JSON have different answers for those who are not signed in.
pub(super) fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(e)) if e.to_string().contains("length limit") => {
            let text = format!("the body is over {limit} bytes");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text))
        }
        Ok(Err(e)) => Err(ApiError::bad(format!("reading the body: {e}"))),
        Err(_) => {
            let text = format!("the body took longer than {} s", BODY_TIME.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", text))
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

/// Whom a request comes from. A bearer token that is sent decides alone, also when it is wrong.
pub(super) fn identify(instance: &Instance, headers: &HeaderMap) -> Option<Identity> {
    let (accounts, web) = (&instance.accounts, &instance.config.web);
    if headers.contains_key(header::AUTHORIZATION) {
        let token = bearer(headers)?.strip_prefix("Bearer ")?.trim();
        return accounts.token(token);
    }
    let session = cookie(headers, web.session_cookie());
    let by_session = session.and_then(|cookie| accounts.session(&cookie, (instance.clock)()));
    by_session.or_else(|| accounts.kiosk(&cookie(headers, web.kiosk_cookie())?))
}

/// The value of a cookie.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).next()
}

/// False for what another site sent. Browsers say where a form comes from in Sec-Fetch-Site (over TLS and on loopback)
/// and in Origin, which our own referrer policy turns into `null`: then the CSRF token decides alone.
pub(super) fn is_own_page(headers: &HeaderMap, web: &Web) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some("same-origin") => return true,
        Some("none") | None => {}
        Some(_) => return false,
    }
    match text("origin") {
        None | Some("null") => true,
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            let public = web.public_url.as_deref().map(|url| url.trim_end_matches('/'));
            host.is_some_and(|host| text("host") == Some(host)) || public == Some(origin)
        }
    }
}

/// True when header or form carry the token.
fn carries(headers: &HeaderMap, body: &[u8], csrf: &str) -> bool {
    let sent = headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let in_form = || {
        let is_form = kind.starts_with("application/x-www-form-urlencoded");
        let fields = if is_form { fields(body) } else { Vec::new() };
        fields.into_iter().find(|(name, _)| name == "csrf").map(|(_, value)| value)
    };
    let sent = sent.or_else(in_form);
    !csrf.is_empty() && sent.is_some_and(|sent| same(sent.as_bytes(), csrf.as_bytes()))
}

/// The fields of a form.
pub(super) fn fields(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

/// Where a request comes from: the peer, or whom a proxy of ours names as the last one before it. What cannot be read
/// there is no address, and what stands before it is only what somebody claims: then it is the peer.
pub(super) fn address_of(peer: Option<&Peer>, headers: &HeaderMap, web: &Web) -> IpAddr {
    let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.address.to_canonical());
    if !web.proxies.contains(&peer) {
        return peer;
    }
    let lines = headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or_default());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let hops = hops.iter().rev().map(|hop| hop.parse::<IpAddr>().map(|hop| hop.to_canonical()));
    let last = hops.map(Result::ok).find(|hop| hop.is_none_or(|hop| !web.proxies.contains(&hop)));
    last.flatten().unwrap_or(peer)
}

fn refuse(instance: &Instance, refusal: Refusal, method: &Method, uri: &Uri, lang: Lang) -> Response {
    let looks = matches!(*method, Method::GET | Method::HEAD);
    let site = &instance.config.site.name;
    let words = |title, text, way| Words { lang, site, title, text, way };
    match refusal {
        Refusal::Link(e) => links::refuse(e, site, lang),
        Refusal::SignIn if is_api(uri.path()) => {
            let text = "send `Authorization: Bearer TOKEN`; `lampguard token create` makes one";
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", text).into_response()
        }
        Refusal::SignIn if looks => {
            let next = uri.path_and_query().map_or("/", |path| path.as_str());
            let to = format!("/signin?next={}", encoded(next));
            (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
        }
        Refusal::SignIn => {
            let title = lang.pick("未登录，操作未执行", "Nothing was done: you are not signed in");
            let text = lang.pick(
                "登录已失效。请先登录，再返回上一页重新提交。",
                "Your session is over. Sign in, then go back and send it again.",
            );
            let way = ("/signin", lang.pick("登录", "Sign in"));
            words(title, text, Some(way)).answer(StatusCode::UNAUTHORIZED)
        }
        Refusal::Api(e) if is_api(uri.path()) => e.into_response(),
        Refusal::Api(e) => {
            let title = lang.pick("操作未执行", "Nothing was done");
            let text = match e.code() {
                "forbidden" => lang.pick("您的账号无此权限。", "Your account may not do this."),
                "csrf" => lang.pick(
                    "页面已过期。请返回上一页，刷新后重新提交。",
                    "The page is out of date. Go back, load it again, and send it once more.",
                ),
                _ => e.message(),
            };
            words(title, text, Some(("/", lang.pick("回到首页", "To the first page")))).answer(e.status())
        }
    }
}

/// A path as a value within a query.
pub(super) fn encoded(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
