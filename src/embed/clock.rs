//! A clock that a test moves.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::error::Error;
use crate::env;
use crate::node::Node;

/// A clock for leases that stands still until it is moved; clones are the same clock.
///
/// ```
/// # use std::time::Duration;
/// # use lodemark::embed::{ManualClock, Server};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = ManualClock::new();
/// let server = Server::in_memory().clock(&clock).start().await?;
/// let store = server.store();
/// let lease = store.grant(Duration::from_secs(10)).await?;
/// store.put("/services/web/1", "10.0.0.1:8080").lease(lease.id).await?;
///
/// clock.advance(Duration::from_secs(10)).await?;
/// assert!(store.get("/services/web/1").await?.is_none());
/// # server.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// Nothing but leases runs by it: requests that wait do not grow older when it is moved. Give it to several servers and all
/// of them follow.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    ticks: Arc<env::ManualClock>,
    /// Who runs by it.
    servers: Arc<Mutex<Vec<Weak<Node>>>>,
}

impl ManualClock {
    /// A clock of its own.
    #[must_use]
    pub fn new() -> ManualClock {
        ManualClock::default()
    }

    /// Moves the clock on, and waits until the leases whose time is over by then have ended, on every server that runs by
    /// it: their keys are gone and watches have been told.
    ///
    /// # Errors
    /// [`Error::Timeout`] if that takes seconds: the machine has too much to do. [`Error::Stopped`] if a server stops
    /// meanwhile; one that stopped before is passed over.
    pub async fn advance(&self, by: Duration) -> Result<(), Error> {
        self.ticks.advance(by);
        let servers: Vec<Arc<Node>> = self.servers.lock().iter().filter_map(Weak::upgrade).collect();
        for node in servers {
            node.end_overdue_leases().await?;
        }
        Ok(())
    }

    pub(super) fn ticks(&self) -> Arc<env::ManualClock> {
        self.ticks.clone()
    }

    /// Lets a server that runs by this clock hear of its moves.
    pub(super) fn lead(&self, node: &Arc<Node>) {
        let mut servers = self.servers.lock();
        servers.retain(|server| server.strong_count() > 0);
        servers.push(Arc::downgrade(node));
    }
}
