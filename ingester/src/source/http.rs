//! Readings handed over by HTTP, and payloads read again out of quarantine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lampguard_model::Timestamp;
use lampguard_model::record::Source;
use tokio::sync::oneshot;

use crate::intake::{Chunk, Fate, Inlet, Mapping, Message, Origin, Settled, Tally, cost_of};

/// One request that waits for its outcome.
struct Request {
    source: Source,
    mappings: Vec<Mapping>,
    answer: Mutex<Option<oneshot::Sender<Option<Tally>>>>,
}

impl Request {
    fn answer(&self, tally: Option<Tally>) {
        let sender = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // Whoever asked may have gone away; what was stored stays stored.
            let _ = sender.send(tally);
        }
    }
}

impl Origin for Request {
    fn source(&self) -> Source {
        self.source
    }

    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    fn retain_counts(&self) -> bool {
        false
    }

    fn settle(&self, settled: Settled) {
        self.answer(Some(settled.tally));
    }

    fn shed(&self, _epoch: u64) {
        self.answer(None);
    }
}

/// Longest wait for the disk. What is stored after all is a duplicate when it is sent again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a hand-over failed; the sender has to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The journal takes nothing at the moment.
    #[error("the journal takes nothing at the moment; send again later")]
    Stopped,
    /// The instance is ending.
    #[error("the instance is ending; send again later")]
    Ending,
}

/// Hands one payload over and waits until it is durable.
///
/// # Errors
/// [`SubmitError`]: send the same payload again.
pub async fn submit(
    inlet: &Inlet,
    source: Source,
    mappings: Vec<Mapping>,
    topic: &str,
    payload: Bytes,
    fate: Fate,
    received_at: Timestamp,
) -> Result<Tally, SubmitError> {
    let (sender, answer) = oneshot::channel();
    let origin = Arc::new(Request { source, mappings, answer: Mutex::new(Some(sender)) });
    let message =
        Message { topic: topic.to_owned(), payload, token: Some(0), retain: false, alone: false, fate };
    inlet.gate.room().await;
    // While the journal takes nothing the readings are judged, and their sender is told to come again.
    let judge_only = inlet.gate.is_stopped();
    let messages = vec![message];
    let held = inlet.gate.hold(cost_of(&messages));
    let chunk = Chunk { origin, epoch: 0, received_at, judge_only, messages, held };
    if !inlet.send(chunk).await {
        return Err(SubmitError::Ending);
    }
    if judge_only {
        return Err(SubmitError::Stopped);
    }
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(Some(tally))) => Ok(tally),
        Ok(Ok(None)) | Err(_) => Err(SubmitError::Stopped),
        Ok(Err(_)) => Err(SubmitError::Ending),
    }
}
