//! The second subscription: while the journal is stopped, the judge goes on hearing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::packet::{self, Packet, Version};
use super::wire::{Wire, WireError};
use super::{Dialect, KEEP_ALIVE, Link, PACKET_MAX, cut_oversize};
use crate::intake::{Chunk, Message, cost_of};

/// While the journal is stopped, a second subscription without promises keeps the judge hearing.
pub(super) async fn listen_while_stopped(link: Arc<Link>) {
    let mut stopped = link.context.inlet.gate.watch();
    loop {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            return;
        }
        warn!(broker = %link.options.id, "second subscription opened, for the judge alone");
        let hearing = tokio::spawn(hear(link.clone()));
        let _ = stopped.wait_for(|stopped| !*stopped).await;
        hearing.abort();
        info!(broker = %link.options.id, "second subscription closed");
    }
}

async fn hear(link: Arc<Link>) {
    let client_id = format!("{}-judge-{:08x}", link.options.client_id, rand::random::<u32>());
    let mut dialect = Dialect::new(link.options.protocol);
    loop {
        let version = dialect.next();
        let Err(e) = hear_once(&link, &client_id, version).await;
        if !dialect.failed(version, &e) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// One connection, until it ends.
async fn hear_once(
    link: &Arc<Link>,
    client_id: &str,
    version: Version,
) -> Result<std::convert::Infallible, WireError> {
    let hello = link.hello(client_id, true);
    let (mut wire, _) = Wire::open(&link.options.remote, version, &hello, PACKET_MAX).await?;
    // Never in the group: as a member of it this connection would take messages away that somebody has to store.
    wire.subscribe(&link.own_filters(), 0)?;
    wire.flush().await?;
    let mut ping = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    loop {
        tokio::select! {
            _ = ping.tick() => {
                wire.outbox.extend_from_slice(&packet::PING);
                wire.flush().await?;
            }
            ready = wire.ready() => {
                ready?;
                while let Some(packet) = wire.take()? {
                    hand_over(link, packet)?;
                }
            }
        }
    }
}

fn hand_over(link: &Arc<Link>, packet: Packet) -> Result<(), WireError> {
    let publish = match packet {
        // A retained message is state from before; the judge has heard it or must not.
        Packet::Publish(publish) if !publish.retain => publish,
        Packet::Bye(why) => return Err(WireError::Bye(why)),
        _ => return Ok(()),
    };
    let (payload, fate) = cut_oversize(publish.payload);
    let message = Message { topic: publish.topic, payload, token: None, retain: false, alone: false, fate };
    let (inlet, messages) = (&link.context.inlet, vec![message]);
    let chunk = Chunk {
        origin: link.clone(),
        epoch: 0,
        received_at: (link.context.clock)(),
        judge_only: true,
        held: inlet.gate.hold(cost_of(&messages)),
        messages,
    };
    // When even this queue is full the first subscription's copy is being judged already.
    if inlet.gate.has_room() {
        let _ = inlet.try_send(chunk);
    }
    Ok(())
}
