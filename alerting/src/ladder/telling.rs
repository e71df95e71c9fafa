//! Whom one telling goes to.

use std::sync::Arc;

use crate::rota::{Crew, Rota, Whom};

/// Whom one telling goes to, and how. Who they are says the rota, when it goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telling {
    /// Rung of the ladder; 0 is the opening and what is outside of it.
    pub step: u32,
    /// By their duty.
    pub whom: Vec<Whom>,
    /// Crews by their name besides: of planned work, in an extent that is live again, of a shift that begins.
    pub crews: Vec<Arc<str>>,
    /// Everybody of the zone.
    pub everybody: bool,
    /// Goes out at once whatever else goes on, to each member of the crews it names: a crew has its hands on what is live.
    pub urgent: bool,
    /// Rings by all channels, whatever its severity: nobody looks at the board.
    pub loud: bool,
    /// It goes into the lists of a flood.
    pub grouped: bool,
    /// Of a shift that ends: a list says so.
    pub handover: bool,
    /// It became due while nobody ran, and may have been told before: marked as a repeat.
    pub again: bool,
}

impl Telling {
    /// Goes to these.
    pub fn to(whom: &[Whom]) -> Self {
        Self { whom: whom.to_vec(), ..Self::default() }
    }

    /// Adds whom it does not name yet.
    pub fn and(&mut self, whom: &[Whom]) {
        for one in whom {
            if !self.whom.contains(one) {
                self.whom.push(*one);
            }
        }
    }

    /// Nobody is named.
    pub fn is_empty(&self) -> bool {
        self.whom.is_empty() && self.crews.is_empty() && !self.everybody
    }

    /// What is not real reaches those who would go and the desk, and nobody above them.
    pub fn of_drill(mut self) -> Self {
        use Whom::{BackupCrew, Crew, Desk, Second};
        self.whom.retain(|whom| matches!(whom, Crew | Second | BackupCrew | Desk));
        self
    }
}

/// The crew that is meant by what stands on an incident: its id, its name, or one of its members.
pub fn crew_named<'r>(rota: &'r Rota, name: &str) -> Option<&'r Arc<Crew>> {
    let by_id = rota.crews.get(name);
    let is_it = |crew: &&Arc<Crew>| crew.name == name || crew.members.iter().any(|one| *one.name == *name);
    by_id.or_else(|| rota.crews.values().find(is_it))
}
