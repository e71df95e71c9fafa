//! Devices that the register does not know: whom their topic hints at, and the one incident that stands for too many.

use std::sync::Arc;

use lampguard_model::Timestamp;

use super::place::{Owner, Subject};
use super::raise::{Finding, NAMED_MAX, NOTE_UNREGISTERED};
use super::{Effect, Engine};

/// Prefix of the notes that name devices in the collapsed incident.
const NOTE_DEVICE: &str = "设备 ";

impl Engine {
    /// Ten thousand unregistered devices have an incident each: from here on one stands for all, and names
    /// the first twenty.
    pub(super) fn collapse(
        &mut self,
        mut finding: Finding,
        name: &Arc<str>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let device = format!("{NOTE_DEVICE}{name}");
        let of = std::mem::replace(&mut finding.subject, Subject::Collapsed);
        let family = finding.family;
        let place = match self.taking(&Subject::Collapsed, family) {
            Some(place) => {
                let notes = &self.open[place].incident.notes;
                let named = notes.iter().filter(|note| note.starts_with(NOTE_DEVICE)).count();
                if named < NAMED_MAX && !notes.contains(&device) {
                    self.note(place, &device, now, effects);
                }
                place
            }
            None => {
                finding.notes = vec![NOTE_UNREGISTERED.to_owned(), device];
                self.open(finding, Vec::new(), now, effects)
            }
        };
        if let Subject::Post(_) = of {
            self.take(&of, family, place);
        }
        place
    }

    /// The zone that the topic of an unregistered device names.
    pub(super) fn hint_of(&self, subject: &Subject) -> Option<Arc<str>> {
        match subject {
            Subject::Post(slot) => match &self.owners[*slot] {
                Owner::Stranger { hint, .. } => hint.clone(),
                Owner::Registered(_) | Owner::Struck { .. } => None,
            },
            _ => None,
        }
    }

    /// The incident at a place takes what else the slot sends: its own post's, whatever the family.
    pub(super) fn is_collapsed(&self, place: usize) -> bool {
        self.open[place].subject == Subject::Collapsed
    }
}
