//! A server inside a test, and its store without a socket.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::poll;
use tokio::runtime::Builder as Runtimes;

use super::builder::Place;
use super::*;
use crate::env::{Disk, MemoryDisk};
use crate::server::{DataDirError, Error as Failure};

/// Longer than anything here takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(10);

async fn started() -> (Server, Store) {
    let server = Server::in_memory().start().await.unwrap();
    let store = server.store();
    (server, store)
}

fn values(reply: &RangeReply) -> Vec<&[u8]> {
    reply.kvs.iter().map(Record::value).collect()
}

#[tokio::test]
async fn what_is_put_is_read_and_deleted() {
    let (server, store) = started().await;
    let first = store.put("a", "1").await.unwrap();
    let second = store.put("a", "2").with_prev().await.unwrap();
    assert_eq!((second.revision, second.prev.unwrap().value()), (first.revision.next(), &b"1"[..]));
    store.put("b", "3").await.unwrap();

    assert_eq!(store.get("a").await.unwrap().unwrap().value(), b"2");
    assert_eq!(store.get("x").await.unwrap(), None);
    let found = store.range(all()).await.unwrap();
    assert_eq!((values(&found), found.count, found.revision), (vec![&b"2"[..], b"3"], 2, store.revision()));
    assert_eq!(values(&store.range(all()).at(first.revision).await.unwrap()), [b"1"]);
    let limited = store.range(from_key("a")).limit(1).await.unwrap();
    assert_eq!((values(&limited), limited.more), (vec![&b"2"[..]], true));
    let newest = store.range(between("a", "c")).sort(SortTarget::Mod, SortOrder::Descend).await.unwrap();
    assert_eq!(values(&newest), [b"3", b"2"]);
    assert_eq!(values(&store.range(prefix("a")).keys_only().await.unwrap()), [b""]);
    let counted = store.range(prefix("")).count_only().await.unwrap();
    assert_eq!((counted.count, counted.kvs.len()), (2, 0));

    let deleted = store.delete(prefix("a")).with_prev().await.unwrap();
    assert_eq!((deleted.deleted, deleted.prev[0].value()), (1, &b"2"[..]));
    assert_eq!(store.delete("a").await.unwrap().deleted, 0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn history_goes_by_itself_if_it_is_to() {
    let server = Server::in_memory().retention(Retention::Time(Duration::from_millis(100))).start().await.unwrap();
    let store = server.store();
    let first = store.put("a", "1").await.unwrap().revision;
    let last = store.put("a", "2").await.unwrap().revision;
    let gone = async {
        while store.range(all()).at(first).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is compacted");
    assert_eq!(values(&store.range(all()).at(last).await.unwrap()), [b"2"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_txn_is_one_change_or_the_other() {
    let (server, store) = started().await;
    let campaign = |who: &str| {
        store.txn().when(Compare::missing("leader")).then(store.put("leader", who)).or_else(store.range("leader"))
    };
    let won = campaign("me").await.unwrap();
    assert!(won.succeeded);
    let lost = campaign("you").await.unwrap();
    let OpReply::Range(found) = &lost.responses[0] else { panic!("{lost:?}") };
    assert_eq!((lost.succeeded, values(found)), (false, vec![&b"me"[..]]));

    let holds = async |condition| store.txn().when(condition).then(store.range("leader")).await.unwrap().succeeded;
    assert!(holds(Compare::exists("leader")).await && !holds(Compare::exists("x")).await);
    assert!(holds(Compare::value_is("leader", "me")).await && !holds(Compare::value_is("leader", "you")).await);
    assert!(holds(Compare::created_at("leader", won.revision)).await);
    assert!(holds(Compare::modified_at("leader", won.revision)).await);
    assert!(!holds(Compare::modified_at("leader", won.revision.next())).await);
    assert!(holds(Compare::lease_is("leader", LeaseId::NONE)).await);

    let swap = store.txn().then(store.delete("leader")).then(store.put("a", "1")).then(store.put("b", "2"));
    let swapped = swap.await.unwrap();
    assert_eq!((swapped.revision, swapped.responses.len()), (won.revision.next(), 3));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_watch_tells_past_and_present_once_and_in_order() {
    let (server, store) = started().await;
    let first = store.put("k/1", "a").await.unwrap().revision;
    store.put("other", "x").await.unwrap();
    let mut now = store.watch(prefix("k/")).await.unwrap();
    let mut past = store.watch(prefix("k/")).from(first).with_prev().await.unwrap();
    let mut ends = store.watch("k/1").deletes_only().await.unwrap();
    assert!(poll!(Box::pin(now.next())).is_pending(), "nothing has happened since");
    store.put("k/1", "b").await.unwrap();
    let last = store.delete("k/1").await.unwrap().revision;

    let mut told = Vec::new();
    while told.last() != Some(&(EventKind::Delete, last)) {
        told.extend(past.next().await.unwrap().iter().map(|event| (event.kind, event.revision())));
    }
    let put = |revision: i64| (EventKind::Put, Revision(revision));
    assert_eq!(told, [put(first.0), put(first.0 + 2), (EventKind::Delete, last)]);
    assert_eq!(now.next().await.unwrap()[0].record.value(), b"b");
    let end = ends.next().await.unwrap();
    assert_eq!((end.len(), end[0].kind, end[0].revision()), (1, EventKind::Delete, last));

    store.compact(last).await.unwrap();
    let mut late = store.watch(prefix("k/")).from(first).await.unwrap();
    assert_eq!(late.next().await, Err(Error::Compacted { requested: first, compacted: last }));
    server.stop().await.unwrap();
    assert!(matches!(end_of(now).await, Error::Stopped));
}

/// Reads until the watch ends.
async fn end_of(mut watch: Watch) -> Error {
    loop {
        if let Err(error) = tokio::time::timeout(PATIENCE, watch.next()).await.expect("it ends") {
            return error;
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_moved_ends_leases_at_once() {
    let clock = ManualClock::new();
    let server = Server::in_memory().clock(&clock).start().await.unwrap();
    let store = server.store();
    let (kept, left) = (store.grant(TTL).await.unwrap(), store.grant(TTL).await.unwrap());
    assert_eq!(kept.ttl, TTL);
    store.put("kept", "").lease(kept.id).await.unwrap();
    store.put("left", "").lease(left.id).await.unwrap();
    let mut watch = store.watch("left").await.unwrap();

    clock.advance(TTL - Duration::from_secs(1)).await.unwrap();
    assert_eq!(store.time_to_live(left.id).await, Ok(Some(Duration::from_secs(1))));
    assert_eq!(store.keep_alive(kept.id).await, Ok(TTL));
    clock.advance(Duration::from_secs(1)).await.unwrap();
    assert_eq!((store.get("left").await, store.time_to_live(left.id).await), (Ok(None), Ok(None)));
    assert_eq!(store.keep_alive(left.id).await, Err(Error::LeaseNotFound));
    assert_eq!(watch.next().await.unwrap()[0].kind, EventKind::Delete);
    assert!(store.get("kept").await.unwrap().is_some());

    store.revoke(kept.id).await.unwrap();
    assert_eq!(store.get("kept").await, Ok(None));
    assert_eq!(store.revoke(kept.id).await, Err(Error::LeaseNotFound));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn many_leases_end_before_the_clock_says_that_it_has_moved() {
    let clock = ManualClock::new();
    let servers = [Server::in_memory().clock(&clock), Server::in_memory().clock(&clock)].map(Builder::start);
    let [one, other] = servers;
    let servers = [one.await.unwrap(), other.await.unwrap()];
    for server in &servers {
        let store = server.store();
        // More than end in one command.
        for i in 0..600 {
            let lease = store.grant(TTL).await.unwrap();
            store.put(format!("k{i}"), "").lease(lease.id).await.unwrap();
        }
    }
    clock.advance(TTL).await.unwrap();
    for server in servers {
        assert_eq!(server.store().range(all()).await.unwrap().count, 0);
        server.stop().await.unwrap();
    }
    // Nobody runs by it any more.
    clock.advance(TTL).await.unwrap();
}

#[tokio::test]
async fn requests_do_not_grow_older_when_the_clock_is_moved() {
    let clock = ManualClock::new();
    let server = Server::in_memory().clock(&clock).start().await.unwrap();
    let (store, is_over) = (server.store(), Arc::new(AtomicBool::new(false)));
    let writer = tokio::spawn({
        let (store, is_over) = (store.clone(), is_over.clone());
        async move {
            while !is_over.load(Ordering::Relaxed) {
                store.put("k", "v").await?;
            }
            Ok::<(), Error>(())
        }
    });
    for _ in 0..50 {
        clock.advance(Duration::from_secs(3600)).await.unwrap();
        store.put("k", "w").await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(writer.await.unwrap(), Ok(()));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_what_to_do() {
    let (server, store) = started().await;
    let revision = store.put("k", "v").await.unwrap().revision;
    let future = Error::FutureRevision { requested: Revision(99), current: revision };
    assert_eq!(store.put("", "v").await, Err(Error::EmptyKey));
    assert_eq!(store.get("").await, Err(Error::EmptyKey));
    assert_eq!(store.delete(between("b", "a")).await, Err(Error::EmptyRange));
    assert_eq!(store.delete(between("b", "")).await, Err(Error::EmptyRange));
    assert_eq!(store.watch(between("b", "b")).await.map(drop), Err(Error::EmptyRange));
    assert_eq!(store.range("k").at(Revision(99)).await, Err(future.clone()));
    assert_eq!(store.compact(Revision(99)).await, Err(future));
    assert_eq!(store.put("k", vec![0_u8; 2 << 20]).await, Err(Error::TooLarge));
    assert_eq!(store.put("k", "v").lease(LeaseId(7)).await, Err(Error::LeaseNotFound));
    assert_eq!(store.grant(Duration::MAX).await, Err(Error::TtlTooLarge));
    assert_eq!(store.grant(Duration::from_millis(1)).await.unwrap().ttl, Duration::from_secs(2));

    let put = || store.put("k", "w");
    let twice = Error::DuplicateKey("k".into());
    assert_eq!(store.txn().then(put()).then(put()).await, Err(twice.clone()));
    assert_eq!(store.txn().or_else(put()).or_else(store.delete(all())).await, Err(twice));
    assert_eq!(store.txn().when(Compare::exists("")).then(put()).await, Err(Error::EmptyKey));
    assert_eq!(store.txn().then(store.put("", "")).await, Err(Error::EmptyKey));
    assert!(store.txn().then(put()).or_else(put()).await.unwrap().succeeded, "only one of the branches runs");
    assert_eq!(store.revision(), revision.next(), "nothing else was written");

    server.stop().await.unwrap();
    assert_eq!(store.put("k", "v").await, Err(Error::Stopped));
    assert_eq!(store.get("k").await, Err(Error::Stopped));
    assert_eq!(store.watch("k").await.map(drop), Err(Error::Stopped));
}

#[tokio::test]
async fn addresses_are_told_as_they_are_and_refused_if_they_are_none() {
    let temp = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}", temp.path().join("socket").display());
    let builder = Server::in_memory().client_addr("127.0.0.1:0").client_addr("localhost:0").client_addr(&socket);
    let server = builder.start().await.unwrap();
    let [first, second, third] = server.endpoints() else { panic!("{:?}", server.endpoints()) };
    assert!(first.starts_with("http://127.0.0.1:") && second.starts_with("http://127.0.0.1:"), "{first} {second}");
    assert!(!first.ends_with(":0") && first != second);
    assert_eq!(*third, socket);
    let taken = first.trim_start_matches("http://");
    let again = Server::in_memory().client_addr(taken).start().await;
    assert!(matches!(again, Err(StartError::Server(Failure::Listen { .. }))), "{again:?}");
    server.stop().await.unwrap();
    assert!(Server::in_memory().start().await.unwrap().endpoints().is_empty());

    for addr in ["", "127.0.0.1", "example.com:1", "https://127.0.0.1:0", "ftp://127.0.0.1:0"] {
        let refused = Server::in_memory().client_addr(addr).start().await;
        assert!(matches!(&refused, Err(StartError::Address { addr: told, .. }) if told == addr), "{refused:?}");
    }
}

#[tokio::test]
async fn a_folder_keeps_what_was_acknowledged_and_is_for_one_server() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::in_dir(temp.path()).name("one").start().await.unwrap();
    let revision = server.store().put("k", "v").await.unwrap().revision;
    let second = Server::in_dir(temp.path()).start().await;
    assert!(matches!(second, Err(StartError::Server(Failure::DataDir(DataDirError::InUse { .. })))), "{second:?}");
    server.stop().await.unwrap();

    let server = Server::in_dir(temp.path()).start().await.unwrap();
    let found = server.store().get("k").await.unwrap().unwrap();
    assert_eq!((found.value(), found.mod_revision()), (&b"v"[..], revision));
    server.stop().await.unwrap();
}

/// Without snapshots the log would have twelve segments in the end, and go on growing.
#[tokio::test]
async fn in_memory_the_log_does_not_grow_without_end() {
    let memory = MemoryDisk::new();
    let server = Builder::new(Place::Memory(memory.clone())).start().await.unwrap();
    let (store, value) = (server.store(), vec![7_u8; 4096]);
    for _ in 0..3000 {
        store.put("k", &value).await.unwrap();
    }
    let purged = async {
        while memory.list(Path::new("wal")).unwrap().len() > 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, purged).await.expect("old segments go");
    server.stop().await.unwrap();
}

#[test]
fn without_a_runtime_there_is_no_server() {
    let mut start = std::pin::pin!(Server::in_memory().start());
    let outcome = start.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(outcome, std::task::Poll::Ready(Err(StartError::NoRuntime))), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_in_order_by_itself() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::in_dir(temp.path()).start().await.unwrap();
    let (store, mut watch) = (server.store(), server.store().watch("k").await.unwrap());
    store.put("k", "v").await.unwrap();
    assert_eq!(watch.next().await.unwrap().len(), 1);
    drop(server);
    assert_eq!(end_of(watch).await, Error::Stopped);
    drop(reopened(temp.path()).await);

    // So does one that nobody waits for until it is ready.
    let memory = MemoryDisk::new();
    let mut start = Box::pin(Builder::new(Place::Memory(memory.clone())).start());
    assert!(poll!(&mut start).is_pending());
    drop(start);
    let ends = async {
        while memory.is_shared() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ends).await.expect("everything lets go of the disk");
}

/// Threads that write into a folder hold its lock, those that use memory hold that.
#[test]
fn a_server_whose_runtime_ends_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let memory = MemoryDisk::new();
    let runtime = Runtimes::new_current_thread().enable_all().build().unwrap();
    let (server, store) = runtime.block_on(async {
        let server = Server::in_dir(temp.path()).start().await.unwrap();
        let store = server.store();
        store.put("k", "v").await.unwrap();
        let second = Builder::new(Place::Memory(memory.clone())).client_addr("127.0.0.1:0").start().await.unwrap();
        second.store().put("k", "v").await.unwrap();
        (server, store)
    });
    drop(runtime);
    let runtime = Runtimes::new_current_thread().enable_all().build().unwrap();
    let end = runtime.block_on(async { tokio::time::timeout(PATIENCE, store.put("k", "w")).await });
    assert_eq!(end.expect("nobody waits for ever"), Err(Error::Stopped));
    let found = runtime.block_on(async { reopened(temp.path()).await.store().get("k").await });
    assert_eq!(found.unwrap().unwrap().value(), b"v");
    drop(server);

    let mut waited = Duration::ZERO;
    while memory.is_shared() {
        assert!(waited < PATIENCE, "something still uses the disk");
        std::thread::sleep(Duration::from_millis(5));
        waited += Duration::from_millis(5);
    }
}

/// Starts a server in a folder as soon as nobody uses it.
async fn reopened(path: &Path) -> Server {
    let open = async {
        loop {
            match Server::in_dir(path).start().await {
                Err(StartError::Server(Failure::DataDir(DataDirError::InUse { .. }))) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                started => return started.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, open).await.expect("the folder is let go of")
}
