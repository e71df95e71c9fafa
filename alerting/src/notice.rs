//! What people are told: one notice per telling and channel, as text and as the webhook's JSON. Pure.

use std::sync::Arc;

use lampguard_model::units::Thousandths;
use lampguard_model::{Post, Timestamp};
use serde_json::{Value, json};

use crate::incident::{Incident, Kind, SEVERITY, short_hash};

/// Event word of an opened incident.
pub const OPENED: &str = "incident.opened";
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
    /// [`OPENED`], [`WEATHER_UNKNOWN`].
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
        let view = serde_json::to_value(incident.view(incident.opened_at)).unwrap_or_default();
        let text = opened_text(incident, post, site);
        let subject = Subject {
            incident: Some(incident.id.clone()),
            about: incident.id.to_string(),
            event: OPENED,
            at: incident.opened_at,
        };
        Self::new(&subject, &view, &text, site, to)
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

/// What, where, how dangerous, until when.
fn opened_text(incident: &Incident, post: Option<&Post>, site: &SiteText) -> String {
    let chinese = site.language.starts_with("zh");
    let e = &incident.evidence;
    let what = match (e.kind, chinese) {
        (Kind::ShellCritical, true) => "外壳电压",
        (Kind::LeakCritical, true) => "漏电流",
        (Kind::ShellCritical, false) => "shell voltage",
        (Kind::LeakCritical, false) => "leakage",
    };
    let unknown = if chinese { "数值未知" } else { "unknown" };
    let value =
        e.thousandths.map_or_else(|| unknown.to_owned(), |v| format!("{} {}", Thousandths(v), e.kind.unit()));
    let limit = format!("{} {}", Thousandths(e.limit), e.kind.unit());
    let place = place_text(incident, post, chinese);
    let due = local_time(incident.due_at, site);
    let notes: String = incident.notes.iter().map(|note| format!(" · {note}")).collect();
    let wet = match (e.wet, chinese) {
        (true, true) => "潮湿限值",
        (false, true) => "干燥限值",
        (true, false) => "wet limit",
        (false, false) => "dry limit",
    };
    let id = &incident.id;
    let title = match (e.kind, chinese) {
        (Kind::ShellCritical, true) => "灯杆带电",
        (Kind::LeakCritical, true) => "灯杆漏电",
        (Kind::ShellCritical, false) => "live lamp post",
        (Kind::LeakCritical, false) => "leaking lamp post",
    };
    if chinese {
        format!(
            "【{SEVERITY} {title}】{place} · {what} {value}（{wet} {limit}）{notes} · 未确认断电，视为带电 · \
             {due} 前到场 · {id}"
        )
    } else {
        format!(
            "[{SEVERITY} {title}] {place} · {what} {value} ({wet} {limit}){notes} · 未确认断电，视为带电 \
             (not confirmed dead, treat as live) · be there by {due} · {id}"
        )
    }
}

fn place_text(incident: &Incident, post: Option<&Post>, chinese: bool) -> String {
    let Some(post) = post else {
        let unknown = if chinese { "未登记设备" } else { "unregistered device" };
        return format!("{unknown} {}", incident.post_id);
    };
    let landmark = if post.landmark.is_empty() { String::new() } else { format!(" {}", post.landmark) };
    let (zone, road, id) = (&post.zone, &post.road, &post.post_id);
    if chinese {
        format!("{road}{landmark} {}号杆（{id}，责任区 {zone}）", post.number)
    } else {
        format!("{road}{landmark} post {} ({id}, zone {zone})", post.number)
    }
}

/// `2026-11-23 20:30:00+08:00`.
fn local_time(at: Timestamp, site: &SiteText) -> String {
    let zone = jiff::tz::TimeZone::get(&site.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(t) => t.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S%:z").to_string(),
        Err(_) => at.to_rfc3339(),
    }
}
