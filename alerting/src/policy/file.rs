//! `policy.toml`: the numbers that an office changes, from which moment, and why where it protects less.
//!
//! The tables of the file hold from the beginning; each `[[version]]` changes what it names from its moment
//! on and keeps the rest:
//! ```toml
//! [shell_critical]
//! wet = "10 V"
//!
//! [[version]]
//! from = "2026-06-01T00:00:00+08:00"
//! reason = "rainy season"
//! leak_critical.wet = "12 mA"
//! ```
//! Every fault is told at once, with its line and key. Pure: text in, policies out.

use std::collections::HashMap;
use std::sync::Arc;

use lampguard_model::Timestamp;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Floor, Number, Policy, Rule, UNREAD, Written};

/// Versions of one file; more is a program that writes it.
const VERSIONS_MAX: usize = 200;
/// The key beside a weaker setting.
const ACCEPT: &str = "i_accept";

/// One fault of a policy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {key}: {reason}")]
pub struct PolicyFault {
    /// Line in the file, from 1.
    pub line: usize,
    /// `group.name`, as far as it is known.
    pub key: String,
    /// What is wrong and the way out.
    pub reason: String,
}

/// A setting that protects less than its floor, and who said why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Accepted {
    /// `group.name`.
    pub key: String,
    /// What it is set to.
    pub value: String,
    /// The floor.
    pub floor: String,
    /// The reason beside it.
    pub reason: String,
}

/// The policy from one moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// First moment; `None` is from the beginning.
    pub from: Option<Timestamp>,
    /// Why, in the words of the file; may be empty.
    pub reason: String,
    /// The numbers.
    pub policy: Policy,
    /// Their fingerprint.
    pub hash: Arc<str>,
    /// Settings below a floor.
    pub accepted: Vec<Accepted>,
}

/// The policies of all times, earliest first; there is always one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    versions: Vec<Version>,
}

impl From<Policy> for Policies {
    fn from(policy: Policy) -> Self {
        let hash = Arc::from(policy.hash());
        let first = Version { from: None, reason: String::new(), policy, hash, accepted: Vec::new() };
        Self { versions: vec![first] }
    }
}

impl Default for Policies {
    fn default() -> Self {
        Policy::default().into()
    }
}

impl Policies {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Every [`PolicyFault`] at once: stop and show them.
    pub fn parse(text: &str) -> Result<Self, Vec<PolicyFault>> {
        let mut reading = Reading { text, faults: Vec::new() };
        let versions = reading.versions();
        reading.faults.sort_by_key(|fault| fault.line);
        if reading.faults.is_empty() { Ok(Self { versions }) } else { Err(reading.faults) }
    }

    /// Every version, earliest first.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The version in force at a moment.
    pub fn at(&self, now: Timestamp) -> &Version {
        &self.versions[self.place(now)]
    }

    fn place(&self, now: Timestamp) -> usize {
        self.versions.partition_point(|version| version.from.is_none_or(|from| from <= now)).saturating_sub(1)
    }
}

/// Which version the rules judge by. It only goes forward: a clock that steps back brings no old limits back.
#[derive(Clone, Debug)]
pub struct InForce {
    policies: Policies,
    place: usize,
}

impl InForce {
    /// Begins with the first version.
    pub fn new(policies: Policies) -> Self {
        Self { policies, place: 0 }
    }

    /// The version in force.
    pub fn version(&self) -> &Version {
        &self.policies.versions[self.place]
    }

    /// The version that has come into force by `now`, once.
    pub fn change(&mut self, now: Timestamp) -> Option<&Version> {
        let place = self.policies.place(now);
        if place <= self.place {
            return None;
        }
        self.place = place;
        Some(self.version())
    }

    /// When the next version comes into force.
    pub fn next(&self) -> Option<Timestamp> {
        self.policies.versions.get(self.place + 1)?.from
    }
}

type Table<'a> = DeTable<'a>;

struct Reading<'t> {
    text: &'t str,
    faults: Vec<PolicyFault>,
}

/// What one version says: where each key stands, and the reasons for weaker settings.
#[derive(Default)]
struct Said {
    lines: HashMap<String, usize>,
    /// By group: line and reason.
    accepts: HashMap<&'static str, (usize, String)>,
}

impl Reading<'_> {
    fn line(&self, at: usize) -> usize {
        self.text[..at.min(self.text.len())].matches('\n').count() + 1
    }

    fn fault(&mut self, line: usize, key: impl Into<String>, reason: impl Into<String>) {
        self.faults.push(PolicyFault { line, key: key.into(), reason: reason.into() });
    }

    fn versions(&mut self) -> Vec<Version> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = self.line(error.span().map_or(0, |span| span.start));
            self.fault(line, "TOML", error.message());
        }
        if !self.faults.is_empty() {
            return Vec::new();
        }
        let root = root.into_inner();
        let first = self.version(&root, None, 1);
        let mut versions = vec![first];
        if let Some(list) = root.get("version") {
            self.later_versions(list, &mut versions);
        }
        versions
    }

    fn later_versions(&mut self, list: &Spanned<DeValue<'_>>, versions: &mut Vec<Version>) {
        let line = self.line(list.span().start);
        let Some(items) = list.get_ref().as_array() else {
            return self.fault(line, "version", "is a list: write [[version]]");
        };
        if items.len() > VERSIONS_MAX {
            return self.fault(line, "version", format!("{} of them; at most {VERSIONS_MAX}", items.len()));
        }
        for item in items.iter() {
            let line = self.line(item.span().start);
            let Some(table) = item.get_ref().as_table() else {
                self.fault(line, "version", "is no table: write [[version]]");
                continue;
            };
            let version = self.version(table, versions.last(), line);
            if version.from.is_some() && version.from <= versions.last().and_then(|last| last.from) {
                let reason = "is not after the version before it; write versions in the order of their time";
                self.fault(line, "version.from", reason);
            }
            versions.push(version);
        }
    }

    /// One version over the one before.
    fn version(&mut self, table: &Table<'_>, before: Option<&Version>, line: usize) -> Version {
        let mut policy = before.map_or_else(Policy::default, |before| before.policy.clone());
        let mut said = Said::default();
        let (mut from, mut reason) = (None, String::new());
        for (key, value) in table {
            let at = self.line(key.span().start);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("version", _) if before.is_none() => {}
                ("from", DeValue::String(text)) if before.is_some() => {
                    from = Timestamp::from_rfc3339(text);
                    if from.is_none() {
                        self.fault(at, "version.from", format!("{text:?} is not RFC 3339 with offset"));
                    }
                }
                ("from", DeValue::Datetime(moment)) if before.is_some() => {
                    from = Timestamp::from_rfc3339(&moment.to_string());
                    if from.is_none() {
                        self.fault(at, "version.from", format!("{moment} has no offset such as +08:00"));
                    }
                }
                ("reason", DeValue::String(text)) if before.is_some() => reason = text.to_string(),
                (name, value) => self.group(name, value, at, &mut policy, &mut said),
            }
        }
        if before.is_some() && from.is_none() && !self.faults.iter().any(|f| f.key == "version.from") {
            self.fault(line, "version.from", "is missing: the moment, such as \"2026-06-01T00:00:00+08:00\"");
        }
        self.check(&policy, before, &said, line);
        let accepted = self.accepted(&mut policy, before, &said, line);
        Version { from, reason, hash: Arc::from(policy.hash()), policy, accepted }
    }

    fn group(&mut self, name: &str, value: &DeValue<'_>, line: usize, policy: &mut Policy, said: &mut Said) {
        let Some((group, _)) = Policy::GROUPS.iter().find(|(group, _)| *group == name) else {
            return self.fault(
                line,
                name,
                "nobody knows this table; `lampguard config print --policy` shows all",
            );
        };
        let Some(table) = value.as_table() else {
            return self.fault(line, name, format!("is a table: write [{name}] and its keys below"));
        };
        for (key, value) in table {
            let (word, line) = (key.get_ref().as_ref(), self.line(key.span().start));
            if word == ACCEPT {
                match value.get_ref() {
                    DeValue::String(text) if !text.trim().is_empty() => {
                        said.accepts.insert(group, (line, text.trim().to_owned()));
                    }
                    _ => self.fault(
                        line,
                        format!("{group}.{ACCEPT}"),
                        "is the reason, a text that is not empty",
                    ),
                }
                continue;
            }
            said.lines.insert(format!("{group}.{word}"), line);
            let mut known = Vec::new();
            let mut answer = None;
            policy.each(&mut |rule, number| {
                if rule.group == *group {
                    known.push(rule.name);
                    if rule.name == word {
                        answer = Some(number.read(written(value.get_ref())));
                    }
                }
            });
            match answer {
                Some(Ok(())) => {}
                Some(Err(reason)) => self.fault(line, format!("{group}.{word}"), reason),
                None => self.fault(
                    line,
                    format!("{group}.{word}"),
                    format!("nobody knows this key; [{group}] has {}, {ACCEPT}", known.join(", ")),
                ),
            }
        }
    }

    /// Numbers that cannot be meant, told where they were set; what the version before had is told there.
    fn check(&mut self, policy: &Policy, before: Option<&Version>, said: &Said, line: usize) {
        let known = before.map(|before| before.policy.faults()).unwrap_or_default();
        for fault in policy.faults().into_iter().filter(|fault| !known.contains(fault)) {
            // A number that could not be read keeps its default, and has been told.
            let at = said.lines.get(&fault.key).or_else(|| said.lines.get(fault.other));
            self.fault(at.copied().unwrap_or(line), fault.key, fault.reason);
        }
        let mut changed = Vec::new();
        pairs(&mut policy.clone(), &mut Policy::default(), &mut |rule, number, default| {
            if number.size() != default.size() && UNREAD.contains(&rule.key().as_str()) {
                changed.push((rule.key(), default.to_text()));
            }
        });
        for (key, default) in changed {
            if let Some(at) = said.lines.get(&key) {
                let reason = format!("no rule of this version reads it yet; leave it at {default}");
                self.fault(*at, key, reason);
            }
        }
    }

    /// Settings below a floor: each needs a reason beside it, here or where it was set before.
    fn accepted(
        &mut self,
        policy: &mut Policy,
        before: Option<&Version>,
        said: &Said,
        line: usize,
    ) -> Vec<Accepted> {
        let mut weaker = Vec::new();
        pairs(policy, &mut Policy::default(), &mut |rule, number, default| {
            let below = match rule.floor {
                Some(Floor::Most) => number.size() > default.size(),
                Some(Floor::Least) => number.size() < default.size(),
                None => false,
            };
            if below {
                weaker.push((rule, number.to_text(), default.to_text()));
            }
        });
        let mut accepted: Vec<Accepted> = Vec::new();
        for (rule, value, floor) in weaker {
            let (key, own) = (rule.key(), said.accepts.get(rule.group));
            let mut earlier = before.iter().flat_map(|before| &before.accepted);
            let earlier = earlier.find(|earlier| earlier.key == key && earlier.value == value);
            match (own, earlier) {
                (Some((_, reason)), _) => {
                    accepted.push(Accepted { key, value, floor, reason: reason.clone() })
                }
                (None, Some(earlier)) => accepted.push(earlier.clone()),
                (None, None) => {
                    let at = said.lines.get(&key).copied().unwrap_or(line);
                    let reason = format!(
                        "{value} protects less than the floor {floor}; go back to it, or write {ACCEPT} = \"reason\" in [{}]",
                        rule.group
                    );
                    self.fault(at, key, reason);
                }
            }
        }
        for (group, (line, _)) in &said.accepts {
            if !accepted.iter().any(|accepted| accepted.key.starts_with(&format!("{group}."))) {
                let reason = "stands beside nothing that protects less than its floor; take it out";
                self.fault(*line, format!("{group}.{ACCEPT}"), reason);
            }
        }
        accepted
    }
}

/// Shows every number of two policies side by side.
fn pairs(policy: &mut Policy, other: &mut Policy, see: &mut dyn FnMut(Rule, &dyn Number, &dyn Number)) {
    policy.each(&mut |rule, number| {
        other.each(&mut |known, default| {
            if (rule.group, rule.name) == (known.group, known.name) {
                see(rule, number, default);
            }
        });
    });
}

fn written<'v>(value: &'v DeValue<'_>) -> Written<'v> {
    match value {
        DeValue::String(text) => Written::Text(text),
        DeValue::Integer(number) if number.radix() == 10 => Written::Bare(number.as_str()),
        DeValue::Integer(_) => Written::Other("no decimal number"),
        DeValue::Float(number) => Written::Bare(number.as_str()),
        DeValue::Boolean(_) => Written::Other("true or false"),
        DeValue::Datetime(_) => Written::Other("a date"),
        DeValue::Array(_) => Written::Other("a list"),
        DeValue::Table(_) => Written::Other("a table"),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
