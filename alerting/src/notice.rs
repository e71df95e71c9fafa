//! What people are told: one notice per telling and channel, as text and as the webhook's JSON. Pure.

use std::sync::Arc;

use lampguard_model::{Post, Timestamp};
use serde_json::{Value, json};

use crate::incident::{Incident, short_hash};
use crate::notice_text::{incident_text, local_time};

/// Event word of an opened incident.
pub const OPENED: &str = "incident.opened";
/// Event word of an incident that became graver.
pub const ESCALATED: &str = "incident.escalated";
/// Event word of weather that became unknown.
pub const WEATHER_UNKNOWN: &str = "weather.unknown";

/// What the texts need to know about the place.
#[derive(Clone, Debug)]
pub struct SiteText {
    /// Name of the office or city.
    pub name: String,
    /// `zh…` writes Chinese, anything else English.
    pub language: String,
    /// Where people reach the pages; none: notices carry no link.
    pub public_url: Option<String>,
    /// IANA name; times in texts carry its offset.
    pub time_zone: String,
}

/// One telling to one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// From incident, event, step, whom and channel: the same on every retry and after every restart.
    pub id: Arc<str>,
    /// Incident, if there is one.
    pub incident: Option<Arc<str>>,
    /// [`OPENED`], [`ESCALATED`], [`WEATHER_UNKNOWN`].
    pub event: String,
    /// Rung of the ladder; 0 until the ladder exists.
    pub step: u32,
    /// Whom.
    pub to: String,
    /// By which channel.
    pub channel: Arc<str>,
    /// JSON as it goes out; `/notice/attempt` is set at each attempt.
    pub body: Value,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Where a notice goes.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// Channel id.
    pub channel: &'a str,
    /// Whom.
    pub to: &'a str,
}

impl Notice {
    /// Tells that an incident opened.
    pub fn opened(incident: &Incident, post: Option<&Post>, site: &SiteText, to: Address<'_>) -> Self {
        Self::about(incident, OPENED, incident.opened_at, post, site, to)
    }

    /// Tells that an incident became graver at `at`.
    pub fn escalated(
        incident: &Incident,
        at: Timestamp,
        post: Option<&Post>,
        site: &SiteText,
        to: Address<'_>,
    ) -> Self {
        Self::about(incident, ESCALATED, at, post, site, to)
    }

    fn about(
        incident: &Incident,
        event: &'static str,
        at: Timestamp,
        post: Option<&Post>,
        site: &SiteText,
        to: Address<'_>,
    ) -> Self {
        let view = serde_json::to_value(incident.view(at)).unwrap_or_default();
        let text = incident_text(incident, post, site);
        let (id, about) = (Some(incident.id.clone()), incident.id.to_string());
        Self::new(&Subject { incident: id, about, event, at }, &view, &text, site, to)
    }

    /// Tells the desk that nobody knows the weather.
    pub fn weather_unknown(
        now: Timestamp,
        since: Timestamp,
        zones: &[Arc<str>],
        site: &SiteText,
        to: Address<'_>,
    ) -> Self {
        let names = zones.join(", ");
        let when = local_time(since, site);
        let text = if site.language.starts_with("zh") {
            format!("【天气未知】责任区 {names}：{when} 以来没有天气数据，按潮湿限值判定")
        } else {
            format!("[weather unknown] zones {names}: no weather since {when}, wet limits in force")
        };
        let subject = Subject {
            incident: None,
            about: format!("{}|{names}", since.0),
            event: WEATHER_UNKNOWN,
            at: now,
        };
        Self::new(&subject, &Value::Null, &text, site, to)
    }

    fn new(subject: &Subject, incident: &Value, text: &str, site: &SiteText, to: Address<'_>) -> Self {
        let step = 0u32;
        let parts = [&*subject.about, subject.event, &step.to_string(), to.to, to.channel];
        let id: Arc<str> = Arc::from(format!("N-{}", short_hash(&parts, 16)));
        let base = site.public_url.as_deref().map(|url| url.trim_end_matches('/'));
        let link = base.zip(subject.incident.as_ref()).map(|(url, id)| format!("{url}/incidents/{id}"));
        let body = json!({
            "event": subject.event,
            "incident": incident,
            "notice": {"id": id, "step": step, "to": to.to, "attempt": 1, "link": link},
            "site": site.name,
            "drill": false,
            "text": text,
        });
        Self {
            id,
            incident: subject.incident.clone(),
            event: subject.event.to_owned(),
            step,
            to: to.to.to_owned(),
            channel: Arc::from(to.channel),
            body,
            created_at: subject.at,
        }
    }

    /// The body of this attempt, with the time left as it is at `now`.
    pub fn body_at(&self, attempt: u32, now: Timestamp) -> Value {
        let mut body = self.body.clone();
        let due = body.pointer("/incident/due_at").and_then(Value::as_str);
        let due = due.and_then(Timestamp::from_rfc3339);
        let mut set = |pointer: &str, value: Value| {
            if let Some(place) = body.pointer_mut(pointer) {
                *place = value;
            }
        };
        set("/notice/attempt", json!(attempt));
        if let Some(due) = due {
            set("/incident/remaining_s", json!(due.since(now).as_seconds()));
            set("/incident/breached", json!(due < now));
        }
        body
    }

    /// The one line that people read.
    pub fn text(&self, attempt: u32) -> String {
        let text = self.body.get("text").and_then(Value::as_str).unwrap_or_default();
        if attempt > 1 { format!("{text} [#{attempt}]") } else { text.to_owned() }
    }
}

struct Subject {
    incident: Option<Arc<str>>,
    about: String,
    event: &'static str,
    at: Timestamp,
}
