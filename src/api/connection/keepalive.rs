//! Pings to clients that say nothing, so that dead connections are let go of.
//!
//! Whatever comes counts as a sign of life, an answer to a ping or anything else. Source: grpc-go,
//! `internal/transport/http2_server.go`, `keepalive`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep};

use crate::api::KeepaliveOptions;

/// Pings do not come more often, whatever is asked for. Source: grpc-go, `KeepaliveMinServerPingTime`.
const PING_AFTER_MIN: Duration = Duration::from_secs(1);

/// Watches over one connection.
pub(super) struct Keepalive {
    pings: PingPong,
    ping_after: Duration,
    pong_timeout: Duration,
    timer: Pin<Box<Sleep>>,
    /// When the ping was sent that nothing has followed.
    pinged_at: Option<Instant>,
}

impl Keepalive {
    pub(super) fn new(pings: PingPong, options: &KeepaliveOptions) -> Keepalive {
        let ping_after = options.ping_after.max(PING_AFTER_MIN);
        let timer = Box::pin(tokio::time::sleep(ping_after));
        Keepalive { pings, ping_after, pong_timeout: options.pong_timeout, timer, pinged_at: None }
    }

    /// Ready when the client is dead; `heard_at` is when it last said something.
    pub(super) fn poll_dead(&mut self, cx: &mut Context<'_>, heard_at: Instant) -> Poll<()> {
        // What was answered has to be taken before the next ping; that something came is known by `heard_at`.
        let _ = self.pings.poll_pong(cx);
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match self.pinged_at {
                Some(pinged_at) if heard_at < pinged_at => return Poll::Ready(()),
                Some(_) => self.pinged_at = None,
                None if now < heard_at + self.ping_after => {}
                None => {
                    // An error: one is on its way already, or the connection has ended, which its owner sees.
                    let _ = self.pings.send_ping(Ping::opaque());
                    self.pinged_at = Some(now);
                    self.timer.as_mut().reset(now + self.pong_timeout);
                    continue;
                }
            }
            self.timer.as_mut().reset(heard_at + self.ping_after);
        }
    }
}
