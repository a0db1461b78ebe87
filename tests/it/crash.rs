//! Crashes of a whole node on a simulated disk.
//!
//! A node runs on [`SimDisk`] under a small load that keeps every part busy: several log segments, purges, compactions,
//! checkpoints and snapshots. The disk is armed to fail at the n-th sync of one [`SyncSite`]; from then on nothing
//! reaches it. What survives is drawn four ways ([`Image`]), and a new node is started on each image. It must have every
//! acknowledged write at its revision, must not have used a revision twice, and a watch over the history must see each
//! acknowledged revision once and in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lodemark::env::{Disk, Image, ManualClock, SeededRandom, SimDisk, SyncSite};
use lodemark::model::{
    ClusterId, Command, Compact, DeleteRange, EventKind, KeyRange, LeaseId, MemberId, Put, Range, Reply, Revision,
};
use lodemark::node::{Identity, Node, NodeOptions, Proposal, WatchSpec, WatchUpdate};
use parking_lot::Mutex;

/// Each site that the load syncs at is crashed at this often.
const HITS: u64 = 20;
const WRITERS: u64 = 4;
const IMAGES: [Image; 4] = [Image::Nothing, Image::Everything, Image::Subset, Image::Torn];
/// How long a load may run before its crash must have come.
const LOAD_TIME_MAX: Duration = Duration::from_secs(20);
/// How long a restarted node may take to lead.
const READY_TIME_MAX: Duration = Duration::from_secs(20);

/// What the writers were told.
#[derive(Debug, Default)]
struct Acknowledged {
    /// Revision to key and value; `None` is a delete.
    writes: Mutex<BTreeMap<i64, (Bytes, Option<Bytes>)>>,
    /// The highest compaction that was answered.
    compacted: AtomicU64,
}

#[test]
fn nothing_acknowledged_is_lost_at_any_sync() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let long = std::env::var("LONG").is_ok();
    let hits = if long { HITS * 10 } else { HITS };
    let sites = sites_of_an_undisturbed_load(&runtime);
    println!("sync sites: {sites:?}");
    let mut crashed: BTreeMap<SyncSite, u64> = BTreeMap::new();
    for (&site, &count) in &sites {
        for hit in 0..hits {
            // Spread over the load, but not to its very end: no two loads sync equally often. A site that syncs less
            // often than it is hit is hit at the same place several times, each with another seed.
            let nth = 1 + hit * (count * 3 / 4).max(1) / hits;
            let seed = hit * 7919 + site as u64;
            if crash_and_recover(&runtime, site, nth, seed) {
                *crashed.entry(site).or_default() += 1;
            }
        }
    }
    println!("crashes: {crashed:?}, {} images each", IMAGES.len());
    for site in sites.keys() {
        // A load that happens to sync less often than the first one may end before its crash.
        let count = crashed.get(site).copied().unwrap_or(0);
        assert!(count >= HITS.min(hits) * 9 / 10, "{site:?} was crashed at only {count} times");
    }
}

fn sites_of_an_undisturbed_load(runtime: &tokio::runtime::Runtime) -> BTreeMap<SyncSite, u64> {
    let disk = SimDisk::new();
    let acknowledged = Arc::new(Acknowledged::default());
    runtime.block_on(load(&disk, 0, &acknowledged));
    disk.sync_counts()
}

/// Whether the crash came before the load was over.
fn crash_and_recover(runtime: &tokio::runtime::Runtime, site: SyncSite, nth: u64, seed: u64) -> bool {
    let disk = SimDisk::new();
    disk.crash_at(site, nth);
    let acknowledged = Arc::new(Acknowledged::default());
    runtime.block_on(load(&disk, seed, &acknowledged));
    let has_crashed = disk.is_crashed();
    for image in IMAGES {
        let survived = disk.crash_image(image, seed);
        let context = format!("site {site:?}, sync {nth}, seed {seed}, image {image:?}");
        runtime.block_on(check(survived, seed, &acknowledged, &context));
    }
    has_crashed
}

fn options(disk: Arc<dyn Disk>, seed: u64) -> NodeOptions {
    let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
    NodeOptions {
        snapshot_entries: 40,
        catchup_entries: 10,
        segment_bytes: 32 * 1024,
        ..NodeOptions::new(disk, Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(seed)), identity)
    }
}

/// Runs the writers until they are done or the disk has crashed.
async fn load(disk: &SimDisk, seed: u64, acknowledged: &Arc<Acknowledged>) {
    let options = options(Arc::new(disk.clone()), seed);
    let Ok(node) = Node::start(options.clone()).await else { return };
    let work = async {
        if node.ready(&options).await.is_err() {
            return;
        }
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(node.clone(), writer, acknowledged.clone())));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    };
    let ended = tokio::time::timeout(LOAD_TIME_MAX, async {
        tokio::select! {
            () = work => {}
            _ = node.stopped() => {}
        }
    });
    ended.await.expect("the load ends or the node stops");
    node.stop().await;
}

/// Writes keys of its own; puts, overwrites, deletes, and now and then compacts.
async fn write(node: Node, writer: u64, acknowledged: Arc<Acknowledged>) {
    for round in 0..60u64 {
        let key = Bytes::from(format!("w{writer}/{}", round % 17));
        let value = Bytes::from(format!("{writer}-{round}-{}", "x".repeat(200)));
        let outcome = if round % 9 == 8 {
            let delete = DeleteRange { keys: KeyRange::single(key.clone()), prev_kv: false };
            node.propose(Proposal::from(&Command::DeleteRange(delete))).await.map(|reply| (reply, None))
        } else {
            let put = Put { key: key.clone(), value: value.clone(), lease: LeaseId::NONE, ..Put::default() };
            node.propose(Proposal::from(&Command::Put(put))).await.map(|reply| (reply, Some(value)))
        };
        let Ok((reply, value)) = outcome else { return };
        let has_changed = !matches!(&reply, Reply::DeleteRange(delete) if delete.deleted == 0);
        if has_changed {
            let before = acknowledged.writes.lock().insert(reply.revision().0, (key, value));
            assert_eq!(before, None, "revision {} was given out twice", reply.revision());
        }
        if writer == 0 && round % 20 == 19 {
            let revision = Revision(reply.revision().0 - 10);
            if node.compact(Compact { revision, physical: round % 40 == 39 }).await.is_err() {
                return;
            }
            acknowledged.compacted.fetch_max(revision.0.cast_unsigned(), Ordering::SeqCst);
        }
    }
}

async fn check(survived: SimDisk, seed: u64, acknowledged: &Acknowledged, context: &str) {
    let options = options(Arc::new(survived), seed + 1);
    let node = match Node::start(options.clone()).await {
        Ok(node) => node,
        Err(error) => panic!("{context}: the node does not start again: {error}"),
    };
    match tokio::time::timeout(READY_TIME_MAX, node.ready(&options)).await {
        Ok(Ok(())) => {}
        other => panic!("{context}: the node does not lead again: {other:?}"),
    }
    let writes = acknowledged.writes.lock().clone();
    let newest = node.revision();
    if let Some((&last, _)) = writes.last_key_value() {
        assert!(newest.0 >= last, "{context}: revision {last} was acknowledged, the store is at {newest}");
    }

    let mut latest: BTreeMap<&Bytes, (i64, &Option<Bytes>)> = BTreeMap::new();
    for (&revision, (key, value)) in &writes {
        latest.insert(key, (revision, value));
    }
    for (key, (revision, value)) in latest {
        let reply = node.range(&get(key.clone())).await.unwrap();
        match (reply.kvs.first(), value) {
            // A later write that was not answered may have taken effect.
            (Some(record), _) if record.mod_revision().0 > revision => {}
            (Some(record), Some(value)) => {
                assert_eq!((record.mod_revision().0, record.value()), (revision, value.as_ref()), "{context}: {key:?}");
            }
            (None, None) => {}
            (None, Some(_)) if deleted_after(&node, key, revision).await => {}
            (found, _) => panic!("{context}: {key:?} was acknowledged at {revision}, found {found:?}"),
        }
    }
    check_history(&node, acknowledged, &writes, newest, context).await;
    node.stop().await;
}

/// An unanswered delete may have taken effect: then the history shows it.
async fn deleted_after(node: &Node, key: &Bytes, revision: i64) -> bool {
    let newest = node.revision();
    let stream = node.watch();
    stream.create(WatchSpec::of(KeyRange::single(key.clone()), revision + 1)).await;
    while let Some(update) = stream.next().await {
        match update {
            WatchUpdate::Events { events, .. } => return events.iter().any(|event| event.kind == EventKind::Delete),
            WatchUpdate::Created { .. } if revision + 1 > newest.0 => return false,
            // What would show it is compacted.
            WatchUpdate::Compacted { .. } => return true,
            _ => {}
        }
    }
    false
}

/// Every acknowledged revision that is not compacted is seen once, in order, with what it wrote.
async fn check_history(
    node: &Node,
    acknowledged: &Acknowledged,
    writes: &BTreeMap<i64, (Bytes, Option<Bytes>)>,
    newest: Revision,
    context: &str,
) {
    // A compaction that was not answered may have taken effect too: 10 below the newest write, at most.
    let from = acknowledged.compacted.load(Ordering::SeqCst).cast_signed().max(newest.0 - 9).max(1);
    let stream = node.watch();
    stream.create(WatchSpec::of(KeyRange::prefix(Bytes::from_static(b"w")), from)).await;
    let mut seen = from - 1;
    let expected: Vec<_> = writes.range(from..).collect();
    let Some(&(&last, _)) = expected.last() else { return };
    let mut expected = expected.into_iter().peekable();
    while seen < last {
        let update = tokio::time::timeout(READY_TIME_MAX, stream.next()).await;
        let update = update.unwrap_or_else(|_| panic!("{context}: the history ends at {seen}, not at {last}"));
        match update.unwrap_or_else(|| panic!("{context}: the stream ended")) {
            WatchUpdate::Events { events, .. } => {
                for event in events.iter() {
                    let revision = event.revision().0;
                    assert!(revision > seen, "{context}: revision {revision} after {seen}");
                    seen = revision;
                    if let Some((_, (key, value))) = expected.next_if(|(acked, _)| **acked == revision) {
                        assert_eq!(event.key(), key.as_ref(), "{context}: revision {revision}");
                        let written =
                            (event.kind == EventKind::Put).then(|| Bytes::copy_from_slice(event.record.value()));
                        assert_eq!(&written, value, "{context}: revision {revision}");
                    }
                    if let Some((acked, _)) = expected.peek() {
                        assert!(**acked > revision, "{context}: revision {acked} was acknowledged and not seen");
                    }
                }
            }
            WatchUpdate::Created { .. } => {}
            // The unanswered compaction was one of a later round than expected: then there is nothing to compare.
            WatchUpdate::Compacted { compacted, .. } => {
                assert!(compacted.0 <= newest.0, "{context}: compacted at {compacted}, the store is at {newest}");
                return;
            }
            other => panic!("{context}: unexpected {other:?}"),
        }
    }
}

fn get(key: Bytes) -> Range {
    Range::of(KeyRange::single(key))
}
