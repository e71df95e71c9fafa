//! Who has an incident: whose word stops the rungs of its ladder (`policy.md` 5).

use lampguard_model::Timestamp;

use super::{Life, Mark, Stage, takes_evidence};

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
        (self.crew, self.clear) = (Some(crew), None);
        self.climb.refused_by = None;
        self.climb.jumped.clear();
        if takes_evidence(self.state) {
            (self.acknowledged, self.departed, self.taken) = (None, None, None);
            self.climb.called_at = Some(now);
        }
    }
}
