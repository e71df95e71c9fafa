//! The end of an incident that nobody has moved, in a back-test: without the moves of people.
//!
//! Live, signal normal closes nothing and only people close; nothing there calls this.

use lampguard_model::{Millis, Timestamp};

use super::{Engine, Open};
use crate::incident::{Incident, Signal};
use crate::life::Stage;

/// An incident that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// As it was last.
    pub incident: Incident,
    /// When it ended.
    pub at: Timestamp,
}

impl Engine {
    /// Ends incidents whose signal has been normal for `calm`: it became normal that long ago, no sample was at
    /// or above the limit since, and it is normal now. Hours without supply or data in between are no danger
    /// seen, so they do not begin the count anew; while they last nothing ends. What the post does next opens
    /// a new incident.
    pub fn end_calm(&mut self, now: Timestamp, calm: Millis, ended: &mut Vec<Ended>) {
        for place in 0..self.open.len() {
            let Some(at) = end_of(&self.open[place], calm).filter(|at| *at <= now) else {
                continue;
            };
            let open = &mut self.open[place];
            open.over = true;
            let (subject, family) = (open.subject.clone(), open.incident.family);
            ended.push(Ended { incident: open.incident.clone(), at });
            self.free.push(place);
            self.ids.remove(&self.open[place].incident.id);
            self.schedule(place, now);
            self.release(&subject, family);
            if *self.open[place].incident.zone == *lampguard_model::UNREGISTERED {
                self.strangers_open = self.strangers_open.saturating_sub(1);
            }
        }
    }

    /// When the next incident would end if nothing more is heard.
    pub fn next_end(&self, calm: Millis) -> Option<Timestamp> {
        self.open.iter().filter_map(|open| end_of(open, calm)).min()
    }

    /// Keeps an incident at a place that is free; returns the place.
    pub(super) fn keep(&mut self, open: Open) -> usize {
        let id = open.incident.id.clone();
        let place = match self.free.pop() {
            Some(place) => {
                self.open[place] = open;
                place
            }
            None => {
                self.open.push(open);
                self.open.len() - 1
            }
        };
        self.ids.insert(id, place);
        place
    }
}

fn end_of(open: &Open, calm: Millis) -> Option<Timestamp> {
    // Whom people have taken on, people end.
    let alone = open.incident.life.state == Stage::Open;
    let normal = !open.over && alone && open.incident.signal == Signal::Normal;
    open.calm_from.filter(|_| normal).map(|from| (from + calm).max(open.signal_at))
}
