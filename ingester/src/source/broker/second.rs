//! The second subscription: while the journal is stopped, the judge goes on hearing.
//!
//! Nobody else hears then what the broker may not send by the first one, so it is watched as that one is: no answer to a
//! ping, a refused SUBSCRIBE or none, and it is opened again. An outage is told once, its end too.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::time::{Instant, interval_at, timeout};
use tracing::{info, warn};

use super::packet::{self, Packet, Version};
use super::wire::{SUBSCRIBE_PATIENCE, Wire, WireError};
use super::{Dialect, Link, OVERSIZE_MAX, backoff, cut_oversize, keep_alive};
use crate::intake::{Chunk, Message, cost_of};

/// Failures by which its pause grows: at most 2 s, for nobody else hears meanwhile.
const FAILURES_COUNTED: u32 = 4;

/// While the journal is stopped, a second subscription without promises keeps the judge hearing.
pub(super) async fn listen_while_stopped(link: Arc<Link>) {
    let mut stopped = link.context.inlet.gate.watch();
    loop {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            return;
        }
        let hearing = tokio::spawn(hear(link.clone()));
        let _ = stopped.wait_for(|stopped| !*stopped).await;
        hearing.abort();
        info!(broker = %link.options.id, "second subscription no longer needed: closed");
    }
}

async fn hear(link: Arc<Link>) {
    let client_id = format!("{}-judge-{:08x}", link.options.client_id, rand::random::<u32>());
    let mut dialect = Dialect::new(link.options.protocol);
    let mut failures = 0;
    loop {
        let version = dialect.next();
        let Err(e) = hear_once(&link, &client_id, version, &mut dialect, &mut failures).await;
        if dialect.failed(version, &e) {
            continue;
        }
        if failures == 0 {
            warn!(
                broker = %link.options.id, error = %e,
                "the second subscription hears nothing: while the journal is stopped the judge may miss what this broker has"
            );
        }
        failures = FAILURES_COUNTED.min(failures + 1);
        tokio::time::sleep(backoff(failures, rand::random())).await;
    }
}

/// One connection, until it ends. `failures` begins anew once its subscription was granted and a ping answered.
async fn hear_once(
    link: &Arc<Link>,
    client_id: &str,
    version: Version,
    dialect: &mut Dialect,
    failures: &mut u32,
) -> Result<Infallible, WireError> {
    let hello = link.hello(client_id, true);
    // What is too long for the first one comes to this one too, retained messages at every connection.
    let (mut wire, welcome) = Wire::open(&link.options.remote, version, &hello, OVERSIZE_MAX).await?;
    dialect.connected();
    // Never in the group: as a member of it this connection would take messages away that somebody has to store.
    wire.subscribe(&link.own_filters(), 0)?;
    wire.flush().await?;
    let granted = timeout(SUBSCRIBE_PATIENCE, granted(link, &mut wire)).await;
    granted.unwrap_or(Err(WireError::Ungranted))?;
    if *failures == 0 {
        warn!(broker = %link.options.id, "second subscription opened, for the judge alone");
    }
    let every = keep_alive(&welcome);
    let mut ping = interval_at(Instant::now() + every, every);
    let mut await_pong = false;
    loop {
        tokio::select! {
            _ = ping.tick() => {
                if std::mem::replace(&mut await_pong, true) {
                    return Err(WireError::Deaf);
                }
                wire.outbox.extend_from_slice(&packet::PING);
                wire.flush().await?;
            }
            ready = wire.ready() => {
                ready?;
                while let Some(packet) = wire.take()? {
                    if matches!(packet, Packet::Pong) {
                        await_pong = false;
                        // It has lasted for a keep-alive: one that is only granted and cut again is an outage still.
                        if std::mem::take(failures) > 0 {
                            warn!(broker = %link.options.id, "the second subscription hears again");
                        }
                    }
                    hand_over(link, packet)?;
                }
            }
        }
    }
}

/// Waits for the answer to SUBSCRIBE; a filter that is refused beside others is told, and the others are heard.
async fn granted(link: &Arc<Link>, wire: &mut Wire) -> Result<(), WireError> {
    loop {
        let codes = match wire.next().await? {
            Packet::Subscribed(codes) => codes,
            // Retained ones may come before the answer.
            packet => {
                hand_over(link, packet)?;
                continue;
            }
        };
        let Some(refused) = codes.iter().copied().find(|code| *code >= 0x80) else { return Ok(()) };
        let why = packet::reason(refused);
        if codes.iter().all(|code| *code >= 0x80) {
            return Err(WireError::Denied(why));
        }
        warn!(broker = %link.options.id, why, "the broker refuses a part of the second subscription: check its access list");
        return Ok(());
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
