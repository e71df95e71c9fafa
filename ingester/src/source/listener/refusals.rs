//! Who was refused, in the log: whoever tries a sensor reads there why, and a thousand wrong ones do not fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One line in this time; what is refused in between is counted, and the next line says how many.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Of a topic that may not be written to, characters.
pub(super) const TOPIC_SHOWN: usize = 128;
/// Of the name that somebody gives, characters.
pub(super) const NAME_SHOWN: usize = 64;

/// When the last line was written, and how many were left out since.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<(Option<Instant>, u64)>);

impl Refusals {
    /// How many were left out before this one; nothing when this one is left out too.
    pub(super) fn line(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.0.is_some_and(|last| now.saturating_duration_since(last) < LINE_EVERY) {
            said.1 += 1;
            return None;
        }
        let left_out = said.1;
        *said = (Some(now), 0);
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_refused_sensors_writes_one_line_in_ten_seconds_that_counts_the_rest() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.line(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(refusals.line(start + Duration::from_secs(9)), None);
        }
        assert_eq!(refusals.line(start + Duration::from_secs(10)), Some(1000));
        assert_eq!(refusals.line(start + Duration::from_secs(10)), None);
    }
}
