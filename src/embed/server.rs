//! A server that runs.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::DropGuard;

use super::builder::{Builder, Place};
use super::clock::ManualClock;
use super::store::Store;
use crate::env::MemoryDisk;
use crate::node::Node;
use crate::server::{self, Ready};

/// A server that runs inside this program.
///
/// It ends in order by [`Server::stop`]. Dropped, it ends in order too, but behind the program's back: whoever starts another
/// one in the same folder at once may find it in use. If the runtime ends before that, everything that the server runs ends
/// with it; what was acknowledged in a folder is still there.
#[derive(Debug)]
pub struct Server {
    endpoints: Vec<String>,
    /// Shared with the clock that this server runs by, which must not keep it alive.
    node: Arc<Node>,
    stop: DropGuard,
    task: JoinHandle<Result<(), server::Error>>,
}

impl Server {
    /// A server whose data is in memory and goes with it.
    pub fn in_memory() -> Builder {
        Builder::new(Place::Memory(MemoryDisk::new()))
    }

    /// A server whose data is in the folder `path`, which is made if it is not there. The program `lodemark` may run on
    /// the same folder before and afterwards.
    pub fn in_dir(path: impl Into<PathBuf>) -> Builder {
        Builder::new(Place::Folder(path.into()))
    }

    pub(super) fn new(
        Ready { node, client_urls }: Ready,
        stop: DropGuard,
        task: JoinHandle<Result<(), server::Error>>,
        clock: Option<ManualClock>,
    ) -> Server {
        let (node, endpoints) = (Arc::new(node), client_urls.iter().map(ToString::to_string).collect());
        if let Some(clock) = clock {
            clock.lead(&node);
        }
        Server { endpoints, node, stop, task }
    }

    /// Where clients find it, as URLs with the ports that they really are: one for each address that it was started with,
    /// none without. An etcd client takes them as they are.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The store, without a socket. May be kept; once the server has stopped it answers [`super::Error::Stopped`].
    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(Node::clone(&self.node))
    }

    /// Waits until the server ends by itself, because its disk fails for instance, and gives the reason. Pending as long as
    /// it does not. [`Server::stop`] then tidies up.
    pub async fn failed(&self) -> Arc<str> {
        self.node.stopped().await.unwrap_or_else(|| "it was stopped".into())
    }

    /// Stops the server in order: calls of clients have a second to end, watches end, everything is on disk.
    ///
    /// # Errors
    /// Why it had ended by itself before.
    pub async fn stop(self) -> Result<(), server::Error> {
        let Server { stop, task, .. } = self;
        drop(stop);
        ended(task.await)
    }
}

/// How the server's task has ended.
pub(super) fn ended(outcome: Result<Result<(), server::Error>, JoinError>) -> Result<(), server::Error> {
    outcome.unwrap_or_else(|error| Err(server::Error::Failed(error.to_string().into())))
}
