//! JSON lines from files: bounded, and every fault named with its file, line and way out.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lampguard_model::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::UsageError;

/// Longest line, bytes.
pub(super) const LINE_MAX: usize = 1 << 20;

/// The name under which standard input is read.
pub(super) const STDIN: &str = "-";

/// Where a line stands, for messages.
#[derive(Clone, Debug)]
pub(super) struct At {
    source: PathBuf,
    number: u64,
}

impl At {
    pub(super) fn new(source: &Path, number: u64) -> Self {
        Self { source: source.to_owned(), number }
    }

    /// A fault of this line; ends with exit code 2.
    pub(super) fn fault(&self, reason: impl Display, way_out: &str) -> anyhow::Error {
        UsageError(format!("{}: line {}: {reason}; {way_out}", self.source.display(), self.number)).into()
    }
}

/// Hands over every line that is not blank, without its end.
pub(super) fn each(path: &Path, what: &str, mut take: impl FnMut(&At, &[u8]) -> Result<()>) -> Result<()> {
    let doing = || format!("reading {what} {}", path.display());
    let input: Box<dyn Read> = if path == Path::new(STDIN) {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).with_context(doing)?)
    };
    let mut input = BufReader::with_capacity(1 << 16, input);
    let (mut line, mut at) = (Vec::new(), At::new(path, 0));
    loop {
        line.clear();
        at.number += 1;
        let limit = LINE_MAX as u64 + 2;
        if (&mut input).take(limit).read_until(b'\n', &mut line).with_context(doing)? == 0 {
            return Ok(());
        }
        let start = if at.number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        let text = start.trim_ascii();
        if text.len() > LINE_MAX {
            bail!(at.fault(
                format_args!("longer than {LINE_MAX} bytes"),
                "one JSON object a line is expected: `jq -c '.items[]'` takes pages apart"
            ));
        }
        if !text.is_empty() {
            take(&at, text)?;
        }
    }
}

/// What serde says of a line, without its own count of lines.
pub(super) fn reason(e: &serde_json::Error) -> String {
    e.to_string().replace(" at line 1 column ", " at column ")
}

/// A time: milliseconds UTC, or RFC 3339 with offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) Timestamp);

/// End of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let time = match &value {
            Value::Number(number) => number.as_i64().map(Timestamp),
            Value::String(text) => text.parse().ok().map(Timestamp).or_else(|| Timestamp::from_rfc3339(text)),
            _ => None,
        };
        time.filter(|time| (0..=LAST_MS).contains(&time.0)).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is no time from 1970 to 9999: milliseconds UTC, or RFC 3339 with offset"
            ))
        })
    }
}

/// A key that is there, be it null: `None` is left to the key that is not.
pub(super) fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Time>>, D::Error> {
    Option::<Time>::deserialize(from).map(Some)
}

/// Words out of a text, or out of a place with a text.
pub(super) fn words(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Object(place) => match place.get("text").and_then(Value::as_str) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => Value::Object(place.clone()).to_string(),
        },
        other => other.to_string(),
    };
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut lines = Vec::new();
        each(file.path(), "test", |at, line| {
            lines.push(format!("{} {}", at.number, String::from_utf8_lossy(line)));
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn lines_come_without_mark_blank_ones_and_ends() {
        assert_eq!(read(b"\xef\xbb\xbfa\r\n\n  b  \nc").unwrap(), ["1 a", "3 b", "4 c"]);
        assert_eq!(read(b"").unwrap(), [""; 0]);
    }

    #[test]
    fn a_line_of_a_mebibyte_is_read_and_a_longer_one_named() {
        let long = vec![b'x'; LINE_MAX];
        assert_eq!(read(&[&long[..], b"\r\n"].concat()).unwrap().len(), 1);
        let fault = read(&[b"a\n", &long[..], b"x\n"].concat()).unwrap_err().to_string();
        assert!(fault.contains("line 2: longer than 1048576 bytes; ") && fault.contains("jq"), "{fault}");
        let e = each(Path::new("gone.jsonl"), "truth", |_, _| Ok(())).unwrap_err();
        assert!(format!("{e:#}").starts_with("reading truth gone.jsonl: "), "{e:#}");
    }

    #[test]
    fn times_are_milliseconds_or_rfc_3339() {
        let time = |json: &str| serde_json::from_str::<Time>(json).map(|time| time.0.0);
        for json in ["1795435200000", "\"1795435200000\"", "\"2026-11-23T20:00:00+08:00\""] {
            assert_eq!(time(json).unwrap(), 1_795_435_200_000, "{json}");
        }
        for json in ["true", "1.5", "-1", "253402300800000", "\"yesterday\"", "\"2026-11-23T20:00:00\"", "[]"]
        {
            let fault = time(json).unwrap_err().to_string();
            assert!(fault.contains(json) && fault.contains("RFC 3339 with offset"), "{fault}");
        }
    }
}
