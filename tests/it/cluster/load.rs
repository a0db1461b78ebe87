//! Writers that go on whatever becomes of single members, and remember what was acknowledged.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, Error};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;

/// Writers; each waits for its own writes.
const WRITERS: usize = 8;
/// How long one write may take, all attempts together.
const WRITE_MAX: Duration = Duration::from_secs(20);
/// How long an attempt may take that is not answered at all: its member may have lost its machine.
const ATTEMPT_MAX: Duration = Duration::from_secs(8);
/// Before the next member is tried.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Writers at work. They end with this value.
pub struct Load {
    writers: JoinSet<Written>,
    shared: Arc<Shared>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Written {
    /// The keys whose write was acknowledged.
    pub acknowledged: Vec<String>,
    /// Errors that do not say that another attempt may succeed.
    pub failures: Vec<String>,
    /// Attempts after which the next member was tried.
    pub retries: usize,
}

struct Shared {
    acknowledged: AtomicUsize,
    progress: Notify,
    stop: CancellationToken,
}

impl Load {
    /// Writers that begin at different ones of `endpoints`.
    pub fn start(endpoints: Vec<String>) -> Load {
        let (acknowledged, progress, stop) = Default::default();
        let shared = Arc::new(Shared { acknowledged, progress, stop });
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(writer, endpoints.clone(), shared.clone()));
        }
        Load { writers, shared }
    }

    /// Waits until so many more writes are acknowledged.
    pub async fn acknowledges(&self, more: usize) {
        let target = self.shared.acknowledged.load(Ordering::Relaxed) + more;
        let reached = async {
            while self.shared.acknowledged.load(Ordering::Relaxed) < target {
                self.shared.progress.notified().await;
            }
        };
        timeout(WRITE_MAX, reached).await.expect("writes go on");
    }

    /// Lets the writers end.
    pub async fn end(mut self) -> Written {
        self.shared.stop.cancel();
        let mut all = Written::default();
        while let Some(written) = self.writers.join_next().await {
            let written = written.expect("a writer does not panic");
            all.acknowledged.extend(written.acknowledged);
            all.failures.extend(written.failures);
            all.retries += written.retries;
        }
        all
    }
}

async fn write(writer: usize, endpoints: Vec<String>, shared: Arc<Shared>) -> Written {
    let mut written = Written::default();
    let mut at = writer % endpoints.len();
    let mut client = connect(&endpoints[at]).await;
    for number in 0.. {
        if shared.stop.is_cancelled() {
            break;
        }
        let key = format!("load/{writer}/{number}");
        let attempts = async {
            loop {
                match timeout(ATTEMPT_MAX, client.put(key.as_str(), "x", None)).await {
                    Ok(Ok(_)) => return true,
                    Ok(Err(error)) if !may_succeed_elsewhere(&error) => {
                        written.failures.push(format!("{key} at {}: {error:?}", endpoints[at]));
                        return false;
                    }
                    Ok(Err(_)) | Err(_) => {}
                }
                written.retries += 1;
                sleep(RETRY_PAUSE).await;
                at = (at + 1) % endpoints.len();
                client = connect(&endpoints[at]).await;
            }
        };
        match timeout(WRITE_MAX, attempts).await {
            Ok(true) => {
                written.acknowledged.push(key);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                shared.progress.notify_one();
            }
            Ok(false) => {}
            Err(_) => written.failures.push(format!("{key}: no attempt succeeds")),
        }
    }
    written
}

async fn connect(endpoint: &str) -> Client {
    Client::connect([endpoint], None).await.expect("etcd-client connects lazily")
}

fn may_succeed_elsewhere(error: &Error) -> bool {
    match error {
        // With a source it is not the server's word but the client's own about its connection: `Cancelled` or `Unknown` in
        // Rust, where Go says `Unavailable`.
        Error::GRpcStatus(status) => status.code() == Code::Unavailable || status.source().is_some(),
        Error::TransportError(_) => true,
        _ => false,
    }
}
