//! `bench sink` (hidden): the least a consumer can do. Subscribes at QoS 1, acknowledges, keeps nothing.
//!
//! What it costs is the floor of the broker path on this machine, to be read beside our own figure.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use super::mqtt::{self, Incoming};

/// Takes messages from a broker and acknowledges them, nothing else.
#[derive(Debug, Args)]
pub(super) struct Sink {
    /// host:port of the broker.
    #[arg(long)]
    from: String,
    /// Ends after so many messages.
    #[arg(long)]
    expect: u64,
}

/// Says `ready` once it is subscribed, and one JSON line when all have come; then waits to be looked at
/// until its standard input is closed.
pub(super) fn run(options: &Sink) -> Result<()> {
    let mut stream = mqtt::connect(&options.from, "lampguard-bench-sink", false)?;
    stream.write_all(&mqtt::subscribe("lamp/+/+/reading")).context("subscribing")?;
    let (mut incoming, mut acks, mut got) = (Incoming::new(), Vec::new(), 0u64);
    while got < options.expect {
        if !incoming.fill(&mut stream).context("reading from the broker")? {
            bail!("the broker closed the connection after {got} messages");
        }
        acks.clear();
        while let Some((first, body)) = incoming.next() {
            match (first >> 4, body) {
                (9, _) => println!("ready"),
                (3, [high, low, rest @ ..]) => {
                    got += 1;
                    let topic = usize::from(u16::from_be_bytes([*high, *low]));
                    if let Some([a, b]) = rest.get(topic..topic + 2).filter(|_| first & 6 == 2) {
                        mqtt::puback(&mut acks, [*a, *b]);
                    }
                }
                _ => {}
            }
        }
        stream.write_all(&acks).context("acknowledging to the broker")?;
    }
    println!("{}", json!({ "got": got }));
    std::io::stdin().read_to_end(&mut Vec::new()).context("waiting to be let go")?;
    Ok(())
}
