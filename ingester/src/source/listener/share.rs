//! Memory for long packets that are half there.
//!
//! Each connection may buffer [`FREE`] bytes. What a longer packet takes beyond that comes out of one stock for all; who
//! gets no share is not read until one is free. Both the wait and the holding have a limit: whoever sends half a packet
//! and stops keeps the others out for so long and no longer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::answer::Lost;

/// Bytes that a connection may buffer without a share.
pub(super) const FREE: usize = 64 * 1024;
/// Bytes beyond that, of all connections together.
pub(super) const STOCK: usize = 32 * 1024 * 1024;
/// A connection that waited so long for a share is told to come again.
const TURN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// A packet that has a share is there as a whole within this time: a megabyte by a slow mobile network.
const WHOLE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 120 });

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// What all connections share.
pub(super) fn stock() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STOCK))
}

/// One connection's part in it.
pub(super) enum Share {
    /// It needs none.
    None,
    /// It waits until there is one.
    Waiting(Acquiring, Instant),
    /// It has one, for a packet that has to be whole by then.
    Held { until: Instant, _permit: OwnedSemaphorePermit },
}

impl Share {
    /// Looks at a buffer of so many bytes, at whose beginning stands a packet of `packet` bytes that is not whole.
    pub(super) fn look(&mut self, stock: &Arc<Semaphore>, buffered: usize, packet: usize) {
        if packet <= FREE {
            *self = Self::None;
        } else if buffered >= FREE && matches!(self, Self::None) {
            // Never more than there is: it would wait for ever.
            let wanted = (packet - FREE).min(STOCK) as u32;
            let acquiring = Box::pin(stock.clone().acquire_many_owned(wanted));
            *self = Self::Waiting(acquiring, Instant::now() + TURN);
        }
    }

    /// Waits for a share, where one is waited for.
    pub(super) async fn granted(&mut self) {
        if let Self::Waiting(acquiring, _) = self
            && let Ok(permit) = acquiring.await
        {
            *self = Self::Held { until: Instant::now() + WHOLE, _permit: permit };
        } else {
            std::future::pending().await
        }
    }

    /// How many bytes the buffer may have; `None` while it may not be read into.
    pub(super) fn limit(&self, packet: usize) -> Option<usize> {
        match self {
            Self::None => Some(FREE),
            Self::Waiting(..) => None,
            Self::Held { .. } => Some(packet),
        }
    }

    /// By when the connection has to go on, with `silence` the end of its keep-alive: who is not read for want of memory
    /// is not silent.
    pub(super) fn deadline(&self, silence: Instant) -> Instant {
        match self {
            Self::None => silence,
            Self::Waiting(_, until) => *until,
            Self::Held { until, .. } => silence.min(*until),
        }
    }

    /// Why the connection ends, when its deadline is over.
    pub(super) fn late(&self) -> Lost {
        match self {
            Self::Waiting(..) => Lost::Crowded,
            Self::Held { until, .. } if *until <= Instant::now() => Lost::Slow,
            _ => Lost::Silent,
        }
    }
}
