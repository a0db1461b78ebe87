//! gRPC's framing of messages on an HTTP/2 stream.
//!
//! ```text
//!   flag (1 byte, 0: not compressed) | length (4 bytes, most significant first) | message
//! ```
//!
//! Source: gRPC over HTTP/2, "Length-Prefixed-Message".

use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use prost::Message;

/// Bytes of a message's head.
const PREFIX_BYTES: usize = 5;
/// What is made room for at once when a message begins: its announced length may be a lie.
const RESERVED_BYTES_MAX: usize = 64 * 1024;
/// What of one message may wait in the connection at a time, so that one stream does not take all of the window.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// A message with its head.
pub(super) fn frame(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + len);
    frame.put_u8(0);
    // Bodies beyond 4 GiB do not come up: they are bounded far below by whoever makes them.
    frame.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut frame);
    frame.freeze()
}

/// Sends one framed message, no faster than the other side reads. Not cancel safe: what was begun must be reset.
///
/// # Errors
/// If the stream has ended; its other half knows why.
pub(super) async fn send(stream: &mut SendStream<Bytes>, frame: Bytes) -> Result<(), Ended> {
    send_pieces(stream, frame, false).await
}

/// As [`send`], and says that there is no more.
pub(super) async fn send_last(stream: &mut SendStream<Bytes>, frame: Bytes) -> Result<(), Ended> {
    send_pieces(stream, frame, true).await
}

async fn send_pieces(stream: &mut SendStream<Bytes>, mut frame: Bytes, is_last: bool) -> Result<(), Ended> {
    while !frame.is_empty() {
        stream.reserve_capacity(frame.len().min(PIECE_BYTES_MAX));
        while stream.capacity() == 0 {
            match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Ended),
            }
        }
        let piece = frame.split_to(stream.capacity().min(frame.len()));
        stream.send_data(piece, is_last && frame.is_empty()).map_err(|_| Ended)?;
    }
    Ok(())
}

/// The stream does not take any more.
#[derive(Debug)]
pub(super) struct Ended;

/// The messages that come on a stream.
#[derive(Debug)]
pub(super) struct Messages<T> {
    stream: RecvStream,
    frames: Frames,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + Default> Messages<T> {
    /// Messages of at most `bytes_max`.
    pub(super) fn new(stream: RecvStream, bytes_max: usize) -> Messages<T> {
        Messages { stream, frames: Frames::new(bytes_max), message: PhantomData }
    }

    /// The next message; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// Why there is none. Nothing can be read after an error.
    pub(super) async fn next(&mut self) -> Result<Option<T>, ReadError> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, ReadError>> {
        loop {
            if let Some(message) = self.frames.next()? {
                return Poll::Ready(T::decode(message).map(Some).map_err(ReadError::malformed));
            }
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // It may be sent again: what is kept here is bounded by the largest message.
                    self.stream.flow_control().release_capacity(data.len())?;
                    self.frames.push(data);
                }
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None if self.frames.is_between_messages() => return Poll::Ready(Ok(None)),
                None => return Poll::Ready(Err(ReadError::malformed("the stream ends within a message"))),
            }
        }
    }

    /// The one message of a stream.
    ///
    /// # Errors
    /// Also if there is none.
    pub(super) async fn only(&mut self) -> Result<T, ReadError> {
        self.next().await?.ok_or_else(|| ReadError::malformed("the stream ends before its message"))
    }

    /// What follows the last message; empty if nothing does.
    ///
    /// # Errors
    /// As [`Messages::next`].
    pub(super) async fn trailers(&mut self) -> Result<http::HeaderMap, ReadError> {
        Ok(std::future::poll_fn(|cx| self.stream.poll_trailers(cx)).await?.unwrap_or_default())
    }
}

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The stream or the connection broke.
    #[error(transparent)]
    Broken(#[from] h2::Error),
    /// The message is too large.
    #[error("message of {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// As announced.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// What comes is no message.
    #[error("{0}")]
    Malformed(String),
}

impl ReadError {
    fn malformed(why: impl ToString) -> ReadError {
        ReadError::Malformed(why.to_string())
    }
}

/// Takes messages out of pieces of bytes. Each gets memory of its own: slices of what was received would keep all of that
/// alive for as long as an entry is kept.
#[derive(Debug)]
pub(super) struct Frames {
    bytes_max: usize,
    /// Received and not looked at.
    rest: Bytes,
    /// What came of the head of the message that is coming in.
    prefix: BytesMut,
    /// The message that is coming in, and its length; `None` before its head is whole.
    message: Option<(BytesMut, usize)>,
}

impl Frames {
    pub(super) fn new(bytes_max: usize) -> Frames {
        Frames { bytes_max, rest: Bytes::new(), prefix: BytesMut::with_capacity(PREFIX_BYTES), message: None }
    }

    /// Adds a piece; everything before must have been taken.
    pub(super) fn push(&mut self, piece: Bytes) {
        debug_assert!(self.rest.is_empty(), "messages are taken before more is read");
        self.rest = piece;
    }

    pub(super) fn is_between_messages(&self) -> bool {
        self.rest.is_empty() && self.prefix.is_empty() && self.message.is_none()
    }

    /// The next message if it is whole.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.message.is_none() {
            let missing = PREFIX_BYTES - self.prefix.len();
            self.prefix.put(self.rest.split_to(missing.min(self.rest.len())));
            if self.prefix.len() < PREFIX_BYTES {
                return Ok(None);
            }
            let flag = self.prefix.get_u8();
            let len = self.prefix.get_u32() as usize;
            if flag != 0 {
                return Err(ReadError::malformed("compressed messages are not supported"));
            }
            if len > self.bytes_max {
                return Err(ReadError::TooLarge { bytes: len, bytes_max: self.bytes_max });
            }
            self.message = Some((BytesMut::with_capacity(len.min(RESERVED_BYTES_MAX)), len));
        }
        let Some((message, len)) = &mut self.message else { return Ok(None) };
        message.put(self.rest.split_to((*len - message.len()).min(self.rest.len())));
        if message.len() < *len {
            return Ok(None);
        }
        Ok(self.message.take().map(|(message, _)| message.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::lodemarkpb::AppendRequest;

    const BYTES_MAX: usize = 300;

    fn request(len: usize) -> AppendRequest {
        AppendRequest { body: vec![7; len].into() }
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let lengths = [0, 1, 200, 0, 290];
        let mut bytes = BytesMut::new();
        for len in lengths {
            bytes.put(frame(&request(len)));
        }
        for cut in 1..bytes.len() {
            let mut frames = Frames::new(BYTES_MAX);
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                frames.push(Bytes::copy_from_slice(piece));
                while let Some(message) = frames.next().unwrap() {
                    found.push(AppendRequest::decode(message).unwrap().body.len());
                }
            }
            assert_eq!(found, lengths, "in pieces of {cut}");
            assert!(frames.is_between_messages());
        }
    }

    #[test]
    fn what_is_too_large_or_compressed_is_told_from_its_head() {
        let next = |bytes: &'static [u8]| {
            let mut frames = Frames::new(BYTES_MAX);
            frames.push(Bytes::from_static(bytes));
            frames.next()
        };
        assert!(matches!(next(&[0, 0, 0, 1, 45]), Err(ReadError::TooLarge { bytes: 301, bytes_max: BYTES_MAX })));
        assert!(matches!(next(&[0, 0xff, 0xff, 0xff, 0xff]), Err(ReadError::TooLarge { .. })));
        assert!(matches!(next(&[1, 0, 0, 0, 1]), Err(ReadError::Malformed(_))));
        assert!(matches!(next(&[0, 0, 0, 1, 44]), Ok(None)));
    }
}
