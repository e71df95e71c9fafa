//! Where a replay would start: a mark a minute, and the cursor 40 min behind.

use lampguard_model::{Millis, Timestamp};

use super::{REBUILD, Story};
use crate::engine::Engine;
use crate::store::Write;
use crate::writer::Ticket;

/// The cursor is looked at this often.
const CURSOR_EVERY: Millis = Millis::minutes(1);

impl Story {
    /// Notes once a minute where the journal stands.
    pub(super) fn mark(&mut self, engine: &Engine, now: Timestamp, seq: u64) {
        let due = |(at, ..): &(Timestamp, u64, String)| now.since(*at) >= CURSOR_EVERY || now < *at;
        if self.marks.back().is_none_or(due) {
            self.marks.push_back((now, seq, engine.sky().json()));
        }
    }

    /// Moves the cursor to the newest mark that is 40 min old. At most a mark a minute is kept, and a clock
    /// that goes back empties none of them: the cursor only waits.
    pub(super) fn move_cursor(&mut self, now: Timestamp) {
        while self.marks.get(1).is_some_and(|(at, ..)| now.since(*at) >= REBUILD) {
            self.marks.pop_front();
        }
        if let Some((_, seq, sky)) = self.marks.front()
            && self.saved != Some(*seq)
        {
            self.saved = Some(*seq);
            let cursor = Write::Cursor { seq: *seq, sky: sky.clone() };
            self.writes.push(cursor, Ticket::default());
        }
    }
}
