//! The lines of a recording, one after the other, in bounded memory.

use std::io::{self, BufRead, Read};

use super::line::{self, Line};

/// Longest line, bytes: as long as the longest packet.
pub(super) const LINE_MAX: usize = 1 << 20;
/// Bad lines that are named; one more ends the reading: the file is something else.
pub(super) const BAD_MAX: u64 = 1000;

/// Why reading ended early. Stop and show it.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinesError {
    /// The file cannot be read.
    #[error("reading {name}: {source}")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Too many bad lines.
    #[error(
        "{name} has more than {BAD_MAX} bad lines of {lines}: it is no recording (JSON lines with received_at, topic, payload)"
    )]
    Bad {
        /// The file.
        name: String,
        /// Lines read so far.
        lines: u64,
    },
}

/// A recording that is read line by line.
pub(super) struct Lines<R> {
    input: R,
    name: String,
    buf: Vec<u8>,
    /// Lines read so far.
    pub(super) count: u64,
    /// Bytes read so far.
    pub(super) bytes: u64,
    /// Lines that were refused.
    pub(super) bad: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads from `input`, which people know as `name`.
    pub(super) fn new(input: R, name: String) -> Self {
        Self { input, name, buf: Vec::new(), count: 0, bytes: 0, bad: 0 }
    }

    /// Reads to the end. Each line that says something is handed to `take`, a bad one as `file:line: why`, with
    /// the bytes read so far; when it says false, that is the end.
    ///
    /// # Errors
    /// [`LinesError`] when the file cannot be read, or is no recording.
    pub(super) fn each(
        &mut self,
        mut take: impl FnMut(Result<Line<'_>, String>, u64) -> bool,
    ) -> Result<(), LinesError> {
        while let Some(whole) = self.fill()? {
            let read =
                if whole { line::parse(&self.buf).map_err(|e| e.to_string()) } else { Err(too_long()) };
            let goes_on = match read {
                Ok(Line::Empty) => true,
                Ok(line) => take(Ok(line), self.bytes),
                Err(_) if self.bad == BAD_MAX => {
                    return Err(LinesError::Bad { name: self.name.clone(), lines: self.count });
                }
                Err(why) => {
                    self.bad += 1;
                    take(Err(format!("{}:{}: {why}", self.name, self.count)), self.bytes)
                }
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Reads one line into the buffer; false when it is too long and was stepped over, `None` at the end.
    fn fill(&mut self) -> Result<Option<bool>, LinesError> {
        self.buf.clear();
        let failed = |source| LinesError::Read { name: self.name.clone(), source };
        let mut limited = (&mut self.input).take(LINE_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.buf).map_err(failed)?;
        if read == 0 {
            return Ok(None);
        }
        self.count += 1;
        self.bytes += read as u64;
        if read <= LINE_MAX || self.buf.last() == Some(&b'\n') {
            return Ok(Some(true));
        }
        self.buf = Vec::new();
        self.bytes += self.input.skip_until(b'\n').map_err(failed)? as u64;
        Ok(Some(false))
    }
}

fn too_long() -> String {
    format!("longer than {LINE_MAX} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Result<(), LinesError>, Lines<&[u8]>) {
        let mut lines = Lines::new(text.as_bytes(), "rec.jsonl".to_owned());
        let mut heard = Vec::new();
        let ended = lines.each(|line, _| {
            heard.push(match line {
                Ok(Line::Message { topic, .. }) => topic.into_owned(),
                Ok(other) => format!("{other:?}"),
                Err(why) => why,
            });
            true
        });
        (heard, ended, lines)
    }

    fn message(topic: &str) -> String {
        format!(r#"{{"received_at":1795435200000,"topic":"{topic}","payload":{{}}}}"#)
    }

    #[test]
    fn a_bad_line_is_named_with_file_and_line_and_the_others_live() {
        let text = format!("{}\nrubbish\n\n{}", message("a"), message("b"));
        let (heard, ended, lines) = read(&text);
        assert_eq!(heard, ["a", "rec.jsonl:2: not a JSON object (at byte 0)", "b"]);
        assert!(ended.is_ok());
        assert_eq!((lines.count, lines.bad, lines.bytes), (4, 1, text.len() as u64));
    }

    #[test]
    fn a_line_over_the_limit_is_stepped_over_and_takes_no_memory() {
        let long = format!(r#"{{"received_at":1795435200000,"topic":"{}"}}"#, "x".repeat(3 * LINE_MAX));
        let text = format!("{long}\n{}\n", message("b"));
        let (heard, _, lines) = read(&text);
        assert_eq!(heard, ["rec.jsonl:1: longer than 1048576 bytes", "b"]);
        assert!(lines.buf.capacity() < LINE_MAX);
    }

    #[test]
    fn more_than_a_thousand_bad_lines_are_another_kind_of_file() {
        let (heard, ended, _) = read(&"x\n".repeat(5000));
        assert_eq!(heard.len() as u64, BAD_MAX);
        let told = ended.unwrap_err().to_string();
        assert!(told.starts_with("rec.jsonl has more than 1000 bad lines of 1001"), "{told}");
    }
}
