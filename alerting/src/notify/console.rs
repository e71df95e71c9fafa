//! One clear line on standard output.

use std::io::Write;

use super::fault::{Fault, SendError};
use crate::notice::Notice;

/// Prints what happened, where, how dangerous, until when, and the id.
///
/// # Errors
/// [`Fault::Output`]: standard output is closed or full; tried again.
pub(super) fn print(out: &mut impl Write, notice: &Notice, attempt: u32) -> Result<(), SendError> {
    let printed = writeln!(out, "{}", notice.text(attempt)).and_then(|()| out.flush());
    printed.map_err(|e| SendError::new(Fault::Output, format!("console: {e}")))
}
