//! What people are told: one notice per telling and channel, as text and as the webhook's JSON. Pure.

use std::sync::Arc;

use lampguard_model::{Post, Timestamp};
use serde_json::{Value, json};

use crate::engine::{Asking, Job, JobScope, Recheck};
use crate::incident::{Event, Incident, Severity, short_hash};
use crate::ladder::List;
use crate::life::is_over;
use crate::links::Links;
use crate::notice_text::{
    drill_text, gaps_text, incident_text, incident_words, job_text, line_text, list_marks, list_rungs,
    list_title, local_time, moved_by, moved_text, moved_title, rank, safety_end, safety_said, short_time,
    state_text,
};
use crate::notice_words::{Words, safety_words};
use crate::rota::Gap;
use crate::safety::SafetyText;
use crate::test_dispatch::Test;

/// Event word of an opened incident.
pub const OPENED: &str = "incident.opened";
/// Event word of an incident that became graver.
pub const ESCALATED: &str = "incident.escalated";
/// Event word of a deadline that passed with nobody there.
pub const BREACHED: &str = "incident.breached";
/// Event word of a crew that calls for help.
pub const HELP: &str = "incident.help";
/// Event word of a change of shift.
pub const HANDOVER: &str = "incident.handover";
/// Event word by which the desk is offered to ask for a feeder to be switched off.
pub const ISOLATION_OFFERED: &str = "incident.isolation_offered";
/// Stands in lists of the desk: a duty that was to be told has nobody. No event of its own.
pub const NOBODY_NAMED: &str = "incident.nobody_named";
/// Event word of a list.
pub const DIGEST: &str = "digest";
/// Event words of the task that a rain fault leaves behind.
pub const RECHECK_DUE: &str = "recheck.due";
/// Unfinished after six hours.
pub const RECHECK_OVERDUE: &str = "recheck.overdue";
/// Event word of planned work that ended by itself.
pub const MAINTENANCE_ENDED: &str = "maintenance.ended";
/// Event word of hours in which nobody is on duty.
pub const ROTA_GAP: &str = "rota.gap";
/// Event word of weather that became unknown.
pub const WEATHER_UNKNOWN: &str = "weather.unknown";

/// Event word of a proof: a known leak that came in by the real way. In no list and no count.
pub const PROOF: &str = "proof";
/// Event words of the test that each person on duty confirms.
pub const TEST_DISPATCH: &str = "test_dispatch.sent";
/// Somebody has not confirmed it in time.
pub const TEST_UNCONFIRMED: &str = "test_dispatch.unconfirmed";

/// Incidents of a list whose lines end within its first bytes count as told, and it is made no longer: a robot of WeCom
/// takes 2,048, link included.
pub(crate) const LIST_BYTES: usize = 1900;

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
    /// Who is led to a page of their own.
    pub links: Links,
    /// The office's own safety words.
    pub safety: Arc<SafetyText>,
}

impl SiteText {
    /// What may be touched, in the language of the site: the office's words, else ours.
    pub(crate) fn safety(&self, safety: &str) -> String {
        let zh = self.language.starts_with("zh");
        self.safety.of(safety, zh).map_or_else(|| safety_words(safety, zh), str::to_owned)
    }
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
    /// Rung of the ladder; 0 is the opening and what stands outside of it.
    pub step: u32,
    /// Whom.
    pub to: String,
    /// Their telephone, where there is one. Never part of `body`.
    pub phone: Option<Arc<str>>,
    /// By which channel.
    pub channel: Arc<str>,
    /// JSON as it goes out; `/notice/attempt` is set at each attempt.
    pub body: Value,
    /// The same in pieces, for SMS, voice and messages that carry several.
    pub words: Words,
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
    /// Their telephone, where there is one.
    pub phone: Option<&'a str>,
}

impl SiteText {
    /// One of two texts, by the language of the place.
    pub(crate) fn pick<'t>(&self, zh: &'t str, en: &'t str) -> &'t str {
        if self.language.starts_with("zh") { zh } else { en }
    }
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
        let chinese = site.language.starts_with("zh");
        let text = incident_text(incident, post, site);
        let text = format!("{}{text}{}", drill_text(incident, chinese), job_text(incident, chinese));
        // From P3 to P2 and from there to P1 are two tellings: with one id the second would count as told.
        let about = match event {
            ESCALATED => format!("{}:{}", incident.id, incident.severity.name()),
            _ => incident.id.to_string(),
        };
        let id = Some(incident.id.clone());
        let subject = Subject { incident: id, about, event, at, drill: incident.life.drill };
        Self::new(&subject, &view, &text, site, to).with_words(incident_words(incident, event, post, site))
    }

    /// Tells what people did to an incident, or that its danger shows on.
    pub fn moved(
        incident: &Incident,
        event: &Event,
        word: &'static str,
        post: Option<&Post>,
        site: &SiteText,
        to: Address<'_>,
    ) -> Self {
        let view = serde_json::to_value(incident.view(event.at)).unwrap_or_default();
        let text = moved_text(incident, event, word, post, site);
        let subject = Subject {
            incident: Some(incident.id.clone()),
            about: event.key.clone(),
            event: word,
            at: event.at,
            drill: incident.life.drill,
        };
        let mut words = incident_words(incident, word, post, site);
        words.title = moved_title(word, words.zh).to_owned();
        words.danger = moved_by(event).trim_start_matches(" · ").to_owned();
        words.safety = safety_said(incident, site);
        Self::new(&subject, &view, &text, site, to).with_words(words)
    }

    /// Tells the next rung of its ladder.
    pub fn rung(
        incident: &Incident,
        event: &Event,
        word: &'static str,
        step: u32,
        post: Option<&Post>,
        site: &SiteText,
        to: Address<'_>,
    ) -> Self {
        let view = serde_json::to_value(incident.view(event.at)).unwrap_or_default();
        let chinese = site.language.starts_with("zh");
        let said: Value = serde_json::from_str(&event.body).unwrap_or_default();
        let rung = if chinese { format!("第 {step} 级") } else { format!("rung {step}") };
        let why = match (word, said.get("reason").and_then(Value::as_str)) {
            (BREACHED | HELP, _) => moved_title(word, chinese).to_owned(),
            (_, Some("refused")) => {
                site.pick("班组退回, 请后备出动", "the crew hands it back: back-up, go").to_owned()
            }
            (_, Some("board_closed")) => {
                format!("{}, {rung}", site.pick("值班台无人应答", "nobody at the board"))
            }
            (_, Some("delivery_failed")) => {
                format!("{}, {rung}", site.pick("上一级未送达", "message before failed"))
            }
            _ => format!("{}{rung}", site.pick("升级", "")),
        };
        let (text, state) = (incident_text(incident, post, site), state_text(incident, site));
        let safety = safety_end(incident, site);
        let (drill, job) = (drill_text(incident, chinese), job_text(incident, chinese));
        let text = format!("{drill}【{why}】{text}{job} · {state}{safety}");
        let (about, at) = (event.key.clone(), event.at);
        let id = Some(incident.id.clone());
        let subject = Subject { incident: id, about, event: word, at, drill: incident.life.drill };
        let mut words = incident_words(incident, word, post, site);
        words.title = format!("{why} {}", words.title);
        words.safety = safety_said(incident, site);
        Self::new(&subject, &view, &text, site, to).with_words(words).at_step(step)
    }

    /// One message for many incidents.
    pub fn digest(
        list: &List,
        lines: &[(&Incident, Option<&Post>)],
        now: Timestamp,
        site: &SiteText,
        to: Address<'_>,
    ) -> Self {
        let chinese = site.language.starts_with("zh");
        let head = list_title(list, lines, chinese);
        let mut text = if chinese { format!("【{head}】") } else { format!("[{head}] ") };
        let mut named = Vec::new();
        for (incident, post) in lines {
            let words = list_marks(list, lines, &incident.id, chinese);
            text += &format!("\n{}{words}", line_text(incident, *post, chinese));
            // What a small chat cuts off was not told.
            if text.len() <= LIST_BYTES {
                named.push(&incident.id);
            }
        }
        if list.more > 0 {
            let roads = list.roads.iter().map(|(road, count)| format!("{road} {count}")).collect::<Vec<_>>();
            let roads = roads.join(if chinese { "，" } else { ", " });
            text += &match chinese {
                true => format!("\n另有 {} 起：{roads}", list.more),
                false => format!("\nand {} more: {roads}", list.more),
            };
        }
        // In a list there is no room for the words of each: nothing counts as dead.
        text +=
            if chinese { "\n未确认断电，视为带电" } else { "\nnot confirmed dead, treat as live" };
        let about = format!("{}:{}:{}", list.person.name, now.0, list.number);
        let subject = Subject { incident: None, about, event: DIGEST, at: now, drill: false };
        let mut notice = Self::new(&subject, &Value::Null, &text, site, to)
            .with_words(crate::notice_text::list_words(list, lines, site));
        notice.words.link.clone_from(&notice.words.board);
        notice.body["incidents"] = json!(named);
        notice.body["words"] = json!(list.words);
        notice.body["rungs"] = list_rungs(list, lines);
        // Among messages it stands where the worst of its lines would.
        let severities =
            || lines.iter().filter(|(one, _)| !is_over(one.life.state)).map(|(one, _)| one.severity);
        notice.words.rank = severities().map(rank).min().unwrap_or(notice.words.rank);
        notice.words.urgent = severities().any(|severity| severity == Severity::P1);
        notice.body["more"] = json!(list.more);
        let road = |(road, count): &(Arc<str>, u32)| json!({ "road": road, "count": count });
        notice.body["roads"] = list.roads.iter().map(road).collect();
        if let Some(url) = site.public_url.as_deref() {
            notice.body["notice"]["link"] = json!(format!("{}/", url.trim_end_matches('/')));
        }
        notice
    }

    /// It is told by its name or not at all: a count tells nobody which post is live, nor whether a test arrived.
    pub fn is_told_by_name(&self) -> bool {
        self.words.is_p1() || self.goes_alone() || matches!(&*self.event, DIGEST | TEST_DISPATCH)
    }

    /// A call for help, power that is back or will be: among other lines somebody would read over it. With lines of the same
    /// event it may stand: a timetable that switches on a whole street is one message, and no danger waits behind thirty.
    pub(crate) fn goes_alone(&self) -> bool {
        matches!(&*self.event, HELP | "incident.restored" | "incident.switch_on_soon")
    }

    /// Goes by a call or an SMS: there is no room for a list, so it names none of its incidents.
    pub(crate) fn name_nobody(&mut self) {
        self.body["incidents"] = json!([]);
    }

    /// Incidents that a list names; none of any other notice.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        let ids = self.body.get("incidents").and_then(Value::as_array).filter(|_| self.event == DIGEST);
        ids.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Incidents of a list of which it says more than that they are a danger, each with an event word.
    pub fn listed_words(&self) -> impl Iterator<Item = (&str, &str)> {
        let words = self.body.get("words").and_then(Value::as_object).filter(|_| self.event == DIGEST);
        words.into_iter().flatten().flat_map(|(id, words)| {
            let words = words.as_array().into_iter().flatten().filter_map(Value::as_str);
            words.map(move |word| (&**id, word))
        })
    }

    /// What a list was made of, named in this form or not, each with the rung on which it stood.
    pub fn rungs(&self) -> impl Iterator<Item = (&str, u32)> {
        let rungs = self.body.get("rungs").and_then(Value::as_array).filter(|_| self.event == DIGEST);
        rungs.into_iter().flatten().filter_map(|one| {
            let step = one.get("step").and_then(Value::as_u64).and_then(|step| u32::try_from(step).ok());
            one.get("id").and_then(Value::as_str).zip(step)
        })
    }

    /// Says that nobody is named for some of those who were to be told.
    pub fn say_missing(&mut self, duties: &[String], site: &SiteText) {
        let names = duties.join(", ");
        let line = match site.language.starts_with("zh") {
            true => format!("无人可通知：{names}，请值班台转告"),
            false => format!("nobody is named for {names}: pass it on"),
        };
        if let Some(Value::String(text)) = self.body.get_mut("text") {
            text.push_str(&format!(" · {line}"));
        }
        self.words.missing = line;
    }

    /// Leads whoever belongs to one of the crews `told` to the page of that crew, without a login.
    pub(crate) fn lead(&mut self, told: &[Arc<str>], site: &SiteText) {
        let base = site.public_url.as_deref().map(|url| url.trim_end_matches('/'));
        let Some((base, incident)) = base.zip(self.incident.as_ref()) else { return };
        let link = format!("{base}{}", site.links.path(incident, &self.to, self.created_at, told));
        self.body["notice"]["link"] = json!(link);
        self.words.link = Some(link);
    }

    fn at_step(mut self, step: u32) -> Self {
        self.step = step;
        self.body["notice"]["step"] = json!(step);
        self
    }

    /// Tells the desk that planned work has ended by itself.
    pub fn maintenance_ended(job: &Job, event: &Event, site: &SiteText, to: Address<'_>) -> Self {
        let (crew, reason, until) = (&job.crew, &job.reason, local_time(job.until, site));
        let place = match &job.scope {
            JobScope::PostId(name) | JobScope::Feeder(name) | JobScope::Road(name) => name,
        };
        let text = if site.language.starts_with("zh") {
            format!("【检修结束】{place}（{crew}，{reason}）{until} 到期，险情恢复正常派单")
        } else {
            format!(
                "[maintenance over] {place} ({crew}, {reason}) ended {until}: incidents go the ordinary way again"
            )
        };
        let (about, at) = (event.key.clone(), event.at);
        let subject = Subject { incident: None, about, event: MAINTENANCE_ENDED, at, drill: false };
        Self::new(&subject, &Value::Null, &text, site, to)
    }

    /// Tells which posts people look at in this rain, or have not looked at.
    pub fn recheck(
        tasks: &[Recheck],
        asking: Asking,
        event: &Event,
        site: &SiteText,
        to: Address<'_>,
    ) -> Self {
        let chinese = site.language.starts_with("zh");
        let posts: Vec<&str> = tasks.iter().map(|task| &*task.post).collect();
        let (posts, count) = (posts.join(", "), tasks.len());
        let zone = tasks.first().map_or("", |task| &*task.zone);
        let (word, title) = match asking {
            Asking::Overdue => (RECHECK_OVERDUE, site.pick("雨天复查超时", "re-check overdue")),
            _ => (RECHECK_DUE, site.pick("雨天复查", "re-check in the rain")),
        };
        let text = if chinese {
            format!("【{title}】责任区 {zone}，{count} 根：{posts}")
        } else {
            format!("[{title}] zone {zone}, {count} post(s): {posts}")
        };
        let (about, at) = (event.key.clone(), event.at);
        let subject = Subject { incident: None, about, event: word, at, drill: false };
        Self::new(&subject, &Value::Null, &text, site, to)
    }

    /// What the rules raised for a proof of that number: it goes to the sink alone.
    pub fn proof(incident: &Incident, number: u64, site: &SiteText, to: Address<'_>) -> Self {
        let view = serde_json::to_value(incident.view(incident.opened_at)).unwrap_or_default();
        let about = format!("{}:{number}", incident.post_id);
        let text = format!("proof {about}");
        let subject = Subject { incident: None, about, event: PROOF, at: incident.opened_at, drill: true };
        let mut notice = Self::new(&subject, &view, &text, site, to);
        notice.body["proof"] = json!({ "post_id": incident.post_id, "number": number });
        notice
    }

    /// Asks somebody on duty to confirm that this reached them. Not an alarm, and marked so.
    pub fn test(test: &Test, token: &str, site: &SiteText, to: Address<'_>) -> Self {
        let base = site.public_url.as_deref().map(|url| url.trim_end_matches('/'));
        let link = base.map(|url| format!("{url}/t/{token}"));
        let (zh, id, due) = (site.language.starts_with("zh"), &test.id, short_time(test.due_at, site));
        let ask = match (zh, &link) {
            (true, Some(_)) => format!("不是险情，请在 {due} 前点链接确认收到"),
            (true, None) => format!("不是险情，请在 {due} 前向值班台报告收到"),
            (false, Some(_)) => format!("No danger. Confirm by {due} with the link that you got this"),
            (false, None) => format!("No danger. Tell the desk by {due} that you got this"),
        };
        let at = link.as_ref().map_or_else(String::new, |link| format!(" {link}"));
        let (until, title) = (local_time(test.due_at, site), if zh { "通道测试" } else { "test" });
        let text = match zh {
            true => format!("【演练】【{title}】{ask}（{until}） · {id}{at}"),
            false => format!("[drill 演练] [{title}] {ask} ({until}) · {id}{at}"),
        };
        let (about, at) = (test.id.to_string(), test.sent_at);
        let subject = Subject { incident: None, about, event: TEST_DISPATCH, at, drill: true };
        let mut notice = Self::new(&subject, &Value::Null, &text, site, to);
        notice.words = Words {
            drill: true,
            title: title.to_owned(),
            place: ask,
            id: id.to_string(),
            confirms: true,
            link: link.clone(),
            ..notice.words
        };
        notice.body["notice"]["link"] = json!(link);
        notice.body["test"] = json!({ "id": test.id, "due_at": test.due_at.to_rfc3339() });
        notice
    }

    /// Tells the desk who has not confirmed.
    pub fn tests_unconfirmed(
        tests: &[Test],
        about: &str,
        now: Timestamp,
        site: &SiteText,
        to: Address<'_>,
    ) -> Self {
        let name = |test: &Test| match test.zones.is_empty() {
            true => test.person.to_string(),
            false => format!("{} ({})", test.person, test.zones.join(", ")),
        };
        let names: Vec<String> = tests.iter().map(name).collect();
        let (names, count) = (names.join(", "), tests.len());
        let text = if site.language.starts_with("zh") {
            format!("【通道测试未确认】{count} 人：{names}。请换一种方式联系, 险情时可能叫不到")
        } else {
            format!(
                "[test not confirmed] {count}: {names}. Reach them another way: in an emergency they may not be reached"
            )
        };
        let subject = Subject {
            incident: None,
            about: about.to_owned(),
            event: TEST_UNCONFIRMED,
            at: now,
            drill: false,
        };
        Self::new(&subject, &Value::Null, &text, site, to)
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
            drill: false,
        };
        Self::new(&subject, &Value::Null, &text, site, to)
    }

    /// Tells the desk for when nobody is on duty who could be sent.
    pub fn rota_gaps(gaps: &[Gap], about: &str, now: Timestamp, site: &SiteText, to: Address<'_>) -> Self {
        let subject =
            Subject { incident: None, about: about.to_owned(), event: ROTA_GAP, at: now, drill: false };
        Self::new(&subject, &Value::Null, &gaps_text(gaps, now, site), site, to)
    }

    fn new(subject: &Subject, incident: &Value, text: &str, site: &SiteText, to: Address<'_>) -> Self {
        let step = 0u32;
        let parts = [&*subject.about, subject.event, &step.to_string(), to.to, to.channel];
        let id: Arc<str> = Arc::from(format!("N-{}", short_hash(&parts, 16)));
        let base = site.public_url.as_deref().map(|url| url.trim_end_matches('/'));
        let link = base
            .zip(subject.incident.as_ref())
            .map(|(url, id)| format!("{url}{}", site.links.path(id, to.to, subject.at, &[])));
        let body = json!({
            "event": subject.event,
            "incident": incident,
            "notice": {"id": id, "step": step, "to": to.to, "attempt": 1, "link": link},
            "site": site.name,
            "drill": subject.drill,
            "text": text,
        });
        Self {
            id,
            incident: subject.incident.clone(),
            event: subject.event.to_owned(),
            step,
            to: to.to.to_owned(),
            phone: to.phone.map(Arc::from),
            channel: Arc::from(to.channel),
            words: Words {
                made: short_time(subject.at, site),
                ..Words::plain(text, site.language.starts_with("zh"), link, base)
            },
            body,
            created_at: subject.at,
        }
    }

    /// Replaces what was made of the text alone; addresses and time stay.
    fn with_words(mut self, words: Words) -> Self {
        let (link, board, made) = (self.words.link.take(), self.words.board.take(), self.words.made);
        self.words = Words { link, board, made, ..words };
        self
    }

    /// The same, for somebody who has read newer word of this incident: it says of when it is, and that newer word holds.
    pub(crate) fn overtaken(&self) -> Self {
        if self.words.overtaken {
            return self.clone();
        }
        let mut old = self.clone();
        let text = self.body.get("text").and_then(Value::as_str).unwrap_or_default();
        let (text, words) = self.words.overtaken(text);
        old.words = words;
        old.body["text"] = json!(text);
        old.body["notice"]["overtaken"] = json!(true);
        old.body["notice"]["made_at"] = json!(self.created_at.to_rfc3339());
        old
    }

    /// The body of this attempt, with the time left as it is at `now`.
    pub fn body_at(&self, attempt: u32, now: Timestamp) -> Value {
        let mut body = self.body.clone();
        let due = body.pointer("/incident/due_at").and_then(Value::as_str);
        let due = due.and_then(Timestamp::from_rfc3339);
        // The clock stops at the arrival.
        let stopped = body.pointer("/incident/arrived_at").is_some_and(|at| !at.is_null());
        let mut set = |pointer: &str, value: Value| {
            if let Some(place) = body.pointer_mut(pointer) {
                *place = value;
            }
        };
        set("/notice/attempt", json!(attempt));
        if let Some(due) = due.filter(|_| !stopped) {
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
    drill: bool,
}
