//! One simulated member: its disk, its clock, and the process that runs on them or does not.
//!
//! A process is a tokio runtime of its own with paused time. Dropping it is kill -9: everything is gone at once. What is
//! left is the disk, and of that what its [`Image`] keeps.

use std::cell::Cell;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use lodemark::env::{Clock, Disk, Image, SeededRandom, SimDisk, Tick};
use lodemark::model::{ClusterId, MemberId};
use lodemark::node::{Founding, Identity, Node, NodeOptions, Pace, Threading};
use lodemark::peer::Handler;
use lodemark::raft;
use lodemark::storage::Storage;
use parking_lot::Mutex;
use tokio::runtime::{Builder, RngSeed, Runtime};
use tokio::time::Instant;

use super::checks::history::{Moment, Server};
use super::network::{Endpoint, Network, Wire, url_of};

/// All simulated members belong to it.
const CLUSTER: ClusterId = ClusterId(0x5157);
/// Small, so that logs roll and snapshots are made within a run.
const SEGMENT_BYTES: u64 = 64 * 1024;
const RECLAIM_BYTES_MIN: u64 = 64 * 1024;
const SNAPSHOT_ENTRIES: u64 = 300;
const CATCHUP_ENTRIES: u64 = 400;
/// The default; checks of leases and of healing count in it.
pub const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_millis(100);
const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// How long a member that is not ready waits before it tries again.
const READY_PAUSE: Duration = Duration::from_millis(100);
/// A disk at its best, in milliseconds: the log, the checkpointer.
const QUICK_PAUSES_MS: (u64, u64) = (2, 200);
/// What the cache of a checkpoint that is only looked at needs.
const LOOK_CACHE_BYTES: usize = 1024 * 1024;
const STATE_FILE: &str = "state.redb";

thread_local! {
    /// How often this thread has panicked. tokio would tell of a task that does only whoever waits for it.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// From now on panics are counted, on every thread for itself.
fn count_panics() {
    static COUNTED: Once = Once::new();
    COUNTED.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            tell(info);
        }));
    });
}

/// A simulated member.
pub struct Member {
    /// Who it is.
    pub id: MemberId,
    /// What it has on disk.
    pub disk: SimDisk,
    /// What runs, if it does.
    pub process: Option<Process>,
    /// Its clock, which goes on while it is down.
    pub clock: Arc<MemberClock>,
    /// How fast its disk is.
    pub pace: Arc<MemberPace>,
    founding: Founding,
    seed: u64,
    starts: u64,
}

/// A member between a start and its end.
pub struct Process {
    /// Its name in histories.
    pub server: Server,
    /// Until when it is stopped, as by SIGSTOP.
    pub asleep_until: Option<Moment>,
    // Dropped before what its tasks use.
    runtime: Runtime,
    seed: u64,
    node: Arc<OnceLock<Node>>,
    is_ready: Arc<AtomicBool>,
    /// Why it ended by itself.
    failure: Arc<Mutex<Option<String>>>,
    wire: Arc<Wire>,
    /// The same moment by its runtime's time and by the world's.
    origin: Instant,
    born: Moment,
    quanta: u64,
}

impl Member {
    /// A member that was never started.
    pub fn new(id: MemberId, founding: Founding, seed: u64, drift_permille: i64) -> Member {
        Member {
            id,
            disk: SimDisk::new(),
            process: None,
            clock: Arc::new(MemberClock::new(drift_permille)),
            pace: Arc::new(MemberPace::new()),
            founding,
            seed: seed ^ id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            starts: 0,
        }
    }

    /// Starts a process on the disk.
    pub fn start(&mut self, now: Moment, network: &Network) {
        count_panics();
        self.starts += 1;
        let server = Server { member: self.id.0, start: self.starts };
        let seed = self.seed.wrapping_add(self.starts);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
            .build()
            .expect("a runtime without sockets needs nothing of the system");
        let origin = runtime.block_on(async { Instant::now() });
        self.clock.begin(origin, now);
        let wire = network.start(server, self.disk.clone());
        let options = self.options(seed, wire.clone());
        let (node, is_ready, failure) = (Arc::new(OnceLock::new()), Arc::default(), Arc::default());
        runtime.spawn(live(options, node.clone(), Arc::clone(&is_ready), Arc::clone(&failure)));
        self.process = Some(Process {
            server,
            asleep_until: None,
            runtime,
            seed,
            node,
            is_ready,
            failure,
            wire,
            origin,
            born: now,
            quanta: 0,
        });
    }

    fn options(&self, seed: u64, wire: Arc<Wire>) -> NodeOptions {
        let identity = Identity { cluster: CLUSTER, member: self.id };
        let (disk, random) = (Arc::new(self.disk.clone()), Arc::new(SeededRandom::new(seed)));
        NodeOptions {
            name: format!("member-{}", self.id.0),
            peer_urls: vec![url_of(self.id)],
            client_urls: vec![format!("http://client-{}:2379", self.id.0)],
            founding: self.founding.clone(),
            transport: wire,
            heartbeat: HEARTBEAT,
            election_timeout: ELECTION_TIMEOUT,
            snapshot_entries: SNAPSHOT_ENTRIES,
            catchup_entries: CATCHUP_ENTRIES,
            watch_progress_interval: WATCH_PROGRESS_INTERVAL,
            segment_bytes: SEGMENT_BYTES,
            // Files are small here, and are to be written anew now and then.
            reclaim_bytes_min: Some(RECLAIM_BYTES_MIN),
            threading: Threading::Tasks(self.pace.clone()),
            ..NodeOptions::new(disk, self.clock.clone(), random, identity)
        }
    }

    /// Ends the process at once; the disk keeps what the image says. `is_silent`: the machine is gone too.
    pub fn kill(&mut self, network: &Network, image: Image, seed: u64, is_silent: bool) {
        let Some(process) = self.process.take() else { return };
        // Before anything is dropped: what destructors would write must not reach the disk.
        self.disk.crash_now();
        network.stop(process.server, is_silent);
        drop(process);
        self.disk = self.disk.crash_image(image, seed);
    }

    /// What its checkpoint says: the last entry in it, and the hash of all effects up to it. `None` if there is none.
    pub fn checkpoint(&self) -> Result<Option<(u64, u64)>, String> {
        let copy = self.disk.crash_image(Image::Everything, 0);
        match copy.exists(Path::new(STATE_FILE)) {
            Ok(true) => {}
            _ => return Ok(None),
        }
        let storage = Storage::open(Arc::new(copy), Path::new(STATE_FILE), LOOK_CACHE_BYTES);
        let meta = storage.and_then(|storage| storage.meta()).map_err(|error| error.to_string())?;
        Ok(Some((meta.applied.index, meta.chain)))
    }
}

/// The life of a process.
async fn live(
    options: NodeOptions,
    slot: Arc<OnceLock<Node>>,
    is_ready: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<String>>>,
) {
    let node = match Node::start(options.clone()).await {
        Ok(node) => slot.get_or_init(|| node).clone(),
        Err(error) => {
            *failure.lock() = Some(format!("it does not start: {error}"));
            return;
        }
    };
    while let Err(error) = node.ready(&options).await {
        tracing::debug!(%error, "not ready yet");
        tokio::time::sleep(READY_PAUSE).await;
    }
    is_ready.store(true, Ordering::Relaxed);
    if let Some(why) = node.stopped().await {
        *failure.lock() = Some(format!("it stopped: {why}"));
    }
}

impl Process {
    /// Runs up to a moment, unless it sleeps.
    pub fn run(&mut self, until: Moment) {
        if self.asleep_until.is_some() {
            return;
        }
        self.quanta += 1;
        raft::seed_thread(Some(self.seed.wrapping_add(self.quanta.wrapping_mul(0x2545_f491_4f6c_dd1d))));
        let deadline = self.origin + (until - self.born);
        let Server { member, start } = self.server;
        let _said_by = tracing::info_span!("member", id = member, start, ?until).entered();
        self.block_on(async { tokio::time::sleep_until(deadline).await });
    }

    /// Lets the tasks run until `until` is over. If one panics the process has failed.
    fn block_on(&self, until: impl Future<Output = ()>) {
        let panics = PANICS.get();
        self.runtime.block_on(until);
        if PANICS.get() > panics {
            self.failure.lock().get_or_insert_with(|| "a task of it panics".to_owned());
        }
    }

    /// Lets the time of a sleep pass at once.
    pub fn wake(&mut self, now: Moment) {
        self.asleep_until = None;
        let (origin, passed) = (self.origin, now - self.born);
        self.block_on(async move {
            let missed = (origin + passed).saturating_duration_since(Instant::now());
            tokio::time::advance(missed).await;
        });
    }

    /// The door, once the data folder is open.
    pub fn node(&self) -> Option<&Node> {
        self.node.get()
    }

    /// It has served.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Why it ended by itself, if it did.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Runs something beside the member's own tasks, from the next quantum on.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
        self.runtime.spawn(work).abort_handle()
    }

    /// Where the network reaches it.
    pub fn endpoint(&self) -> Endpoint {
        let handler = self.node.get().and_then(handler_of);
        Endpoint { runtime: self.runtime.handle().clone(), handler, wire: self.wire.clone() }
    }
}

/// The door for other members.
fn handler_of(node: &Node) -> Option<Arc<dyn Handler>> {
    Some(Arc::new(node.clone()))
}

/// A member's own clock: true time, faster or slower by a little, that may jump ahead.
#[derive(Debug)]
pub struct MemberClock {
    /// Parts of a thousand.
    drift: i64,
    jumped_nanos: AtomicU64,
    /// The true time that it was last asked at, for those who ask from outside of the process.
    asked_nanos: AtomicU64,
    begin: Mutex<Option<(Instant, Moment)>>,
}

impl MemberClock {
    fn new(drift: i64) -> MemberClock {
        MemberClock { drift, jumped_nanos: AtomicU64::new(0), asked_nanos: AtomicU64::new(0), begin: Mutex::default() }
    }

    fn begin(&self, origin: Instant, born: Moment) {
        *self.begin.lock() = Some((origin, born));
    }

    /// Lets it jump.
    pub fn jump(&self, by: Duration) {
        self.jumped_nanos.fetch_add(nanos(by), Ordering::Relaxed);
    }
}

impl Clock for MemberClock {
    fn now(&self) -> Tick {
        let begin = *self.begin.lock();
        if let (Ok(_), Some((origin, born))) = (tokio::runtime::Handle::try_current(), begin) {
            let asked = born + Instant::now().saturating_duration_since(origin);
            self.asked_nanos.fetch_max(nanos(asked), Ordering::Relaxed);
        }
        let asked = self.asked_nanos.load(Ordering::Relaxed);
        let drifted = asked.saturating_add_signed(asked.cast_signed() / 1000 * self.drift);
        Tick(Duration::from_nanos(drifted + self.jumped_nanos.load(Ordering::Relaxed)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How fast a member's disk is.
#[derive(Debug)]
pub struct MemberPace {
    log_ms: AtomicU64,
    checkpoint_ms: AtomicU64,
}

impl MemberPace {
    fn new() -> MemberPace {
        MemberPace { log_ms: AtomicU64::new(QUICK_PAUSES_MS.0), checkpoint_ms: AtomicU64::new(QUICK_PAUSES_MS.1) }
    }

    /// A sync of the log takes so long from now on, in milliseconds; a checkpoint ten times that.
    pub fn slow_down(&self, log_ms: u64) {
        self.log_ms.store(log_ms, Ordering::Relaxed);
        self.checkpoint_ms.store(QUICK_PAUSES_MS.1.max(10 * log_ms), Ordering::Relaxed);
    }

    /// As fast as at first.
    pub fn recover(&self) {
        self.log_ms.store(QUICK_PAUSES_MS.0, Ordering::Relaxed);
        self.checkpoint_ms.store(QUICK_PAUSES_MS.1, Ordering::Relaxed);
    }
}

impl Pace for MemberPace {
    fn log_pause(&self) -> Duration {
        Duration::from_millis(self.log_ms.load(Ordering::Relaxed))
    }

    fn checkpoint_pause(&self) -> Duration {
        Duration::from_millis(self.checkpoint_ms.load(Ordering::Relaxed))
    }
}
