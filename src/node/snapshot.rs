//! The whole state as a snapshot of etcd's, for tools: a stream that is made as it is taken.
//!
//! ```text
//!   thread: a moment ── once for the lengths, once for the bytes ──> PARTS_QUEUED ──> task, with a time limit ──> client
//! ```
//!
//! While others write the thread rests now and then ([`Courtesy`]): a put beside it takes hardly longer. A pin keeps what was
//! compacted since from being freed; nothing else is held, and nothing waits for the client but this thread. etcd keeps a
//! transaction open for as long as the client likes to read; here the client has [`CLIENT_TIME`], and
//! [`CLIENT_TIME_PER_MIB`] more for each MiB.
//!
//! Source: etcd, `server/etcdserver/api/v3rpc/maintenance.go`, `Snapshot`.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Node;
use super::courtesy::Courtesy;
use super::error::NodeError;
use crate::bolt::{self, WriteError};
use crate::env::spawn_background;
use crate::etcd_file::{Contents, Summing};
use crate::lease::Lease;
use crate::machine::{Shared, Still};
use crate::metrics::Stopwatch;
use crate::model::{Record, SubRevision};
use crate::mvcc::ReadError;
use crate::storage::LeaseRow;

/// The largest part. Source: etcd, `snapshotSendBufferSize`.
const PART_BYTES: usize = 32 * 1024;
/// Parts that wait for the client: the thread reads while the network sends.
const PARTS_QUEUED: usize = 8;
/// Streams that are served at a time; others wait. Each takes a thread and two of the largest values.
pub(super) const STREAMS_MAX: usize = 4;
/// How long a client may take for the smallest snapshot.
const CLIENT_TIME: Duration = Duration::from_secs(600);
/// How much longer for each MiB.
const CLIENT_TIME_PER_MIB: Duration = Duration::from_secs(1);

/// The next bytes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Of the database; in the last part the digest of all of it.
    pub bytes: Bytes,
    /// How many bytes of the database are still to come.
    pub remaining: u64,
}

/// A snapshot on its way; dropped, it is given up.
#[derive(Debug)]
pub struct SnapshotStream {
    parts: mpsc::Receiver<Result<SnapshotPart, NodeError>>,
    _forwarder: JoinSet<()>,
}

impl Node {
    /// Makes a snapshot of this moment. Local: it needs no leader and no vote. Waits while four others are made.
    ///
    /// # Errors
    /// [`NodeError::Stopped`]; [`NodeError::Fault`] in words if there is no thread.
    pub async fn snapshot(&self) -> Result<SnapshotStream, NodeError> {
        self.barrier.check_running()?;
        let turn = self.snapshot_turns.clone().acquire_owned().await.map_err(|_| NodeError::Stopped)?;
        let (parts_tx, parts) = mpsc::channel(PARTS_QUEUED);
        let (ended_tx, ended) = oneshot::channel();
        let (shared, watch) = (self.shared.clone(), Stopwatch::start());
        let courtesy = Courtesy::new(self.applied.clone());
        let measured = self.metrics.checkpoint.snapshot.clone();
        let make = move || {
            let made = make(&shared, courtesy, parts_tx, turn);
            if made.is_ok() {
                measured.observe(watch.seconds());
            }
            // Who asked may have given up.
            drop(ended_tx.send(made));
        };
        spawn_background("snapshot", make).map_err(|error| NodeError::Fault(error.to_string().into()))?;
        let (out_tx, out) = mpsc::channel(1);
        let mut forwarder = JoinSet::new();
        forwarder.spawn(forward(self.clone(), parts, ended, out_tx));
        Ok(SnapshotStream { parts: out, _forwarder: forwarder })
    }
}

impl SnapshotStream {
    /// The next part; `None` after the one with the digest.
    ///
    /// # Errors
    /// [`NodeError::Timeout`] if the client took too long, [`NodeError::Compacted`] if this member was given another state
    /// meanwhile, [`NodeError::Fault`] if records cannot be read. There is nothing after an error.
    pub async fn next(&mut self) -> Option<Result<SnapshotPart, NodeError>> {
        self.parts.recv().await
    }
}

/// Passes parts on as the client takes them, and tells it why there are no more. With the parts the thread goes, and with it
/// the pin.
async fn forward(
    node: Node,
    mut parts: mpsc::Receiver<SnapshotPart>,
    ended: oneshot::Receiver<Result<(), MakeError>>,
    out: mpsc::Sender<Result<SnapshotPart, NodeError>>,
) {
    let passed = pass(&mut parts, &out).await;
    drop(parts);
    let error = match (passed, ended.await) {
        (Passed::GoneAway, _) | (Passed::All, Ok(Ok(()))) => return,
        (Passed::TooLate, _) => {
            tracing::warn!("a client takes its snapshot too slowly: it is given up");
            NodeError::Timeout
        }
        (Passed::All, Ok(Err(MakeError::Read(error)))) => node.unread(error),
        (Passed::All, Ok(Err(MakeError::Write(error)))) => {
            NodeError::Fault(format!("failed to make a snapshot: {error}").into())
        }
        (Passed::All, Err(_)) => NodeError::Fault("failed to make a snapshot: its thread has failed".into()),
    };
    // Whoever reads on hears of it.
    let _ = out.send(Err(error)).await;
}

/// How far parts were passed on.
#[derive(Debug, PartialEq, Eq)]
enum Passed {
    /// As many as were made.
    All,
    /// Nobody takes more.
    GoneAway,
    /// The client has taken too long.
    TooLate,
}

async fn pass(parts: &mut mpsc::Receiver<SnapshotPart>, out: &mpsc::Sender<Result<SnapshotPart, NodeError>>) -> Passed {
    let mut until = None;
    while let Some(part) = parts.recv().await {
        let until = *until.get_or_insert_with(|| Instant::now() + client_time(part.remaining));
        match timeout_at(until, out.send(Ok(part))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Passed::GoneAway,
            Err(_) => return Passed::TooLate,
        }
    }
    Passed::All
}

/// How long a client may take for so many bytes.
fn client_time(bytes: u64) -> Duration {
    let mebibytes = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
    CLIENT_TIME + CLIENT_TIME_PER_MIB.saturating_mul(mebibytes)
}

/// Why a snapshot is not made to its end.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Makes a snapshot of this moment, on a thread of its own.
fn make(
    shared: &Arc<Shared>,
    courtesy: Courtesy,
    parts: mpsc::Sender<SnapshotPart>,
    _turn: OwnedSemaphorePermit,
) -> Result<(), MakeError> {
    let still = shared.still();
    let (contents, courtesy) = (contents(&still), RefCell::new(courtesy));
    let records = |each: &mut dyn FnMut(SubRevision, &Record) -> Result<(), MakeError>| {
        still.each_record(shared, &mut |at, record| {
            // The first pass sends nothing and would not notice.
            if parts.is_closed() {
                return Err(WriteError::Io(io::ErrorKind::BrokenPipe.into()).into());
            }
            courtesy.borrow_mut().spend(record.as_bytes().len());
            each(at, record)
        })
    };
    let layout = bolt::plan(bolt::PAGE_BYTES, |writer| contents.fill(&records, writer))?;
    let mut out = Summing::new(Parts { parts: parts.clone(), remaining: layout.bytes(), bytes: Vec::new() });
    bolt::write(layout, &mut out, |writer| contents.fill(&records, writer))?;
    let (mut out, digest) = out.finish();
    let sent = out.end(Bytes::copy_from_slice(&digest.0));
    Ok(sent.map_err(WriteError::Io)?)
}

fn contents(still: &Still) -> Contents {
    let lease = |&(id, Lease { ttl, remaining, granted_at })| LeaseRow { id, ttl, remaining, granted_at };
    Contents {
        applied: still.applied,
        compacted: still.compacted(),
        leases: still.leases.iter().map(lease).collect(),
        members: still.members.clone(),
        removed: still.removed.clone(),
        alarms: still.alarms.clone(),
        downgrade: still.downgrade,
        auth: still.auth.clone(),
    }
}

/// Cuts what is written into parts and waits until each has a place in the queue.
struct Parts {
    parts: mpsc::Sender<SnapshotPart>,
    /// Bytes of the database that are not in parts yet.
    remaining: u64,
    bytes: Vec<u8>,
}

impl Parts {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let part = SnapshotPart { bytes, remaining: self.remaining };
        self.parts.blocking_send(part).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn send_filled(&mut self) -> io::Result<()> {
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(PART_BYTES));
        self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        self.send(bytes.into())
    }

    /// Sends what is left, and the digest.
    fn end(&mut self, digest: Bytes) -> io::Result<()> {
        if !self.bytes.is_empty() {
            self.send_filled()?;
        }
        self.send(digest)
    }
}

impl io::Write for Parts {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = data.len().min(PART_BYTES - self.bytes.len());
        self.bytes.extend_from_slice(&data[..len]);
        if self.bytes.len() == PART_BYTES {
            self.send_filled()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(remaining: u64) -> SnapshotPart {
        SnapshotPart { bytes: Bytes::from_static(b"part"), remaining }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_time_by_the_length_of_its_snapshot() {
        for (mebibytes, seconds) in [(0, 600), (1000, 1600)] {
            let (parts_tx, mut parts) = mpsc::channel(4);
            let (out, mut taken) = mpsc::channel(1);
            let began = Instant::now();
            for remaining in [mebibytes << 20, 1, 0] {
                parts_tx.send(part(remaining)).await.unwrap();
            }
            // It takes one, and then no more.
            let (passed, first) = tokio::join!(pass(&mut parts, &out), taken.recv());
            assert_eq!((passed, first), (Passed::TooLate, Some(Ok(part(mebibytes << 20)))));
            assert_eq!(began.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test]
    async fn parts_are_passed_until_there_are_no_more_or_nobody_takes_them() {
        let (parts_tx, mut parts) = mpsc::channel(4);
        let (out, mut taken) = mpsc::channel(4);
        parts_tx.send(part(0)).await.unwrap();
        drop(parts_tx);
        assert_eq!(pass(&mut parts, &out).await, Passed::All);
        assert_eq!(taken.recv().await, Some(Ok(part(0))));

        let (parts_tx, mut parts) = mpsc::channel(4);
        parts_tx.send(part(0)).await.unwrap();
        drop(taken);
        assert_eq!(pass(&mut parts, &out).await, Passed::GoneAway);
    }
}
