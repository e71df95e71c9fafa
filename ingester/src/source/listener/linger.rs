//! How a connection is closed: a socket that is closed with unread bytes in it takes our last word with it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// What the last word to a sensor may take.
pub(super) const LAST_WORD: Duration = Duration::from_secs(1);
/// Who said goodbye is closing by itself; over a slow network that takes its time, and a reset would look like a failure.
pub(super) const GOODBYE: Duration = Duration::from_secs(10);
/// How much of what it still sends is thrown away meanwhile, bytes: some of the longest packets.
const LAST_BYTES: usize = 4 * 1024 * 1024;

/// Closes our side and throws away what still comes, for so long; false when the other side has not closed by then.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, patience: Duration) -> bool {
    let closed = timeout(patience, async {
        stream.flush().await?;
        stream.shutdown().await?;
        let (mut part, mut left) = ([0; 1024], LAST_BYTES);
        while left > 0 {
            match stream.read(&mut part).await? {
                0 => return Ok(true),
                count => left = left.saturating_sub(count),
            }
        }
        std::io::Result::Ok(false)
    });
    // An error: there is nobody any more.
    closed.await.is_ok_and(|closed| closed.unwrap_or(true))
}
