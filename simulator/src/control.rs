//! What can be done to a running city from outside: start rain, make a post leak, cut a feeder.
//!
//! Commands come as JSON objects (`{"do":"leak","post_id":"P00017","leakage_ma":45}`), over the small local
//! HTTP interface of `lampguard simulate --control` and `lampguard demo`, or from a test. They change the world,
//! never the messages: what follows is measured by the sensors as anything else.

use lampguard_model::{Timestamp, Warning};
use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind, Target};
use crate::scenario::Storm;
use crate::simulation::Simulation;
use crate::street::ZONES;
use crate::weather::front;

/// One thing to do to the city. Zones, posts and feeders by their ids in the register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Rain over a zone, or everywhere; from now on for so many minutes of weather.
    Rain {
        /// Zone id; absent: every zone.
        #[serde(default)]
        zone: Option<String>,
        /// Strength, mm per hour, 0 to 200; 0 ends every rain that a command started.
        rain_mm_h: f64,
        /// Minutes of weather, above 0 to 14,400.
        minutes: f64,
        /// Official warning while it lasts.
        #[serde(default = "no_warning")]
        warning: Warning,
    },
    /// A post leaks from now on, wet or dry, until it is repaired.
    Leak {
        /// Which post.
        post_id: String,
        /// True leakage, mA, above 0 to 5,000.
        leakage_ma: f64,
    },
    /// This many posts with voltage begin to leak dangerously within ten seconds, anywhere in the city.
    Storm {
        /// How many, 1 to all that have voltage now.
        posts: u32,
    },
    /// A feeder loses its supply (a breaker opened, a crew isolated it).
    Cut {
        /// Which feeder.
        feeder: String,
    },
    /// The breaker of a cut feeder is closed again.
    Reclose {
        /// Which feeder.
        feeder: String,
    },
    /// Water reaches the sensor of a post: it reports immersion, then falls silent for good.
    Drown {
        /// Which post.
        post_id: String,
    },
    /// The fault of a post is repaired: insulation and earth as new.
    Repair {
        /// Which post.
        post_id: String,
    },
}

fn no_warning() -> Warning {
    Warning::None
}

/// Why a command was refused. Nothing was changed; show it to whoever sent it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// No zone, post or feeder of that id.
    #[error("there is no {what} {id:?} in this city")]
    Unknown {
        /// `zone`, `post` or `feeder`.
        what: &'static str,
        /// As it was given.
        id: String,
    },
    /// Too much was asked of this city already.
    #[error("{what}: {max} at most in one run; start the city anew")]
    TooMany {
        /// `events` or `rains`.
        what: &'static str,
        /// How many one run takes.
        max: usize,
    },
    /// A number outside its range.
    #[error("{name} is {value}, the range is {min} to {max}")]
    Range {
        /// The key.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Lowest accepted.
        min: f64,
        /// Highest accepted.
        max: f64,
    },
}

/// Strength of rain that can be asked for, mm per hour, and its length, minutes of weather.
const RAIN_MAX: (f64, f64) = (200.0, 14_400.0);
/// Rains and events that commands may start in one run: each rain is looked at in every minute, each event is kept
/// for the truth.
pub const RAINS_MAX: usize = 200;
/// The same for events.
pub const EVENTS_MAX: usize = 1_000_000;
/// A storm of leaks begins within so long, seconds.
const STORM_S: f64 = 10.0;
/// What the posts of such a storm leak, mA.
const STORM_MA: f64 = 80.0;

impl Simulation {
    /// Does one thing to the city at `at`, and says in one line what was done.
    ///
    /// # Errors
    /// [`CommandError`]: nothing was changed.
    pub fn command(&mut self, at: Timestamp, command: &Command) -> Result<String, CommandError> {
        let minute = self.weather_minutes(at).max(self.world().minute());
        if self.world().events().len() >= EVENTS_MAX {
            return Err(CommandError::TooMany { what: "events", max: EVENTS_MAX });
        }
        match command {
            Command::Rain { zone, rain_mm_h, minutes, warning } => {
                self.rain(minute, zone.as_deref(), *rain_mm_h, *minutes, *warning)
            }
            Command::Leak { post_id, leakage_ma } => {
                within("leakage_ma", *leakage_ma, 0.1, 5000.0)?;
                let place = self.post(post_id)?;
                self.happen(EventKind::Leak, Target::Post(place), minute, *leakage_ma);
                Ok(format!("{post_id} leaks {leakage_ma} mA from now on, as far as its earth lets it"))
            }
            Command::Storm { posts } => self.storm(minute, *posts),
            Command::Cut { feeder } => self.at_feeder(feeder, EventKind::Cut, minute, "has lost its supply"),
            Command::Reclose { feeder } => self.at_feeder(
                feeder,
                EventKind::Reclose,
                minute,
                "has its supply again, if it is switched on",
            ),
            Command::Drown { post_id } => {
                let place = self.post(post_id)?;
                self.happen(EventKind::Drown, Target::Post(place), minute, 0.0);
                Ok(format!("water reaches the sensor of {post_id}; it falls silent after two periods"))
            }
            Command::Repair { post_id } => {
                let place = self.post(post_id)?;
                self.happen(EventKind::Repair, Target::Post(place), minute, 0.0);
                Ok(format!("{post_id} is repaired"))
            }
        }
    }

    fn rain(
        &mut self,
        minute: f64,
        zone: Option<&str>,
        rain_mm_h: f64,
        minutes: f64,
        warning: Warning,
    ) -> Result<String, CommandError> {
        within("rain_mm_h", rain_mm_h, 0.0, RAIN_MAX.0)?;
        let place = zone.map(|id| {
            let known = ZONES.iter().position(|zone| zone.id == id);
            known.ok_or_else(|| CommandError::Unknown { what: "zone", id: id.to_owned() })
        });
        let place = place.transpose()?;
        let delay = self.scenario().zone_delay_min;
        let (weather, of_scenario) = self.world_mut().weather_mut();
        if rain_mm_h == 0.0 {
            weather.end_added(of_scenario, minute);
            return Ok("every rain that was asked for ends".to_owned());
        }
        within("minutes", minutes, 0.1, RAIN_MAX.1)?;
        if weather.storms() >= of_scenario + RAINS_MAX {
            return Err(CommandError::TooMany { what: "rains", max: RAINS_MAX });
        }
        // A front reaches the zones one after the other; a rain that is asked for is everywhere at once.
        for nth in 0..ZONES.len() {
            if place.is_none_or(|only| only == nth) {
                weather.add(Storm {
                    hours: minutes / 60.0,
                    ramp_min: 1.0,
                    rain_mm_h,
                    warning,
                    zone: Some(nth as u8 + 1),
                    ..front(minute - delay * nth as f64)
                });
            }
        }
        Ok(format!("{rain_mm_h} mm/h over {} for {minutes} min of weather", zone.unwrap_or("every zone")))
    }

    fn storm(&mut self, minute: f64, posts: u32) -> Result<String, CommandError> {
        // Only what has voltage can become live.
        let live = |place: &u32| self.world().is_powered(*place);
        let can: Vec<u32> = (0..self.city().posts().len() as u32).filter(live).collect();
        let all = can.len() as u32;
        within("posts", f64::from(posts), 1.0, f64::from(all))?;
        let length = STORM_S / 60.0 * self.scenario().speed;
        for nth in 0..posts {
            // Spread over the city and over the ten seconds; every post once.
            let place = can[(u64::from(nth) * u64::from(all) / u64::from(posts)) as usize];
            let later = length * f64::from(nth) / f64::from(posts);
            self.happen(EventKind::Leak, Target::Post(place), minute + later, STORM_MA);
        }
        Ok(format!("{posts} posts begin to leak {STORM_MA} mA within {STORM_S} s"))
    }

    fn at_feeder(
        &mut self,
        id: &str,
        kind: EventKind,
        minute: f64,
        what: &str,
    ) -> Result<String, CommandError> {
        let place = self.city().place_of_feeder(id);
        let place = place.ok_or_else(|| CommandError::Unknown { what: "feeder", id: id.to_owned() })?;
        self.happen(kind, Target::Feeder(place), minute, 0.0);
        Ok(format!("{id} {what}"))
    }

    fn post(&self, id: &str) -> Result<u32, CommandError> {
        let place = self.city().place_of_post(id);
        place.ok_or_else(|| CommandError::Unknown { what: "post", id: id.to_owned() })
    }

    fn happen(&mut self, kind: EventKind, target: Target, from_min: f64, value: f64) {
        let event = Event { kind, target, from_min, until_min: f64::INFINITY, value, source: None };
        self.world_mut().add(event);
    }
}

fn within(name: &'static str, value: f64, min: f64, max: f64) -> Result<(), CommandError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(CommandError::Range { name, value, min, max }) }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
