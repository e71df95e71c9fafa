//! One request to another node.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lampguard_ingester::source::http::SubmitError;
use serde::Deserialize;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::config::channel::read_secret;
use crate::config::nodes::PeerSection;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for an answer. The other node waits 20 s for its disk; one that takes so long is as good as down.
const ANSWER: Duration = Duration::from_secs(15);
/// Bytes of a refusal that are kept for a message.
const TEXT_MAX: u64 = 4096;

/// What a node answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Answer {
    pub(crate) stored: u64,
    pub(crate) duplicate: u64,
    /// Which node it is.
    pub(crate) node: String,
    /// Its clock, ms UTC.
    pub(crate) now: i64,
    /// Hash of its register.
    pub(crate) register: String,
    /// Hash of its list of owners; empty from a version that does not say.
    #[serde(default)]
    pub(crate) owners: String,
}

/// Why a node took nothing: the context of an error. Whatever it is, the same is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It does not answer, or with something else than it should.
    Silent,
    /// It judged what it was sent and keeps nothing: its journal is stopped.
    Stopped,
    /// It is there, and does not take our token.
    Refused,
}

/// A node said no.
#[derive(Debug, thiserror::Error)]
#[error("node {node} answered {status}: {text}")]
struct Refusal {
    node: String,
    status: u16,
    text: String,
    /// Which run of it; none from a version that does not say.
    run: Option<String>,
}

/// Which run of a node refused; none when it does not say, or did not answer.
pub(crate) fn run_of(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Refusal>()?.run.as_deref()
}

impl Cause {
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        match (error.downcast_ref::<Self>(), error.downcast_ref::<SubmitError>()) {
            (Some(cause), _) => *cause,
            // This node itself stands in, and its own disk takes nothing.
            (None, Some(SubmitError::Stopped)) => Self::Stopped,
            (None, _) => Self::Silent,
        }
    }

    fn of_answer(status: u16, text: &str) -> Self {
        let code = serde_json::from_str::<serde_json::Value>(text).ok();
        let code = code.as_ref().and_then(|answer| answer["error"]["code"].as_str());
        match (status, code) {
            (503, Some(crate::api::readings::JOURNAL_STOPPED)) => Self::Stopped,
            (401 | 403, _) => Self::Refused,
            _ => Self::Silent,
        }
    }

    /// For people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Silent => "该节点不接收转送 (it does not take what we forward)",
            Self::Stopped => {
                "该节点磁盘不可写，仅判定不保存 (its disk takes nothing: it judges and keeps nothing)"
            }
            Self::Refused => {
                "该节点拒绝本机令牌 (it refuses our token: 401 or 403; make a new one over there)"
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "it does not take it",
            Self::Stopped => "it judges and keeps nothing",
            Self::Refused => "it refuses our token",
        })
    }
}

/// The way to one node.
pub(crate) struct Way {
    id: String,
    url: String,
    token_file: PathBuf,
    agent: ureq::Agent,
}

impl Way {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// `ca_file` is not readable or holds no certificate.
    pub(crate) fn to(peer: &PeerSection) -> Result<Self> {
        let (Some(url), Some(token_file)) = (&peer.url, &peer.token_file) else {
            bail!("[[nodes.peer]] {} has no url or token_file", peer.id);
        };
        let mut tls = TlsConfig::builder();
        if let Some(file) = &peer.ca_file {
            let pem = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                bail!("{} holds no certificate in PEM", file.display());
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ANSWER))
            // A node that is sent elsewhere would hand its readings and token to whoever answers there.
            .max_redirects(0)
            .http_status_as_error(false)
            .tls_config(tls.build())
            .build();
        Ok(Self {
            id: peer.id.clone(),
            url: format!("{}/api/v1/forward", url.trim_end_matches('/')),
            token_file: token_file.clone(),
            agent: agent.into(),
        })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Hands records over, and says what is wrong here; returns once they are durable over there.
    ///
    /// # Errors
    /// Nobody answers, or it does not take them: send the same again.
    pub(crate) fn send(&self, faults: &str, body: &[u8]) -> Result<Answer> {
        self.request(("faults", faults), body)
    }

    /// Asks whether it answers; it does not count as a sign of life.
    ///
    /// # Errors
    /// As [`Way::send`].
    pub(crate) fn ask(&self) -> Result<Answer> {
        self.request(("ask", "true"), &[])
    }

    fn request(&self, (key, value): (&str, &str), body: &[u8]) -> Result<Answer> {
        // Read each time: a token that was replaced counts at once.
        let bearer = format!("Bearer {}", read_secret(&self.token_file)?.trim());
        let request = self
            .agent
            .post(&self.url)
            .query(key, value)
            .header("Authorization", bearer)
            .content_type("application/octet-stream");
        let mut response = request.send(body).with_context(|| format!("asking node {}", self.id))?;
        let status = response.status().as_u16();
        let run = response.headers().get(super::RUN).and_then(|run| run.to_str().ok()).map(str::to_owned);
        let text = response.body_mut().with_config().limit(TEXT_MAX).read_to_string().unwrap_or_default();
        if status != 200 {
            let cause = Cause::of_answer(status, &text);
            let refusal = Refusal { node: self.id.clone(), status, text: text.trim().to_owned(), run };
            return Err(anyhow::Error::new(refusal).context(cause));
        }
        let answer: Answer =
            serde_json::from_str(&text).with_context(|| format!("reading the answer of node {}", self.id))?;
        if answer.node != self.id {
            bail!(
                "{} is node {:?}, not {}: its url stands beside the wrong id",
                self.url,
                answer.node,
                self.id
            );
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_disk_that_is_full_over_there_is_told_apart_from_a_node_that_is_not_there() {
        let stopped = r#"{"error":{"code":"journal_stopped","message":"m"}}"#;
        let of = |status, text: &str| Cause::of(&anyhow!("x").context(Cause::of_answer(status, text)));
        assert_eq!(of(503, stopped), Cause::Stopped);
        assert_eq!(of(503, r#"{"error":{"code":"unavailable"}}"#), Cause::Silent);
        assert_eq!((of(401, "{}"), of(403, "")), (Cause::Refused, Cause::Refused));
        assert_eq!(of(500, stopped), Cause::Silent);
        assert_eq!(of(503, "<html>"), Cause::Silent);
        assert_eq!(Cause::of(&anyhow!("no route")), Cause::Silent);
        assert_eq!(Cause::of(&SubmitError::Stopped.into()), Cause::Stopped);
        assert_eq!(Cause::of(&SubmitError::Ending.into()), Cause::Silent);
    }
}
