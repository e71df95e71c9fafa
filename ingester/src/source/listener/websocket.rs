//! MQTT over WebSocket: the same bytes in binary frames, subprotocol `mqtt`.
//!
//! 1. Frames are cut at [`FRAME_MAX`] before memory is taken for them; a packet may spread over many.
//! 2. Without logins no browser gets in: any page that somebody opens on this machine could report for any post.

#![expect(clippy::result_large_err, reason = "the library asks for this type")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longest frame and message, bytes; a longer one ends the connection. Told to MQTT 5 as the longest packet, because
/// clients put each packet into one frame.
pub(super) const FRAME_MAX: usize = 64 * 1024;
/// Kept for each connection.
const BUFFER: usize = 4096;
/// What waits to be written: answers to a full window.
const WRITE_MAX: usize = 1024 * 1024;

/// A WebSocket that is read and written as if it were the socket below.
pub(super) struct WebSocket<S> {
    frames: WebSocketStream<S>,
    rest: Bytes,
    /// A frame could not be read: what still comes is only thrown away, as it is.
    broken: bool,
}

/// A frame or message over [`FRAME_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("a frame of more than {FRAME_MAX} bytes")]
pub(super) struct TooLong;

/// True for the error of a frame that is too long.
pub(super) fn is_too_long(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<TooLong>())
}

/// The HTTP part. `browsers`: pages of any origin may come in, because there are logins.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    browsers: bool,
) -> Option<WebSocket<S>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(WRITE_MAX)
        .max_message_size(Some(FRAME_MAX))
        .max_frame_size(Some(FRAME_MAX));
    let check = |request: &Request, response: Response| check(request, response, browsers);
    let frames = tokio_tungstenite::accept_hdr_async_with_config(stream, check, Some(config)).await;
    frames.ok().map(|frames| WebSocket { frames, rest: Bytes::new(), broken: false })
}

fn check(request: &Request, mut response: Response, browsers: bool) -> Result<Response, ErrorResponse> {
    let refuse = |status: StatusCode, text: &str| {
        let mut refused = ErrorResponse::new(Some(text.to_owned()));
        *refused.status_mut() = status;
        Err(refused)
    };
    if !browsers && request.headers().contains_key(header::ORIGIN) {
        return refuse(
            StatusCode::FORBIDDEN,
            "pages of browsers need a login: set [listener] credentials_file\n",
        );
    }
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut offered =
        offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !offered.any(|protocol| protocol.trim() == "mqtt") {
        return refuse(StatusCode::BAD_REQUEST, "the WebSocket subprotocol has to be mqtt\n");
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
    Ok(response)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            if self.broken {
                return Pin::new(self.frames.get_mut()).poll_read(cx, into);
            }
            match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Text(_))) => {
                    self.broken = true;
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text frame")));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                // Pings are answered below us.
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.broken = true;
                    return Poll::Ready(Err(match error {
                        Error::Capacity(_) => io::Error::other(TooLong),
                        error => io::Error::other(error),
                    }));
                }
            }
        }
        let length = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.frames).poll_ready(cx)).map_err(io::Error::other)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.frames).start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_close(cx).map_err(io::Error::other)
    }
}
