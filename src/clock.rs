//! The system clock. Everybody else is handed it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lampguard_model::Timestamp;

/// Tells the time.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Now, by the system.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The system clock as a value.
pub(crate) fn system() -> Clock {
    Arc::new(now)
}
