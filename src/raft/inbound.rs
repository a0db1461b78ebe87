//! What other members ask of this one's Raft.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest};
use parking_lot::Mutex;

use super::consensus::Consensus;
use super::snapshot::{FileReader, SnapshotData, SnapshotOf};
use super::types::{SnapshotMeta, Tc};
use super::wire::{SnapshotHead, Wire, message};
use crate::env::{Disk, File};
use crate::model::MemberId;
use crate::peer::{BoxStream, Method, PeerError, Refusal};
use crate::proto::lodemarkpb as pb;
use crate::storage;

impl Consensus {
    /// Answers a call about the log.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], also for methods that are not Raft's; [`Refusal::Stopped`].
    pub async fn answer(&self, from: MemberId, method: Method, body: Bytes) -> Result<Bytes, Refusal> {
        match method {
            Method::Vote => {
                let request = VoteRequest::decode(body)?;
                Ok(self.raft.vote(request).await.map_err(stopped)?.encode())
            }
            Method::PreVote => {
                let request = VoteRequest::decode(body)?;
                Ok(self.raft.pre_vote(request).await.map_err(stopped)?.encode())
            }
            Method::Heartbeat => {
                let request = AppendEntriesRequest::decode(body)?;
                let before = request.prev_log_id;
                let answer = self.raft.append_entries(request).await.map_err(stopped)?;
                let result = answer.into_stream_result(before, before);
                self.note_leader(&result);
                Ok(result.encode())
            }
            Method::Transfer => {
                let request = TransferLeaderRequest::decode(body)?;
                let answer = self.raft.handle_transfer_leader(request).await.map_err(stopped)?;
                let refused = answer.err().map(|error| error.to_string()).unwrap_or_default();
                Ok(message(&pb::TransferResponse { refused }))
            }
            Method::SnapshotOffset => {
                let head = SnapshotHead::decode(body)?;
                let offset = self.incoming.offset(from, head.sending);
                Ok(message(&pb::SnapshotOffset { offset }))
            }
            Method::Propose
            | Method::ReadIndex
            | Method::LeaseRenew
            | Method::LeaseRemaining
            | Method::Promote
            | Method::HashKv
            | Method::Ping => Err(Refusal::malformed(format!("{method:?} is not about the log"))),
        }
    }

    /// Answers each request of an append stream, in order; ends at the first that cannot be read.
    pub fn answer_appends(&self, requests: BoxStream<Result<Bytes, PeerError>>) -> BoxStream<Result<Bytes, Refusal>> {
        let broken = Arc::new(Mutex::new(None));
        let decoded = until_broken(requests, broken.clone());
        let this = self.clone();
        let answers = self.raft.stream_append(decoded).map(move |answer| match answer {
            Ok(answer) => {
                this.note_leader(&answer);
                Ok(answer.encode())
            }
            Err(fatal) => Err(stopped(fatal)),
        });
        // Only once the answers have ended it is known whether a request was bad.
        let last = futures_util::stream::once(async move { broken.lock().take() });
        Box::pin(answers.chain(last.filter_map(|refusal| async move { refusal.map(Err) })))
    }

    /// Whoever's append is not refused leads.
    fn note_leader(&self, answer: &StreamAppendResult<Tc>) {
        if !matches!(answer, Err(StreamAppendError::HigherVote(_))) {
            self.leader_contact.renew();
        }
    }

    /// Takes the bytes of a snapshot, builds a checkpoint of them aside once they are whole, and installs that.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if they do not follow what is there or are damaged, [`Refusal::Stopped`] if they broke off
    /// (what arrived is kept for another try) or cannot be stored.
    pub async fn take_snapshot(
        &self,
        from: MemberId,
        head: Bytes,
        mut chunks: BoxStream<Result<Bytes, PeerError>>,
    ) -> Result<Bytes, Refusal> {
        let SnapshotHead { vote, meta, sending, offset } = SnapshotHead::decode(head)?;
        let mut arriving = self.incoming.begin(from, sending, offset).await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| Refusal::Stopped(error.to_string().into()))?;
            arriving = self.incoming.write(arriving, chunk).await?;
        }
        let built = self.incoming.build(arriving, &meta).await?;
        tracing::info!(%from, last_log = ?meta.last_log_id, "received a snapshot");
        let snapshot = SnapshotOf { meta, snapshot: SnapshotData::Received(built.clone()) };
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        // The answer comes after the install, which moved the file. It is still there if the log was further already.
        self.incoming.discard(built).await?;
        Ok(response.encode())
    }
}

/// The requests up to the first that cannot be read; `broken` then says why.
fn until_broken(
    requests: BoxStream<Result<Bytes, PeerError>>,
    broken: Arc<Mutex<Option<Refusal>>>,
) -> impl Stream<Item = AppendEntriesRequest<Tc>> + Send + 'static {
    let decode = move |request: Result<Bytes, PeerError>| {
        // A stream that broke has nobody left who would read an answer.
        let request = AppendEntriesRequest::decode(request.ok()?);
        request.map_err(|refusal| *broken.lock() = Some(refusal)).ok()
    };
    requests.map(decode).take_while(|request| std::future::ready(request.is_some())).filter_map(std::future::ready)
}

fn stopped(error: impl std::fmt::Display) -> Refusal {
    Refusal::Stopped(error.to_string().into())
}

/// The snapshot that is arriving: one at a time, and the newest sending wins.
///
/// Each sending has files of its own, so that one which begins does not disturb another that is being installed.
#[derive(Debug)]
pub(super) struct Incoming {
    disk: Arc<dyn Disk>,
    present: Mutex<Option<Arrived>>,
}

/// How far a sending has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrived {
    from: MemberId,
    sending: u64,
    bytes: u64,
}

/// A sending whose bytes are coming in.
struct Arriving {
    file: Box<dyn File>,
    arrived: Arrived,
}

/// What the files of sendings begin with.
pub(super) const INCOMING_PREFIX: &str = "snapshot-";

impl Arrived {
    fn bytes_path(&self) -> PathBuf {
        PathBuf::from(format!("{INCOMING_PREFIX}{:016x}.bytes", self.sending))
    }

    fn built_path(&self) -> PathBuf {
        PathBuf::from(format!("{INCOMING_PREFIX}{:016x}.redb", self.sending))
    }
}

impl Incoming {
    /// Begins without any; removes what an earlier process left.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Incoming> {
        for name in disk.list(dir)?.iter().filter(|name| name.starts_with(INCOMING_PREFIX)) {
            disk.remove(Path::new(name))?;
        }
        Ok(Incoming { disk, present: Mutex::default() })
    }

    /// How many bytes of a sending are there.
    fn offset(&self, from: MemberId, sending: u64) -> u64 {
        let present = *self.present.lock();
        present.filter(|there| (there.from, there.sending) == (from, sending)).map_or(0, |there| there.bytes)
    }

    /// Makes room for a sending, or goes on with one that is there up to `offset`.
    async fn begin(&self, from: MemberId, sending: u64, offset: u64) -> Result<Arriving, Refusal> {
        let arrived = Arrived { from, sending, bytes: offset };
        let earlier = {
            let mut present = self.present.lock();
            if offset > 0 && *present != Some(arrived) {
                return Err(Refusal::malformed(format!("{offset} bytes of the snapshot are not there")));
            }
            present.replace(arrived)
        };
        let disk = self.disk.clone();
        let open = move || {
            if offset > 0 {
                return disk.open(&arrived.bytes_path());
            }
            if let Some(earlier) = earlier {
                remove(&*disk, &earlier.bytes_path())?;
            }
            remove(&*disk, &arrived.bytes_path())?;
            disk.create(&arrived.bytes_path())
        };
        Ok(Arriving { file: blocking(open).await.map_err(stopped)?, arrived })
    }

    async fn write(&self, mut arriving: Arriving, chunk: Bytes) -> Result<Arriving, Refusal> {
        if *self.present.lock() != Some(arriving.arrived) {
            return Err(Refusal::Stopped("another sending of a snapshot has begun".into()));
        }
        let before = arriving.arrived;
        let write = move || {
            arriving.file.write_all_at(arriving.arrived.bytes, &chunk)?;
            arriving.arrived.bytes += chunk.len() as u64;
            io::Result::Ok(arriving)
        };
        let arriving = blocking(write).await.map_err(stopped)?;
        let mut present = self.present.lock();
        if *present == Some(before) {
            *present = Some(arriving.arrived);
        }
        Ok(arriving)
    }

    /// Builds a checkpoint of a sending that is whole, which checks all of it. The sending is forgotten, whatever
    /// becomes of it.
    async fn build(&self, arriving: Arriving, meta: &SnapshotMeta) -> Result<PathBuf, Refusal> {
        let Arriving { file, arrived } = arriving;
        drop(file);
        {
            let mut present = self.present.lock();
            if *present == Some(arrived) {
                *present = None;
            }
        }
        let disk = self.disk.clone();
        let build = move || {
            let mut reader = FileReader::open(&*disk, &arrived.bytes_path())?;
            let built = storage::import(disk.clone(), &arrived.built_path(), &mut reader);
            remove(&*disk, &arrived.bytes_path())?;
            if built.is_err() {
                remove(&*disk, &arrived.built_path())?;
            }
            io::Result::Ok(built)
        };
        let built = blocking(build).await.map_err(stopped)?.map_err(Refusal::malformed)?;
        if super::snapshot::meta_of(&built).map_err(Refusal::malformed)? != *meta {
            return Err(Refusal::malformed("a snapshot of another state than its head says"));
        }
        Ok(arrived.built_path())
    }

    /// Removes a checkpoint that was not installed, if it is there.
    async fn discard(&self, built: PathBuf) -> Result<(), Refusal> {
        let disk = self.disk.clone();
        blocking(move || remove(&*disk, &built)).await.map_err(stopped)
    }
}

fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.exists(path)? { disk.remove(path) } else { Ok(()) }
}

/// Runs `work`, which waits for the disk, without holding up the runtime; in place where there is only one thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?,
    }
}
