//! Which lamps are left out of the lighting rate, or are dark for a reason.

use lampguard_model::{Post, Timestamp};

use super::Engine;
use super::isolation::Extent;
use super::people::JobScope;
use crate::lighting::Exempt;

/// Planned work and isolations at one moment.
#[derive(Clone, Debug, Default)]
pub struct Exemptions {
    jobs: Vec<JobScope>,
    isolated: Vec<Extent>,
}

impl Exemptions {
    /// How the lamps of a post count. Isolated for a fault they count as dark, planned work there or not.
    pub fn of(&self, post: &Post) -> Exempt {
        let dead = |extent: &Extent| match extent {
            Extent::Post(name) => *name == post.post_id,
            Extent::Feeder(name) => *name == post.feeder,
        };
        match () {
            () if self.isolated.iter().any(dead) => Exempt::Isolated,
            () if self.jobs.iter().any(|scope| scope.holds(post)) => Exempt::Planned,
            () => Exempt::No,
        }
    }
}

impl Engine {
    /// Planned work that goes on at `now`, and isolations in force.
    pub fn exemptions(&self, now: Timestamp) -> Exemptions {
        let on = self.jobs().iter().filter(|job| job.until > now);
        Exemptions {
            jobs: on.map(|job| job.scope.clone()).collect(),
            isolated: self.isolations.iter().map(|isolation| isolation.extent.clone()).collect(),
        }
    }
}
