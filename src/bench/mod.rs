//! `lampguard bench`: what this machine and this program do, measured in one run.
//!
//! ```text
//!  floor   pure functions in this process                                   floor.rs
//!  profiles  decoding alone: each payload shape beside the canonical one   profiles.rs
//!  burst   capacity: a separate load process, our own `serve` as a child    burst.rs, peer.rs
//!  paced   latency at a fixed rate, acknowledgement and alarm               paced.rs
//!  flood   every post dangerous at once: the board, messages a person, who was told of   flood.rs
//!  connections  many sensors at once: KB and CPU of each, both sides    connections.rs
//!  engine  the rules alone: a reading, a sweep, a storm                     engine.rs
//!  alarms  hazards of simulated cities told in time, and false alarms       alarms/
//!  night   whole nights with people: told, arrived, late and why          night/
//!  crash   nothing acknowledged is lost: kills, restarts, outages           crash.rs, story.rs, oracle.py
//!  nodes   two nodes receive, a third owns the posts; one is killed          nodes.rs
//!  tellings  a process dies between two steps of a telling                  tellings/
//!
//!  site.rs      temporary folder, register, configuration, ports     process.rs   children and their CPU
//!  services.rs  lampguard, Mosquitto, VictoriaMetrics as children    machine.rs   what else the machine did
//!  measure.rs   one contest: load, processor time, memory
//!  load.rs, sink.rs  hidden commands: sender, raw consumer           stub.rs      HTTP server of few words
//!  mqtt.rs, payload.rs  frames without a library                     row.rs       what is printed
//!  city.rs      one simulated city in memory                         random.rs    chance with a seed
//! ```
//! Everything runs on loopback, on ports that were free a moment ago, and ends with this process. Standard
//! output holds rows (`key=value`) alone; the rest goes to standard error.

mod alarms;
mod burst;
mod city;
mod connections;
mod crash;
mod engine;
mod flood;
mod floor;
mod load;
mod machine;
mod measure;
mod mqtt;
mod night;
mod nodes;
mod paced;
mod payload;
mod peer;
mod process;
mod profiles;
mod publisher;
mod random;
mod row;
mod services;
mod sink;
mod site;
mod story;
mod stub;
mod tellings;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

/// Measures this machine and this program.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Pure functions in this process, nanoseconds per operation.
    Floor(floor::Floor),
    /// Decoding alone: processor seconds per million readings for each payload shape.
    Profiles(profiles::Options),
    /// Capacity: readings as fast as they go in, until every one is durable.
    Burst(burst::Burst),
    /// Latency at a fixed rate: acknowledgement, and reading to webhook.
    Paced(paced::Paced),
    /// Every post becomes dangerous: how fast the board answers, how many messages each person gets, who was told of.
    Flood(flood::Flood),
    /// Many real connections at once: how many, how fast, memory and processor time of each on both sides.
    Connections(connections::Connections),
    /// The rules alone on one thread: a reading, a sweep over every post, a storm of incidents.
    Engine(engine::Options),
    /// Simulated cities: hazards told in time, false alarms, beside a naive rule.
    Alarms(alarms::Alarms),
    /// Whole nights on a simulated clock, with people who sleep, drive and forget: who is told when, who comes late.
    Night(night::Options),
    /// Nothing is lost: kill -9, broker restarts, database outages; then a set comparison by another program.
    Crash(crash::Crash),
    /// Several nodes: two receive, a third judges, one is killed on the way; then a set comparison by another program.
    Nodes(nodes::Nodes),
    /// A process dies between any two steps of a telling: each message comes once, or again and marked.
    Tellings(tellings::Options),
    /// The process that dies; started by `tellings`.
    #[command(hide = true)]
    TellingsChild(tellings::TellingsChild),
    /// Sends readings; started by the other scenarios.
    #[command(hide = true)]
    Load(load::Load),
    /// Takes messages from a broker and acknowledges them, nothing else; started by `burst`.
    #[command(hide = true)]
    Sink(sink::Sink),
}

/// Which way readings go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Path {
    /// Straight into the built-in listener.
    Listener,
    /// Through a real Mosquitto.
    Broker,
    /// One after the other.
    Both,
}

impl Path {
    fn has(self, other: Self) -> bool {
        self == other || self == Self::Both
    }
}

/// Runs one scenario.
pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench.scenario {
        Scenario::Floor(options) => floor::run(&options),
        Scenario::Profiles(options) => profiles::run(&options),
        Scenario::Burst(options) => burst::run(&options),
        Scenario::Paced(options) => paced::run(&options),
        Scenario::Flood(options) => flood::run(&options),
        Scenario::Connections(options) => connections::run(&options),
        Scenario::Engine(options) => engine::run(&options),
        Scenario::Alarms(options) => alarms::run(&options),
        Scenario::Night(options) => night::run(&options),
        Scenario::Crash(options) => crash::run(&options),
        Scenario::Nodes(options) => nodes::run(&options),
        Scenario::Tellings(options) => tellings::run(&options),
        Scenario::TellingsChild(options) => tellings::run_child(&options),
        Scenario::Load(options) => load::run(&options),
        Scenario::Sink(options) => sink::run(&options),
    }
}
