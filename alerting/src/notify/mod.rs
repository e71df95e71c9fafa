//! Telling people: a thread with workers and bounded queues per channel, so that a hanging channel delays no other.
//!
//! | file | what it holds |
//! |---|---|
//! | `desk.rs` | **the story of a notice**: queue, line, worker, outcome |
//! | `line.rs`, `bucket.rs` | who goes next, and how often; pure |
//! | `letter.rs`, `../notice_words.rs` | what a message says; pure |
//! | `errand.rs` | what workers do |
//! | `http.rs`, `fault.rs`, `sign.rs`, `secret.rs` | one bounded exchange; why it failed; signatures; what is never printed |
//! | `dingtalk.rs`, `wecom.rs`, `feishu.rs`, `smtp.rs`, `template.rs`, `webhook.rs`, `alertmanager.rs`, `console.rs` | the kinds |
//!
//! Limits: [`QUEUE_MAX`] notices wait per channel, and as many between retries. What does not fit stays in
//! the outbox and is picked up when the channel has room. A notice is tried for a day, then given up, marked
//! failed and counted; what no retry can mend is given up at once. Sending twice is possible after a crash
//! (same id, higher attempt); never sending is not.

mod alertmanager;
mod bucket;
mod channel;
mod console;
mod desk;
mod dingtalk;
mod errand;
mod fault;
mod feishu;
mod http;
mod letter;
mod line;
mod secret;
mod sign;
mod smtp;
mod template;
mod webhook;
mod wecom;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lampguard_model::Timestamp;
use rusqlite::Connection;

pub use bucket::Bucket;
pub use channel::{Channel, ChannelKind, Sink};
pub use desk::Desk;
pub use fault::{Fault, SendError};
pub use http::{Web, is_private};
pub use secret::{HiddenUrl, Secret};
pub use smtp::{Smtp, Tls, is_mail_address};
pub use template::{Escape, Expect, PLACEHOLDERS, Template, placeholders, unknown_placeholders};

use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::store::Delivery;
use crate::writer::{Ticket, Writes};

/// Notices that wait for one channel in memory.
pub const QUEUE_MAX: usize = 1024;
/// Telling waits for the incident's commit at most this long after it was handed over.
pub const COMMIT_WAIT: Duration = Duration::from_millis(150);

/// The shared clock: wall time in UTC.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Hears what became of notices: each acceptance, each proof of delivery, each final failure, and the first failure of each
/// kind (more tries follow). Called on the channel's thread; must not wait.
pub type Hears = Arc<dyn Fn(Delivery) + Send + Sync>;

/// Measures receipt → first channel, once per incident.
#[derive(Debug)]
pub struct AlarmWatch {
    received_at: Timestamp,
    told: AtomicBool,
}

impl AlarmWatch {
    /// Starts at receipt of the confirming reading.
    pub fn new(received_at: Timestamp) -> Arc<Self> {
        Arc::new(Self { received_at, told: AtomicBool::new(false) })
    }
}

/// One notice on its way.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to tell.
    pub notice: Arc<Notice>,
    /// Number of the next attempt, from 1.
    pub attempt: u32,
    /// Done when incident and notice are durable.
    pub ticket: Ticket,
    /// Present for alarms that have just come up.
    pub watch: Option<Arc<AlarmWatch>>,
    /// When it was handed over.
    pub handed_at: Instant,
}

/// What every channel's thread needs of the rest.
#[derive(Clone)]
pub struct Surroundings {
    /// Wall clock.
    pub clock: Clock,
    /// Where outcomes go.
    pub writes: Writes,
    /// Where the outbox is read.
    pub reads: Arc<Mutex<Connection>>,
    /// Counters.
    pub metrics: Metrics,
    /// Who hears of them.
    pub hears: Hears,
}

impl Channel {
    /// Whether the other side is there, without ringing anybody: TLS and an answer of any kind from the root of the host, or
    /// a mail server's greeting and login.
    ///
    /// # Errors
    /// [`SendError`] as a telling would meet it.
    pub fn reach(&self) -> Result<(), SendError> {
        let web = match &self.kind {
            ChannelKind::Console | ChannelKind::Sink(_) => return Ok(()),
            ChannelKind::Smtp(smtp) => return smtp::Mailer::new(smtp).reach(),
            ChannelKind::Webhook(web)
            | ChannelKind::DingTalk { web, .. }
            | ChannelKind::WeCom(web)
            | ChannelKind::Feishu(web)
            | ChannelKind::Alertmanager(web) => web,
            ChannelKind::Sms(template) | ChannelKind::Voice(template) => &template.web,
        };
        let root = format!("{}://{}/", web.url.scheme(), web.url.authority());
        let request = http::Request { method: "HEAD", url: &root, headers: &[], body: b"" };
        http::Client::new(web).exchange(&request).map(|_| ())
    }
}

#[cfg(test)]
#[path = "../notify_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "../notify_kinds_tests.rs"]
mod kinds_tests;

#[cfg(test)]
#[path = "../../../tests/emulators/mod.rs"]
mod emulators;
