//! What other members ask of this one's Raft.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest};
use parking_lot::Mutex;

use super::Space;
use super::background::{Background, Begun};
use super::consensus::Consensus;
use super::snapshot::{Received, SnapshotData, SnapshotOf};
use super::state_machine::StateFiles;
use super::types::{SnapshotMeta, Tc, ours};
use super::wire::{SnapshotHead, Wire, message};
use crate::env::Disk;
use crate::model::MemberId;
use crate::peer::{BoxStream, Method, PeerError, Refusal};
use crate::proto::lodemarkpb as pb;
use crate::storage::{self, Arrival, Import, Imported, Storage};
use crate::wal::{Demand, Fit};

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

    /// Answers each request of an append stream, in order; ends at the first that cannot be read, or whose entries the disk
    /// has no space for. The leader then takes this member for one that it does not reach. Heartbeats and votes go on.
    pub fn answer_appends(&self, requests: BoxStream<Result<Bytes, PeerError>>) -> BoxStream<Result<Bytes, Refusal>> {
        let broken = Arc::new(Mutex::new(None));
        let decoded = until_broken(requests, self.space.clone(), broken.clone());
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

    /// Takes the bytes of a snapshot, builds a checkpoint of them aside as they come, and installs that.
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
        let mut arriving = self.incoming.begin(from, sending, offset)?;
        while let Some(chunk) = chunks.next().await {
            arriving.push(chunk.map_err(stopped)?).await?;
        }
        let built = arriving.finish(&meta).await?;
        let path = built.path.clone();
        if let Err(refusal) = arriving.adopt(&path, self.checkpoints.storage()).await {
            arriving.discard(path).await?;
            return Err(refusal);
        }
        tracing::info!(
            "remote-snapshot-sender-id" = %from,
            "incoming-leader-snapshot-index" = meta.last_log_id.as_ref().map_or(0, |id| ours(id).index),
            "received and saved database snapshot"
        );
        let snapshot = SnapshotOf { meta, snapshot: SnapshotData::Received(built) };
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        // The answer comes after the install, which moved the file. It is still there if the log was further already.
        arriving.discard(path).await?;
        Ok(response.encode())
    }
}

/// The requests up to the first that cannot be taken; `broken` then says why.
fn until_broken(
    requests: BoxStream<Result<Bytes, PeerError>>,
    space: Space,
    broken: Arc<Mutex<Option<Refusal>>>,
) -> impl Stream<Item = AppendEntriesRequest<Tc>> + Send + 'static {
    let decode = move |request: Result<Bytes, PeerError>| {
        // A stream that broke has nobody left who would read an answer.
        let bytes = request.ok()?;
        let len = bytes.len();
        let has_space = |request: &AppendEntriesRequest<Tc>| {
            // What the entries do to the data was judged by the leader.
            request.entries.is_empty() || space.fit(Demand::Freeing, len) != Fit::Full
        };
        let request = AppendEntriesRequest::decode(bytes)
            .and_then(|request| if has_space(&request) { Ok(request) } else { Err(Refusal::NoSpace) });
        request.map_err(|refusal| *broken.lock() = Some(refusal)).ok()
    };
    requests.map(decode).take_while(|request| std::future::ready(request.is_some())).filter_map(std::future::ready)
}

fn stopped(error: impl std::fmt::Display) -> Refusal {
    Refusal::Stopped(error.to_string().into())
}

/// The snapshot that is arriving: one at a time, and the newest sending wins.
///
/// Each sending has a file of its own, so that one which begins does not disturb another that is being installed.
#[derive(Debug)]
pub(super) struct Incoming {
    disk: Arc<dyn Disk>,
    /// Bytes of records that a sending may keep in memory.
    records_max: usize,
    present: Mutex<Present>,
}

/// The newest sending.
#[derive(Debug, Default)]
struct Present {
    /// Counts sendings from their beginning.
    number: u64,
    sending: Option<(MemberId, u64)>,
    /// What came of it before it broke off; `None` while it is coming in.
    broken_off: Option<(Arrival, Building)>,
}

impl Present {
    /// How much there is to go on with.
    fn bytes(&self) -> u64 {
        self.broken_off.as_ref().map_or(0, |(arrival, _)| arrival.bytes())
    }
}

/// The file that a sending becomes, once everything is written to it that was given before.
type Building = Begun<Result<Import, storage::Error>>;

/// A sending whose bytes are coming in: read on one thread, while another writes what was read before.
///
/// What has come is kept when this is dropped, so that it can be taken up again.
struct Arriving {
    incoming: Arc<Incoming>,
    number: u64,
    /// `None` while the thread has it, and once it failed; so is `building`.
    arrival: Option<Arrival>,
    building: Option<Building>,
    reading: Background,
    writing: Background,
}

/// What the files of sendings begin with.
pub(super) const INCOMING_PREFIX: &str = "snapshot-";

impl Incoming {
    /// Begins without any; removes what an earlier process left.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn new(files: &StateFiles) -> io::Result<Incoming> {
        let disk = &files.disk;
        for name in disk.list(&files.dir)?.iter().filter(|name| name.starts_with(INCOMING_PREFIX)) {
            disk.remove(Path::new(name))?;
        }
        Ok(Incoming { disk: disk.clone(), records_max: files.values_max, present: Mutex::default() })
    }

    /// How many bytes of a sending that broke off are there.
    fn offset(&self, from: MemberId, sending: u64) -> u64 {
        let present = self.present.lock();
        if present.sending == Some((from, sending)) { present.bytes() } else { 0 }
    }

    /// Makes room for a sending, or goes on with one that is there up to `offset`.
    fn begin(self: &Arc<Incoming>, from: MemberId, sending: u64, offset: u64) -> Result<Arriving, Refusal> {
        let reading = Background::start("snapshot").map_err(stopped)?;
        let writing = Background::start("snapshot-file").map_err(stopped)?;
        let (number, earlier) = {
            let mut present = self.present.lock();
            if offset > 0 && (present.sending != Some((from, sending)) || present.bytes() != offset) {
                return Err(Refusal::malformed(format!("{offset} bytes of the snapshot are not there")));
            }
            if offset == 0 {
                present.number += 1;
                present.sending = Some((from, sending));
            }
            (present.number, present.broken_off.take())
        };
        let (arrival, building) = match earlier {
            Some(earlier) if offset > 0 => earlier,
            earlier => {
                let (disk, path, records_max) = (self.disk.clone(), path_of(number), self.records_max);
                let arrival = Arrival::new(&path);
                let begin = move || {
                    drop(earlier);
                    Import::begin(disk, &path, records_max)
                };
                (arrival, writing.begin(begin))
            }
        };
        let (arrival, building) = (Some(arrival), Some(building));
        Ok(Arriving { incoming: self.clone(), number, arrival, building, reading, writing })
    }
}

impl Arriving {
    /// Takes the next bytes in. Does not wait until they are in the file, but for those of a batch before.
    async fn push(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        if self.incoming.present.lock().number != self.number {
            return Err(Refusal::Stopped("another sending of a snapshot has begun".into()));
        }
        let mut arrival = self.arrival.take().ok_or_else(failed_before)?;
        let read = move || arrival.push(&chunk).map(|batch| (arrival, batch));
        let (arrival, batch) = self.reading.run(read).await.map_err(stopped)?.map_err(refusal)?;
        if let Some(batch) = batch {
            let mut import = self.import().await?;
            let write = move || import.write(batch).map(|()| import);
            self.building = Some(self.writing.begin(write));
        }
        self.arrival = Some(arrival);
        Ok(())
    }

    /// Ends a sending whose bytes are all there, which checks that they are. Gives the checkpoint that was built.
    async fn finish(&mut self, meta: &SnapshotMeta) -> Result<Received, Refusal> {
        self.arrival.take().ok_or_else(failed_before)?.end().map_err(refusal)?;
        let import = self.import().await?;
        let imported = self.writing.run(move || import.finish()).await.map_err(stopped)?.map_err(refusal)?;
        let Imported { meta: found, records } = imported;
        let path = path_of(self.number);
        if super::snapshot::meta_of(&found).map_err(Refusal::malformed)? != *meta {
            self.discard(path).await?;
            return Err(Refusal::malformed("a snapshot of another state than its head says"));
        }
        Ok(Received { path, records: Arc::new(Mutex::new(records)) })
    }

    /// Makes the file the successor of the one in use: a snapshot belongs to nobody. Here, while it can still be refused:
    /// openraft takes an error of the installation for its end, and a full disk is none.
    async fn adopt(&self, built: &Path, earlier: Arc<Storage>) -> Result<(), Refusal> {
        let (disk, built) = (self.incoming.disk.clone(), built.to_path_buf());
        let adopt = move || Storage::open_built(&*disk, &built, 0)?.succeed(&earlier);
        self.writing.run(adopt).await.map_err(stopped)?.map_err(refusal)
    }

    /// Removes a checkpoint that was not installed, if it is there.
    async fn discard(&self, built: PathBuf) -> Result<(), Refusal> {
        let disk = self.incoming.disk.clone();
        let remove = move || if disk.exists(&built)? { disk.remove(&built) } else { Ok(()) };
        self.writing.run(remove).await.flatten().map_err(stopped)
    }

    /// The file, once everything is written to it that was given before.
    async fn import(&mut self) -> Result<Import, Refusal> {
        let building = self.building.take().ok_or_else(failed_before)?;
        building.result().await.map_err(stopped)?.map_err(refusal)
    }
}

fn failed_before() -> Refusal {
    Refusal::Stopped("the snapshot has failed before".into())
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some(building) = self.building.take() else { return };
        let mut present = self.incoming.present.lock();
        match self.arrival.take() {
            Some(arrival) if present.number == self.number => present.broken_off = Some((arrival, building)),
            _ => {
                drop(present);
                // Its file goes, and that takes time.
                self.writing.leave(move || drop(building));
            }
        }
    }
}

fn path_of(number: u64) -> PathBuf {
    PathBuf::from(format!("{INCOMING_PREFIX}{number}.redb"))
}

/// A stream that is wrong is refused for good; what only cannot be stored may be sent again.
fn refusal(error: storage::Error) -> Refusal {
    match error {
        storage::Error::Stream { .. } | storage::Error::Newer { .. } => Refusal::malformed(error),
        error => stopped(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SimDisk;

    #[tokio::test]
    async fn what_broke_off_is_kept_until_a_newer_sending_begins() {
        let disk = SimDisk::new();
        let files = StateFiles {
            disk: Arc::new(disk.clone()),
            dir: PathBuf::from("."),
            state: PathBuf::from("state"),
            cache_bytes: 0,
            values_max: usize::MAX,
        };
        let incoming = Arc::new(Incoming::new(&files).unwrap());
        let (from, bytes) = (MemberId(7), Bytes::from_static(b"LODESNAP\x01\0\0\0\x01"));

        let mut arriving = incoming.begin(from, 1, 0).unwrap();
        arriving.push(bytes.clone()).await.unwrap();
        assert_eq!(incoming.offset(from, 1), 0, "nobody else may go on with it meanwhile");
        drop(arriving);
        assert_eq!((incoming.offset(from, 1), incoming.offset(from, 2), incoming.offset(MemberId(8), 1)), (13, 0, 0));
        assert!(incoming.begin(from, 1, 12).is_err());
        assert!(incoming.begin(from, 2, 13).is_err());
        let mut resumed = incoming.begin(from, 1, 13).unwrap();

        let mut newer = incoming.begin(from, 2, 0).unwrap();
        assert!(matches!(resumed.push(bytes.clone()).await, Err(Refusal::Stopped(_))));
        drop(resumed);
        assert_eq!(
            (incoming.offset(from, 1), disk.list(Path::new(".")).unwrap()),
            (0, vec!["snapshot-2.redb".to_owned()])
        );

        assert!(matches!(newer.push(Bytes::from_static(b"garbage of twelve bytes")).await, Err(Refusal::Malformed(_))));
        drop(newer);
        assert_eq!((incoming.offset(from, 2), disk.list(Path::new(".")).unwrap()), (0, Vec::new()));
    }
}
