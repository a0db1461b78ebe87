//! Pings, so that a connection which leads nowhere is noticed: a machine that lost its power sends no farewell.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};

use super::{PING_AFTER, PONG_TIMEOUT};

/// Pings one connection.
pub(super) struct Keepalive {
    pings: PingPong,
    heard: Arc<AtomicU64>,
}

impl Keepalive {
    /// Pings over `pings`; `heard` counts what comes in.
    pub(super) fn new(pings: PingPong, heard: Arc<AtomicU64>) -> Keepalive {
        Keepalive { pings, heard }
    }

    /// Returns when a ping was answered.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(super) async fn ping(&mut self) -> Result<(), h2::Error> {
        self.pings.ping(Ping::opaque()).await.map(|_| ())
    }

    /// Returns when the other side is silent: no answer to a ping and nothing else either. Behind a long message a ping
    /// may be late, but then the other side says that it reads.
    pub(super) async fn until_silent(mut self) {
        loop {
            sleep(PING_AFTER).await;
            // Relaxed: the count orders nothing but itself.
            let count = |heard: &AtomicU64| heard.load(Ordering::Relaxed);
            let heard = self.heard.clone();
            let mut before = count(&heard);
            let mut pong = pin!(self.ping());
            loop {
                match timeout(PONG_TIMEOUT, &mut pong).await {
                    Ok(Ok(())) => break,
                    // Its owner sees the end of the connection, too.
                    Ok(Err(_)) => return,
                    Err(_) if count(&heard) == before => return,
                    Err(_) => before = count(&heard),
                }
            }
        }
    }
}

/// A socket that counts what comes in.
#[derive(Debug)]
pub(super) struct Heard<T> {
    io: T,
    reads: Arc<AtomicU64>,
}

impl<T> Heard<T> {
    /// Counts reads of `io` that brought something in `reads`.
    pub(super) fn new(io: T, reads: Arc<AtomicU64>) -> Heard<T> {
        Heard { io, reads }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, out);
        if out.filled().len() > before {
            // Relaxed: as where it is read.
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
