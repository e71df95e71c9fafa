//! One simulated city in memory, and the only place of `bench alarms` and `bench night` that knows the simulator.

use std::sync::Arc;

use anyhow::{Context, Result};
use lampguard_model::{Millis, Timestamp};
use lampguard_simulator::truth::Truth;
use lampguard_simulator::{City, Command, Message, Params, Run, Scenario, Simulation};

use crate::score::{Class, Hazard, Spot};

/// Number of the devices' restart; the past of a city has the one before.
const BOOT: u32 = 2;

/// A city under a scenario, from its start to its end.
pub(super) struct Story {
    simulation: Simulation,
    /// The last moment.
    pub(super) until: Timestamp,
}

impl Story {
    /// The city of a seed.
    pub(super) fn begin(
        scenario: &Scenario,
        params: &Params,
        seed: u64,
        posts: u32,
        length: Millis,
    ) -> Result<Self> {
        let city = Arc::new(City::with_params(posts, seed, scenario, params)?);
        let start = scenario.starts()?;
        let run = Run { seed, speed: None, boot: BOOT, start };
        Ok(Self { simulation: Simulation::new(city, scenario.clone(), run)?, until: start + length })
    }

    /// Its register of posts.
    pub(super) fn register_csv(&self) -> String {
        self.simulation.city().register_csv()
    }

    /// The next messages, in the order in which they are sent; none at the end.
    pub(super) fn messages(&mut self) -> Vec<Message> {
        self.messages_by(self.until)
    }

    /// The next messages that are sent by then; none when there are no more.
    pub(super) fn messages_by(&mut self, at: Timestamp) -> Vec<Message> {
        self.simulation.advance(at.min(self.until))
    }

    /// A crew has repaired a post; one that the city does not know has nothing to mend.
    pub(super) fn repair(&mut self, at: Timestamp, post_id: &str) {
        // Refused is only what is no post of the city, or more than a million events.
        let _ = self.simulation.command(at, &Command::Repair { post_id: post_id.to_owned() });
    }

    /// A breaker opens, or is closed again; a feeder that the city does not know has none.
    pub(super) fn switch(&mut self, at: Timestamp, feeder: &str, on: bool) {
        let feeder = feeder.to_owned();
        let command = if on { Command::Reclose { feeder } } else { Command::Cut { feeder } };
        // Refused is only what is no feeder of the city, or more than a million events.
        let _ = self.simulation.command(at, &command);
    }

    /// So many posts begin to leak.
    pub(super) fn storm(&mut self, at: Timestamp, posts: u32) -> Result<()> {
        self.simulation.command(at, &Command::Storm { posts }).context("beginning a storm of leaks")?;
        Ok(())
    }

    /// What was dangerous or nearly so.
    pub(super) fn hazards(&self) -> Vec<Hazard> {
        self.simulation.truth(self.until).into_iter().map(hazard).collect()
    }
}

fn hazard(truth: Truth) -> Hazard {
    Hazard {
        spot: Spot { post: truth.post_id, feeder: truth.feeder, place: None },
        kind: truth.kind.to_owned(),
        cause: truth.cause.to_owned(),
        class: match truth.class {
            lampguard_simulator::physics::Danger::Dangerous => Class::Dangerous,
            _ => Class::Marginal,
        },
        starts_at: truth.starts_at,
        dangerous_at: truth.dangerous_at,
        ends_at: truth.ends_at,
        period: Millis::seconds(i64::from(truth.period_s)),
        sensor: truth.sensor.to_owned(),
        observable: truth.observable,
    }
}
