//! The second subscription: while the journal is stopped, the judge goes on hearing.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, Packet, QoS};
use tracing::{info, warn};

use super::{Link, cut_oversize};
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
    let (client, mut eventloop) = AsyncClient::new(link.mqtt_options(&client_id, true), 16);
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let _ = client.try_subscribe_many(link.filters(QoS::AtMostOnce));
            }
            // A retained message is state from before; the judge has heard it or must not.
            Ok(Event::Incoming(Packet::Publish(publish))) if !publish.retain => {
                let (payload, fate) = cut_oversize(publish.payload);
                let message =
                    Message { topic: publish.topic, payload, token: None, retain: false, alone: false, fate };
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
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}
