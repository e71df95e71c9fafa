//! Who has an incident: whose word stops the rungs of its ladder (`policy.md` 5).

use lampguard_model::Timestamp;

use super::{Life, Mark, Stage, takes_evidence};
use crate::ladder::Climb;

impl Life {
    /// Somebody says that it is looked after. The desk's own word only stops its tone: a crew has still to take it.
    pub(super) fn acknowledge(&mut self, mark: Mark, desk_for_itself: bool) {
        if !desk_for_itself && self.taken.is_none() {
            self.taken = Some(mark.clone());
            self.crew = Some(mark.by.clone());
        }
        if self.acknowledged.is_none() {
            self.crew.get_or_insert_with(|| mark.by.clone());
            self.acknowledged = Some(mark);
        }
    }

    /// It became a P1: an earlier arrival counts only if the crew is still there (`policy.md` 4). Else somebody has to come,
    /// and the clock goes on. `relieved`: another crew is on duty than the one that has it, and is called in its place.
    pub fn on_p1(&mut self, relieved: bool) {
        self.breached_at = None;
        // Told as a P2 it was not told as what it is now. A change of shift that waits for its crew waits on.
        let handover = self.climb.handover.take();
        (self.climb, self.told_at) = (Climb { handover, ..Climb::default() }, None);
        let there = self.state == Stage::Arrived && self.clear.is_none();
        if there && let Some(present) = self.there.take() {
            // The first one went while it was a P2.
            self.earlier.extend(self.arrived.replace(present));
            self.earlier.append(&mut self.between);
        }
        if there || !takes_evidence(self.state) {
            return;
        }
        self.earlier.extend(self.arrived.take());
        self.earlier.append(&mut self.between);
        self.earlier.extend(self.there.take());
        (self.clear, self.taken) = (None, None);
        if self.state == Stage::Arrived {
            (self.state, self.acknowledged, self.departed) = (Stage::Open, None, None);
        }
        if relieved {
            self.relieved = self.crew.take();
            if self.state == Stage::Departed {
                (self.state, self.departed) = (Stage::Acknowledged, None);
            }
        }
    }

    /// A crew may still say that it has it: the desk alone did, or it was said of the P2 that it was.
    pub(super) fn wants_crew(&self) -> bool {
        let known = takes_evidence(self.state) && !matches!(self.state, Stage::Open | Stage::Arrived);
        known && self.taken.is_none()
    }

    /// A crew takes it over. A change of shift is answered by the crew that it hands it to (`is_next`), and by no other.
    pub(super) fn accept(&mut self, by: &str, is_next: bool, now: Timestamp) {
        (self.crew, self.shelved) = (Some(by.trim().to_owned()), None);
        if let Some(handover) = self.climb.handover.as_mut().filter(|_| is_next) {
            handover.accepted_at = handover.taken_at().or(Some(now));
        }
    }

    /// Another crew is called, and has all the time to say that it has it.
    pub(super) fn reassign(&mut self, crew: String, now: Timestamp) {
        (self.crew, self.clear, self.relieved) = (Some(crew), None, None);
        (self.climb.refused_by, self.climb.desk_calls) = (None, false);
        self.climb.jumped.clear();
        if takes_evidence(self.state) {
            (self.acknowledged, self.departed, self.taken) = (None, None, None);
            self.climb.called_at = Some(now);
        }
    }
}
