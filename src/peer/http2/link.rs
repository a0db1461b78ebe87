//! One member's connection, and how it is kept.
//!
//! ```text
//!   connecting ──────────> connected ── broken ──> connecting (at once, if it had lasted)
//!       └── no answer ──> down, for longer each time ──> connecting
//! ```
//!
//! Whoever has a request waits while the link is connecting, which is bounded, and is told at once when it is down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep};

use super::dial::Dialer;
use super::{BACKOFF_MAX, BACKOFF_MIN, CLIENT_CALLS_MAX, RAFT_CALLS_MAX};
use crate::model::MemberId;
use crate::peer::{Method, PeerError};

/// The way to one member.
#[derive(Debug)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    client_calls: Semaphore,
    raft_calls: Semaphore,
}

/// What keeps a [`Link`]: runs until it is dropped.
pub(super) struct Keeper {
    state: watch::Sender<State>,
    member: MemberId,
    urls: Arc<[String]>,
    dialer: Dialer,
}

#[derive(Debug, Clone)]
enum State {
    Connecting,
    Connected(SendRequest<Bytes>),
    Down(Arc<str>),
}

/// A link to `member`, and what keeps it.
pub(super) fn link(member: MemberId, urls: Arc<[String]>, dialer: Dialer) -> (Arc<Link>, Keeper) {
    let (state_tx, state_rx) = watch::channel(State::Connecting);
    let link = Link {
        state: state_rx,
        client_calls: Semaphore::new(CLIENT_CALLS_MAX),
        raft_calls: Semaphore::new(RAFT_CALLS_MAX),
    };
    (Arc::new(link), Keeper { state: state_tx, member, urls, dialer })
}

impl Link {
    /// Waits for a place among the calls that are under way.
    pub(super) async fn place(&self, method: Method) -> SemaphorePermit<'_> {
        let places = match method {
            Method::Vote
            | Method::PreVote
            | Method::Transfer
            | Method::SnapshotOffset
            | Method::Ping
            | Method::Heartbeat => &self.raft_calls,
            Method::Propose
            | Method::ReadIndex
            | Method::LeaseRenew
            | Method::LeaseRemaining
            | Method::Promote
            | Method::HashKv => &self.client_calls,
        };
        places.acquire().await.expect("it is never closed")
    }

    /// What begins requests; waits while the link is connecting.
    ///
    /// # Errors
    /// [`PeerError::Unreachable`] if it is down, or its keeper has gone.
    pub(super) async fn requests(&self) -> Result<SendRequest<Bytes>, PeerError> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        match state.as_deref() {
            Ok(State::Connected(requests)) => Ok(requests.clone()),
            Ok(State::Down(why)) => Err(PeerError::Unreachable(why.clone())),
            Ok(State::Connecting) | Err(_) => Err(PeerError::Unreachable("its addresses have changed".into())),
        }
    }
}

impl Keeper {
    /// Keeps a connection for as long as it is polled.
    pub(super) async fn run(self) {
        let mut pause = BACKOFF_MIN;
        let mut was_active = true;
        for attempt in 0.. {
            self.state.send_replace(State::Connecting);
            let why = match self.dialer.dial(&self.urls, attempt).await {
                Ok(connection) => {
                    was_active = true;
                    tracing::info!("peer-id" = %self.member, "peer became active");
                    self.state.send_replace(State::Connected(connection.requests.clone()));
                    let since = Instant::now();
                    let why = connection.run().await;
                    if since.elapsed() >= BACKOFF_MAX {
                        pause = BACKOFF_MIN;
                        self.tell_inactive(&why);
                        was_active = false;
                        continue;
                    }
                    why
                }
                Err(why) => why,
            };
            if std::mem::take(&mut was_active) {
                self.tell_inactive(&why);
            }
            self.state.send_replace(State::Down(why));
            sleep(pause).await;
            pause = next(pause);
        }
    }

    /// In etcd's words, which operators look for.
    fn tell_inactive(&self, why: &str) {
        tracing::warn!(
            "peer-id" = %self.member,
            error = why,
            "peer became inactive (message send to peer failed)"
        );
    }
}

/// The pause after the one of `pause`.
fn next(pause: Duration) -> Duration {
    (pause * 2).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses: Vec<u128> = std::iter::successors(Some(BACKOFF_MIN), |&pause| Some(next(pause)))
            .take(7)
            .map(|p| p.as_millis())
            .collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    }
}
