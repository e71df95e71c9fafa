//! What a channel is: how it tells, how often it may, and with whom a message is shared.

use std::sync::Arc;

use super::http::Web;
use super::line::Sharing;
use super::smtp::Smtp;
use super::template::Template;
use crate::notice::Notice;

/// How a channel tells.
#[derive(Clone, Debug)]
pub enum ChannelKind {
    /// One line to standard output.
    Console,
    /// A signed POST of JSON.
    Webhook(Web),
    /// DingTalk's group robot.
    DingTalk {
        /// Address with `access_token`; the secret signs.
        web: Web,
        /// Markdown instead of plain text.
        markdown: bool,
    },
    /// WeCom's group robot.
    WeCom(Web),
    /// Feishu's group robot.
    Feishu(Web),
    /// E-mail.
    Smtp(Box<Smtp>),
    /// SMS by a provider's HTTP.
    Sms(Box<Template>),
    /// Calls by a provider's HTTP.
    Voice(Box<Template>),
    /// Alertmanager's second interface.
    Alertmanager(Web),
    /// Nobody: what comes out there shows that telling works (`proof.rs`).
    Sink(Sink),
}

/// Where proofs come out: called with each notice, may not wait.
#[derive(Clone)]
pub struct Sink(pub Arc<dyn Fn(&Notice) + Send + Sync>);

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sink")
    }
}

impl ChannelKind {
    /// The word in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Webhook(_) => "webhook",
            Self::DingTalk { .. } => "dingtalk",
            Self::WeCom(_) => "wecom",
            Self::Feishu(_) => "feishu",
            Self::Smtp(_) => "smtp",
            Self::Sms(_) => "sms_http",
            Self::Voice(_) => "voice_http",
            Self::Alertmanager(_) => "alertmanager",
            Self::Sink(_) => "sink",
        }
    }

    /// Makes a telephone ring.
    pub(crate) fn rings(&self) -> bool {
        match self {
            Self::Sms(_) | Self::Voice(_) => true,
            Self::Console
            | Self::Webhook(_)
            | Self::DingTalk { .. }
            | Self::WeCom(_)
            | Self::Feishu(_)
            | Self::Smtp(_)
            | Self::Alertmanager(_)
            | Self::Sink(_) => false,
        }
    }

    /// Messages a minute where the file says nothing; none: no limit. DingTalk and WeCom take 20 and block for more, Feishu
    /// takes 100; the rest are guesses that a provider's contract should replace.
    pub fn default_rate(&self) -> Option<u32> {
        match self {
            Self::Console | Self::Webhook(_) | Self::Alertmanager(_) | Self::Sink(_) => None,
            Self::DingTalk { .. } | Self::WeCom(_) => Some(18),
            Self::Feishu(_) => Some(90),
            Self::Smtp(_) | Self::Sms(_) => Some(60),
            Self::Voice(_) => Some(30),
        }
    }

    pub(super) fn sharing(&self) -> Sharing {
        match self {
            Self::Console | Self::Webhook(_) | Self::Alertmanager(_) | Self::Sink(_) => Sharing::Nobody,
            Self::DingTalk { .. } | Self::WeCom(_) | Self::Feishu(_) => Sharing::Channel,
            Self::Smtp(_) => Sharing::Name,
            // One incident's title and place are no message about several.
            Self::Sms(template) | Self::Voice(template) if !template.says_text() => Sharing::Nobody,
            Self::Sms(_) | Self::Voice(_) => Sharing::Person,
        }
    }

    /// Exchanges at the same time.
    pub(super) fn workers(&self) -> usize {
        match self {
            Self::Console | Self::Alertmanager(_) | Self::Sink(_) => 1,
            Self::Smtp(_) => 2,
            _ => 4,
        }
    }
}

/// One configured channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Id: label of the metrics, key in the outbox.
    pub id: String,
    /// Whom it reaches where nobody is named.
    pub to: String,
    /// How it tells.
    pub kind: ChannelKind,
    /// Messages a minute; none: what the kind has.
    pub rate_per_min: Option<u32>,
    /// Number that is called for people without one.
    pub phone: Option<Arc<str>>,
}

impl Channel {
    /// A channel to the desk with what its kind has.
    pub fn new(id: impl Into<String>, kind: ChannelKind) -> Self {
        Self { id: id.into(), to: "desk".to_owned(), kind, rate_per_min: None, phone: None }
    }

    /// Messages a minute; none: no limit.
    pub fn rate(&self) -> Option<u32> {
        self.rate_per_min.or_else(|| self.kind.default_rate())
    }
}
