//! Numbers of the rules page that no rule of this version reads yet. A file that changes one is refused, so
//! that nobody believes it works. Whoever builds a rule takes its numbers out of here; a test compares.

/// `group.name`, in the order of the file.
pub const UNREAD: [&str; 12] = [
    "system.leader_after",
    "system.head_after",
    "arrival.unproven_call",
    "isolation.offer_from",
    "maintenance.acknowledge_within",
    "flood.begin_above",
    "flood.end_below",
    "flood.window",
    "flood.messages_max",
    "flood.listed_max",
    "watch.board_closed",
    "watch.accept_within",
];
