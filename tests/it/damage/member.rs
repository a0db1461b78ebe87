//! A member on a simulated disk: how it comes to its state, and all that its clients can see of that.
//!
//! A life of it is one thread with a clock that jumps from one thing to do to the next. So lives are short, and the same
//! life leaves the same bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lodemark::env::{Disk, Image, ManualClock, SeededRandom, SimDisk, SyncSite};
use lodemark::model::{
    ClusterId, Command, Compact, DeleteRange, Event, KeyRange, LeaseId, Member, MemberAdd, MemberId, Put, Range,
    RangeReply, Reply, Revision, Txn, TxnOp,
};
use lodemark::node::{
    Consistency, Founding, Identity, KvHash, MemoryBudget, Node, NodeError, NodeOptions, Pace, Proposal, Threading,
    WatchSpec, WatchUpdate,
};
use lodemark::raft;
use lodemark::storage::{self, Import, Storage};
use tokio::runtime::Builder;

/// The checkpoint.
pub const STATE: &str = "state.redb";
/// The folder of log segments.
pub const LOG: &str = "wal";
/// A snapshot on its way to become the checkpoint.
const INCOMING: &str = "snapshot-1.redb";
/// What every value begins with, before the number of its write.
pub const MARK: &str = "live:";

const IDENTITY: Identity = Identity { cluster: ClusterId(0xda), member: MemberId(0x01) };
/// Small, so that the log rolls and is purged, and the checkpoint is written several times.
const SEGMENT_BYTES: u64 = 24 * 1024;
const SNAPSHOT_ENTRIES: u64 = 60;
const CATCHUP_ENTRIES: u64 = 80;
const CACHE_BYTES: usize = 1 << 20;
/// How many writes make the state.
const WRITES: u64 = 260;
const KEYS: u64 = 41;
/// Values of this size have pages of their own.
const LARGE_BYTES: usize = 20_000;
/// One revision in so many is read as a whole.
const READ_STEP: usize = 9;
/// No life takes longer than this by its own clock, which does not wait for anybody.
const LIFE_TIME_MAX: Duration = Duration::from_secs(300);
const LOG_PAUSE: Duration = Duration::from_millis(1);

/// Runs a part of a member's life. A task that panics ends it with a panic.
pub fn run<T>(life: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    // Without it a seed does not name the same flip every time; everything else holds.
    #[cfg(tokio_unstable)]
    builder
        .rng_seed(tokio::runtime::RngSeed::from_bytes(b"damage"))
        .unhandled_panic(tokio::runtime::UnhandledPanic::ShutdownRuntime);
    let runtime = builder.build().expect("a runtime without sockets needs nothing of the system");
    raft::seed_thread(Some(1));
    runtime.block_on(async { tokio::time::timeout(LIFE_TIME_MAX, life).await.expect("a life has an end") })
}

/// How often the disk does something.
#[derive(Debug)]
struct DiskPace {
    checkpoint_pause: Duration,
}

impl Pace for DiskPace {
    fn log_pause(&self) -> Duration {
        LOG_PAUSE
    }

    fn checkpoint_pause(&self) -> Duration {
        self.checkpoint_pause
    }
}

/// A member that checkpoints now and then.
pub fn options(disk: &SimDisk) -> NodeOptions {
    paced(disk, Duration::from_millis(20))
}

/// A member whose checkpoints come so seldom.
pub fn paced(disk: &SimDisk, checkpoint_pause: Duration) -> NodeOptions {
    NodeOptions {
        founding: Founding::New(Vec::new()),
        snapshot_entries: SNAPSHOT_ENTRIES,
        catchup_entries: CATCHUP_ENTRIES,
        segment_bytes: SEGMENT_BYTES,
        memory: MemoryBudget { pages: CACHE_BYTES, ..MemoryBudget::unbounded() },
        threading: Threading::Tasks(Arc::new(DiskPace { checkpoint_pause })),
        ..NodeOptions::new(
            Arc::new(disk.clone()),
            Arc::new(ManualClock::default()),
            Arc::new(SeededRandom::new(11)),
            IDENTITY,
        )
    }
}

/// Starts a member as the server does, and waits until it serves.
///
/// # Errors
/// What it says if it does not.
pub async fn start(options: &NodeOptions) -> Result<Node, String> {
    Node::identity(options.disk.clone()).await.map_err(|error| error.to_string())?;
    let node = Node::start(options.clone()).await.map_err(|error| error.to_string())?;
    match node.ready(options).await {
        Ok(()) => Ok(node),
        Err(error) => Err(why(&node, error).await),
    }
}

/// Why a member does not answer: what it stopped for, if it has stopped.
pub async fn why(node: &Node, error: NodeError) -> String {
    match tokio::time::timeout(Duration::from_secs(1), node.stopped()).await {
        Ok(Some(reason)) => reason.to_string(),
        Ok(None) | Err(_) => format!("it goes on, and says: {error}"),
    }
}

/// A stopped member with everything that a member can have.
pub fn folder() -> SimDisk {
    let disk = SimDisk::new();
    run(async {
        let node = start(&options(&disk)).await.expect("a new member starts");
        fill(&node).await.expect("a member on a good disk takes writes");
        node.stop().await;
    });
    disk
}

/// Leases, members, writes of every kind, and compactions.
pub async fn fill(node: &Node) -> Result<(), NodeError> {
    for id in 1..=6 {
        node.lease_grant(LeaseId(id * 1000), 600 + id).await?;
    }
    for (id, stays) in [(0xa1, false), (0xa2, true)] {
        propose(node, Command::MemberAdd(MemberAdd { member: learner(id), learners_max: 1 })).await?;
        if !stays {
            propose(node, Command::MemberRemove(MemberId(id))).await?;
        }
    }
    for n in 0..WRITES {
        let reply = propose(node, write(n)).await?;
        if n % 100 == 99 {
            let revision = Revision(reply.revision().0 - 60);
            node.compact(Compact { revision, physical: true }).await?;
        }
    }
    node.lease_revoke(LeaseId(6000)).await.map(drop)
}

fn learner(id: u64) -> Member {
    let peer_urls = vec![format!("http://learner-{id}:2380")];
    Member { id: MemberId(id), peer_urls, is_learner: true, ..Member::default() }
}

/// Proposes a command and waits for what becomes of it.
pub async fn propose(node: &Node, command: Command) -> Result<Reply, NodeError> {
    node.propose(Proposal::from(&command)).await
}

/// The n-th write: puts of many sizes, txns, deletes, keys with a lease.
fn write(n: u64) -> Command {
    match n % 10 {
        3 => {
            let puts = (0..3).map(|part| TxnOp::Put(put(n * 7 + part, n * 10 + part)));
            Command::Txn(Txn { success: puts.collect(), ..Txn::default() })
        }
        6 => Command::DeleteRange(DeleteRange { keys: KeyRange::single(key(n - 3)), prev_kv: false }),
        _ => Command::Put(put(n, n * 10)),
    }
}

fn put(slot: u64, number: u64) -> Put {
    let lease = if slot.is_multiple_of(5) { LeaseId((slot % 6 + 1).cast_signed() * 1000) } else { LeaseId::NONE };
    Put { key: key(slot), value: value(number), lease, ..Put::default() }
}

fn key(slot: u64) -> Bytes {
    Bytes::from(format!("key/{:02}", slot % KEYS))
}

/// A value that is written once only, and can be found in a file.
fn value(number: u64) -> Bytes {
    let len = if number.is_multiple_of(450) { LARGE_BYTES } else { usize::try_from(number * 37 % 900).unwrap_or(0) };
    let mut value = format!("{MARK}{number:06}:");
    value.extend((0..len).map(|i| char::from(b'a' + (i as u64 * number % 26) as u8)));
    Bytes::from(value)
}

/// All that clients can see of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// The store's revision.
    pub revision: Revision,
    /// All keys, now and at earlier revisions.
    pub reads: Vec<(i64, RangeReply)>,
    /// Every change above the compacted revision, with the pair before it.
    pub history: Vec<Event>,
    /// Each lease, with its granted seconds and its keys.
    pub leases: Vec<(LeaseId, i64, Vec<Bytes>)>,
    pub members: Vec<Member>,
    /// Of the key space at several revisions.
    pub key_hashes: Vec<KvHash>,
    /// Of everything.
    pub hash: u32,
}

impl Whole {
    /// Reads everything.
    ///
    /// # Errors
    /// What the member says if it cannot be read.
    pub async fn read(node: &Node) -> Result<Whole, NodeError> {
        let revision = node.range(&all(0)).await?.revision;
        let compacted = match node.range(&all(1)).await {
            Err(NodeError::Compacted { compacted, .. }) => compacted,
            other => return other.map(|_| unreachable!("revision 1 is compacted in every folder here")),
        };
        let sampled = (compacted.0..=revision.0).step_by(READ_STEP).chain([revision.0, 0]);
        let mut reads = Vec::new();
        for at in sampled {
            reads.push((at, node.range(&all(at)).await?));
        }
        let mut key_hashes = Vec::new();
        for at in [compacted.0, compacted.0 + 1, (compacted.0 + revision.0) / 2, 0] {
            key_hashes.push(node.hash_kv(Revision(at)).await?);
        }
        let history = history(node, compacted.next(), revision).await?;
        let leases = leases(node).await?;
        let members = node.members(Consistency::Linearizable).await?;
        let (hash, _) = node.hash().await?;
        Ok(Whole { revision, reads, history, leases, members, key_hashes, hash })
    }

    /// Where another state is not as this one, in words.
    pub fn difference(&self, other: &Whole) -> String {
        let parts = [
            ("revision", self.revision == other.revision),
            ("reads", self.reads == other.reads),
            ("history", self.history == other.history),
            ("leases", self.leases == other.leases),
            ("members", self.members == other.members),
            ("hashes of the keys", self.key_hashes == other.key_hashes),
            ("hash", self.hash == other.hash),
        ];
        let wrong: Vec<&str> = parts.iter().filter(|(_, is_equal)| !is_equal).map(|(part, _)| *part).collect();
        format!("wrong answers: {} (revision {}, not {})", wrong.join(", "), other.revision, self.revision)
    }
}

fn all(revision: i64) -> Range {
    Range { revision, ..Range::of(KeyRange::prefix(Bytes::new())) }
}

async fn history(node: &Node, from: Revision, through: Revision) -> Result<Vec<Event>, NodeError> {
    let stream = node.watch();
    let spec = WatchSpec { prev_kv: true, ..WatchSpec::of(KeyRange::prefix(Bytes::new()), from.0) };
    stream.create(spec).await;
    let mut history: Vec<Event> = Vec::new();
    while history.last().is_none_or(|last| last.revision() < through) {
        match stream.next().await {
            Some(WatchUpdate::Events { events, .. }) => history.extend(events.iter().cloned()),
            Some(_) => {}
            None => return Err(NodeError::Stopped),
        }
    }
    Ok(history)
}

async fn leases(node: &Node) -> Result<Vec<(LeaseId, i64, Vec<Bytes>)>, NodeError> {
    let mut ids = node.leases()?;
    ids.sort_unstable();
    let mut leases = Vec::new();
    for id in ids {
        if let Some(remaining) = node.lease_time_to_live(id, true).await? {
            let mut keys = remaining.keys;
            keys.sort_unstable();
            leases.push((id, remaining.granted, keys));
        }
    }
    Ok(leases)
}

/// The state that a member must have, now and after one more write.
#[derive(Debug)]
pub struct Right {
    pub now: Whole,
    pub later: Whole,
}

impl Right {
    /// What a good folder holds.
    pub fn of(folder: &SimDisk) -> Right {
        let disk = copy(folder);
        run(async {
            let now = visit(&disk, true).await.expect("a good folder serves");
            let later = visit(&disk, false).await.expect("and goes on");
            Right { now, later }
        })
    }

    /// Starts a member on a folder that may be damaged: it refuses (`Some` with what it says), or it has the right state,
    /// takes a write, and has that too after another start.
    ///
    /// # Errors
    /// What is wrong with its answers.
    pub async fn judge(&self, disk: &SimDisk) -> Result<Option<String>, String> {
        for (expected, writes) in [(&self.now, true), (&self.later, false)] {
            match visit(disk, writes).await {
                Err(told) => return Ok(Some(told)),
                Ok(found) if found == *expected => {}
                Ok(found) => return Err(expected.difference(&found)),
            }
        }
        Ok(None)
    }
}

/// One life: start, read everything, write if asked to, stop.
async fn visit(disk: &SimDisk, writes: bool) -> Result<Whole, String> {
    let node = start(&options(disk)).await?;
    let visited = async {
        let whole = Whole::read(&node).await?;
        if writes {
            propose(&node, Command::Put(put(17, 999_990))).await?;
        }
        Ok(whole)
    };
    let result = match visited.await {
        Ok(whole) => Ok(whole),
        Err(error) => Err(why(&node, error).await),
    };
    node.stop().await;
    result
}

/// The stream that a stopped member would send as a snapshot.
pub fn snapshot_of(folder: &SimDisk) -> Vec<u8> {
    let storage = Storage::open(Arc::new(copy(folder)), Path::new(STATE), CACHE_BYTES).expect("it is good");
    let mut stream = Vec::new();
    storage.freeze().expect("it is good").export(&mut stream).expect("it is good");
    stream
}

/// A folder whose checkpoint came as a stream: as a member leaves it that ends before its log is purged up to there.
///
/// # Errors
/// Why the stream is not taken. Nothing is left of it then.
pub fn receive(stream: &[u8]) -> Result<SimDisk, storage::Error> {
    let disk = SimDisk::new();
    let (shared, state, incoming) = (Arc::new(disk.clone()), Path::new(STATE), Path::new(INCOMING));
    let before = Storage::open(shared.clone(), state, CACHE_BYTES)?;
    before.claim(IDENTITY, &Founding::New(Vec::new()))?;
    if let Err(error) = Import::of_pieces(shared.clone(), incoming, stream.chunks(4096)) {
        assert!(!disk.exists(incoming).expect("memory does not fail"), "something is left of a refused stream");
        return Err(error);
    }
    Storage::open_built(&disk, incoming, CACHE_BYTES)?.succeed(&before)?;
    drop(before);
    disk.rename(incoming, state).expect("memory does not fail");
    disk.sync_dir(Path::new("."), SyncSite::DataFolder).expect("memory does not fail");
    Ok(disk)
}

/// Another disk with the same files.
pub fn copy(disk: &SimDisk) -> SimDisk {
    disk.crash_image(Image::Everything, 0)
}

/// The log's segments, oldest first.
pub fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.list(Path::new(LOG)).expect("the folder has a log");
    names.iter().map(|name| Path::new(LOG).join(name)).collect()
}

/// The bytes of a file.
pub fn read(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).expect("the file is there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("memory does not fail")).expect("it fits")];
    file.read_exact_at(0, &mut bytes).expect("memory does not fail");
    bytes
}

/// Changes bytes of a file, durably.
pub fn overwrite(disk: &SimDisk, path: &Path, offset: u64, bytes: &[u8]) {
    let file = disk.open(path).expect("the file is there");
    file.write_all_at(offset, bytes).expect("memory does not fail");
    file.sync_data(SyncSite::WalSegment).expect("memory does not fail");
}
