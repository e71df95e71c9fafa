//! What a city sent before a run: for filling a history.

use std::collections::VecDeque;

use lampguard_model::Timestamp;

use crate::scenario::{Scenario, Storm};
use crate::simulation::{Message, Run, Simulation, SimulationError};
use crate::weather::front;

impl Simulation {
    /// What the same city sent before this run, for filling a history: from `from` to `to` (not included),
    /// one reading of each sensor every `step`. Dry but for a drizzle every third day, without quirks, with the
    /// boot before this run's; nothing in it is dangerous.
    ///
    /// # Errors
    /// [`SimulationError::Past`] for more than 366 days or a step outside 1 s to a day.
    pub fn past(&self, from: Timestamp, to: Timestamp, step_s: u32) -> Result<Past, SimulationError> {
        let days = to.since(from).0.max(0) / 86_400_000;
        if days > 366 || !(1..=86_400).contains(&step_s) {
            return Err(SimulationError::Past { days, step_s: i64::from(step_s) });
        }
        // 0.3 mm/h for three hours: a moisture of 0.1 at most, where the quickest hazard reads 9 mA. The last
        // one ends a day and more before `to`.
        let drizzle = |nth: i64| Storm {
            ramp_min: 30.0,
            hours: 3.0,
            rain_mm_h: 0.3,
            ..front((nth * 4320 + 720) as f64)
        };
        let scenario = Scenario {
            period_s: Some(step_s),
            storm: (0..days / 3 + 1).filter(|nth| nth * 3 + 2 <= days).map(drizzle).collect(),
            ..Scenario::empty("past")
        };
        // Boot 1 has no boot before it: then the past carries the highest one. Restarts count on from far below.
        let boot = if self.run.boot < 10_000 { u32::MAX - 10_000 } else { self.run.boot - 10_000 };
        let run = Run { seed: self.run.seed, speed: None, boot, start: from };
        let mut simulation = Self::new(self.city.clone(), scenario, run)?;
        simulation.weather_every_ms = simulation.weather_every_ms.max(i64::from(step_s) * 1000);
        Ok(Past { simulation, to, ready: VecDeque::new() })
    }
}

/// Past messages, in order of time. See [`Simulation::past`].
#[derive(Debug)]
pub struct Past {
    simulation: Simulation,
    to: Timestamp,
    ready: VecDeque<Message>,
}

impl Iterator for Past {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        while self.ready.is_empty() {
            let due = self.simulation.next_due();
            if due >= self.to {
                return None;
            }
            self.ready.extend(self.simulation.advance(due));
        }
        self.ready.pop_front()
    }
}
