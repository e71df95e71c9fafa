//! What forms send. Each goes the way of the API, and is answered 303: loading anew sends nothing twice.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lampguard_alerting::life::{Outcome, Verb};

use super::fields::{Fields, encoded, wrong};
use super::look::Look;
use super::words::{self, Text};
use crate::api::moves::{ReportBody, add, make, tell};
use crate::api::readings;
use crate::api::{ApiError, Shared};
use crate::tokens::Identity;

/// Keys of hand tests that were taken or are under way, the newest last: a double tap is one reading. Beyond, the oldest
/// is forgotten, and a repeat would be a second reading, which harms nobody.
const TESTS_MAX: usize = 1000;
static TESTS: Mutex<VecDeque<(String, bool)>> = Mutex::new(VecDeque::new());

/// What was just done, out of the closed list of words in an address.
pub(super) fn done(word: &str) -> Option<Text> {
    match word {
        "report" => Some(words::REPORT),
        "hand_test" => Some(words::HAND_TEST),
        "second_wanted" => Some(words::WAITS_FOR_SECOND),
        "not_durable" => Some(words::NOT_DURABLE),
        verb => Verb::from_name(verb).map(words::verb),
    }
}

/// Sends the browser on; it comes back with GET.
pub(super) fn see_other(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_owned())]).into_response()
}

/// A path of ours; `//host` and `\` lead elsewhere.
fn is_ours(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// The same page, which says what was done.
fn with_done(path: &str, word: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let rest = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("done="));
    let pairs: Vec<&str> = rest.collect();
    let start = if pairs.is_empty() { String::new() } else { format!("{}&", pairs.join("&")) };
    format!("{path}?{start}done={word}")
}

pub(crate) async fn act(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    look: Look,
    Path((id, verb)): Path<(String, String)>,
    form: Bytes,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&form)?;
    let verb =
        Verb::from_name(&verb).ok_or_else(|| ApiError::not_found(format!("there is no move {verb:?}")))?;
    let acted = make(&instance, &who, &id, verb, || fields.body(&look)).await?;
    let word = match &acted.outcome {
        Outcome::Second(_) => "second_wanted",
        _ if !acted.durable => "not_durable",
        _ => verb.name(),
    };
    let back = fields.get("back").filter(|path| is_ours(path)).map(ToOwned::to_owned);
    Ok(see_other(&with_done(&back.unwrap_or_else(|| format!("/incidents/{}", encoded(&id))), word)))
}

pub(crate) async fn report(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    look: Look,
    form: Bytes,
) -> Result<Response, ApiError> {
    let body = Fields::of(&form)?.hazard(&look)?;
    let words = Fields::of(&form)?.place_in_words();
    let body: ReportBody = serde_json::from_value(body).map_err(|e| wrong(e.to_string()))?;
    let key = body.key.clone();
    let acted = tell(&instance, &who, body).await?;
    if let Some(words) = words {
        add(&instance, &who, &acted.now.id, &format!("{key} place"), words).await?;
    }
    let word = if acted.durable { "report" } else { "not_durable" };
    Ok(see_other(&with_done(&format!("/incidents/{}", encoded(&acted.now.id)), word)))
}

pub(crate) async fn hand_test(
    State(instance): Shared,
    Extension(who): Extension<Identity>,
    form: Bytes,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&form)?;
    let mut reading = fields.hand_test(&who.name)?;
    let named = fields.get("post").unwrap_or("").to_owned();
    let register = instance.register.get();
    // People read the number of the post; its readings go by the name of its sensor.
    let known = register.by_post(&named).or_else(|| register.by_device(&named));
    // A number with a slip of the finger would be an unknown device, and the danger somewhere else.
    let post = known.ok_or_else(|| ApiError::not_found(format!("no post {named:?} is in the register")))?;
    reading["post_id"] = serde_json::Value::from(&*post.device_id);
    let to = with_done(&format!("/posts/{}", encoded(&post.post_id)), "hand_test");
    let key = fields.get("key").ok_or_else(|| wrong("key is missing".to_owned()))?.to_owned();
    let under_way = match UnderWay::begin(&key) {
        Begun::New(under_way) => under_way,
        Begun::Taken => return Ok(see_other(&to)),
        // Nobody knows yet whether it will be taken.
        Begun::UnderWay => {
            let text = "this hand test is being taken: look at the post in a few seconds, and send it again if it is missing";
            return Err(ApiError::new(StatusCode::CONFLICT, "conflict", text));
        }
    };
    let tally = readings::take(&instance, &who, Bytes::from(reading.to_string())).await?;
    if let Some((_, reason)) = tally.quarantined.first() {
        return Err(wrong(format!("the reading is in quarantine: {reason}")));
    }
    under_way.taken();
    Ok(see_other(&to))
}

/// A hand test whose outcome nobody knows yet. Dropped without one, by a refusal or because the browser has gone, its key
/// is not used up.
struct UnderWay(String);

enum Begun {
    New(UnderWay),
    UnderWay,
    Taken,
}

impl UnderWay {
    fn begin(key: &str) -> Begun {
        let mut known = TESTS.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter().find(|(one, _)| one == key) {
            Some((_, true)) => return Begun::Taken,
            Some((_, false)) => return Begun::UnderWay,
            None => {}
        }
        if known.len() >= TESTS_MAX {
            known.pop_front();
        }
        known.push_back((key.to_owned(), false));
        Begun::New(Self(key.to_owned()))
    }

    fn taken(self) {
        let mut known = TESTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, taken)) = known.iter_mut().find(|(one, _)| *one == self.0) {
            *taken = true;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        TESTS.lock().unwrap_or_else(PoisonError::into_inner).retain(|(one, taken)| *taken || *one != self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_pages_of_ours_alone() {
        for path in ["/", "/?zone=z1&page=2", "/incidents/LG-1"] {
            assert!(is_ours(path), "{path}");
        }
        for path in ["//evil.example/", "/\\evil.example", "https://evil.example/", "", "/a\nSet-Cookie: x"] {
            assert!(!is_ours(path), "{path}");
        }
    }

    #[test]
    fn filters_stay_and_only_known_words_are_said() {
        assert_eq!(with_done("/?zone=z1&done=x", "help"), "/?zone=z1&done=help");
        assert_eq!(with_done("/", "help"), "/?done=help");
        assert!(done("acknowledge").is_some() && done("<script>").is_none());
    }

    #[test]
    fn a_double_tap_is_one_hand_test_and_is_answered_done_only_when_the_first_one_is() {
        let begin = || UnderWay::begin("test-key-1");
        let Begun::New(first) = begin() else { panic!("the first") };
        assert!(matches!(begin(), Begun::UnderWay), "it may still be refused");
        drop(first);
        let Begun::New(again) = begin() else { panic!("a refused one may be sent again") };
        again.taken();
        assert!(matches!(begin(), Begun::Taken));
    }
}
