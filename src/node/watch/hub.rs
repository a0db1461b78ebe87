//! All streams of the node.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mailbox::Mailbox;
use super::ticker::Ticker;
use crate::env::{Mistake, Random};
use crate::machine::Shared;
use crate::model::{Event, Revision, WatchId};
use crate::mvcc::Source;
use crate::node::failure::Failure;
use crate::node::threads::Threading;
use crate::storage::Storage;
use crate::watch::{self, History, Outlet, WatchSpec, Watchers};

/// Names a stream.
pub(super) type StreamKey = watch::StreamKey<Arc<Mailbox>>;

/// The shortest time between two notes of progress.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Each stream adds up to this part of the interval, so that streams that came together do not tick together.
const PROGRESS_JITTER_PART: u32 = 10;

/// Streams that the thread that applies wakes itself; a wake-up costs it about half a microsecond.
const WAKES_NOW_MAX: usize = 16;
/// Streams that may wait for the hub's task to wake them; those beyond are woken at once.
const WAKES_LATER_MAX: usize = 1 << 16;

/// What a hub is made with.
#[derive(Debug)]
pub(in crate::node) struct HubOptions {
    progress_interval: Duration,
    random: Arc<dyn Random>,
    threading: Threading,
}

impl HubOptions {
    pub(in crate::node) fn new(
        progress_interval: Duration,
        random: Arc<dyn Random>,
        threading: Threading,
    ) -> HubOptions {
        HubOptions { progress_interval: progress_interval.max(PROGRESS_INTERVAL_MIN), random, threading }
    }

    /// The interval of one stream.
    fn period(&self) -> Duration {
        const STEPS: u32 = 1000;
        let step = self.random.next_u64() % u64::from(STEPS + 1);
        let jitter = self.progress_interval / PROGRESS_JITTER_PART / STEPS;
        self.progress_interval + jitter * u32::try_from(step).expect("it is at most a thousand")
    }
}

/// What there is of streams and watchers.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::node) struct Census {
    pub(in crate::node) streams: usize,
    pub(in crate::node) watchers: usize,
    /// Those that read the history.
    pub(in crate::node) behind: usize,
    /// Events that wait for their client.
    pub(in crate::node) pending_events: usize,
}

/// Knows all streams.
#[derive(Debug)]
pub(in crate::node) struct WatchHub {
    shared: Arc<Shared>,
    options: HubOptions,
    failure: Failure,
    state: Mutex<State>,
    watchers: Mutex<Watchers<Arc<Mailbox>>>,
    /// A watcher that is behind can be told something, or a tick comes earlier than any other.
    work: Notify,
    /// Streams that were told something and are still to be woken.
    wakes: Mutex<Vec<Arc<Mailbox>>>,
    has_wakes: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    ticker: Ticker,
}

impl WatchHub {
    pub(in crate::node) fn new(shared: Arc<Shared>, options: HubOptions, failure: Failure) -> Arc<WatchHub> {
        let watchers = Mutex::new(Watchers::new(shared.machine.read().kv.revision()));
        Arc::new(WatchHub {
            shared,
            options,
            failure,
            state: Mutex::default(),
            watchers,
            work: Notify::new(),
            wakes: Mutex::default(),
            has_wakes: Notify::new(),
        })
    }

    /// Hears of an applied run. Called on the thread that applies, after the run became visible and before it is
    /// answered. Never waits for a client; when many streams hear of the run, others wake them.
    pub(in crate::node) fn publish(&self, revision: Revision, events: Vec<Event>) {
        let mut touched = Vec::new();
        let has_ready = {
            let mut watchers = self.watchers.lock();
            watchers.publish(revision, &events, &mut touched);
            watchers.has_ready()
        };
        if has_ready {
            self.work.notify_one();
        }
        if touched.len() > WAKES_NOW_MAX {
            let mut wakes = self.wakes.lock();
            if wakes.len() < WAKES_LATER_MAX {
                wakes.append(&mut touched);
            }
            self.has_wakes.notify_one();
        }
        announce(&mut touched);
    }

    /// The state was replaced by a snapshot: everybody is behind.
    pub(in crate::node) fn resync_all(&self) {
        let revision = self.visible();
        self.watchers.lock().resync(revision);
        self.work.notify_one();
    }

    /// Ends all streams.
    pub(in crate::node) fn close(&self) {
        self.state.lock().is_closed = true;
        self.watchers.lock().close();
    }

    /// Serves those who are behind, tells of progress, and wakes streams, until `stop`.
    pub(in crate::node) async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(self.serve(&stop), self.wake(&stop));
    }

    async fn wake(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.has_wakes.notified()).await.is_some() {
            let mut wakes = std::mem::take(&mut *self.wakes.lock());
            announce(&mut wakes);
        }
    }

    async fn serve(self: &Arc<Self>, stop: &CancellationToken) {
        loop {
            let tick = self.state.lock().ticker.next();
            // All three can be cancelled: a wake-up that is not heard is kept, time does not run away.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.work.notified() => {}
                () = until(tick) => self.tick(Instant::now()),
            }
            if !self.watchers.lock().has_ready() {
                continue;
            }
            // It may read the disk: not on an async worker.
            let hub = self.clone();
            let round = self.options.threading.blocking(move || hub.round());
            if round.await.is_err() {
                tracing::error!("a round of watchers that are behind panicked; all watch streams end");
                self.close();
                return;
            }
            if self.watchers.lock().has_ready() {
                self.work.notify_one();
            }
        }
    }

    /// Tells everybody who is behind, and has room, the next piece of history. If it cannot be read, the streams that
    /// needed it end, and so does the member.
    fn round(&self) {
        if let Err(error) = watch::round(&self.watchers, &*self.shared, &mut announce) {
            self.failure.set(error.to_string().into());
        }
    }

    fn tick(&self, now: Instant) {
        let mut touched = Vec::new();
        loop {
            let Some(stream) = self.state.lock().ticker.due(now) else { return };
            self.watchers.lock().tick(stream, &mut touched);
            announce(&mut touched);
        }
    }
}

/// What a stream asks of the hub.
impl WatchHub {
    pub(super) fn open(&self) -> (StreamKey, Arc<Mailbox>) {
        let mailbox = Arc::new(Mailbox::default());
        let key = self.watchers.lock().open(mailbox.clone());
        let (is_closed, is_first) = {
            let mut state = self.state.lock();
            (state.is_closed, state.ticker.add(key, Instant::now(), self.options.period()))
        };
        if is_closed {
            mailbox.close();
        }
        if is_first {
            self.work.notify_one();
        }
        (key, mailbox)
    }

    pub(super) fn remove(&self, stream: StreamKey) {
        self.watchers.lock().remove(stream);
        self.state.lock().ticker.remove(stream);
    }

    /// Whether there was room.
    pub(super) fn create(&self, stream: StreamKey, spec: &WatchSpec) -> bool {
        let visible = self.visible();
        let mut spec = Cow::Borrowed(spec);
        if Mistake::EventTwice.is_made() && spec.start_revision > 1 {
            spec.to_mut().start_revision -= 1;
        }
        let (result, has_ready) = {
            let mut watchers = self.watchers.lock();
            (watchers.create(stream, &spec, visible), watchers.has_ready())
        };
        if has_ready {
            self.work.notify_one();
        }
        result.is_ok()
    }

    /// Whether there was room.
    pub(super) fn cancel(&self, stream: StreamKey, id: WatchId) -> bool {
        let visible = self.visible();
        self.watchers.lock().cancel(stream, id, visible).is_ok()
    }

    /// Whether there was room.
    pub(super) fn request_progress(&self, stream: StreamKey) -> bool {
        self.watchers.lock().request_progress(stream).is_ok()
    }

    /// There is room again for a stream's watchers that are behind.
    pub(super) fn make_ready(&self, stream: StreamKey) {
        self.watchers.lock().make_ready(stream);
        self.work.notify_one();
    }

    /// What there is of streams and watchers.
    pub(in crate::node) fn census(&self) -> Census {
        let watchers = self.watchers.lock();
        let mut census = Census::default();
        for (mailbox, of_stream, behind) in watchers.streams() {
            census.streams += 1;
            census.watchers += of_stream;
            census.behind += behind;
            census.pending_events += mailbox.pending_events();
        }
        census
    }

    /// The store's revision, which may be ahead of what was published.
    fn visible(&self) -> Revision {
        self.shared.with(crate::mvcc::Store::revision)
    }
}

impl History for Shared {
    fn storage(&self) -> Arc<Storage> {
        self.storage.load_full()
    }
}

fn announce(touched: &mut Vec<Arc<Mailbox>>) {
    for mailbox in touched.drain(..) {
        mailbox.announce();
    }
}

/// The moment `at`, or never.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
