//! Pings to clients that say nothing, so that dead connections are let go of.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep};

/// How long nothing must come before a ping. Source: etcd, `--grpc-keepalive-interval`.
const PING_AFTER: Duration = Duration::from_secs(2 * 60 * 60);
/// How long an answer may take. Source: etcd, `--grpc-keepalive-timeout`.
const PONG_TIMEOUT: Duration = Duration::from_secs(20);

/// Watches over one connection.
pub(super) struct Keepalive {
    pings: PingPong,
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl Keepalive {
    pub(super) fn new(pings: PingPong) -> Keepalive {
        Keepalive { pings, timer: Box::pin(tokio::time::sleep(PING_AFTER)), is_waiting: false }
    }

    /// Ready when the client is dead.
    pub(super) fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_waiting {
                match self.pings.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => {
                        self.is_waiting = false;
                        self.set(PING_AFTER);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return self.timer.as_mut().poll(cx),
                }
            } else {
                if self.timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                // An error says that the connection has ended; its owner sees that too.
                self.is_waiting = self.pings.send_ping(Ping::opaque()).is_ok();
                self.set(if self.is_waiting { PONG_TIMEOUT } else { PING_AFTER });
            }
        }
    }

    fn set(&mut self, after: Duration) {
        self.timer.as_mut().reset(Instant::now() + after);
    }
}
