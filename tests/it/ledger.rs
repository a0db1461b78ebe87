//! What writers were told, and whether the store agrees after it was torn down.
//!
//! Thirty-two writers put, delete and run txns with values that are never used twice, and write down each answer. When
//! the server has gone and come back, its history is read with a watch from revision 1 and compared:
//!
//! * every acknowledged revision is there once, in order, with what was written;
//! * no revision was given to two writers;
//! * what nobody was told of was at least asked for, and took effect at most once;
//! * what a watcher saw before is still so: nothing becomes visible that can be lost.
//!
//! A write whose answer did not come is never sent again. One that was refused because the disk is full took no effect.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, EventType, GetOptions, Txn, TxnOp, WatchOptions, WatchStream};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

const WRITERS: u64 = 32;
/// Keys of each writer.
const KEYS: u64 = 50;
/// Makes values of a realistic size.
const PADDING: &str =
    "----------------------------------------------------------------------------------------------------";
/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer may be on its way from a server that is gone.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How a put is refused for want of space, and how long a writer leaves the server alone then.
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// What one key became: `None` is a delete.
type Change = (String, Option<String>);

#[derive(Debug, Default)]
struct Told {
    /// Acknowledged revision to its changes.
    acknowledged: BTreeMap<i64, Vec<Change>>,
    /// Changes of requests whose answer did not come.
    unknown: BTreeSet<Vec<Change>>,
    /// Unanswered deletes, by key.
    unknown_deletes: BTreeMap<String, u64>,
    /// What must not happen, in words.
    offences: Vec<String>,
    /// The history before this revision is gone.
    compacted: i64,
}

/// Whether there is a server to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Down,
    /// The n-th server.
    Up(u64, String),
    Over,
}

/// What the writers share.
#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Told>,
    /// How many writes were acknowledged.
    acknowledged: watch::Sender<u64>,
    /// How many puts were refused for want of space.
    refused: watch::Sender<u64>,
    /// How many deletes were acknowledged that found something.
    deleted: watch::Sender<u64>,
    /// The disk may be full.
    may_refuse: AtomicBool,
    /// Bytes that values are longer by.
    more_bytes: AtomicUsize,
    /// How many writers have a server.
    busy: watch::Sender<u64>,
    /// Errors are no surprise any more.
    is_doomed: AtomicBool,
}

/// Writers at work, and what they and a watcher were told.
#[derive(Debug)]
pub struct Load {
    phase: watch::Sender<Phase>,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    observed: Arc<Mutex<BTreeMap<i64, Vec<Change>>>>,
    servers: u64,
}

impl Load {
    /// Starts the writers. They wait for [`Load::up`].
    pub fn start() -> Load {
        let phase = watch::Sender::new(Phase::Down);
        let shared = Arc::new(Shared::default());
        let observed = Arc::default();
        let mut tasks = JoinSet::new();
        for id in 0..WRITERS {
            tasks.spawn(Writer { id, next: 0, shared: Arc::clone(&shared) }.run(phase.subscribe()));
        }
        tasks.spawn(observe(phase.subscribe(), Arc::clone(&observed)));
        Load { phase, shared, tasks, observed, servers: 0 }
    }

    /// Lets the writers write to the server at `endpoint`.
    pub fn up(&mut self, endpoint: String) {
        self.shared.is_doomed.store(false, Ordering::SeqCst);
        self.serve(endpoint);
    }

    /// The same for a server that will go by itself.
    pub fn up_and_doomed(&mut self, endpoint: String) {
        self.doom();
        self.serve(endpoint);
    }

    fn serve(&mut self, endpoint: String) {
        self.servers += 1;
        self.phase.send_replace(Phase::Up(self.servers, endpoint));
    }

    /// Says that the server is about to go: the writers go on, but errors are no surprise from now on.
    pub fn doom(&self) {
        self.shared.is_doomed.store(true, Ordering::SeqCst);
    }

    /// Says that the server is gone, and waits until no writer has a request under way.
    pub async fn down(&self) {
        self.phase.send_replace(Phase::Down);
        let idle =
            timeout(PATIENCE, async { self.shared.busy.subscribe().wait_for(|busy| *busy == 0).await.map(drop) });
        idle.await.expect("the writers rest when their server is gone").expect("the writers live");
    }

    /// Waits until so many more writes were acknowledged.
    pub async fn acknowledges(&self, more: u64) {
        counts(&self.shared.acknowledged, more, "writes were not acknowledged").await;
    }

    /// Waits until so many more deletes were acknowledged.
    pub async fn deletes(&self, more: u64) {
        counts(&self.shared.deleted, more, "deletes were not acknowledged").await;
    }

    /// Waits until so many more puts were refused because the disk is full.
    pub async fn refuses(&self, more: u64) {
        counts(&self.shared.refused, more, "puts were not refused").await;
    }

    /// Says whether the disk may be full from now on: whether refusals for that are no surprise.
    pub fn may_refuse(&self, may_refuse: bool) {
        self.shared.may_refuse.store(may_refuse, Ordering::SeqCst);
    }

    /// Makes values longer by so many bytes from now on.
    pub fn lengthen(&self, bytes: usize) {
        self.shared.more_bytes.store(bytes, Ordering::SeqCst);
    }

    /// How many puts were refused because the disk was full.
    pub fn refused(&self) -> u64 {
        *self.shared.refused.borrow()
    }

    /// The last revision that the watcher has seen.
    pub fn observed(&self) -> i64 {
        self.observed.lock().last_key_value().map_or(0, |(&last, _)| last)
    }

    /// Says that the history before a revision may be compacted; the watcher must have seen it.
    pub fn compacts(&self, revision: i64) {
        let mut told = self.shared.told.lock();
        told.compacted = told.compacted.max(revision);
    }

    /// Ends the writers.
    pub async fn end(&mut self) {
        self.doom();
        self.phase.send_replace(Phase::Over);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a writer does not panic");
        }
    }

    /// How many writes were acknowledged.
    pub fn count(&self) -> u64 {
        *self.shared.acknowledged.borrow()
    }

    /// Compares the history and the newest state of the server with what the writers were told.
    ///
    /// The writers must not be writing. `context` says how to come here again.
    pub async fn check(&self, endpoint: &str, context: &str) {
        let mut client = Client::connect([endpoint], None).await.expect("etcd-client connects lazily");
        let newest = client.get("w", Some(GetOptions::new().with_prefix())).await.expect("the server reads");
        let revision = newest.header().expect("a header").revision();
        let compacted = self.shared.told.lock().compacted;
        let history = history(&mut client, compacted + 1, revision, context).await;
        let base = base(&mut client, compacted).await;
        let told = self.shared.told.lock();
        assert!(told.offences.is_empty(), "{context}: {:#?}", told.offences);
        told.check_base(&base, context);

        for (revision, changes) in told.acknowledged.range(compacted + 1..) {
            let found = history.get(revision);
            assert_eq!(found, Some(changes), "{context}: revision {revision} was acknowledged, left is the history");
        }
        let mut unknown = told.unknown.clone();
        let mut unknown_deletes = told.unknown_deletes.clone();
        for (revision, changes) in history.iter().filter(|(revision, _)| !told.acknowledged.contains_key(revision)) {
            let was_asked_for = match &changes[..] {
                [(key, None)] => take_one(&mut unknown_deletes, key),
                _ => unknown.remove(changes),
            };
            assert!(
                was_asked_for,
                "{context}: nobody asked for revision {revision}, or it happened twice: {changes:?}"
            );
        }
        let observed = self.observed.lock();
        for (revision, changes) in observed.range(compacted + 1..) {
            let found = history.get(revision);
            assert_eq!(found, Some(changes), "{context}: a watcher saw revision {revision}, left is the history");
        }
        let taken: Vec<i64> = history.keys().copied().collect();
        assert!(taken.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{context}: the history has a gap");

        let mut expected: BTreeMap<&str, (i64, &str)> =
            base.iter().map(|(key, (revision, value))| (key.as_str(), (*revision, value.as_str()))).collect();
        for (&revision, changes) in &history {
            for (key, value) in changes {
                match value {
                    Some(value) => expected.insert(key, (revision, value)),
                    None => expected.remove(key.as_str()),
                };
            }
        }
        let found: BTreeMap<&str, (i64, &str)> =
            newest.kvs().iter().map(|kv| (text(kv.key()), (kv.mod_revision(), text(kv.value())))).collect();
        assert_eq!(found, expected, "{context}: the newest state is not what the history says");
    }
}

fn take_one(counts: &mut BTreeMap<String, u64>, key: &str) -> bool {
    match counts.get_mut(key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("writers write text")
}

impl Told {
    /// The state at the compacted revision has what was acknowledged before, or something newer.
    fn check_base(&self, base: &BTreeMap<String, (i64, String)>, context: &str) {
        let mut last: BTreeMap<&str, (i64, bool)> = BTreeMap::new();
        for (&revision, changes) in self.acknowledged.range(..=self.compacted) {
            last.extend(changes.iter().map(|(key, value)| (key.as_str(), (revision, value.is_some()))));
        }
        for (key, (revision, is_put)) in last {
            let found = base.get(key).map(|&(found, _)| found);
            let is_right = match found {
                Some(found) => found > revision || (found == revision && is_put),
                None => !is_put || self.unknown_deletes.contains_key(key),
            };
            assert!(is_right, "{context}: {key} was acknowledged at {revision}, at {} it is {found:?}", self.compacted);
        }
    }
}

/// Waits until a count is so much higher.
async fn counts(count: &watch::Sender<u64>, more: u64, not: &str) {
    let mut count = count.subscribe();
    let target = *count.borrow() + more;
    let reached = timeout(PATIENCE, count.wait_for(|count| *count >= target));
    reached.await.unwrap_or_else(|_| panic!("{more} more {not}")).expect("writers live");
}

/// The state at a compacted revision, by key; empty if that is none.
async fn base(client: &mut Client, compacted: i64) -> BTreeMap<String, (i64, String)> {
    if compacted == 0 {
        return BTreeMap::new();
    }
    let options = GetOptions::new().with_prefix().with_revision(compacted);
    let found = client.get("w", Some(options)).await.expect("the compacted revision itself can be read");
    let pair =
        |kv: &etcd_client::KeyValue| (text(kv.key()).to_owned(), (kv.mod_revision(), text(kv.value()).to_owned()));
    found.kvs().iter().map(pair).collect()
}

/// Everything from a revision to `newest`.
async fn history(client: &mut Client, from: i64, newest: i64, context: &str) -> BTreeMap<i64, Vec<Change>> {
    let mut history = BTreeMap::new();
    let mut watch = watch_from(client, from).await.unwrap_or_else(|error| panic!("{context}: watch: {error}"));
    while history.last_key_value().map_or(from - 1, |(&last, _)| last).max(1) < newest {
        let message = timeout(PATIENCE, watch.message()).await;
        let message = message.unwrap_or_else(|_| panic!("{context}: the history does not reach {newest}"));
        let message = message.unwrap_or_else(|error| panic!("{context}: watch: {error}")).expect("the stream goes on");
        assert!(!message.canceled(), "{context}: canceled: {message:?}");
        take(&mut history, &message).unwrap_or_else(|offence| panic!("{context}: {offence}"));
    }
    history
}

async fn watch_from(client: &mut Client, revision: i64) -> Result<WatchStream, etcd_client::Error> {
    client.watch("w", Some(WatchOptions::new().with_prefix().with_start_revision(revision))).await
}

/// Adds the events of a message: revisions go up, and none is split over two messages.
fn take(history: &mut BTreeMap<i64, Vec<Change>>, message: &etcd_client::WatchResponse) -> Result<(), String> {
    let before = history.last_key_value().map_or(0, |(&last, _)| last);
    let mut last = before;
    for event in message.events() {
        let kv = event.kv().expect("an event has a key");
        let revision = kv.mod_revision();
        if revision <= before || revision < last {
            return Err(format!("a watcher saw revision {revision} after {}", before.max(last)));
        }
        last = revision;
        let value = (event.event_type() == EventType::Put).then(|| text(kv.value()).to_owned());
        history.entry(revision).or_default().push((text(kv.key()).to_owned(), value));
    }
    Ok(())
}

/// Watches all the time, over every restart, and keeps what it saw.
async fn observe(mut phase: watch::Receiver<Phase>, observed: Arc<Mutex<BTreeMap<i64, Vec<Change>>>>) {
    let mut over = phase.clone();
    while let Some((_, endpoint)) = next_server(&mut phase, 0).await {
        let Ok(mut client) = Client::connect([endpoint], None).await else { continue };
        let from = observed.lock().last_key_value().map_or(1, |(&last, _)| last + 1);
        let watching = async {
            let mut watch = watch_from(&mut client, from).await.ok()?;
            while let Some(message) = watch.message().await.ok()? {
                take(&mut observed.lock(), &message).expect("what a watcher sees goes forward");
            }
            None::<()>
        };
        tokio::select! {
            _ = watching => {}
            // At the end its server lives on.
            _ = async { over.wait_for(|phase| *phase == Phase::Over).await.map(drop) } => {}
        }
    }
}

/// Waits for a server later than the n-th; `None` when it is over.
async fn next_server(phase: &mut watch::Receiver<Phase>, after: u64) -> Option<(u64, String)> {
    let next = phase.wait_for(|phase| match phase {
        Phase::Down => false,
        Phase::Up(number, _) => *number > after,
        Phase::Over => true,
    });
    match &*next.await.ok()? {
        Phase::Up(number, endpoint) => Some((*number, endpoint.clone())),
        Phase::Down | Phase::Over => None,
    }
}

struct Writer {
    id: u64,
    /// No value is used twice.
    next: u64,
    shared: Arc<Shared>,
}

impl Writer {
    async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        let mut last = 0;
        while let Some((number, endpoint)) = next_server(&mut phase, last).await {
            last = number;
            let mut client = Client::connect([&endpoint], None).await.expect("etcd-client connects lazily");
            let up = Phase::Up(number, endpoint);
            self.shared.busy.send_modify(|busy| *busy += 1);
            while *phase.borrow() == up {
                let request = self.request();
                let outcome = last_answer(send(&mut client, &request), &mut phase, &up).await;
                if outcome.as_ref().is_err_and(|error| error.contains(NO_SPACE)) {
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                if !self.note(request, outcome) {
                    break;
                }
            }
            self.shared.busy.send_modify(|busy| *busy -= 1);
        }
    }

    /// Mostly puts; now and then a delete, or a txn of two puts.
    fn request(&mut self) -> Vec<Change> {
        self.next += 1;
        let n = self.next;
        let key = |n: u64| format!("w{:02}/{:02}", self.id, n % KEYS);
        let more = "-".repeat(self.shared.more_bytes.load(Ordering::SeqCst));
        let value = |part: u64| Some(format!("{}-{n}-{part}-{PADDING}{more}", self.id));
        match n % 16 {
            7 => vec![(key(n - 3), None)],
            11 => vec![(key(n), value(0)), (key(n + 1), value(1))],
            _ => vec![(key(n), value(0))],
        }
    }

    /// Writes down an outcome; `false` if the connection is of no more use.
    fn note(&self, request: Vec<Change>, outcome: Result<Option<i64>, String>) -> bool {
        let mut told = self.shared.told.lock();
        match outcome {
            Ok(Some(revision)) => {
                if let Some(other) = told.acknowledged.insert(revision, request.clone()) {
                    told.offences.push(format!("revision {revision} was given to {other:?} and to {request:?}"));
                }
                if matches!(&request[..], [(_, None)]) {
                    self.shared.deleted.send_modify(|count| *count += 1);
                }
                self.shared.acknowledged.send_modify(|count| *count += 1);
                true
            }
            // It changed nothing.
            Ok(None) => true,
            Err(error) if error.contains(NO_SPACE) => {
                if !self.shared.may_refuse.load(Ordering::SeqCst) || matches!(&request[..], [(_, None)]) {
                    told.offences.push(format!("there was no space for a change of {}", request[0].0));
                }
                self.shared.refused.send_modify(|count| *count += 1);
                true
            }
            Err(error) => {
                if !self.shared.is_doomed.load(Ordering::SeqCst) {
                    told.offences.push(format!("a running server did not take {request:?}: {error}"));
                }
                match &request[..] {
                    [(key, None)] => *told.unknown_deletes.entry(key.clone()).or_default() += 1,
                    _ => drop(told.unknown.insert(request)),
                }
                false
            }
        }
    }
}

/// The outcome of a request; when its server is gone, only what is on its way already.
async fn last_answer<T>(
    sending: impl Future<Output = Result<T, String>>,
    phase: &mut watch::Receiver<Phase>,
    up: &Phase,
) -> Result<T, String> {
    let mut sending = pin!(sending);
    tokio::select! {
        outcome = &mut sending => return outcome,
        _ = async { phase.wait_for(|phase| phase != up).await.map(drop) } => {}
    }
    timeout(LAST_ANSWERS, sending).await.unwrap_or_else(|_| Err("the server is gone".to_owned()))
}

/// The revision that the request took, `None` if it changed nothing.
async fn send(client: &mut Client, request: &[Change]) -> Result<Option<i64>, String> {
    let sent = match request {
        [(key, Some(value))] => client
            .put(key.as_str(), value.as_str(), None)
            .await
            .map(|reply| reply.header().map(|header| header.revision())),
        [(key, None)] => client
            .delete(key.as_str(), None)
            .await
            .map(|reply| reply.header().filter(|_| reply.deleted() > 0).map(|header| header.revision())),
        changes => {
            let put = |(key, value): &Change| TxnOp::put(key.as_str(), value.as_deref().unwrap_or_default(), None);
            let txn = Txn::new().and_then(changes.iter().map(put).collect::<Vec<_>>());
            client.txn(txn).await.map(|reply| reply.header().map(|header| header.revision()))
        }
    };
    sent.map_err(|error| error.to_string())
}
