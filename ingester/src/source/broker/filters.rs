//! Which filters the broker may still have of us.
//!
//! A kept session keeps its subscriptions too: one that left the configuration would bring its messages for ever. So the
//! filters are written down before they are asked for, and those that nobody wants any more are ended after the others
//! were granted: the other way round what comes in between would be lost where the two overlap, and at a broker that
//! refuses the new ones nothing would be heard at all.

use std::path::PathBuf;

use tracing::warn;

use crate::loss::replace_file;

/// The filters that were ever asked for and not ended yet.
#[derive(Debug)]
pub(super) struct Filters {
    path: Option<PathBuf>,
    asked: Vec<String>,
}

impl Filters {
    /// As they stand in the file; without one they are remembered by this process alone.
    pub(super) fn open(path: Option<PathBuf>) -> Self {
        let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        Self { path, asked: text.lines().map(str::to_owned).collect() }
    }

    /// These are asked for now. Those that were once and are wanted no more.
    pub(super) fn ask(&mut self, wanted: &[String]) -> Vec<String> {
        let unwanted: Vec<String> =
            self.asked.iter().filter(|asked| !wanted.contains(asked)).cloned().collect();
        self.keep(unwanted.iter().chain(wanted).cloned().collect());
        unwanted
    }

    /// The broker has ended all others.
    pub(super) fn only(&mut self, wanted: &[String]) {
        self.keep(wanted.to_vec());
    }

    /// Written only when the configuration has changed: once a start at most.
    fn keep(&mut self, asked: Vec<String>) {
        if self.asked == asked {
            return;
        }
        self.asked = asked;
        if let Some(path) = &self.path
            && let Err(e) = replace_file(path, self.asked.join("\n").as_bytes())
        {
            warn!(path = %path.display(), error = %e, "the filters that we ask for cannot be written down: one that leaves the configuration may stay at the broker");
        }
    }
}
