//! A socket whose writes are gathered, and made when its owner says so.
//!
//! `h2` flushes after every frame of 256 bytes or more: a system call for each answer. Behind this it flushes into
//! memory, and the connection's task empties that with one call at the end of its turn.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use super::traffic::{Pings, Traffic};

/// Bytes that wait at most; then the writer waits for the socket.
const WAITING_BYTES_MAX: usize = 256 * 1024;
/// Memory that an idle connection keeps.
const IDLE_BYTES_KEPT: usize = 16 * 1024;
/// How long the other side may take to read why the connection ends, and to close it. Source: grpc-go waits as long.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// The socket; both clones are used by the one task that owns the connection, so the lock is never contended.
#[derive(Debug)]
pub(super) struct Coalesced<T>(Arc<Mutex<Waiting<T>>>);

#[derive(Debug)]
struct Waiting<T> {
    io: T,
    out: BytesMut,
    traffic: Traffic,
}

impl<T> Clone for Coalesced<T> {
    fn clone(&self) -> Self {
        Coalesced(self.0.clone())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Coalesced<T> {
    pub(super) fn new(io: T) -> Coalesced<T> {
        Coalesced(Arc::new(Mutex::new(Waiting { io, out: BytesMut::new(), traffic: Traffic::new() })))
    }

    /// Writes what waits. If the socket does not take all of it, the task is woken when it takes more.
    ///
    /// # Errors
    /// Whatever the socket says.
    pub(super) fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_write_out(cx)
    }

    /// When something last came.
    pub(super) fn heard_at(&self) -> Instant {
        self.0.lock().traffic.heard_at()
    }

    /// The pings that have come since this was last asked.
    pub(super) fn take_pings(&self) -> Option<Pings> {
        self.0.lock().traffic.take_pings()
    }

    /// How many calls were taken back since this was last asked.
    pub(super) fn take_resets(&self) -> u32 {
        self.0.lock().traffic.take_resets()
    }

    /// Says why the connection ends, and waits a little until that is read: a socket that is closed while something is
    /// still coming in may take its last words with it. Nobody else may use the connection any more.
    pub(super) async fn farewell(mut self, reason: h2::Reason, debug: &str) {
        {
            let mut waiting = self.0.lock();
            let goaway = waiting.traffic.goaway(reason, debug);
            // Who has not read what came before will not read this.
            waiting.out.extend_from_slice(&goaway.unwrap_or_default());
        }
        let read = async {
            if std::future::poll_fn(|cx| self.poll_write_out(cx)).await.is_err() {
                return;
            }
            let mut ignored = BytesMut::with_capacity(IDLE_BYTES_KEPT);
            while self.read_buf(&mut ignored).await.is_ok_and(|len| len > 0) {
                ignored.clear();
            }
        };
        // Who does not close it has had its time.
        let _ = timeout(FAREWELL_TIME, read).await;
    }
}

impl<T: AsyncWrite + Unpin> Waiting<T> {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        if self.out.capacity() > IDLE_BYTES_KEPT {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, data: &[u8]) {
        self.traffic.say(data);
        self.out.extend_from_slice(data);
    }

    /// Room for more, if there is any.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.out.len() >= WAITING_BYTES_MAX {
            // A short write makes room too.
            if let Poll::Ready(Err(error)) = self.poll_write_out(cx) {
                return Poll::Ready(Err(error));
            }
        }
        match WAITING_BYTES_MAX.saturating_sub(self.out.len()) {
            0 => Poll::Pending,
            room => Poll::Ready(Ok(room)),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Coalesced<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let waiting = &mut *self.0.lock();
        let before = out.filled().len();
        ready!(Pin::new(&mut waiting.io).poll_read(cx, out))?;
        waiting.traffic.hear(&out.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Coalesced<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut waiting = self.0.lock();
        let room = ready!(waiting.poll_room(cx))?;
        let len = room.min(data.len());
        waiting.put(&data[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut waiting = self.0.lock();
        let room = ready!(waiting.poll_room(cx))?;
        let mut len = 0;
        for slice in data {
            let part = (room - len).min(slice.len());
            waiting.put(&slice[..part]);
            len += part;
        }
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: see [`Coalesced::poll_write_out`].
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.0.lock();
        ready!(waiting.poll_write_out(cx))?;
        Pin::new(&mut waiting.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn writes_wait_until_they_are_written_out() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut io = Coalesced::new(near);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(Pin::new(&mut io).poll_write(&mut cx, b"one "), Poll::Ready(Ok(4))));
        assert!(Pin::new(&mut io).poll_flush(&mut cx).is_ready());
        let mut read = [0; 8];
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(1), far.read(&mut read)).await;
        assert!(nothing.is_err());
        assert!(matches!(Pin::new(&mut io).poll_write(&mut cx, b"two!"), Poll::Ready(Ok(4))));
        assert!(io.poll_write_out(&mut cx).is_ready());
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"one two!");
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_stops_the_writer() {
        let (near, _far) = tokio::io::duplex(64);
        let mut io = Coalesced::new(near);
        let mut cx = Context::from_waker(Waker::noop());
        let mut written = 0;
        while let Poll::Ready(len) = Pin::new(&mut io).poll_write(&mut cx, &[7; 10_000]) {
            written += len.unwrap();
        }
        assert!((WAITING_BYTES_MAX..=WAITING_BYTES_MAX + 64).contains(&written), "{written}");
    }
}
