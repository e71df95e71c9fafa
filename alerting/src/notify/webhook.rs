//! The signed webhook (`design.md` 7): POST, any 2xx within 10 s is success, redirects are never followed.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use ureq::Agent;
use ureq::http::Uri;

use super::{Secret, SendError};
use crate::incident::hex;

/// The whole exchange takes at most this long.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Header of the signature.
pub(crate) const SIGNATURE: &str = "X-Lampguard-Signature";

/// One receiver.
pub(super) struct Webhook {
    agent: Agent,
    url: String,
    secret: Secret,
    allow_private: bool,
}

impl Webhook {
    pub(super) fn new(url: &str, secret: Secret, allow_private: bool) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent("lampguard")
            .build();
        Self { agent: Agent::new_with_config(config), url: url.to_owned(), secret, allow_private }
    }

    /// Sends one body.
    ///
    /// # Errors
    /// [`SendError`]: try again with the same notice id.
    pub(super) fn post(&self, body: &Value) -> Result<(), SendError> {
        self.check_address()?;
        let body = body.to_string();
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if !self.secret.bytes().is_empty() {
            request = request.header(SIGNATURE, signature(&self.secret, body.as_bytes()));
        }
        let answer = request.send(body.as_bytes())?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(SendError::Status(status.as_u16())) }
    }

    /// A host name may not lead into the own network unless the channel says so; a literal address was
    /// written by whoever configured it. (The name is resolved again for the connection: this stops
    /// mistakes and lazy attackers, not one who answers DNS differently twice.)
    fn check_address(&self) -> Result<(), SendError> {
        let uri: Uri = self.url.parse().map_err(|_| SendError::Url(self.url.clone()))?;
        let host = uri.host().ok_or_else(|| SendError::Url(self.url.clone()))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if self.allow_private || bare.parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        let addresses = (bare, uri.port_u16().unwrap_or(443)).to_socket_addrs()?;
        match addresses.map(|a| a.ip()).find(|ip| is_private(*ip)) {
            Some(address) => Err(SendError::Private { host: host.to_owned(), address }),
            None => Ok(()),
        }
    }
}

/// Addresses of the own network and of this machine.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()
        }
    }
}

/// `sha256=` and the HMAC-SHA256 of the body in hex.
pub(crate) fn signature(secret: &Secret, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex(&mac.finalize().into_bytes()))
}
