//! Signing in and out, and the one visit by which a wall gets its cookie.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::admit::{address_of, cookie, encoded, fields, identify};
use super::lang::Lang;
use super::page::{Words, answer, page};
use super::server::Peer;
use super::{ApiError, Shared};
use crate::accounts::{KNOWN_FOR, SignInError};
use crate::serve::Instance;
use crate::tokens::By;

/// The longest way back after signing in.
const NEXT_MAX: usize = 512;
/// Browsers keep no cookie for longer; the token behind it has no end.
const KIOSK_AGE_S: i64 = 400 * 86_400;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    next: String,
}

/// A path on this site, else the first page: an address elsewhere would make our sign-in vouch for it.
fn local(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= NEXT_MAX
        && !next.contains('\\')
        && !next.chars().any(|c| c.is_control() || c.is_whitespace());
    let leads_on = !next.starts_with("/signin") && !next.starts_with("/signout");
    if is_local && leads_on { next } else { "/" }
}

fn form(lang: Lang, next: &str, name: &str, fault: Option<&str>) -> Markup {
    html! {
        @if let Some(fault) = fault { p .bad role="alert" { (fault) } }
        form method="post" action="/signin" {
            input type="hidden" name="next" value=(next);
            label for="name" { (lang.pick("用户名", "Name")) }
            input #name name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false"
                maxlength="64" required autofocus[name.is_empty()];
            label for="password" { (lang.pick("密码", "Password")) }
            input #password name="password" type="password" autocomplete="current-password" maxlength="256" required
                autofocus[!name.is_empty()];
            button { (lang.pick("登录", "Sign in")) }
        }
        p .soft {
            (lang.pick(
                "忘记密码：请管理员运行 lampguard user password。抢修班组用通知里的链接，无需登录。",
                "Forgotten: an administrator runs lampguard user password. Crews use the link of their notice, without \
                 signing in.",
            ))
        }
    }
}

fn title(lang: Lang) -> &'static str {
    lang.pick("登录", "Sign in")
}

/// The form; for somebody who is signed in also who that is.
pub(super) async fn ask(
    State(instance): Shared,
    Extension(lang): Extension<Lang>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let next = local(&asked.next);
    let signed_in = identify(&instance, &headers).filter(|who| who.by == By::Session);
    let body = html! {
        @if let Some(who) = signed_in {
            p { (lang.pick("当前用户：", "Signed in as ")) strong { (who.name) } }
            a .button href=(next) { (lang.pick("继续", "Go on")) }
            form method="post" action="/signout" { button { (lang.pick("退出登录", "Sign out")) } }
            h2 { (lang.pick("换一个用户", "Another user")) }
        }
        (form(lang, next, "", None))
    };
    let path = format!("/signin?next={}", encoded(next));
    answer(StatusCode::OK, page(lang, &instance.config.site.name, title(lang), &path, &body))
}

/// Takes name and password.
pub(super) async fn enter(
    State(instance): Shared,
    Extension(lang): Extension<Lang>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (mut name, mut password, mut next) = (String::new(), String::new(), String::new());
    for (field, value) in fields(&body) {
        match field.as_str() {
            "name" => name = value,
            "password" => password = value,
            "next" => next = value,
            _ => {}
        }
    }
    let web = &instance.config.web;
    let address = address_of(peer.as_deref(), &headers, web);
    let now = (instance.clock)();
    let entered = if name.trim().is_empty() || password.is_empty() {
        // No guess: it counts for no wait.
        Err(SignInError::Wrong)
    } else {
        let sent = cookie(&headers, web.session_cookie());
        instance.accounts.sign_in(&name, password, address, sent.as_deref(), now).await
    };
    match entered {
        Ok(cookie) => {
            // The session ends earlier; until then its cookie says that this browser is known.
            let age = KNOWN_FOR.as_seconds();
            go(local(&next), &set_cookie(&instance, web.session_cookie(), &cookie, age))
        }
        Err(e) => {
            let (status, fault) = fault_of(e, lang);
            let body = form(lang, local(&next), &name, Some(&fault));
            let path = format!("/signin?next={}", encoded(local(&next)));
            let page = page(lang, &instance.config.site.name, title(lang), &path, &body);
            let mut response = answer(status, page);
            if let SignInError::Wait(seconds) = e {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            }
            response
        }
    }
}

fn fault_of(e: SignInError, lang: Lang) -> (StatusCode, String) {
    let text = |zh: &str, en: &str| lang.pick(zh, en).to_owned();
    match e {
        SignInError::Wrong => {
            (StatusCode::UNAUTHORIZED, text("用户名或密码错误。", "Name or password is wrong."))
        }
        SignInError::Locked => (
            StatusCode::FORBIDDEN,
            text("账号已停用，请联系管理员。", "This user is locked: ask an administrator."),
        ),
        SignInError::Wait(seconds) => (
            StatusCode::TOO_MANY_REQUESTS,
            lang.pick(
                format!("错误次数过多，请等待 {seconds} 秒后再试。"),
                format!("Too many wrong tries: wait {seconds} s, then try again."),
            ),
        ),
        SignInError::Busy(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            text("登录请求过多，请几秒后再试。", "Too many sign-ins at once: try again in a few seconds."),
        ),
        SignInError::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            text("账号库暂时不可读，请稍后再试。", "The accounts cannot be read just now: try again."),
        ),
    }
}

fn go(to: &str, cookie: &str) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

fn set_cookie(instance: &Instance, name: &str, value: &str, age_s: i64) -> String {
    let secure = if instance.config.web.is_secure() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}")
}

/// Asks before it ends anything: GET changes nothing.
pub(super) async fn ask_out(State(instance): Shared, Extension(lang): Extension<Lang>) -> Response {
    let title = lang.pick("退出登录", "Sign out");
    let body = html! { form method="post" action="/signout" { button { (title) } } };
    answer(StatusCode::OK, page(lang, &instance.config.site.name, title, "/signout", &body))
}

/// Ends the session of the cookie; there may be none any more.
pub(super) async fn leave(State(instance): Shared, headers: HeaderMap) -> Response {
    let name = instance.config.web.session_cookie();
    if let Some(cookie) = cookie(&headers, name) {
        let (accounts, now) = (instance.accounts.clone(), (instance.clock)());
        let ended = tokio::task::spawn_blocking(move || accounts.sign_out(&cookie, now)).await;
        if !matches!(ended, Ok(Ok(()))) {
            let text = "the session could not be ended: the disk takes nothing; try again";
            return ApiError::unavailable(text).into_response();
        }
    }
    go("/signin", &set_cookie(&instance, name, "", 0))
}

/// One visit gives a wall's browser its cookie. Nothing is kept for it: the token itself is the cookie.
pub(super) async fn kiosk(
    State(instance): Shared,
    Extension(lang): Extension<Lang>,
    Path(token): Path<String>,
) -> Response {
    if instance.accounts.kiosk(&token).is_some() {
        let name = instance.config.web.kiosk_cookie();
        return go("/", &set_cookie(&instance, name, &token, KIOSK_AGE_S));
    }
    let words = Words {
        lang,
        site: &instance.config.site.name,
        title: lang.pick("大屏链接无效", "This link opens no wall"),
        text: lang.pick(
            "链接已作废或不完整。管理员可用 lampguard token create --role viewer --kiosk 重新生成。",
            "It was removed or is not whole. lampguard token create --role viewer --kiosk makes a new one.",
        ),
        way: None,
    };
    words.answer(StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_a_path_of_this_site() {
        for good in ["/", "/posts/P1?x=1#a", "/incidents/LG-A"] {
            assert_eq!(local(good), good);
        }
        let long = format!("/{}", "a".repeat(NEXT_MAX));
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "/a\r\nSet-Cookie: x",
            "/a b",
            "/signin?next=/signin",
            "/signout",
            "javascript:alert(1)",
            &long,
        ] {
            assert_eq!(local(bad), "/", "{bad}");
        }
    }
}
