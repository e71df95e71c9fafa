//! Reads what people were told, in any of its forms: incidents (`backtest --json`, the HTTP interface), notices
//! of the HTTP interface, webhook bodies, pages of them. Lines are recognised by their keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Result, bail};
use lampguard_alerting::incident::NOTE_SIMULATED;
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

/// Event word of an incident that became graver.
pub(super) const ESCALATED: &str = "incident.escalated";
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
    /// Incidents of several posts of which no line says when each was named: all count from the first notice.
    pub(super) undated: usize,
    /// Some incident is of simulated readings.
    pub(super) simulated: bool,
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
    zone: Option<String>,
    place: Option<Value>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    notes: Option<Vec<String>>,
    #[serde(default)]
    simulated: bool,
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
    /// When a notice first named each of `members`; null: none did.
    members_told_at: Option<Vec<Option<Time>>>,
    #[serde(default)]
    timeline: Option<Vec<EventLine>>,
    #[serde(default)]
    drill: bool,
    #[serde(default, deserialize_with = "present")]
    p1_at: Option<Option<Time>>,
    #[serde(default, deserialize_with = "present")]
    first_notice_at: Option<Option<Time>>,
    #[serde(default, deserialize_with = "present")]
    p1_notice_at: Option<Option<Time>>,
}

/// One line of an incident's life, as the single view of the HTTP interface has it.
#[derive(Debug, Deserialize)]
struct EventLine {
    at: Time,
    event: String,
    #[serde(default)]
    body: Value,
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
    /// Those that a list names.
    #[serde(default)]
    incidents: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct BodyLine {
    event: String,
    incident: Option<IncidentLine>,
    notice: BodyNotice,
    #[serde(default)]
    drill: bool,
    /// Those that a list names.
    #[serde(default)]
    incidents: Vec<String>,
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
    /// Accepted notices.
    notices: Vec<Timestamp>,
    /// First notice that it had become graver, accepted or not.
    graver_at: Option<Timestamp>,
    /// First webhook body that called it a P1.
    p1_body_at: Option<Timestamp>,
    /// Since when each post is named.
    named: BTreeMap<String, Since>,
    voided: bool,
    departed_at: Option<Timestamp>,
    made_safe_at: Option<Timestamp>,
}

/// Since when notices name a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// Nothing says otherwise: since the first one.
    First,
    /// No notice names it.
    Never,
    /// Since the first one at or after this moment, at which the incident got it.
    Added(Timestamp),
    /// Since this moment.
    Named(Timestamp),
}

impl Since {
    /// What two lines know together: who was told knows best, then who wrote it down.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Named(a), Self::Named(b)) => Self::Named(a.min(b)),
            (Self::Added(a), Self::Added(b)) => Self::Added(a.min(b)),
            (known @ Self::Named(_), _) | (_, known @ Self::Named(_)) => known,
            (known @ Self::Added(_), _) | (_, known @ Self::Added(_)) => known,
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::First, Self::First) => Self::First,
        }
    }
}

/// The notices of one incident.
#[derive(Debug, Default)]
struct Notices {
    accepted: Vec<Timestamp>,
    /// First that it had become graver, accepted or not.
    graver_at: Option<Timestamp>,
}

/// Takes lines and pages, and joins them at the end.
#[derive(Debug, Default)]
pub(super) struct Reader {
    drafts: HashMap<String, Draft>,
    /// Notices of each incident, and where its first line stands.
    notices: HashMap<String, (Notices, At)>,
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
        self.draft(at, line, None)?;
        Ok(())
    }

    fn notice(&mut self, at: &At, line: NoticeLine) -> Result<()> {
        self.count_notice(at)?;
        if line.drill {
            self.out.drills += 1;
            return Ok(());
        }
        let accepted = ACCEPTED.contains(&line.outcome.as_str());
        if let (Some(id), Some(Time(when)), true) =
            (&line.incident_id, line.at, line.event == ESCALATED && line.step == 0)
        {
            let (notices, _) = self.notices_of(id, at);
            notices.graver_at = notices.graver_at.into_iter().chain([when]).min();
        }
        if !accepted {
            self.out.not_accepted += 1;
            return Ok(());
        }
        let Some(Time(when)) = line.at else {
            bail!(at.fault("an accepted notice without at", WAY_OUT));
        };
        self.message(line.to, line.incident_id.as_deref(), &line.event, line.step, when);
        for id in line.incident_id.iter().chain(&line.incidents) {
            self.notices_of(id, at).0.accepted.push(when);
        }
        Ok(())
    }

    fn notices_of(&mut self, id: &str, at: &At) -> &mut (Notices, At) {
        self.notices.entry(id.to_owned()).or_insert_with(|| (Notices::default(), at.clone()))
    }

    fn body(&mut self, at: &At, line: BodyLine) -> Result<()> {
        self.count_notice(at)?;
        if line.drill {
            self.out.drills += 1;
            return Ok(());
        }
        let noted = line.received_at.or(line.at).or(line.notice.at).map(|time| time.0);
        let Some(incident) = line.incident else {
            if let Some(when) = noted {
                line.incidents.iter().for_each(|id| self.notices_of(id, at).0.accepted.push(when));
            }
            return Ok(());
        };
        let Some(when) = noted.or_else(|| sent_at(&incident)) else {
            bail!(at.fault("a webhook body without due_at and remaining_s, or received_at", WAY_OUT));
        };
        let (id, is_p1) = (incident.id.clone(), incident.severity == "P1");
        self.message(line.notice.to, Some(&id), &line.event, line.notice.step, when);
        let draft = self.draft(at, incident, Some(when))?;
        draft.notices.push(when);
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
        let posts: Vec<(String, Since)> = match told_at {
            Some(at) => own
                .chain(line.members.iter().flatten())
                .map(|post| (post.clone(), Since::Named(at)))
                .collect(),
            // The first notice names it, whatever it is of.
            None => own.map(|post| (post.clone(), Since::First)).chain(members(&line)).collect(),
        };
        self.out.simulated |=
            line.simulated || line.notes.iter().flatten().any(|note| note == NOTE_SIMULATED);
        let voided = line.state == "void";
        let draft = match self.drafts.entry(line.id.clone()) {
            std::collections::hash_map::Entry::Occupied(entry) => {
                let draft = entry.into_mut();
                draft.line = line;
                draft
            }
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Draft {
                line,
                notices: Vec::new(),
                graver_at: None,
                p1_body_at: None,
                named: BTreeMap::new(),
                voided,
                departed_at: None,
                made_safe_at: None,
            }),
        };
        draft.voided |= voided;
        for (post, since) in posts {
            let known = draft.named.entry(post).or_insert(since);
            *known = known.or(since);
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
        for (id, (notices, at)) in std::mem::take(&mut self.notices) {
            let Some(draft) = self.drafts.get_mut(&id) else {
                if notices.accepted.is_empty() {
                    continue;
                }
                let reason = format!("a notice of incident {id}, which is not in {source}");
                return Err(at.fault(&reason, "add the answer of GET /api/v1/incidents?state=all"));
            };
            draft.notices.extend(notices.accepted);
            draft.graver_at = notices.graver_at;
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
        drafts.iter_mut().for_each(|draft| draft.notices.sort_unstable());
        drafts.sort_by(|a, b| (a.first_notice_at(), &a.line.id).cmp(&(b.first_notice_at(), &b.line.id)));
        out.undated = drafts.iter().filter(|draft| draft.is_undated()).count();
        out.told = drafts.into_iter().flat_map(Draft::told).collect();
        Ok(out)
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(at: &At, what: &str, value: Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|e| at.fault(format_args!("{what}: {}", lines::reason(&e)), WAY_OUT))
}

/// Members of a line that is no notice, as far as it says when each was named.
fn members(line: &IncidentLine) -> Vec<(String, Since)> {
    let all = line.members.iter().flatten();
    if let Some(told) = &line.members_told_at {
        let told = told.iter().map(|at| at.map_or(Since::Never, |at| Since::Named(at.0)));
        return all.cloned().zip(told.chain(std::iter::repeat(Since::Never))).collect();
    }
    let mut members: BTreeMap<String, Since> = all.map(|post| (post.clone(), Since::First)).collect();
    for event in line.timeline.iter().flatten().filter(|event| event.event == "members") {
        let names = event.body.get("members").and_then(Value::as_array).into_iter().flatten();
        for name in names.filter_map(Value::as_str) {
            members.insert(name.to_owned(), Since::Added(event.at.0));
        }
    }
    members.into_iter().collect()
}

/// When a webhook body went out: its time left is as it was then, to the second.
fn sent_at(incident: &IncidentLine) -> Option<Timestamp> {
    let Some((due, left)) = incident.due_at.zip(incident.remaining_s) else {
        return incident.opened_at.map(|time| time.0);
    };
    Some(due.0 - Millis(left.saturating_mul(1000)))
}

impl Draft {
    /// The first accepted notice: of those that are here, else what the line says itself.
    fn first_notice_at(&self) -> Option<Timestamp> {
        let said = || self.line.first_notice_at.flatten().map(|time| time.0);
        self.notices.first().copied().or_else(said)
    }

    /// The first accepted notice at or after a moment.
    fn notice_from(&self, at: Timestamp) -> Option<Timestamp> {
        self.notices.get(self.notices.partition_point(|notice| *notice < at)).copied()
    }

    /// The first accepted notice of a P1 that names a post since then.
    fn p1_notice_at(&self, p1_at: Timestamp, named_at: Timestamp) -> Option<Timestamp> {
        if !self.notices.is_empty() {
            return self.notice_from(p1_at.max(named_at));
        }
        // A line that says itself when people were told, of a rise too, if it knows of that.
        let said = match self.line.p1_notice_at {
            Some(said) => said?.0,
            None => self.first_notice_at()?.max(p1_at),
        };
        Some(said.max(named_at))
    }

    /// It names several posts, and nothing says since when.
    fn is_undated(&self) -> bool {
        let all_known = self.line.members_told_at.is_some() || self.line.timeline.is_some();
        let own = self.line.post_id.as_deref().unwrap_or_default();
        !all_known && self.named.iter().any(|(post, since)| post != own && *since == Since::First)
    }

    /// Since when it is P1.
    fn p1_at(&self) -> Option<Timestamp> {
        if let Some(said) = self.line.p1_at {
            return said.map(|time| time.0);
        }
        let opened = self.line.opened_at.map(|time| time.0);
        // Bodies tell each rise: P1 since the first that said so, unless it was the very first.
        if let Some(body) = self.p1_body_at {
            return if Some(body) == self.first_notice_at() { opened.or(Some(body)) } else { Some(body) };
        }
        if self.line.severity != "P1" {
            return None;
        }
        // A P2 that became P1 is due half an hour after that (`policy.md` 4).
        let by_due = self.line.due_at.map(|due| due.0 - DUE);
        opened.max(by_due).max(self.graver_at)
    }

    /// One entry for the posts of the first notice, one for each later naming.
    fn told(self) -> Vec<Told> {
        let p1_at = self.p1_at();
        let first = self.first_notice_at();
        let mut namings: BTreeMap<Option<Timestamp>, BTreeSet<String>> = BTreeMap::new();
        for (post, since) in &self.named {
            let since = match *since {
                Since::Never => continue,
                Since::First => None,
                Since::Named(at) => Some(at),
                Since::Added(at) => match self.notice_from(at) {
                    Some(at) => Some(at),
                    None => continue,
                },
            };
            let later = since.filter(|since| first.is_some_and(|first| *since > first));
            namings.entry(later).or_default().insert(post.clone());
        }
        if namings.is_empty() {
            namings.insert(None, BTreeSet::new());
        }
        let p1_notice_at = |since: Option<Timestamp>| {
            let first = since.or(first)?;
            self.p1_notice_at(p1_at?, first)
        };
        let namings: Vec<_> =
            namings.into_iter().map(|(since, posts)| (since, p1_notice_at(since), posts)).collect();
        let line = self.line;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let time = |time: Option<Time>| time.map(|time| time.0);
        let mut family = Family::of(&line.kind);
        if line.kind == "reported" && line.what.as_deref() == Some("other") {
            family = Family::Other;
        } else if let (Family::Other, Some(word)) = (family, &line.family) {
            family = Family::of(word);
        }
        let told = Told {
            id: line.id,
            kind: line.kind,
            family,
            posts: Vec::new(),
            feeder: given(line.feeder),
            zone: given(line.zone),
            place: lines::words(line.place.as_ref()),
            p1_at,
            first_notice_at: first,
            p1_notice_at: None,
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
        let entry = |(since, p1_notice_at, posts): (Option<Timestamp>, _, BTreeSet<String>)| Told {
            posts: posts.into_iter().collect(),
            first_notice_at: since.or(first),
            p1_notice_at,
            ..told.clone()
        };
        namings.into_iter().map(entry).collect()
    }
}
