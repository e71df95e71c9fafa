//! What a channel's workers do, one thing at a time: tell, ask what became of a message, keep alerts alive.

use std::sync::Arc;

use lampguard_model::Timestamp;
use serde_json::Value;

use super::Job;
use super::alertmanager::Alertmanager;
use super::channel::{Channel, ChannelKind, Sink};
use super::console;
use super::dingtalk::DingTalk;
use super::fault::SendError;
use super::feishu::Feishu;
use super::letter::{Letter, Sent};
use super::smtp::Mailer;
use super::template::{Fate, Provider};
use super::webhook::Webhook;
use super::wecom::WeCom;
use crate::notice::Notice;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Errand {
    /// Send one message.
    Tell(Vec<Job>),
    /// Ask what became of one.
    Ask(Question),
    /// Say again which incidents are open.
    Renew(Vec<Value>),
}

impl Errand {
    /// What comes of it when it fails.
    pub(super) fn failed(&self, error: SendError) -> Outcome {
        match self {
            Self::Tell(_) => Outcome::Told(Err(error)),
            Self::Ask(_) => Outcome::Asked(Err(error)),
            Self::Renew(_) => Outcome::Renewed(Err(error)),
        }
    }
}

/// An accepted message that may not have arrived.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) notices: Vec<(Arc<Notice>, u32)>,
    pub(super) message: String,
    pub(super) asked: u32,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    Told(Result<Sent, SendError>),
    Asked(Result<Fate, SendError>),
    Renewed(Result<(), SendError>),
}

/// A channel that can send.
pub(super) enum Sender {
    Console,
    Webhook(Webhook),
    DingTalk(DingTalk),
    WeCom(WeCom),
    Feishu(Feishu),
    Smtp(Mailer),
    Provider(Box<Provider>),
    Alertmanager(Alertmanager),
    Sink(Sink),
}

impl Sender {
    pub(super) fn new(channel: &Channel) -> Self {
        match &channel.kind {
            ChannelKind::Console => Self::Console,
            ChannelKind::Webhook(web) => Self::Webhook(Webhook::new(web)),
            ChannelKind::DingTalk { web, markdown } => Self::DingTalk(DingTalk::new(web, *markdown)),
            ChannelKind::WeCom(web) => Self::WeCom(WeCom::new(web)),
            ChannelKind::Feishu(web) => Self::Feishu(Feishu::new(web)),
            ChannelKind::Smtp(smtp) => Self::Smtp(Mailer::new(smtp)),
            ChannelKind::Sms(template) => Self::Provider(Box::new(Provider::new(template, false))),
            ChannelKind::Voice(template) => Self::Provider(Box::new(Provider::new(template, true))),
            ChannelKind::Alertmanager(web) => Self::Alertmanager(Alertmanager::new(web)),
            ChannelKind::Sink(sink) => Self::Sink(sink.clone()),
        }
    }

    pub(super) fn run(&self, errand: &Errand, phone: Option<&str>, now: Timestamp) -> Outcome {
        match errand {
            Errand::Tell(jobs) => Outcome::Told(self.send(&Letter { jobs, phone }, now)),
            Errand::Ask(question) => Outcome::Asked(match self {
                Self::Provider(provider) => provider.fate(&question.message, now),
                _ => Ok(Fate::Unknown),
            }),
            Errand::Renew(bodies) => Outcome::Renewed(match self {
                Self::Alertmanager(alertmanager) => alertmanager.renew(bodies, now),
                _ => Ok(()),
            }),
        }
    }

    fn send(&self, letter: &Letter<'_>, now: Timestamp) -> Result<Sent, SendError> {
        let (notice, attempt) = letter.first();
        match self {
            Self::Console => console::print(&mut std::io::stdout().lock(), notice, attempt)?,
            Self::Webhook(webhook) => webhook.post(&notice.body_at(attempt, now), now)?,
            // It knows one state of an incident, and has the newer one already.
            Self::Alertmanager(_) if notice.words.overtaken => {}
            Self::Alertmanager(alertmanager) => alertmanager.tell(notice, now)?,
            Self::Sink(sink) => (sink.0)(notice),
            Self::DingTalk(robot) => return robot.send(letter, now),
            Self::WeCom(robot) => return robot.send(letter, now),
            Self::Feishu(robot) => return robot.send(letter, now),
            Self::Smtp(mailer) => return mailer.send(letter, now),
            Self::Provider(provider) => return provider.send(letter, now),
        }
        Ok(Sent::named(1))
    }
}
