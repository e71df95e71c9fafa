//! Messages that wait for one connection, up to a limit.
//!
//! The city puts in, one connection takes out. What happens at the limit is the city's choice: it waits
//! ([`Mailbox::push`]), or the oldest message goes ([`Mailbox::push_over`]).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::simulation::Message;

pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    limit: usize,
    /// Something came in, or nothing more will.
    filled: Notify,
    /// Something was taken out.
    taken: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    closed: bool,
}

impl Mailbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: Mutex::default(), limit, filled: Notify::new(), taken: Notify::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in, or gives it back when the mailbox is full.
    pub(crate) fn push(&self, message: Message) -> Result<(), Message> {
        let mut queue = self.queue();
        if queue.messages.len() >= self.limit {
            return Err(message);
        }
        queue.messages.push_back(message);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts a message in; true when the oldest one had to go for it.
    pub(crate) fn push_over(&self, message: Message) -> bool {
        let mut queue = self.queue();
        let full = queue.messages.len() >= self.limit;
        if full {
            queue.messages.pop_front();
        }
        queue.messages.push_back(message);
        self.filled.notify_one();
        full
    }

    pub(crate) fn pop(&self) -> Option<Message> {
        let message = self.queue().messages.pop_front();
        if message.is_some() {
            self.taken.notify_one();
        }
        message
    }

    /// Waits until something came in since the last wait, or the mailbox was closed. There is one who waits.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until [`Mailbox::push`] takes a message. There is one who waits.
    pub(crate) async fn room(&self) {
        while self.queue().messages.len() >= self.limit {
            self.taken.notified().await;
        }
    }

    /// Nothing more will come in.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.filled.notify_one();
    }

    /// True when it is empty and nothing more will come in.
    pub(crate) fn is_done(&self) -> bool {
        let queue = self.queue();
        queue.closed && queue.messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use lampguard_model::Timestamp;

    use super::*;
    use crate::simulation::Source;

    fn message(number: i64) -> Message {
        let (topic, payload) = (String::new(), Vec::new());
        Message { at: Timestamp(number), topic, payload, retain: false, source: Source::Weather(0) }
    }

    #[test]
    fn a_full_mailbox_gives_the_message_back_or_lets_the_oldest_go() {
        let mailbox = Mailbox::new(2);
        assert!(mailbox.push(message(1)).is_ok() && !mailbox.push_over(message(2)));
        assert_eq!(mailbox.push(message(3)), Err(message(3)));
        assert!(mailbox.push_over(message(3)));
        mailbox.close();
        assert!(!mailbox.is_done());
        assert_eq!((mailbox.pop(), mailbox.pop(), mailbox.pop()), (Some(message(2)), Some(message(3)), None));
        assert!(mailbox.is_done());
    }
}
