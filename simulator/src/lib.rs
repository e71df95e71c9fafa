//! A simulated city: lamp posts, rain, leakage, faults, and clients that publish what the sensors measured.
//!
//! The core is pure: `Simulation::advance(now)` in, messages out; the same seed gives the same messages at
//! the same instants. Sockets stand in [`publish`] alone, and it is given its clock. This crate is the
//! outside world: of lampguard it knows the words of `lampguard-model` and nothing else.
//!
//! | file | what it holds |
//! |---|---|
//! | [`scenario`] | what happens to a city: rain, hazards, events, as commented TOML |
//! | [`params`] | what a city is made of: shares and ranges, as commented TOML |
//! | [`city`], `street` | posts, feeders, patches of ground; roads and zones; the register file |
//! | [`sensor`] | models of sensors |
//! | [`lighting`] | when it is dark, and when lamps are meant to burn |
//! | [`weather`], [`moisture`], `feed` | the sky, how wet posts get, what the office is told of it |
//! | [`physics`] | insulation, leakage, shell voltage; what is dangerous |
//! | [`event`] | what else can happen to posts, feeders, sensors and links |
//! | [`world`], `fault` | all of that at one instant |
//! | `report`, `measure`, `payload` | what a sensor reads, what its faults make of it, in which words it says so |
//! | [`quirks`], `delivery` | odd readings; what lies between a sensor and its reader |
//! | [`simulation`], `timetable`, `past` | who reports when |
//! | [`control`] | what can be done to a running city |
//! | [`truth`] | the hazards as they really are |
//! | [`recording`] | messages and truth as JSON lines |
//! | [`gallery`] | every waveform and quirk as a small picture |
//! | [`publish`] | gateways, or a connection per post, over real MQTT |
//!
//! Speed compresses weather and ageing only: timestamps are *now*, intervals are real.

mod chance;
pub mod city;
mod client;
pub mod control;
mod delivery;
pub mod event;
mod fault;
mod feed;
mod fleet;
pub mod gallery;
pub mod lighting;
mod link;
mod mailbox;
mod measure;
pub mod moisture;
mod names;
mod pace;
pub mod params;
mod past;
mod payload;
pub mod physics;
pub mod publish;
pub mod quirks;
pub mod recording;
mod report;
pub mod scenario;
pub mod sensor;
pub mod simulation;
mod street;
mod timetable;
pub mod truth;
pub mod weather;
pub mod world;

pub use city::{City, CityError, Class, POSTS_MAX, ZONES, Zone};
pub use control::{Command, CommandError};
pub use params::Params;
pub use past::Past;
pub use scenario::{Scenario, ScenarioError};
pub use sensor::Shape;
pub use simulation::{Message, Run, Simulation, SimulationError, Source};
pub use truth::Truth;
