//! What waits for a disk is looked up beside the sockets, a few at a time: whoever asks for a thousand incidents that
//! nobody has in memory holds up neither the sockets nor the moves on those that are open.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::ApiError;
use crate::serve::Instance;

/// Look-ups at the same time. The others wait; they are at most as many as there are connections.
const LOOKS_MAX: usize = 4;
/// Longest wait for a turn; then 503, come again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose turn it is to read a store.
#[derive(Debug)]
pub(crate) struct Looks {
    turns: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Looks {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(LOOKS_MAX)), patience: PATIENCE }
    }
}

impl Looks {
    /// Does it beside the sockets, when its turn comes.
    async fn take<T, E>(&self, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let turn = tokio::time::timeout(self.patience, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| {
            ApiError::unavailable(
                "the incident store is slow and others wait for it: try again in a few seconds",
            )
        })?;
        let turn = turn.map_err(ApiError::unavailable)?;
        let work = move || {
            // Held to the end of the reading, also when whoever asked has gone.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(ApiError::unavailable)?.map_err(ApiError::unavailable)
    }
}

/// Zone whose crew acts on an incident. An open one is answered from memory and waits for nobody's disk.
///
/// # Errors
/// The store cannot be read, or its turn does not come.
pub(super) async fn zone_of(instance: &Arc<Instance>, id: &str) -> Result<Option<Arc<str>>, ApiError> {
    let (its, asked) = (instance.clone(), id.to_owned());
    // Beside the sockets too: it waits for the rules while they judge.
    let shown = tokio::task::spawn_blocking(move || its.alerting.zone_shown(&asked)).await;
    if let Some(zone) = shown.map_err(ApiError::unavailable)? {
        return Ok(Some(zone));
    }
    let (its, asked) = (instance.clone(), id.to_owned());
    instance.looks.take(move || its.alerting.zone_of(&asked)).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// One thread for sockets: what blocks it stops everything.
    #[tokio::test(flavor = "current_thread")]
    async fn a_slow_store_holds_up_no_socket_and_is_read_by_a_few_at_a_time() {
        let looks = Arc::new(Looks { patience: Duration::from_millis(300), ..Looks::default() });
        let (go, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut asked = Vec::new();
        for n in 0..LOOKS_MAX + 6 {
            let (looks, gate, inside, most) = (looks.clone(), gate.clone(), inside.clone(), most.clone());
            let work = move || {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The store hangs until the test lets go.
                let _ = gate.lock().unwrap_or_else(PoisonError::into_inner).recv();
                inside.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, String>(n)
            };
            asked.push(tokio::spawn(async move { looks.take(work).await }));
        }
        // The sockets' thread goes on, and who waits too long is told to come again.
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(asked.iter().filter(|asked| asked.is_finished()).count(), 6);
        assert_eq!(inside.load(Ordering::SeqCst), LOOKS_MAX);
        drop(go);
        let (mut good, mut busy) = (0, 0);
        for asked in asked {
            match asked.await.unwrap() {
                Ok(_) => good += 1,
                Err(e) => {
                    assert_eq!(e.status, axum::http::StatusCode::SERVICE_UNAVAILABLE);
                    busy += 1;
                }
            }
        }
        assert_eq!((good, busy, most.load(Ordering::SeqCst)), (LOOKS_MAX, 6, LOOKS_MAX));
        assert_eq!(looks.take(|| Ok::<_, String>(7)).await.ok(), Some(7), "turns are given back");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_reader_that_goes_away_gives_its_turn_back_only_when_its_reading_ends() {
        let looks = Looks::default();
        let (go, gate) = channel::<()>();
        let work = move || {
            let _ = gate.recv();
            Ok::<_, String>(())
        };
        assert!(tokio::time::timeout(Duration::from_millis(50), looks.take(work)).await.is_err());
        assert_eq!(looks.turns.available_permits(), LOOKS_MAX - 1);
        drop(go);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if looks.turns.available_permits() == LOOKS_MAX {
                return;
            }
        }
        panic!("the turn is not given back");
    }
}
