//! Asks a running instance what it told people.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::lines::At;
use super::tellings::{Reader, Tellings};
use crate::UsageError;
use crate::cli::Target;
use crate::tools::Asker;

/// The word for the instance of the data directory.
pub(super) const LOCAL: &str = "local";
/// Longest answer, bytes: a page of 1,000 incidents with many members.
const ANSWER_MAX: u64 = 64 << 20;
/// Longest wait for one page.
const PATIENCE: Duration = Duration::from_secs(60);
/// Incidents of several posts that are asked for singly; of more nobody knows when each post was named.
const SINGLE_MAX: usize = 10_000;
/// Pages at most: with 1,000 items each more than the limits of what is kept.
const PAGES_MAX: usize = 4_000;

/// True when notices come from an instance and not from a file.
pub(super) fn is_instance(notices: &str) -> bool {
    notices == LOCAL || notices.starts_with("http://") || notices.starts_with("https://")
}

/// Everything that the instance told people.
pub(super) fn read(file: Option<&Path>, notices: &str, token: Option<&str>) -> Result<Tellings> {
    let target = if notices == LOCAL {
        Target { url: None, token: None }
    } else {
        let Some(token) = token else {
            bail!(UsageError(format!(
                "{notices} needs --token (`lampguard token create --role viewer --name score` makes one); or \
                 give --notices {LOCAL} for the instance of the data directory"
            )));
        };
        let url = notices.trim_end_matches('/').trim_end_matches("/api/v1/notices");
        Target { url: Some(url.to_owned()), token: Some(token.to_owned()) }
    };
    let asker = Asker::new(file, &target, Some(PATIENCE))?;
    let mut reader = Reader::default();
    // Notices first: whatever they name was there before and is among the incidents asked for afterwards.
    pages(&asker, "/api/v1/notices?limit=1000", &mut reader, |_| {})?;
    let mut several = Vec::new();
    pages(&asker, "/api/v1/incidents?state=all&limit=1000", &mut reader, |page| {
        several.extend(with_members(page).map(str::to_owned));
    })?;
    // Only the single view says when an incident got its posts.
    for id in several.iter().take(SINGLE_MAX) {
        let path = format!("/api/v1/incidents/{}", escaped(id));
        let answer = answer_of(&asker, &path)?;
        reader.take(&At::new(Path::new(&path), 1), answer)?;
    }
    reader.finish(Path::new(notices))
}

/// Ids of a page's incidents that name several posts.
fn with_members(page: &Value) -> impl Iterator<Item = &str> {
    let items = page.get("items").and_then(Value::as_array).into_iter().flatten();
    let several = |item: &&Value| item["members"].as_array().is_some_and(|members| !members.is_empty());
    items.filter(several).filter_map(|item| item["id"].as_str())
}

fn answer_of(asker: &Asker, path: &str) -> Result<Value> {
    let doing = || format!("reading the answer of {path}");
    let (status, mut body) = asker.get(path)?;
    let text = body.with_config().limit(ANSWER_MAX).read_to_string().with_context(doing)?;
    if status != 200 {
        bail!("the instance answered {status} to {path}: {}", text.trim());
    }
    serde_json::from_str(&text).with_context(doing)
}

fn pages(asker: &Asker, list: &str, reader: &mut Reader, mut look: impl FnMut(&Value)) -> Result<()> {
    let mut cursor = None::<String>;
    for page in 1..=PAGES_MAX {
        let path = match &cursor {
            Some(cursor) => format!("{list}&cursor={}", escaped(cursor)),
            None => list.to_owned(),
        };
        let answer = answer_of(asker, &path)?;
        look(&answer);
        let next = answer.get("next").and_then(Value::as_str).map(str::to_owned);
        reader.take(&At::new(Path::new(&path), 1), answer)?;
        if next.is_none() {
            return Ok(());
        }
        if next == cursor {
            bail!("page {page} of {list} names itself as the next one; is that a lampguard?");
        }
        cursor = next;
    }
    bail!("{list} has more than {PAGES_MAX} pages; score files of a night at a time instead")
}

/// A cursor as part of an address.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_files_and_cursors_survive_in_them() {
        assert!(is_instance("local") && is_instance("http://127.0.0.1:8080") && is_instance("https://x/"));
        assert!(!is_instance("notices.jsonl") && !is_instance("./local"));
        assert_eq!(escaped("o.1795.LG-0K a/&"), "o.1795.LG-0K%20a%2F%26");
        let refused = read(None, "http://127.0.0.1:1", None).unwrap_err();
        assert!(refused.is::<UsageError>() && refused.to_string().contains("--token"), "{refused}");
    }
}
