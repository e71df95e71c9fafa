//! Whether a crew may touch the post: the words, and which of them hold.

use super::{Life, Method};

/// What prints where a crew reads whether it may touch the post.
pub const DEAD: &str = "已断电";
/// Guarded or behind a barrier.
pub const GUARDED: &str = "已围护, 未断电, 视为带电";
/// Everything else.
pub const TREAT_AS_LIVE: &str = "未确认断电，视为带电";

impl Life {
    /// The safety words: only an isolation in force, not doubted, without voltage seen since says that a post is dead.
    pub fn safety(&self) -> &'static str {
        match &self.safe {
            // Of a guard or a barrier out of a backup nobody knows either; it says "treat as live" itself.
            Some(safe) if safe.doubted_at.is_some() => TREAT_AS_LIVE,
            Some(safe) if safe.isolates() && safe.reenergised_at.is_none() => DEAD,
            Some(safe) if safe.method != Method::Isolated => GUARDED,
            _ => TREAT_AS_LIVE,
        }
    }
}
