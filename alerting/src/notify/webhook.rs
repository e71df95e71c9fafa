//! The signed webhook (`design.md` 7): POST, any 2xx within 10 s is success.

use lampguard_model::Timestamp;
use serde_json::Value;

use super::http::{Client, Request, Web};
use super::{SendError, sign};

/// Header of the signature.
pub(crate) const SIGNATURE: &str = "X-Lampguard-Signature";

/// One receiver.
pub(super) struct Webhook(Client);

impl Webhook {
    pub(super) fn new(web: &Web) -> Self {
        Self(Client::new(web))
    }

    /// Sends one body.
    ///
    /// # Errors
    /// [`SendError`]: unless it is permanent, try again with the same notice id.
    pub(super) fn post(&self, body: &Value, now: Timestamp) -> Result<(), SendError> {
        let body = body.to_string();
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        if !self.0.secret.bytes().is_empty() {
            headers.push((SIGNATURE.to_owned(), sign::webhook(&self.0.secret, body.as_bytes())));
        }
        let url = self.0.url.reveal();
        let answer =
            self.0.exchange(&Request { method: "POST", url, headers: &headers, body: body.as_bytes() })?;
        self.0.accepted(answer, now).map(|_| ())
    }
}
