//! The hub with its threads, tasks and wake-ups. The rules are tested in [`crate::watch`].

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::poll;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::{HubOptions, WatchHub, WatchSpec, WatchStream, WatchUpdate};
use crate::env::{Random, SeededRandom, SimDisk};
use crate::machine::{Effects, Machine, Shared};
use crate::model::{Command, Compact, Event, KeyRange, LogId, Put, Revision, WatchId};
use crate::node::failure::Failure;
use crate::node::threads::Threading;
use crate::storage::Storage;
use crate::watch::QUEUE_UPDATES_MAX;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A state, the hub that follows it, and the hub's task.
struct World {
    shared: Arc<Shared>,
    hub: Arc<WatchHub>,
    stop: CancellationToken,
}

impl World {
    fn new(progress_interval: Duration) -> World {
        let storage = Storage::open(Arc::new(SimDisk::new()), Path::new("state"), 1 << 20).unwrap();
        let shared = Arc::new(Shared { machine: RwLock::new(Machine::new()), storage: ArcSwap::from_pointee(storage) });
        let hub = WatchHub::new(
            shared.clone(),
            HubOptions::new(progress_interval, Arc::new(SeededRandom::new(1)), Threading::Threads),
            Failure::default(),
        );
        let stop = CancellationToken::new();
        tokio::spawn(hub.clone().run(stop.clone()));
        World { shared, hub, stop }
    }

    fn idle() -> World {
        World::new(Duration::from_secs(600))
    }

    /// Applies commands as one run and publishes it, as the state machine does.
    fn apply(&self, commands: &[Command]) -> Revision {
        let mut effects = Effects::default();
        let storage = self.shared.storage.load();
        let revision = {
            let mut machine = self.shared.machine.write();
            let index = machine.applied().index + 1;
            machine.begin_entry(LogId { term: 1, index }).unwrap();
            for command in commands {
                machine.apply(command, &storage, &mut effects).unwrap().unwrap();
            }
            machine.kv.revision()
        };
        self.hub.publish(revision, effects.events);
        revision
    }

    fn put(&self, count: usize) -> Revision {
        for i in 0..count {
            self.apply(&[put(i)]);
        }
        self.revision()
    }

    fn revision(&self) -> Revision {
        self.shared.machine.read().kv.revision()
    }

    fn stream(&self) -> WatchStream {
        WatchStream::open(self.hub.clone())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn put(i: usize) -> Command {
    let value = Bytes::from(i.to_string());
    Command::Put(Put { key: Bytes::from(format!("k{}", i % 10)), value, ..Put::default() })
}

fn all_from(start_revision: i64) -> WatchSpec {
    WatchSpec::of(KeyRange::prefix(Bytes::from_static(b"k")), start_revision)
}

async fn next(stream: &WatchStream) -> WatchUpdate {
    let update = tokio::time::timeout(PATIENCE, stream.next()).await;
    update.expect("something comes").expect("the stream goes on")
}

/// Reads until `last` was heard of; every revision must come once. Gives the first one.
async fn read_through(stream: &WatchStream, last: Revision) -> Revision {
    let (mut first, mut heard) = (None, None);
    while heard != Some(last) {
        match next(stream).await {
            WatchUpdate::Events { events, .. } => {
                for revision in events.iter().map(Event::revision) {
                    assert!(heard.is_none_or(|heard: Revision| heard.next() == revision), "{revision} after {heard:?}");
                    first = first.or(Some(revision));
                    heard = Some(revision);
                }
            }
            WatchUpdate::Created { revision, .. } if revision == last => return last.next(),
            WatchUpdate::Created { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    first.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn watchers_made_during_writes_miss_nothing_and_hear_nothing_twice() {
    const RUNS: usize = 300;
    let world = Arc::new(World::idle());
    let random = SeededRandom::new(7);
    let writer = {
        let world = world.clone();
        tokio::task::spawn_blocking(move || {
            for _ in 0..RUNS {
                // Longer than a queue now and then.
                let len = if random.next_u64().is_multiple_of(20) { 200 } else { random.next_u64() % 8 + 1 };
                world.apply(&(0..usize::try_from(len).unwrap()).map(put).collect::<Vec<_>>());
            }
        })
    };
    let mut readers = Vec::new();
    while !writer.is_finished() {
        let stream = world.stream();
        let newest = world.revision().0;
        let from = [0, 1, newest, newest + 1, newest + 5][readers.len() % 5];
        stream.create(all_from(from)).await;
        readers.push((stream, from));
        tokio::task::yield_now().await;
        if readers.len() == 200 {
            break;
        }
    }
    writer.await.unwrap();
    let last = world.put(10);
    let readers = readers.into_iter().map(|(stream, from)| {
        tokio::spawn(async move {
            let first = read_through(&stream, last).await;
            assert!(from == 0 || first.0 == from.max(2), "asked for {from}, first is {first}");
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_does_not_hold_up_the_others() {
    let world = World::idle();
    let (slow, fast) = (world.stream(), world.stream());
    slow.create(all_from(0)).await;
    fast.create(all_from(0)).await;
    for _ in 0..20 {
        let last = world.put(QUEUE_UPDATES_MAX);
        // The first round of this loop has read everything before.
        let mut heard = Revision(0);
        while heard != last {
            if let WatchUpdate::Events { events, .. } = next(&fast).await {
                heard = events[events.len() - 1].revision();
            }
        }
    }
    assert_eq!(read_through(&slow, world.revision()).await, Revision(2));
}

#[tokio::test]
async fn a_cursor_is_told_that_compaction_overtook_it() {
    let world = World::idle();
    let stream = world.stream();
    stream.create(all_from(0)).await;
    let last = world.put(2 * QUEUE_UPDATES_MAX);
    world.apply(&[Command::Compact(Compact { revision: last, physical: false })]);
    loop {
        match next(&stream).await {
            WatchUpdate::Compacted { id, compacted } => {
                assert_eq!((id, compacted), (WatchId(0), last));
                break;
            }
            WatchUpdate::Created { .. } | WatchUpdate::Events { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    // Then it is quiet, until the client lets go of the id.
    world.put(1);
    stream.request_progress().await;
    stream.cancel(WatchId(0)).await;
    assert!(matches!(next(&stream).await, WatchUpdate::Canceled { .. }));
}

#[tokio::test]
async fn answers_wait_for_room() {
    let world = World::idle();
    let stream = world.stream();
    for _ in 0..QUEUE_UPDATES_MAX {
        stream.create(all_from(0)).await;
    }
    let mut one_more = std::pin::pin!(stream.create(all_from(0)));
    assert_eq!(poll!(one_more.as_mut()), Poll::Pending);
    assert!(matches!(next(&stream).await, WatchUpdate::Created { id: WatchId(0), .. }));
    tokio::time::timeout(PATIENCE, one_more).await.expect("there is room now");
}

#[tokio::test]
async fn an_answer_that_is_not_waited_for_is_not_made() {
    let world = World::idle();
    let stream = world.stream();
    for _ in 0..QUEUE_UPDATES_MAX {
        stream.create(all_from(0)).await;
    }
    {
        let mut abandoned = std::pin::pin!(stream.create(all_from(0)));
        assert_eq!(poll!(abandoned.as_mut()), Poll::Pending);
    }
    for id in 0..QUEUE_UPDATES_MAX {
        let expected = WatchUpdate::Created { id: WatchId(id.try_into().unwrap()), revision: Revision::FRESH };
        assert_eq!(next(&stream).await, expected);
    }
    assert_eq!(poll!(std::pin::pin!(stream.next())), Poll::Pending);
}

#[tokio::test]
async fn next_can_be_cancelled_at_any_time() {
    let world = World::idle();
    let stream = world.stream();
    stream.create(all_from(0)).await;
    assert!(matches!(next(&stream).await, WatchUpdate::Created { .. }));
    for i in 0..50 {
        {
            let mut abandoned = std::pin::pin!(stream.next());
            assert_eq!(poll!(abandoned.as_mut()), Poll::Pending);
            world.apply(&[put(i)]);
            // It was woken, and goes without looking.
        }
        assert!(matches!(next(&stream).await, WatchUpdate::Events { .. }));
    }
}

#[tokio::test]
async fn watchers_of_the_same_share_their_events() {
    let world = World::idle();
    let streams: Vec<WatchStream> = (0..3).map(|_| world.stream()).collect();
    for stream in &streams {
        stream.create(all_from(0)).await;
        next(stream).await;
    }
    world.put(1);
    let mut told = Vec::new();
    for stream in &streams {
        let WatchUpdate::Events { events, .. } = next(stream).await else { panic!("no event") };
        told.push(events);
    }
    assert!(told.iter().all(|events| Arc::ptr_eq(events, &told[0])));
}

#[tokio::test]
async fn idle_watchers_hear_of_progress() {
    let world = World::new(Duration::from_millis(5));
    let stream = world.stream();
    stream.create(WatchSpec { progress_notify: true, ..all_from(0) }).await;
    stream.create(all_from(0)).await;
    let last = world.put(1);
    loop {
        match next(&stream).await {
            WatchUpdate::Progress { id, revision } => {
                assert_eq!(id, Some(WatchId(0)), "only the one that asked");
                if revision == last {
                    break;
                }
            }
            WatchUpdate::Created { .. } | WatchUpdate::Events { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn close_ends_streams_that_are_open_and_those_to_come() {
    let world = World::idle();
    let stream = world.stream();
    stream.create(all_from(0)).await;
    next(&stream).await;
    let mut waiting = std::pin::pin!(stream.next());
    assert_eq!(poll!(waiting.as_mut()), Poll::Pending);
    world.hub.close();
    assert_eq!(tokio::time::timeout(PATIENCE, waiting).await, Ok(None));

    let late = world.stream();
    late.create(all_from(0)).await;
    assert_eq!(tokio::time::timeout(PATIENCE, late.next()).await, Ok(None));
}

#[tokio::test]
async fn a_replaced_state_is_read_from_its_history() {
    let world = World::idle();
    let stream = world.stream();
    stream.create(all_from(0)).await;
    world.put(3);
    let last = {
        // Applied elsewhere: nobody publishes it here.
        let mut machine = world.shared.machine.write();
        machine.begin_entry(LogId { term: 1, index: 4 }).unwrap();
        for i in 0..5 {
            machine.apply(&put(i), &world.shared.storage.load(), &mut Effects::default()).unwrap().unwrap();
        }
        machine.kv.revision()
    };
    world.hub.resync_all();
    assert_eq!(read_through(&stream, last).await, Revision(2));
    assert_eq!(read_through(&stream, world.put(1)).await, last.next());
}

#[tokio::test]
async fn every_stream_that_waits_is_woken_by_a_run_that_concerns_many() {
    let world = World::idle();
    let streams: Vec<WatchStream> = (0..100).map(|_| world.stream()).collect();
    for stream in &streams {
        stream.create(all_from(0)).await;
        next(stream).await;
    }
    let mut waiting: Vec<_> = streams.iter().map(|stream| Box::pin(stream.next())).collect();
    for stream in &mut waiting {
        assert_eq!(poll!(stream.as_mut()), Poll::Pending);
    }
    world.put(1);
    let told = tokio::time::timeout(PATIENCE, futures_util::future::join_all(waiting)).await.expect("all are woken");
    assert!(told.iter().all(|update| matches!(update, Some(WatchUpdate::Events { .. }))));
}
