//! One clear line on standard output.

use std::io::Write;

use super::SendError;
use crate::notice::Notice;

/// Prints what happened, where, how dangerous, until when, and the id.
///
/// # Errors
/// [`SendError::Console`]: standard output is closed or full; tried again.
pub(super) fn print(out: &mut impl Write, notice: &Notice, attempt: u32) -> Result<(), SendError> {
    writeln!(out, "{}", notice.text(attempt))?;
    Ok(out.flush()?)
}
