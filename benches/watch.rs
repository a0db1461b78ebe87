//! What does a run of writes cost the thread that applies, by how many watchers there are and how many of them hear of it?
//! And how fast does a watcher that is behind read the history?

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lodemark::env::SimDisk;
use lodemark::model::{Event, EventKind, KeyRange, KeyValue, LeaseId, Record, Revision};
use lodemark::mvcc::{Source, Store};
use lodemark::storage::Storage;
use lodemark::watch::{History, Outlet, Queue, StreamKey, Taken, UpdateClass, WatchSpec, WatchUpdate, Watchers, round};
use parking_lot::Mutex;

const VALUE: &[u8] = &[b'v'; 256];

#[derive(Debug, Clone, Default)]
struct Outbox(Arc<Mutex<Queue>>);

impl Outlet for Outbox {
    fn offer(&self, update: WatchUpdate, bytes: usize, class: UpdateClass) -> bool {
        self.0.lock().offer(update, bytes, class)
    }

    fn close(&self) {
        self.0.lock().close();
    }
}

impl Outbox {
    fn drain(&self) -> usize {
        let mut queue = self.0.lock();
        std::iter::from_fn(|| matches!(queue.take(), Taken::Update(..)).then_some(())).count()
    }
}

struct Hub {
    watchers: Watchers<Outbox>,
    outboxes: Vec<Outbox>,
    touched: Vec<Outbox>,
    revision: i64,
}

impl Hub {
    fn new() -> Hub {
        Hub { watchers: Watchers::new(Revision::FRESH), outboxes: Vec::new(), touched: Vec::new(), revision: 1 }
    }

    /// A stream with a watcher for each of `keys`.
    fn watch(&mut self, keys: impl Iterator<Item = KeyRange>) {
        let outbox = Outbox::default();
        let stream: StreamKey<Outbox> = self.watchers.open(outbox.clone());
        for keys in keys {
            self.watchers.create(stream, &WatchSpec::of(keys, 0), Revision(self.revision)).expect("there is room");
            outbox.drain();
        }
        self.outboxes.push(outbox);
    }

    fn put(&mut self, key: &[u8]) -> Vec<Event> {
        self.revision += 1;
        vec![Event { kind: EventKind::Put, record: record(key, self.revision), prev: None }]
    }

    /// What the apply thread does.
    fn publish(&mut self, events: &[Event]) -> usize {
        self.watchers.publish(Revision(self.revision), events, &mut self.touched);
        let told = self.touched.len();
        self.touched.clear();
        told
    }
}

fn record(key: &[u8], revision: i64) -> Record {
    let (create_revision, mod_revision) = (Revision(2), Revision(revision));
    Record::new(&KeyValue { key, value: VALUE, create_revision, mod_revision, version: 3, lease: LeaseId::NONE })
}

fn service(i: usize) -> Bytes {
    Bytes::from(format!("/services/{i:06}/"))
}

fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    let mut measure = |name: &str, hub: &mut Hub, key: &[u8], told: usize| {
        group.throughput(Throughput::Elements(told.max(1) as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let events = hub.put(key);
                assert_eq!(hub.publish(&events), told);
                hub.outboxes.iter().take(told).map(Outbox::drain).sum::<usize>()
            });
        });
    };

    let key = [&service(500)[..], b"host"].concat();
    measure("no watchers", &mut Hub::new(), &key, 0);

    let mut hub = Hub::new();
    hub.watch(std::iter::once(KeyRange::single(key.clone().into())));
    measure("one watcher", &mut hub, &key, 1);

    let mut hub = Hub::new();
    (0..1000).for_each(|_| hub.watch(std::iter::once(KeyRange::single(key.clone().into()))));
    measure("1000 streams on one key", &mut hub, &key, 1000);

    let mut hub = Hub::new();
    hub.watch(std::iter::once(KeyRange::single(key.clone().into())));
    (0..100).for_each(|s| hub.watch((0..1000).map(|i| KeyRange::single(service(s * 1000 + i + 1_000_000)))));
    measure("100000 watchers of other keys", &mut hub, &key, 1);

    let mut hub = Hub::new();
    hub.watch(std::iter::once(KeyRange::prefix(service(500))));
    (0..100).for_each(|s| hub.watch((0..1000).map(|i| KeyRange::prefix(service(s * 1000 + i + 501)))));
    measure("100000 watchers of other prefixes", &mut hub, &key, 1);
    group.finish();
}

struct Past {
    store: Store,
    storage: Arc<Storage>,
}

impl Source for Past {
    fn with<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(&self.store)
    }
}

impl History for Past {
    fn storage(&self) -> Arc<Storage> {
        self.storage.clone()
    }
}

fn replay(criterion: &mut Criterion) {
    const REVISIONS: usize = 10_000;
    let storage = Storage::open(Arc::new(SimDisk::new()), Path::new("state"), 1 << 24).expect("an empty storage");
    let mut past = Past { store: Store::new(), storage: Arc::new(storage) };
    for i in 0..REVISIONS {
        let mut write = past.store.begin();
        write.put(&[&service(i % 100)[..], b"host"].concat(), VALUE, LeaseId::NONE);
        write.finish(&mut Vec::new(), &mut Vec::new());
    }

    let mut group = criterion.benchmark_group("replay 10000 revisions");
    group.throughput(Throughput::Elements(REVISIONS as u64));
    for (name, streams, prev_kv) in [("one", 1, false), ("one, prev_kv", 1, true), ("100 of the same", 100, false)] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let newest = past.store.revision();
                let watchers = Mutex::new(Watchers::new(newest));
                for _ in 0..streams {
                    let stream = watchers.lock().open(Outbox::default());
                    let spec = WatchSpec { prev_kv, ..WatchSpec::of(KeyRange::prefix(Bytes::from_static(b"/")), 1) };
                    watchers.lock().create(stream, &spec, newest).expect("there is room");
                }
                while watchers.lock().has_ready() {
                    round(&watchers, &past, &mut |_| ()).expect("the history can be read");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, publish, replay);
criterion_main!(benches);
