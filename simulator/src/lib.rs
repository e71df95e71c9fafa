//! A plain simulated city: lamp posts, rain, leakage, and gateways that publish what the sensors measured.
//!
//! The core is pure: `Simulation::advance(now)` in, messages out; the same seed gives the same messages at
//! the same instants. Sockets stand in [`publish`] alone, and it is given its clock. This crate is the
//! outside world: of lampguard it knows the words of `lampguard-model` and nothing else.
//!
//! | file | what it holds |
//! |---|---|
//! | [`scenario`] | rain, hazards, period and speed as commented TOML |
//! | [`city`] | posts, roads, feeders, earths; the register file |
//! | [`weather`] | rain over four zones, and how wet the posts are |
//! | [`physics`] | insulation, leakage, shell voltage; what is dangerous |
//! | [`post`] | what one sensor reports at one instant |
//! | [`fault`] | quirks of sensors and links |
//! | [`simulation`] | who reports when: the open-loop timetable |
//! | [`truth`] | the hazards as they really are |
//! | [`recording`] | messages and truth as JSON lines |
//! | [`publish`] | gateways, or a connection per post, over real MQTT |
//!
//! Speed compresses weather and ageing only: timestamps are *now*, intervals are real.

mod chance;
pub mod city;
pub mod control;
pub mod fault;
mod fleet;
mod link;
mod mailbox;
mod names;
mod pace;
pub mod physics;
pub mod post;
pub mod publish;
pub mod recording;
pub mod scenario;
pub mod simulation;
pub mod truth;
pub mod weather;

pub use city::{City, CityError, Class, POSTS_MAX, ZONES, Zone};
pub use control::{Command, CommandError};
pub use scenario::{Scenario, ScenarioError};
pub use simulation::{Message, Past, Run, Simulation, SimulationError, Source};
pub use truth::Truth;
