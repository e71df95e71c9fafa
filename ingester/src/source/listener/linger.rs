//! How a connection is closed: a socket that is closed with unread bytes in it takes our last word with it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// What the last word to a sensor may take, and how much of what it still sends is thrown away meanwhile, bytes.
pub(super) const LAST_WORD: Duration = Duration::from_secs(1);
const LAST_BYTES: usize = 256 * 1024;

/// Closes our side and throws away what still comes: a connection closed with unread bytes takes the last word with it.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let _ = timeout(LAST_WORD, async {
        stream.flush().await?;
        stream.shutdown().await?;
        let (mut part, mut left) = ([0; 1024], LAST_BYTES);
        while left > 0 {
            match stream.read(&mut part).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        std::io::Result::Ok(())
    })
    .await;
}
