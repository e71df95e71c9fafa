//! Reads what people were told, in any of its forms: incidents (`backtest --json`, the HTTP interface), notices
//! of the HTTP interface, webhook bodies, pages of them. Lines are recognised by their keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Result, bail};
use lampguard_model::{Millis, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::facts::{Family, Going, Message, Told};
use super::lines::{self, At, Time, present};
use crate::UsageError;

/// Incidents at most.
pub(super) const INCIDENTS_MAX: usize = 200_000;
/// Notices and webhook bodies at most.
pub(super) const NOTICES_MAX: usize = 2_000_000;

const WAY_OUT: &str = "docs/score.md names the forms that are read";
/// A P1 is due so long after it became one (`policy.md` 2).
const DUE: Millis = Millis::minutes(30);

/// Outcome words of notices that somebody's side took.
const ACCEPTED: [&str; 3] = ["sent", "accepted", "delivered"];

/// What people were told, read and joined.
#[derive(Debug, Default)]
pub(super) struct Tellings {
    pub(super) told: Vec<Told>,
    /// `None` when no line says who got which message.
    pub(super) messages: Option<Vec<Message>>,
    /// Feeder of each post that an incident names as its own.
    pub(super) feeders: HashMap<String, String>,
    /// Lines of drills, which count nowhere.
    pub(super) drills: usize,
    /// Notices that nobody took.
    pub(super) not_accepted: usize,
    /// The last page says that there is another one.
    pub(super) unfinished: bool,
}

#[derive(Debug, Deserialize)]
struct IncidentLine {
    id: String,
    #[serde(default)]
    kind: String,
    family: Option<String>,
    what: Option<String>,
    #[serde(default)]
    severity: String,
    post_id: Option<String>,
    feeder: Option<String>,
    place: Option<Value>,
    #[serde(default)]
    state: String,
    opened_at: Option<Time>,
    due_at: Option<Time>,
    remaining_s: Option<i64>,
    crew: Option<String>,
    departed_at: Option<Time>,
    arrived_at: Option<Time>,
    made_safe_at: Option<Time>,
    #[serde(default)]
    breached: bool,
    #[serde(default)]
    members: Option<Vec<String>>,
    #[serde(default)]
    drill: bool,
    #[serde(default, deserialize_with = "present")]
    p1_at: Option<Option<Time>>,
    #[serde(default, deserialize_with = "present")]
    first_notice_at: Option<Option<Time>>,
}

#[derive(Debug, Deserialize)]
struct NoticeLine {
    incident_id: Option<String>,
    #[serde(default)]
    event: String,
    #[serde(default)]
    step: u64,
    to: Option<String>,
    outcome: String,
    at: Option<Time>,
    #[serde(default)]
    drill: bool,
}

#[derive(Debug, Deserialize)]
struct BodyLine {
    event: String,
    incident: Option<IncidentLine>,
    notice: BodyNotice,
    #[serde(default)]
    drill: bool,
    /// Not in the contract: whoever keeps bodies may note when they came.
    received_at: Option<Time>,
    at: Option<Time>,
}

#[derive(Debug, Deserialize)]
struct BodyNotice {
    #[serde(default)]
    step: u64,
    to: Option<String>,
    at: Option<Time>,
}

/// One incident while lines still come.
#[derive(Debug)]
struct Draft {
    line: IncidentLine,
    /// First accepted notice so far.
    first_notice_at: Option<Timestamp>,
    /// First webhook body that called it a P1.
    p1_body_at: Option<Timestamp>,
    /// When each post was first named; `None` with the first notice.
    named: BTreeMap<String, Option<Timestamp>>,
    voided: bool,
    departed_at: Option<Timestamp>,
    made_safe_at: Option<Timestamp>,
}

/// Takes lines and pages, and joins them at the end.
#[derive(Debug, Default)]
pub(super) struct Reader {
    drafts: HashMap<String, Draft>,
    /// First accepted notice of each incident, and where it stands.
    notices: HashMap<String, (Timestamp, Option<At>)>,
    messages: Vec<Message>,
    notice_lines: usize,
    /// Some incident line says itself when people were told.
    says_itself: bool,
    out: Tellings,
}

/// Reads a whole file.
pub(super) fn read(path: &Path) -> Result<Tellings> {
    let mut reader = Reader::default();
    lines::each(path, "notices", |at, line| {
        let value = serde_json::from_slice(line).map_err(|e| {
            let way_out = "one JSON object a line is expected: `jq -c .` writes it so";
            at.fault(lines::reason(&e), way_out)
        })?;
        reader.take(at, value)
    })?;
    reader.finish(path)
}

/// Reads lines that are in memory.
pub(super) fn of_lines(lines: impl Iterator<Item = Value>, name: &Path) -> Result<Tellings> {
    let mut reader = Reader::default();
    for (number, line) in (1..).zip(lines) {
        reader.take(&At::new(name, number), line)?;
    }
    reader.finish(name)
}

impl Reader {
    /// Takes one line: an item, or a page of items.
    pub(super) fn take(&mut self, at: &At, value: Value) -> Result<()> {
        match value {
            Value::Array(items) => items.into_iter().try_for_each(|item| self.item(at, item)),
            Value::Object(mut page) if page.get("items").is_some_and(Value::is_array) => {
                self.out.unfinished = page.get("next").is_some_and(|next| !next.is_null());
                let items = page.remove("items").unwrap_or_default();
                let Value::Array(items) = items else { return Ok(()) };
                items.into_iter().try_for_each(|item| self.item(at, item))
            }
            other => self.item(at, other),
        }
    }

    fn item(&mut self, at: &At, value: Value) -> Result<()> {
        let has = |key: &str| value.get(key).is_some();
        if has("event") && value.get("notice").is_some_and(Value::is_object) {
            return self.body(at, parsed(at, "webhook body", value)?);
        }
        if has("incident_id") {
            return self.notice(at, parsed(at, "notice", value)?);
        }
        if has("id") && (has("kind") || has("severity")) {
            return self.incident(at, parsed(at, "incident", value)?);
        }
        let keys: Vec<&str> =
            value.as_object().into_iter().flatten().take(8).map(|(key, _)| &**key).collect();
        let reason = format!(
            "no incident (id, kind), notice (incident_id), webhook body (event, notice) or page (items): its \
             keys are [{}]",
            keys.join(", ")
        );
        Err(at.fault(reason, WAY_OUT))
    }

    fn incident(&mut self, at: &At, line: IncidentLine) -> Result<()> {
        if line.drill {
            self.out.drills += 1;
            return Ok(());
        }
        self.says_itself |= line.first_notice_at.is_some();
        let told = line.first_notice_at.flatten().map(|time| time.0);
        self.draft(at, line, None)?.tell(told);
        Ok(())
    }

    fn notice(&mut self, at: &At, line: NoticeLine) -> Result<()> {
        self.count_notice(at)?;
        if line.drill {
            self.out.drills += 1;
            return Ok(());
        }
        if !ACCEPTED.contains(&line.outcome.as_str()) {
            self.out.not_accepted += 1;
            return Ok(());
        }
        let Some(Time(when)) = line.at else {
            bail!(at.fault("an accepted notice without at", WAY_OUT));
        };
        self.message(line.to, line.incident_id.as_deref(), &line.event, line.step, when);
        if let Some(id) = line.incident_id {
            let first = self.notices.entry(id).or_insert_with(|| (when, Some(at.clone())));
            first.0 = first.0.min(when);
        }
        Ok(())
    }

    fn body(&mut self, at: &At, line: BodyLine) -> Result<()> {
        self.count_notice(at)?;
        if line.drill {
            self.out.drills += 1;
            return Ok(());
        }
        let Some(incident) = line.incident else { return Ok(()) };
        let noted = line.received_at.or(line.at).or(line.notice.at).map(|time| time.0);
        let Some(when) = noted.or_else(|| sent_at(&incident)) else {
            bail!(at.fault("a webhook body without due_at and remaining_s, or received_at", WAY_OUT));
        };
        let (id, is_p1) = (incident.id.clone(), incident.severity == "P1");
        self.message(line.notice.to, Some(&id), &line.event, line.notice.step, when);
        let draft = self.draft(at, incident, Some(when))?;
        draft.tell(Some(when));
        if is_p1 {
            draft.p1_body_at = Some(draft.p1_body_at.map_or(when, |known| known.min(when)));
        }
        match line.event.as_str() {
            "incident.voided" => draft.voided = true,
            "incident.departed" => draft.departed_at = draft.departed_at.or(Some(when)),
            "incident.made_safe" => draft.made_safe_at = draft.made_safe_at.or(Some(when)),
            _ => {}
        }
        Ok(())
    }

    /// The draft of this incident with its newest line; `at_notice` is when this line was told, if it was.
    fn draft(&mut self, at: &At, line: IncidentLine, told_at: Option<Timestamp>) -> Result<&mut Draft> {
        if self.drafts.len() >= INCIDENTS_MAX && !self.drafts.contains_key(&line.id) {
            bail!(at.fault(
                format_args!("more than {INCIDENTS_MAX} incidents"),
                "score it in parts, a night at a time (--from, --until)"
            ));
        }
        let own = line.post_id.iter().filter(|post| !post.is_empty());
        if let (Some(post), Some(feeder)) = (own.clone().next(), &line.feeder)
            && !feeder.is_empty()
        {
            self.out.feeders.insert(post.clone(), feeder.clone());
        }
        let posts: Vec<String> = own.chain(line.members.iter().flatten()).cloned().collect();
        let voided = line.state == "void";
        let draft = match self.drafts.entry(line.id.clone()) {
            std::collections::hash_map::Entry::Occupied(entry) => {
                let draft = entry.into_mut();
                draft.line = line;
                draft
            }
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Draft {
                line,
                first_notice_at: None,
                p1_body_at: None,
                named: BTreeMap::new(),
                voided,
                departed_at: None,
                made_safe_at: None,
            }),
        };
        draft.voided |= voided;
        for post in posts {
            let known = draft.named.entry(post).or_insert(told_at);
            // A line that is not a notice names its posts for all notices.
            *known = known.zip(told_at).map(|(known, at)| known.min(at));
        }
        Ok(draft)
    }

    fn message(&mut self, to: Option<String>, incident: Option<&str>, event: &str, step: u64, at: Timestamp) {
        // A call for help and a return of the voltage are outside the cap on messages (`policy.md` 5).
        if matches!(event, "incident.help" | "incident.reenergised") {
            return;
        }
        if let Some(to) = to {
            let telling = format!("{}|{event}|{step}", incident.unwrap_or_default());
            self.messages.push(Message { to, telling, at });
        }
    }

    fn count_notice(&mut self, at: &At) -> Result<()> {
        self.notice_lines += 1;
        if self.notice_lines > NOTICES_MAX {
            let way_out = "score it in parts, a night at a time (--from, --until)";
            bail!(at.fault(format_args!("more than {NOTICES_MAX} notices"), way_out));
        }
        Ok(())
    }

    /// Joins notices with their incidents.
    pub(super) fn finish(mut self, source: &Path) -> Result<Tellings> {
        let source = source.display();
        for (id, (when, at)) in std::mem::take(&mut self.notices) {
            if let Some(draft) = self.drafts.get_mut(&id) {
                draft.tell(Some(when));
                continue;
            }
            let reason = format!("a notice of incident {id}, which is not in {source}");
            let way_out = "add the answer of GET /api/v1/incidents?state=all";
            return Err(at.map_or_else(
                || UsageError(format!("{source}: {reason}; {way_out}")).into(),
                |at| at.fault(&reason, way_out),
            ));
        }
        if !self.drafts.is_empty() && self.notice_lines == 0 && !self.says_itself {
            bail!(UsageError(format!(
                "{source}: {} incident(s) and no line that says when people were told; add the answer of \
                 GET /api/v1/notices, or use `backtest --json` lines (first_notice_at)",
                self.drafts.len()
            )));
        }
        let mut out = self.out;
        if self.notice_lines > 0 {
            out.messages = Some(self.messages);
        }
        let mut drafts: Vec<Draft> = self.drafts.into_values().collect();
        drafts.sort_by(|a, b| (a.first_notice_at, &a.line.id).cmp(&(b.first_notice_at, &b.line.id)));
        out.told = drafts.into_iter().flat_map(Draft::told).collect();
        Ok(out)
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(at: &At, what: &str, value: Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|e| at.fault(format_args!("{what}: {}", lines::reason(&e)), WAY_OUT))
}

/// When a webhook body went out: its time left is as it was then, to the second.
fn sent_at(incident: &IncidentLine) -> Option<Timestamp> {
    let Some((due, left)) = incident.due_at.zip(incident.remaining_s) else {
        return incident.opened_at.map(|time| time.0);
    };
    Some(due.0 - Millis(left.saturating_mul(1000)))
}

impl Draft {
    fn tell(&mut self, at: Option<Timestamp>) {
        self.first_notice_at = self.first_notice_at.into_iter().chain(at).min();
    }

    /// Since when it is P1.
    fn p1_at(&self) -> Option<Timestamp> {
        if let Some(said) = self.line.p1_at {
            return said.map(|time| time.0);
        }
        let opened = self.line.opened_at.map(|time| time.0);
        // Bodies tell each rise: P1 since the first that said so, unless it was the very first.
        if let Some(body) = self.p1_body_at {
            return if Some(body) == self.first_notice_at { opened.or(Some(body)) } else { Some(body) };
        }
        if self.line.severity != "P1" {
            return None;
        }
        // A P2 that became P1 is due half an hour after that (`policy.md` 4).
        let by_due = self.line.due_at.map(|due| due.0 - DUE);
        opened.max(by_due)
    }

    /// One entry for the posts of the first notice, one for each later naming.
    fn told(self) -> Vec<Told> {
        let p1_at = self.p1_at();
        let line = self.line;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let time = |time: Option<Time>| time.map(|time| time.0);
        let mut family = Family::of(&line.kind);
        if line.kind == "reported" && line.what.as_deref() == Some("other") {
            family = Family::Other;
        } else if let (Family::Other, Some(word)) = (family, &line.family) {
            family = Family::of(word);
        }
        let mut namings: BTreeMap<Option<Timestamp>, BTreeSet<String>> = BTreeMap::new();
        for (post, since) in self.named {
            let later = since.filter(|since| self.first_notice_at.is_some_and(|first| *since > first));
            namings.entry(later).or_default().insert(post);
        }
        if namings.is_empty() {
            namings.insert(None, BTreeSet::new());
        }
        let told = Told {
            id: line.id,
            kind: line.kind,
            family,
            posts: Vec::new(),
            feeder: given(line.feeder),
            place: lines::words(line.place.as_ref()),
            p1_at,
            first_notice_at: self.first_notice_at,
            voided: self.voided,
            going: Going {
                crew: given(line.crew),
                due_at: time(line.due_at),
                departed_at: time(line.departed_at).or(self.departed_at),
                arrived_at: time(line.arrived_at),
                made_safe_at: time(line.made_safe_at).or(self.made_safe_at),
                breached: line.breached,
            },
        };
        let entry = |(since, posts): (Option<Timestamp>, BTreeSet<String>)| Told {
            posts: posts.into_iter().collect(),
            first_notice_at: since.or(told.first_notice_at),
            ..told.clone()
        };
        namings.into_iter().map(entry).collect()
    }
}
