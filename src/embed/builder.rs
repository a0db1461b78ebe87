//! How a server is started.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::clock::ManualClock;
use super::error::StartError;
use super::server::{Server, ended};
use crate::config::{Config, Url};
use crate::env::{Clock, MemoryDisk};
use crate::model::Retention;
use crate::server::{self, Embedding};

/// Entries from one snapshot to the next, in memory: the log of a member that is alone need not be long.
const SNAPSHOT_ENTRIES_IN_MEMORY: u64 = 1000;
/// Entries kept behind a snapshot there.
const CATCHUP_ENTRIES_IN_MEMORY: u64 = 100;

/// A server that is to be started; made by [`Server::in_memory`] and [`Server::in_dir`].
#[derive(Debug, Clone)]
#[must_use = "nothing runs until it is started"]
pub struct Builder {
    place: Place,
    name: Option<String>,
    client_addrs: Vec<String>,
    clock: Option<ManualClock>,
    retention: Option<Retention>,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    Memory(MemoryDisk),
    Folder(PathBuf),
}

impl Builder {
    pub(super) fn new(place: Place) -> Builder {
        Builder { place, name: None, client_addrs: Vec::new(), clock: None, retention: None }
    }

    /// Serves clients of the network there, too: `127.0.0.1:2379`, `127.0.0.1:0` for a free port, or `unix:///a/path`.
    /// Whoever can connect may read and write. May be called several times; without it there is no socket.
    pub fn client_addr(mut self, addr: impl Into<String>) -> Builder {
        self.client_addrs.push(addr.into());
        self
    }

    /// Lets leases run by a clock that stands still until it is moved.
    pub fn clock(mut self, clock: &ManualClock) -> Builder {
        self.clock = Some(clock.clone());
        self
    }

    /// Lets the store compact by itself, and keep so much of its history; all of it if this is not called. Time is that of
    /// the machine.
    pub fn retention(mut self, retention: Retention) -> Builder {
        self.retention = Some(retention);
        self
    }

    /// The member's name for people; `default` if it is not given.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Starts the server and waits until it serves: a moment, in which a folder with a long history is loaded. A folder
    /// must be new or that of a member that is alone; one of several would wait for the others. Dropping the future stops
    /// the server again.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(self) -> Result<Server, StartError> {
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let client_urls = self.client_addrs.iter().map(|addr| client_url(addr)).collect::<Result<Vec<_>, _>>()?;
        let clock = self.clock.clone();
        let (ready_tx, ready_rx) = oneshot::channel();
        let (config, embedding) = self.into_parts(client_urls, ready_tx);

        let stop = CancellationToken::new();
        let task = runtime.spawn(server::run_embedded(config, embedding, stop.clone()));
        let stop = stop.drop_guard();
        let Ok(ready) = ready_rx.await else {
            // It says why, for nobody else can have stopped it.
            ended(task.await)?;
            return Err(server::Error::Failed("it was stopped".into()).into());
        };
        Ok(Server::new(ready, stop, task, clock))
    }

    fn into_parts(self, client_urls: Vec<Url>, ready_tx: oneshot::Sender<server::Ready>) -> (Config, Embedding) {
        let mut config = Config {
            listen_client_urls: client_urls,
            // Nobody joins it.
            listen_peer_urls: Vec::new(),
            ..Config::default()
        };
        config.compaction.retention = self.retention;
        if let Some(name) = self.name {
            config.initial_cluster = config.initial_cluster.replacen(&config.name, &name, 1);
            config.name = name;
        }
        let memory = match self.place {
            Place::Folder(path) => {
                config.data_dir = path;
                None
            }
            Place::Memory(disk) => {
                config.data_dir = PathBuf::from("memory");
                config.snapshot_entries = SNAPSHOT_ENTRIES_IN_MEMORY;
                config.catchup_entries = CATCHUP_ENTRIES_IN_MEMORY;
                Some(disk)
            }
        };
        let lease_clock = self.clock.map(|clock| clock.ticks() as Arc<dyn Clock>);
        (config, Embedding { memory, lease_clock, advertises_listeners: true, ready_tx: Some(ready_tx) })
    }
}

fn client_url(addr: &str) -> Result<Url, StartError> {
    let wrong = |reason: String| StartError::Address { addr: addr.to_owned(), reason };
    let text = if addr.contains("://") { addr.to_owned() } else { format!("http://{addr}") };
    let url = Url::parse(&text).map_err(wrong)?;
    if url.is_secure() {
        return Err(wrong("a server inside a program does not speak TLS".into()));
    }
    if !url.is_bindable() {
        return Err(wrong("the host is no IP address".into()));
    }
    Ok(url)
}
