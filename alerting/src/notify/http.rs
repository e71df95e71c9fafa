//! One HTTP exchange, bounded: at most 10 s from the name to the end of the answer, at most 64 KiB of answer, redirects
//! never followed, and only to addresses that the channel may reach.
//!
//! The address is checked where the connection gets it from: a name that answers differently the second time
//! leads nowhere else.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lampguard_model::{Millis, Timestamp};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::fault::{Fault, SendError};
use super::secret::{HiddenUrl, Scrubber, Secret};

/// The whole exchange takes at most this long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_MAX: u64 = 64 << 10;
/// Characters of an answer that are quoted in an error.
const QUOTED: usize = 200;
/// Pause when they say "too many" and not for how long.
pub(super) const BUSY: Millis = Millis::minutes(1);
/// Longest pause that another side may ask for.
const WAIT_MAX: Millis = Millis::minutes(10);

/// Where a channel that speaks HTTP goes.
#[derive(Clone, Debug, Default)]
pub struct Web {
    /// Address. Redirects are never followed.
    pub url: HiddenUrl,
    /// Key of the signature, or what the template calls `{{secret}}`; empty: none.
    pub secret: Secret,
    /// Host names may resolve to private and loopback addresses. Literal ones always may.
    pub allow_private: bool,
    /// PEM of the authority to trust instead of the public ones; empty: the public ones.
    pub ca: Vec<u8>,
}

impl Web {
    /// Sends `body` (a GET without one) as JSON, guarded as a channel is.
    ///
    /// # Errors
    /// [`SendError`]: nothing came back, or no 2xx. Its text holds no secret part of the address.
    pub fn send(&self, body: Option<&[u8]>, now: Timestamp) -> Result<(), SendError> {
        let client = Client::new(self);
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
        let request = Request {
            method: if body.is_some() { "POST" } else { "GET" },
            url: self.url.reveal(),
            headers: if body.is_some() { &headers } else { &[] },
            body: body.unwrap_or_default(),
        };
        let answer = client.exchange(&request)?;
        client.accepted(answer, now).map(|_| ())
    }
}

/// Addresses that belong to nobody outside: own network, this machine, carriers' NAT, metadata services, tests.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || (a, b, c) == (192, 0, 0)
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            // NAT64 and 6to4 carry an IPv4 address inside.
            let inner = match segments {
                [0x64, 0xff9b, .., high, low] => Some((high, low)),
                [0x2002, high, low, ..] => Some((high, low)),
                _ => None,
            };
            let inner = inner.map(|(high, low)| {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                IpAddr::from([a, b, c, d])
            });
            v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || (segments[0] & 0xffc0) == 0xfec0
                || inner.is_some_and(is_private)
        }
    }
}

/// The host of a URL as an address, when it is one.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// What a look-up came to, carried through the HTTP client.
#[derive(Debug)]
enum Lookup {
    Failed(String),
    Private { host: String, address: IpAddr },
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) => f.write_str(text),
            Self::Private { host, address } => write!(f, "{}", private(host, *address)),
        }
    }
}

impl std::error::Error for Lookup {}

pub(super) fn private(host: &str, address: IpAddr) -> String {
    format!("{host} resolves to the private address {address}: set allow_private = true if that is meant")
}

/// Looks names up and refuses those that lead into the own network.
#[derive(Debug)]
struct Guarded {
    allow_private: bool,
    inner: DefaultResolver,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default().to_owned();
        let found = self.inner.resolve(uri, config, timeout).map_err(|e| match e {
            Error::Timeout(_) => e,
            other => Error::Other(Box::new(Lookup::Failed(format!("looking up {host}: {other}")))),
        })?;
        if self.allow_private || literal(&host).is_some() {
            return Ok(found);
        }
        match found.iter().map(|socket| socket.ip()).find(|ip| is_private(*ip)) {
            Some(address) => Err(Error::Other(Box::new(Lookup::Private { host, address }))),
            None => Ok(found),
        }
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
}

/// What came back, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    retry_after: Option<String>,
    pub(super) body: Vec<u8>,
}

/// One receiver.
pub(super) struct Client {
    agent: Agent,
    pub(super) url: HiddenUrl,
    pub(super) secret: Secret,
    scrubber: Scrubber,
}

impl Client {
    pub(super) fn new(web: &Web) -> Self {
        let mut tls = TlsConfig::builder();
        if !web.ca.is_empty() {
            let of = |item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            };
            let roots: Vec<Certificate<'static>> = parse_pem(&web.ca).filter_map(of).collect();
            tls = tls.root_certs(RootCerts::Specific(Arc::new(roots)));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent("lampguard")
            .accept_encoding(String::new())
            .max_idle_age(Duration::from_secs(5))
            .tls_config(tls.build())
            .build();
        let resolver = Guarded { allow_private: web.allow_private, inner: DefaultResolver::default() };
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), resolver),
            url: web.url.clone(),
            secret: web.secret.clone(),
            scrubber: Scrubber::new(&web.url, &web.secret),
        }
    }

    /// Sends JSON to an address.
    pub(super) fn post_json(&self, url: &str, body: &serde_json::Value) -> Result<Answer, SendError> {
        let headers = [("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())];
        let body = body.to_string();
        self.exchange(&Request { method: "POST", url, headers: &headers, body: body.as_bytes() })
    }

    /// One exchange.
    ///
    /// # Errors
    /// [`SendError`] when nothing usable came back; a status that refuses is an answer.
    pub(super) fn exchange(&self, request: &Request<'_>) -> Result<Answer, SendError> {
        let mut built = ureq::http::Request::builder().method(request.method).uri(request.url);
        for (name, value) in request.headers {
            built = built.header(name, value);
        }
        let sent = match built.body(request.body) {
            Ok(built) if request.body.is_empty() && matches!(request.method, "GET" | "HEAD") => {
                self.agent.run(built.map(|_| ()))
            }
            Ok(built) => self.agent.run(built),
            Err(_) => {
                let text = format!("{}: no request can be made of url and headers", self.url);
                return Err(SendError::permanent(Fault::Refused, text));
            }
        };
        let mut answer = sent.map_err(|e| self.failed(&e))?;
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
        let body = body.map_err(|e| self.failed(&e))?;
        Ok(Answer { status, retry_after, body })
    }

    /// Only 2xx is good.
    ///
    /// # Errors
    /// [`SendError`]: 4xx is permanent, but for 408, 425 and 429.
    pub(super) fn accepted(&self, answer: Answer, now: Timestamp) -> Result<Answer, SendError> {
        let quoted = self.quote(&answer.body);
        let text = format!("{} answered {}{quoted}", self.url, answer.status);
        let wait = answer.retry_after.as_deref().and_then(|value| retry_after(value, now));
        match answer.status {
            200..=299 => Ok(answer),
            429 => Err(SendError::busy(text, wait.unwrap_or(BUSY))),
            503 => Err(SendError { wait, ..SendError::new(Fault::Server, text) }),
            300..=399 => Err(SendError::new(Fault::Refused, format!("{text}; redirects are not followed"))),
            408 | 425 => Err(SendError::new(Fault::Timeout, text)),
            400..=499 => Err(SendError::permanent(Fault::Refused, text)),
            _ => Err(SendError::new(Fault::Server, text)),
        }
    }

    /// The answer as JSON.
    pub(super) fn json(&self, answer: &Answer) -> Result<serde_json::Value, SendError> {
        serde_json::from_slice(&answer.body).map_err(|_| {
            let quoted = self.quote(&answer.body);
            SendError::new(Fault::Answer, format!("{} answered no JSON{quoted}", self.url))
        })
    }

    /// A short piece of an answer without secrets; empty for an empty one.
    pub(super) fn quote(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        if text.trim().is_empty() {
            return String::new();
        }
        format!(": {}", self.scrubber.line(text.trim(), QUOTED))
    }

    /// Their texts may hold the address, so the words are ours.
    fn failed(&self, error: &Error) -> SendError {
        let url = &self.url;
        match error {
            Error::Timeout(_) => {
                SendError::new(Fault::Timeout, format!("{url}: no whole answer within 10 s"))
            }
            Error::Other(inner) => match inner.downcast_ref::<Lookup>() {
                Some(Lookup::Private { host, address }) => {
                    SendError::permanent(Fault::Private, private(host, *address))
                }
                Some(Lookup::Failed(text)) => SendError::new(Fault::Dns, text.clone()),
                None => SendError::new(Fault::Connect, format!("{url}: the exchange broke")),
            },
            Error::HostNotFound => SendError::new(Fault::Dns, format!("{url}: the host is not known")),
            Error::Tls(text) => SendError::new(Fault::Tls, format!("{url}: TLS: {text}")),
            Error::Rustls(e) => SendError::new(Fault::Tls, format!("{url}: TLS: {e}")),
            Error::Pem(_) => SendError::new(Fault::Tls, format!("{url}: TLS: the certificates are no PEM")),
            Error::Io(e) if is_tls(e) => SendError::new(Fault::Tls, format!("{url}: TLS: {e}")),
            Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut => {
                SendError::new(Fault::Timeout, format!("{url}: no whole answer within 10 s"))
            }
            Error::Io(e) => SendError::new(Fault::Connect, format!("{url}: {e}")),
            Error::BodyExceedsLimit(limit) => {
                SendError::new(Fault::Answer, format!("{url}: the answer is longer than {limit} bytes"))
            }
            Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::Decompress(..) => {
                SendError::new(Fault::Answer, format!("{url}: the answer is no HTTP that can be read"))
            }
            Error::Http(_) | Error::BadUri(_) => SendError::permanent(
                Fault::Refused,
                format!("{url}: no request can be made of url and headers"),
            ),
            _ => SendError::new(Fault::Connect, format!("{url}: no connection")),
        }
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    let text = error.to_string();
    error.kind() == std::io::ErrorKind::InvalidData || text.contains("certificate") || text.contains("tls")
}

/// Seconds, or a date of HTTP; at most 10 min.
fn retry_after(value: &str, now: Timestamp) -> Option<Millis> {
    let seconds = value.trim().parse::<i64>().ok().or_else(|| {
        let date = jiff::fmt::rfc2822::parse(&value.replace("GMT", "+0000")).ok()?;
        Some(date.timestamp().as_second() - now.0.div_euclid(1000))
    })?;
    Some(Millis::seconds(seconds.clamp(1, WAIT_MAX.as_seconds())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_own_network_are_known_in_every_disguise() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.170",
            "224.0.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in
            ["8.8.8.8", "100.63.0.1", "100.128.0.1", "2400:3200::1", "64:ff9b::808:808", "198.20.0.1"]
        {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn fault_d10_a_pause_is_seconds_or_a_date_and_has_a_ceiling() {
        const T: Timestamp = Timestamp(1_445_412_450_000);
        assert_eq!(retry_after("7", T), Some(Millis::seconds(7)));
        assert_eq!(retry_after("99999", T), Some(Millis::minutes(10)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", T), Some(Millis::seconds(30)));
        assert_eq!(retry_after("soon", T), None);
    }

    #[test]
    fn an_error_repeats_no_secret_of_the_address() {
        let url = "https://user:pass-word@oapi.example/robot/send?access_token=canary-token-1";
        let web =
            Web { url: HiddenUrl::new(url), secret: Secret::new(b"SEC-canary".to_vec()), ..Web::default() };
        let client = Client::new(&web);
        assert_eq!(client.url.to_string(), "https://oapi.example/***");
        let quoted = client.quote(b"invalid canary-token-1, SEC-canary, pass-word\n\x1b[1m");
        assert_eq!(quoted, ": invalid ***, ***, ***  [1m");
    }
}
