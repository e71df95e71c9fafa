//! Why a telling failed. The ladder jumps a rung at the first failure of each kind; what no retry can mend is given up
//! at once.

use lampguard_model::Millis;

/// Kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The host name is not known, or nobody answers for it.
    Dns,
    /// The host name leads into the own network and the channel does not allow it.
    Private,
    /// No connection, or it broke.
    Connect,
    /// The certificate or the TLS handshake.
    Tls,
    /// No answer in time, slow bodies included.
    Timeout,
    /// 5xx: their fault.
    Server,
    /// Too many messages: 429, or a robot's own code.
    Busy,
    /// 3xx and 4xx: they refuse.
    Refused,
    /// An error code in an answer with 200.
    Code,
    /// An answer that nobody understands, or one that is too long.
    Answer,
    /// The person has no number or address for this channel.
    Address,
    /// Standard output is gone or full.
    Output,
    /// Accepted, and then the provider says that it did not arrive.
    Undelivered,
}

impl Fault {
    /// The word in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Private => "private",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Code => "code",
            Self::Answer => "answer",
            Self::Address => "address",
            Self::Output => "output",
            Self::Undelivered => "undelivered",
        }
    }

    /// Its bit in a set of faults.
    pub(super) fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// An attempt failed: tried again unless it is permanent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SendError {
    /// Kind.
    pub fault: Fault,
    /// What was being done, what came back, the way out; without secrets.
    pub text: String,
    /// No retry can mend it: given up at once.
    pub permanent: bool,
    /// The channel takes nothing for so long.
    pub wait: Option<Millis>,
}

impl SendError {
    /// Tried again.
    pub(super) fn new(fault: Fault, text: impl Into<String>) -> Self {
        Self { fault, text: text.into(), permanent: false, wait: None }
    }

    /// Given up.
    pub(super) fn permanent(fault: Fault, text: impl Into<String>) -> Self {
        Self { fault, text: text.into(), permanent: true, wait: None }
    }

    /// The channel rests.
    pub(super) fn busy(text: impl Into<String>, wait: Millis) -> Self {
        Self { fault: Fault::Busy, text: text.into(), permanent: false, wait: Some(wait) }
    }
}
