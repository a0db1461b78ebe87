//! Refuses a message that is too large, in grpc-go's code and words.
//!
//! tonic has such a limit too, but answers with another code (`OutOfRange`), and clients of etcd tell by it whether to
//! try again. So this looks at the length that stands before each message, and fails the body before tonic sees it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::meter::Meter;
use super::{PREFIX_BYTES, status};

/// The body of a call, as long as its messages are short enough.
pub(super) struct MessageLimit {
    body: tonic::body::Body,
    /// Bytes.
    max: usize,
    /// The part of a prefix that has come.
    prefix: Vec<u8>,
    /// What is still to come of the present message.
    rest: usize,
    /// Counts them.
    meter: Option<Arc<Meter>>,
}

impl MessageLimit {
    pub(super) fn new(body: tonic::body::Body, max: usize, meter: Option<Arc<Meter>>) -> MessageLimit {
        MessageLimit { body, max, prefix: Vec::with_capacity(PREFIX_BYTES), rest: 0, meter }
    }

    fn check(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            let of_message = self.rest.min(data.len());
            data.advance(of_message);
            self.rest -= of_message;

            let of_prefix = (PREFIX_BYTES - self.prefix.len()).min(data.len());
            self.prefix.extend_from_slice(&data[..of_prefix]);
            data.advance(of_prefix);
            if let &[_, a, b, c, d] = self.prefix.as_slice() {
                // A u32 fits the address space of all we run on.
                self.rest = u32::from_be_bytes([a, b, c, d]) as usize;
                self.prefix.clear();
                if self.rest > self.max {
                    return Err(status::message_too_large(self.rest, self.max));
                }
                if let Some(meter) = &self.meter {
                    meter.received(self.rest);
                }
            }
        }
        Ok(())
    }
}

impl Body for MessageLimit {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame,
            // The connection or the stream has ended: nobody hears of it, and whoever counts takes it for what it is.
            Some(Err(_)) => return Poll::Ready(Some(Err(Status::cancelled("the client has gone")))),
        };
        if let Some(data) = frame.data_ref() {
            self.check(data)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    const MAX: usize = 3;

    /// Two messages, of 3 and of 4 bytes.
    const MESSAGES: &[u8] = b"\0\0\0\0\x03abc\0\0\0\0\x04abcd";
    const FIRST_BYTES: usize = 8;

    #[test]
    fn the_first_message_that_is_too_large_fails_however_the_bytes_come() {
        for piece_bytes in 1..=MESSAGES.len() {
            let mut limit = MessageLimit::new(tonic::body::Body::new(Empty::new()), MAX, None);
            let mut taken = 0;
            let error = MESSAGES
                .chunks(piece_bytes)
                .find_map(|piece| {
                    taken += piece.len();
                    limit.check(piece).err()
                })
                .expect("the second one is too large");
            assert_eq!(error.code(), tonic::Code::ResourceExhausted);
            assert_eq!(error.message(), "grpc: received message larger than max (4 vs. 3)");
            assert!(taken >= FIRST_BYTES + PREFIX_BYTES, "in pieces of {piece_bytes}: only when its length has come");
        }
    }
}
