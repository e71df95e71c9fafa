//! The numbers of `policy.md` sections 4 and 5: the life of an incident and who is told. The steps of the
//! ladder are `[[escalation]]` of the configuration.

use lampguard_model::Millis;

use super::number::{Metres, Percent};
use super::rule::groups;

groups! {
    /// Arriving (policy.md 4).
    Arrival {
        /// A position this near proves an arrival.
        within: Metres = Metres::whole(300),
        /// The desk calls so long after an unproven one.
        unproven_call: Millis = Millis::minutes(5),
        /// A claimed time counts for the SLA when it lies at most so long before receipt …
        claimed_max: Millis = Millis::minutes(15),
        /// … and the phone's own clock is this near to ours.
        clock_within: Millis = Millis::minutes(2),
    }

    /// Repaired is not verified (policy.md 4).
    Verify {
        /// So many powered valid readings …
        readings: u32 = 2,
        /// … at or below this share of the limit …
        share: Percent = Percent::whole(70),
        /// … over so long, none above since the repair.
        over: Millis = Millis::minutes(30),
        /// Posts with a longer period: one manual reading by the verifier.
        manual_above: Millis = Millis::minutes(30),
        /// After a rain fault: unfinished so long after the next wet start goes to the leader.
        recheck_within: Millis = Millis::hours(6),
    }

    /// Moves that two people make (policy.md 4): void and shelve of a P1 with active signal.
    TwoPeople {
        /// The second one repeats it within.
        within: Millis = Millis::minutes(10),
        /// Shelving hides for at most.
        shelve_max: Millis = Millis::hours(8),
    }

    /// Isolation and what persists (policy.md 4).
    Isolation {
        /// Isolated crews are warned so long before a scheduled switch-on.
        switch_on_warning: Millis = Millis::minutes(15),
        /// A signal that persists after guarded or barrier is told again every.
        persists_every: Millis = Millis::minutes(30),
        /// So many P1 on one feeder offer request_isolation.
        offer_from: u32 = 3,
    }

    /// Repeats (policy.md 4): a new incident linked to the old one.
    Repeat {
        /// On one post within.
        within: Millis = Millis::hours(720),
    }

    /// Planned work on a post, feeder or road (policy.md 5).
    Maintenance {
        /// Ends by itself after, unless renewed.
        length: Millis = Millis::hours(2),
        /// A P1 that its crew has not acknowledged goes to the ordinary ladder after.
        acknowledge_within: Millis = Millis::minutes(10),
    }

    /// More than people can take in (policy.md 5, Flood).
    Flood {
        /// Begins with more than so many P1 and P2 …
        begin_above: u32 = 10,
        /// … ends with fewer than so many …
        end_below: u32 = 5,
        /// … raised in this time in the city.
        window: Millis = Millis::minutes(10),
        /// Messages per person in that time.
        messages_max: u32 = 10,
        /// P1s listed in one message.
        listed_max: u32 = 20,
    }

    /// Who watches and who takes over (policy.md 5).
    Watch {
        /// Nobody has the board open for so long while an incident is open: the desk is rung.
        board_closed: Millis = Millis::seconds(60),
        /// Hand-over: not accepted in this time, the desk is told.
        accept_within: Millis = Millis::minutes(10),
    }
}
