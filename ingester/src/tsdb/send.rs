//! One request to the database, and what its answer means for us.
//!
//! The body is prepared once: gzip level 1 (4 times fewer bytes, measured), in `Bytes`, so that trying again
//! copies nothing. Two roads carry the same body:
//!
//! | road | for | why |
//! |---|---|---|
//! | `influxdb2` | `http://host:port`, api v2, token or no login | the client the office named |
//! | `ureq` | `https://`, base paths, api v1, bearer, basic | influxdb2 0.5.2 loses base paths, and its TLS is old |
//!
//! influxdb2 has no time-out of its own and hides `Retry-After`; the first is given to it, the second is only
//! obeyed on the other road. It sends no body compressed: a default header says that ours is.

use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use influxdb2::RequestError;
use influxdb2::api::write::TimestampPrecision;
use reqwest_influx::Url;
use reqwest_influx::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

use super::probe::Prober;
use crate::config::{Api, Auth, TsdbConfig};

/// Bytes of an answer that are kept for a message.
const TEXT_MAX: usize = 4096;
/// Longest wait for a connection; a host that is up answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest `Retry-After` that is obeyed: a typing error over there must not stop us for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// What an answer means for the rows that were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 2xx: accepted.
    Accepted,
    /// 400, 422: at least one row is bad. Halve the batch until the bad rows stand alone.
    Refused(String),
    /// 413: too many bytes at once. Send halves.
    TooLarge(String),
    /// 401, 403, 404 and what else only a person can mend: keep the rows, read the token again, try later.
    Denied(String),
    /// 429, and 503 that names a time: keep the rows, try after that time, or later.
    Busy(Option<Duration>, String),
    /// 5xx, time-outs, broken connections: keep the rows, try later.
    Failed(String),
}

/// A secret that never shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Token {
    /// Takes every appearance of the secret out of a text that came from elsewhere.
    fn hide(&self, text: String) -> String {
        if self.0.is_empty() || !text.contains(&self.0) { text } else { text.replace(&self.0, "***") }
    }
}

enum Road {
    Influx(influxdb2::Client),
    Plain(ureq::Agent),
}

/// The way to one database.
pub struct Sink {
    config: TsdbConfig,
    url: Url,
    token: Token,
    road: Road,
    prober: Arc<Prober>,
}

impl Sink {
    /// Every fault of one `[[tsdb]]`, each naming its key.
    ///
    /// # Errors
    /// The faults: a configuration error, stop and show them.
    pub fn check(config: &TsdbConfig) -> Result<(), Vec<String>> {
        Self::new(config.clone()).map(|_| ())
    }

    /// The value of `Authorization` for this database; `None` without a login, or when the token cannot be read.
    pub fn login(config: &TsdbConfig) -> Option<String> {
        authorization(config, &read_token(config).ok()?)
    }

    /// The way to this database; nothing is connected yet.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub(crate) fn new(config: TsdbConfig) -> Result<Self, Vec<String>> {
        let mut faults = limits_faults(&config);
        let url = parse_url(&config.url).map_err(|why| faults.push(named(&config, "url", &why)));
        let token = read_token(&config).map_err(|why| faults.push(named(&config, "token_file", &why)));
        let (Ok(url), Ok(token), true) = (url, token, faults.is_empty()) else {
            return Err(faults);
        };
        let road = road(&config, &url, &token).map_err(|why| vec![named(&config, "url", &why)])?;
        let timeout = Duration::from_secs(config.timeout_s);
        let prober = Arc::new(Prober::new(&url, authorization(&config, &token), timeout));
        Ok(Self { config, url, token, road, prober })
    }

    /// What asks the database whether it is alive.
    pub(crate) fn prober(&self) -> &Arc<Prober> {
        &self.prober
    }

    /// Reads the token file again; true when it holds another token now.
    pub(crate) fn reread_token(&mut self) -> bool {
        let Ok(token) = read_token(&self.config) else {
            return false;
        };
        if token == self.token {
            return false;
        }
        let Ok(road) = road(&self.config, &self.url, &token) else {
            return false;
        };
        self.prober.log_in(authorization(&self.config, &token));
        (self.road, self.token) = (road, token);
        true
    }

    /// Sends one body made by [`pack`].
    pub(crate) async fn write(&self, body: Bytes) -> Answer {
        let answer = match &self.road {
            Road::Influx(client) => write_by_influx(client, &self.config, body).await,
            Road::Plain(agent) => self.write_by_ureq(agent.clone(), body).await,
        };
        let hide = |text| self.token.hide(text);
        match answer {
            Answer::Accepted => Answer::Accepted,
            Answer::Refused(text) => Answer::Refused(hide(text)),
            Answer::TooLarge(text) => Answer::TooLarge(hide(text)),
            Answer::Denied(text) => Answer::Denied(hide(text)),
            Answer::Busy(after, text) => Answer::Busy(after, hide(text)),
            Answer::Failed(text) => Answer::Failed(hide(text)),
        }
    }

    async fn write_by_ureq(&self, agent: ureq::Agent, body: Bytes) -> Answer {
        let (path, query) = match self.config.api {
            Api::V2 => (
                "/api/v2/write",
                vec![("bucket", self.config.bucket.clone()), ("org", self.config.org.clone())],
            ),
            Api::V1 => ("/write", vec![("db", self.config.bucket.clone())]),
        };
        let url = format!("{}{path}", root(&self.url));
        let login = authorization(&self.config, &self.token);
        let work = tokio::task::spawn_blocking(move || {
            let mut request = agent
                .post(url)
                .query_pairs(query)
                .query("precision", "ms")
                .header("Content-Encoding", "gzip")
                .content_type("text/plain; charset=utf-8");
            if let Some(login) = login {
                request = request.header("Authorization", login);
            }
            match request.send(&body[..]) {
                Err(error) => Answer::Failed(cut(&chain(&error))),
                Ok(mut response) => {
                    let after = retry_after(response.headers().get("Retry-After"));
                    let mut text = Vec::new();
                    let reader = response.body_mut().as_reader();
                    let _ = reader.take(TEXT_MAX as u64).read_to_end(&mut text);
                    let text = String::from_utf8_lossy(&text).into_owned();
                    classify(response.status().as_u16(), &text, after)
                }
            }
        });
        match work.await {
            Ok(answer) => answer,
            Err(error) => Answer::Failed(error.to_string()),
        }
    }
}

async fn write_by_influx(client: &influxdb2::Client, config: &TsdbConfig, body: Bytes) -> Answer {
    let sent = client.write_line_protocol_with_precision(
        &config.org,
        &config.bucket,
        body,
        TimestampPrecision::Milliseconds,
    );
    match sent.await {
        Ok(()) => Answer::Accepted,
        // Everything but 204 comes as an error, 200 included.
        Err(RequestError::Http { status, text }) => classify(status.as_u16(), &text, None),
        Err(error) => Answer::Failed(cut(&chain(&error))),
    }
}

fn classify(status: u16, text: &str, after: Option<Duration>) -> Answer {
    let text = cut(&format!("{status} {}", text.trim()));
    match status {
        200..=299 => Answer::Accepted,
        400 | 422 => Answer::Refused(text),
        413 => Answer::TooLarge(text),
        429 => Answer::Busy(after, text),
        503 if after.is_some() => Answer::Busy(after, text),
        300..=499 => Answer::Denied(text),
        _ => Answer::Failed(text),
    }
}

/// Seconds only: no database sends the date form.
fn retry_after(header: Option<&ureq::http::HeaderValue>) -> Option<Duration> {
    let seconds = header?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Compresses rows into a body.
///
/// # Panics
/// Never: writing into memory does not fail.
pub(crate) fn pack(rows: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(rows.len() / 3 + 64), Compression::new(1));
    let written = encoder.write_all(rows).and_then(|()| encoder.finish());
    written.expect("writing into memory does not fail").into()
}

/// An error with all its causes, on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// The first 4 KiB, cut at a character.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MAX)].to_owned()
}

fn named(config: &TsdbConfig, key: &str, why: &str) -> String {
    format!("tsdb {:?}: {key}: {why}", config.id)
}

fn limits_faults(config: &TsdbConfig) -> Vec<String> {
    let mut faults = Vec::new();
    let mut within = |key: &str, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            faults.push(named(config, key, &format!("{value} is not {least} to {most}")));
        }
    };
    within("batch_lines", config.batch_lines as u64, 1, 50_000);
    within("batch_ms", config.batch_ms, 1, 60_000);
    within("timeout_s", config.timeout_s, 1, 600);
    within("retention_days", u64::from(config.retention_days), 1, 36_500);
    within("max_lag_bytes", config.max_lag_bytes, 1 << 20, u64::MAX);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if config.id.is_empty() || config.id.len() > 64 || !config.id.bytes().all(plain) {
        faults.push(named(config, "id", "is not 1 to 64 of A-Z a-z 0-9 _ -"));
    }
    if config.bucket.is_empty() {
        faults.push(named(config, "bucket", "is empty"));
    }
    faults
}

/// The reason never repeats the url: somebody may have written a password into it.
fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("is not http://host:port or https://host:port, with or without a path".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a login; put it into token_file".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds ? or #; give only the root, what stands behind it is org and bucket".to_owned());
    }
    Ok(url)
}

/// The address without a slash at its end.
pub(super) fn root(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

fn auth(config: &TsdbConfig) -> Auth {
    config.auth.unwrap_or(if config.token_file.is_some() { Auth::Token } else { Auth::None })
}

fn read_token(config: &TsdbConfig) -> Result<Token, String> {
    let auth = auth(config);
    let file = match (&config.token_file, auth) {
        (_, Auth::None) => return Ok(Token::default()),
        (None, _) => return Err("is missing, and auth is not \"none\"".to_owned()),
        (Some(file), _) => file,
    };
    let text = read_short(file).map_err(|error| format!("reading {}: {error}", file.display()))?;
    let token = text.trim();
    // Such bytes cannot stand in a header; a second line is most likely a whole other file.
    if token.is_empty() || !token.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(format!("{} does not hold one line of printable ASCII", file.display()));
    }
    if auth == Auth::Basic && !token.contains(':') {
        return Err(format!("{} does not hold user:password", file.display()));
    }
    Ok(Token(token.to_owned()))
}

fn read_short(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(TEXT_MAX as u64).read_to_string(&mut text)?;
    Ok(text)
}

fn authorization(config: &TsdbConfig, token: &Token) -> Option<String> {
    match auth(config) {
        Auth::Token => Some(format!("Token {}", token.0)),
        Auth::Bearer => Some(format!("Bearer {}", token.0)),
        Auth::Basic => Some(format!("Basic {}", base64(token.0.as_bytes()))),
        Auth::None => None,
    }
}

/// Standard base64 with padding; one use is not worth a dependency.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |at: usize| u32::from(part.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4usize {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= part.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Which road leads there; see the table above. No proxy and no redirect: the rows go where they were told.
fn road(config: &TsdbConfig, url: &Url, token: &Token) -> Result<Road, String> {
    let timeout = Duration::from_secs(config.timeout_s);
    let simple = url.scheme() == "http" && matches!(url.path(), "" | "/") && config.api == Api::V2;
    if !simple || !matches!(auth(config), Auth::Token | Auth::None) {
        return Ok(Road::Plain(ureq::Agent::new_with_config(agent_config(timeout))));
    }
    let gzip = (CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let builder = reqwest_influx::ClientBuilder::new()
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .redirect(reqwest_influx::redirect::Policy::none())
        .pool_idle_timeout(Duration::from_secs(15))
        .default_headers(HeaderMap::from_iter([gzip]));
    // It panics on a bad address; this one was parsed by the same crate.
    influxdb2::ClientBuilder::with_builder(builder, url.as_str(), &*config.org, &*token.0)
        .build()
        .map(Road::Influx)
        .map_err(|error| chain(&error))
}

pub(super) fn agent_config(timeout: Duration) -> ureq::config::Config {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .max_idle_connections(1)
        .max_idle_age(Duration::from_secs(600))
        .user_agent("lampguard")
        .build()
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
