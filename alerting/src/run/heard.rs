//! What became of notices, on its way from the channels to the judge.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};

use super::{Work, lock};
use crate::notify::Hears;
use crate::store::Delivery;

/// Deliveries that wait aside for the judge.
const HEARD_MAX: usize = 65_536;

/// What became of notices, while the queue had no room: channels never wait for the judge. At most [`HEARD_MAX`]; then the
/// oldest goes, and what it would have told is still in the outbox.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<VecDeque<Delivery>>>);

impl Heard {
    pub(super) fn hears(&self, queue: SyncSender<Work>) -> Hears {
        let aside = self.0.clone();
        Arc::new(move |delivery| {
            if let Err(TrySendError::Full(Work::Delivered(delivery))) =
                queue.try_send(Work::Delivered(delivery))
            {
                let mut aside = lock(&aside);
                if aside.len() >= HEARD_MAX {
                    aside.pop_front();
                }
                aside.push_back(delivery);
            }
        })
    }

    pub(super) fn take(&self) -> VecDeque<Delivery> {
        std::mem::take(&mut *lock(&self.0))
    }
}
