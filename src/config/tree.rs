//! From the file's text to typed sections, collecting faults on the way.

use std::path::Path;

use lampguard_alerting::EscalationConfig;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Config, Fault};

/// Sections and keys of the whole design that this version does not build yet.
const LATER: [&str; 1] = ["truth"];

/// Unknown keys of one section that are told; more are hardly a slip of the pen.
const UNKNOWN_MAX: usize = 50;

fn fault(key: &str, reason: impl Into<String>) -> Fault {
    Fault { key: key.to_owned(), line: None, reason: reason.into() }
}

/// The file with the environment over it, and its text for finding lines.
pub(super) fn read(file: &Path) -> Result<(Table, String), Fault> {
    let text = std::fs::read_to_string(file).map_err(|e| fault("file", format!("not readable: {e}")))?;
    if let Err(e) = text.parse::<Table>() {
        let line = e.span().map(|span| text[..span.start].lines().count().max(1));
        return Err(Fault { key: "TOML".to_owned(), line, reason: e.message().to_owned() });
    }
    let environment = config::Environment::with_prefix("LAMPGUARD").prefix_separator("__").separator("__");
    let merged = config::Config::builder()
        .add_source(config::File::from_str(&text, config::FileFormat::Toml))
        .add_source(environment.try_parsing(true))
        .build()
        .and_then(config::Config::try_deserialize::<Table>);
    merged.map(|table| (table, text)).map_err(|e| fault("environment", e.to_string()))
}

/// Takes every section out of the tree; ladders need the zones to be checked.
pub(super) fn sections(mut tree: Table, faults: &mut Vec<Fault>) -> (Config, Vec<EscalationConfig>) {
    let mut config = Config::default();
    take(&mut tree, "site", &mut config.site, faults);
    take(&mut tree, "posts", &mut config.posts, faults);
    take(&mut tree, "journal", &mut config.journal, faults);
    take(&mut tree, "quarantine", &mut config.quarantine, faults);
    take(&mut tree, "history", &mut config.history, faults);
    take(&mut tree, "policy", &mut config.policy, faults);
    take(&mut tree, "web", &mut config.web, faults);
    config.lighting = tree.remove("lighting").and_then(|value| typed(value, "lighting", faults));
    take(&mut tree, "test_dispatch", &mut config.test_dispatch, faults);
    config.proof = tree.remove("proof").and_then(|value| typed(value, "proof", faults));
    config.heartbeat = tree.remove("heartbeat").and_then(|value| typed(value, "heartbeat", faults));
    config.nodes = tree.remove("nodes").and_then(|value| typed(value, "nodes", faults));
    config.listener = tree.remove("listener").and_then(|value| typed(value, "listener", faults));
    config.brokers = list(&mut tree, "broker", faults);
    config.profiles = list(&mut tree, "profile", faults);
    config.tsdbs = list(&mut tree, "tsdb", faults);
    config.zones = list(&mut tree, "zone", faults);
    config.crews = list(&mut tree, "crew", faults);
    config.shifts = list(&mut tree, "shift", faults);
    config.duty = list(&mut tree, "duty", faults);
    take(&mut tree, "calendar", &mut config.calendar, faults);
    config.desk = tree.remove("desk").and_then(|value| typed(value, "desk", faults));
    config.supervisor = tree.remove("supervisor").and_then(|value| typed(value, "supervisor", faults));
    config.head = tree.remove("head").and_then(|value| typed(value, "head", faults));
    config.channels = list(&mut tree, "channel", faults);
    let escalations = list(&mut tree, "escalation", faults);
    for section in tree.keys() {
        faults.push(if LATER.contains(&section.as_str()) {
            fault(section, "is planned and not built in this version; take it out")
        } else {
            fault(section, "nobody knows this section; `lampguard config print` shows all there are")
        });
    }
    (config, escalations)
}

fn take<T: DeserializeOwned>(tree: &mut Table, key: &str, into: &mut T, faults: &mut Vec<Fault>) {
    if let Some(section) = tree.remove(key).and_then(|value| typed(value, key, faults)) {
        *into = section;
    }
}

fn list<T: DeserializeOwned>(tree: &mut Table, key: &str, faults: &mut Vec<Fault>) -> Vec<T> {
    match tree.remove(key) {
        None => Vec::new(),
        Some(Value::Array(items)) => {
            let named = items.into_iter().enumerate().map(|(place, item)| (format!("{key}[{place}]"), item));
            named.filter_map(|(key, item)| typed(item, &key, faults)).collect()
        }
        Some(_) => {
            faults.push(fault(key, format!("is a list: write [[{key}]]")));
            Vec::new()
        }
    }
}

/// One section as its type. Unknown keys are taken out one by one, so that all of them are told.
fn typed<T: DeserializeOwned>(mut value: Value, key: &str, faults: &mut Vec<Fault>) -> Option<T> {
    for _ in 0..UNKNOWN_MAX {
        match value.clone().try_into::<T>() {
            // Also when unknown keys were taken out: the rest is to be checked too.
            Ok(section) => return Some(section),
            Err(e) => {
                let text = e.to_string();
                let unknown = text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
                let within =
                    text.lines().find_map(|line| line.trim().strip_prefix("in `")?.strip_suffix('`'));
                // A key of a table inside of the section is told with the others of its kind, below.
                let removed = match (unknown.filter(|_| within.is_none()), value.as_table_mut()) {
                    (Some((name, rest)), Some(table)) => table.remove(name).map(|_| (name, rest)),
                    _ => None,
                };
                match removed {
                    Some((name, rest)) => {
                        let expected = rest.lines().next().unwrap_or("").trim_start_matches([',', ' ']);
                        let reason = format!("nobody knows this key; {expected}");
                        faults.push(fault(&format!("{key}.{name}"), reason));
                    }
                    None => {
                        let what = text.lines().next().unwrap_or("cannot be read");
                        let key = within.map_or_else(|| key.to_owned(), |inner| format!("{key}.{inner}"));
                        faults.push(fault(&key, what));
                        return None;
                    }
                }
            }
        }
    }
    None
}

/// The line of the file where a key like `journal.max_bytes` or `broker[1].url` stands.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    let (section, nth) = match section.split_once('[') {
        Some((section, place)) => (section, place.trim_end_matches(']').parse::<usize>().ok()?),
        None => (section, 0),
    };
    let headers = [format!("[{section}]"), format!("[[{section}]]")];
    let (mut seen, mut inside, mut header_line) = (0, false, None);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            let mine = headers.iter().any(|header| line.starts_with(header.as_str()));
            inside = mine && seen == nth;
            seen += usize::from(mine);
            header_line = header_line.or(inside.then_some(number + 1));
        } else if inside && !name.is_empty() {
            let key_here = line.split('=').next().unwrap_or("").trim();
            if key_here == name.split(['.', '[']).next().unwrap_or(name) {
                return Some(number + 1);
            }
        }
    }
    header_line
}
