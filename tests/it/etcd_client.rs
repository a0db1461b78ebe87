//! The whole main job through the Rust etcd-client: register, watch, elect, lock, and know of the dead in time.
//!
//! Each body runs on Lodemark, and on a real etcd where there is one: that keeps the tests themselves honest.

use std::time::Duration;

use etcd_client::{
    Client, CompactionOptions, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, LeaseGrantOptions,
    LeaseTimeToLiveOptions, LockOptions, ProclaimOptions, PutOptions, ResignOptions, SortOrder, SortTarget, Txn, TxnOp,
    TxnOpResponse, WatchFilterType, WatchOptions, WatchResponse, WatchStream,
};
use tokio::time::{Instant, timeout};

use crate::harness::{Member, Program, Site};

/// The shortest that both servers grant.
const TTL: i64 = 2;
const TTL_TIME: Duration = Duration::from_secs(TTL.cast_unsigned());
/// How much later than its TTL a lease may be seen to end.
const LATE_MAX: Duration = Duration::from_secs(1);
/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! on_both_servers {
    ($($body:ident),* $(,)?) => {
        mod lodemark {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $body() {
                super::on(crate::harness::Program::lodemark(), super::$body).await;
            })*
        }

        mod reference {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $body() {
                if let Some(etcd) = crate::harness::Program::etcd() {
                    super::on(etcd, super::$body).await;
                }
            })*
        }
    };
}

on_both_servers!(
    puts_gets_and_deletes,
    orders_and_filters_ranges,
    txns_compare_every_target,
    compaction_ends_old_revisions,
    watchers_see_each_event_once_in_order,
    watchers_behind_a_compaction_are_told,
    leases_live_while_they_are_kept,
    dead_service_is_seen_deleted_in_time,
    lock_passes_when_its_holder_is_revoked,
    lock_passes_when_its_holder_dies,
    lock_waiter_that_leaves_is_passed_over,
    election_passes_when_its_leader_resigns,
    election_passes_when_its_leader_dies,
    one_member_says_who_it_is,
);

async fn on<F: AsyncFnOnce(&Member)>(program: Program, body: F) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Member::start(&program, Site::new(folder.path())).await;
    body(&server).await;
    let status = server.terminate();
    // etcd raises the signal again once it has stopped.
    assert!(status.code().unwrap_or_default() == 0, "it stops in order: {status}");
}

async fn puts_gets_and_deletes(server: &Member) {
    let mut client = server.client().await;
    let first = client.put("/services/web/1", "10.0.0.1", None).await.unwrap();
    let base = first.header().unwrap().revision();
    assert!(first.prev_key().is_none());
    client.put("/services/web/2", "10.0.0.2", None).await.unwrap();
    client.put("/services/db/1", "10.0.1.1", None).await.unwrap();

    let replaced = client.put("/services/web/1", "10.0.0.9", Some(PutOptions::new().with_prev_key())).await.unwrap();
    assert_eq!(replaced.header().unwrap().revision(), base + 3);
    assert_eq!(replaced.prev_key().unwrap().value(), b"10.0.0.1");

    let one = client.get("/services/web/1", None).await.unwrap();
    let kv = &one.kvs()[0];
    assert_eq!((kv.value(), kv.create_revision(), kv.mod_revision()), (&b"10.0.0.9"[..], base, base + 3));
    assert_eq!((kv.version(), kv.lease(), one.count(), one.more()), (2, 0, 1, false));
    let none = client.get("/services/web/3", None).await.unwrap();
    assert_eq!((none.kvs().len(), none.count(), none.header().unwrap().revision()), (0, 0, base + 3));

    let prefix = client.get("/services/web/", Some(GetOptions::new().with_prefix())).await.unwrap();
    assert_eq!(keys(prefix.kvs()), ["/services/web/1", "/services/web/2"]);
    let from = client.get("/services/web/1", Some(GetOptions::new().with_from_key())).await.unwrap();
    assert_eq!(keys(from.kvs()), ["/services/web/1", "/services/web/2"]);
    let then = GetOptions::new().with_prefix().with_revision(base + 1);
    assert_eq!(keys(client.get("/services/", Some(then)).await.unwrap().kvs()), ["/services/web/1", "/services/web/2"]);

    let kept = client.put("/services/web/1", "", Some(PutOptions::new().with_ignore_value())).await.unwrap();
    assert_eq!(kept.header().unwrap().revision(), base + 4);
    assert_eq!(client.get("/services/web/1", None).await.unwrap().kvs()[0].value(), b"10.0.0.9");
    let missing = client.put("/services/web/8", "", Some(PutOptions::new().with_ignore_value())).await;
    assert_eq!(text(missing.unwrap_err()), "etcdserver: key not found");
    assert_eq!(text(client.put("", "x", None).await.unwrap_err()), "etcdserver: key is not provided");

    let deleted =
        client.delete("/services/web/", Some(DeleteOptions::new().with_prefix().with_prev_key())).await.unwrap();
    assert_eq!((deleted.deleted(), deleted.header().unwrap().revision()), (2, base + 5));
    assert_eq!(keys(deleted.prev_kvs()), ["/services/web/1", "/services/web/2"]);
    let again = client.delete("/services/web/1", None).await.unwrap();
    assert_eq!((again.deleted(), again.header().unwrap().revision()), (0, base + 5));
    let future = client.get("/services/web/1", Some(GetOptions::new().with_revision(base + 6))).await;
    assert_eq!(text(future.unwrap_err()), "etcdserver: mvcc: required revision is a future revision");
}

async fn orders_and_filters_ranges(server: &Member) {
    let mut client = server.client().await;
    let mut revisions = Vec::new();
    for (key, value) in [("b", "1"), ("c", "3"), ("a", "2"), ("b", "4")] {
        revisions.push(client.put(key, value, None).await.unwrap().header().unwrap().revision());
    }
    let all = || GetOptions::new().with_all_keys();
    for (target, order, expected) in [
        (SortTarget::Key, SortOrder::Descend, "cba"),
        (SortTarget::Mod, SortOrder::Ascend, "cab"),
        (SortTarget::Create, SortOrder::Ascend, "bca"),
        (SortTarget::Value, SortOrder::Descend, "bca"),
        (SortTarget::Version, SortOrder::Descend, "bac"),
    ] {
        let found = client.get("", Some(all().with_sort(target, order))).await.unwrap();
        assert_eq!(keys(found.kvs()).concat(), expected, "{target:?} {order:?}");
    }
    let limited = client.get("", Some(all().with_limit(2))).await.unwrap();
    assert_eq!((keys(limited.kvs()).concat(), limited.more(), limited.count()), ("ab".to_owned(), true, 3));
    let names = client.get("", Some(all().with_keys_only())).await.unwrap();
    assert!(names.kvs().iter().all(|kv| kv.value().is_empty() && kv.mod_revision() > 0));
    let count = client.get("", Some(all().with_count_only().with_serializable())).await.unwrap();
    assert_eq!((count.kvs().len(), count.count()), (0, 3));
    let newer = client.get("", Some(all().with_min_mod_revision(revisions[2]))).await.unwrap();
    assert_eq!(keys(newer.kvs()).concat(), "ab");
    let older = client.get("", Some(all().with_max_create_revision(revisions[1]))).await.unwrap();
    assert_eq!(keys(older.kvs()).concat(), "bc");
}

async fn txns_compare_every_target(server: &Member) {
    let mut client = server.client().await;
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let created = client.put("k", "v", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    let created = created.header().unwrap().revision();
    let modified = client.put("k", "w", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    let modified = modified.header().unwrap().revision();

    for (compare, holds) in [
        (Compare::version("k", CompareOp::Equal, 2), true),
        (Compare::version("k", CompareOp::Greater, 2), false),
        (Compare::version("absent", CompareOp::Equal, 0), true),
        (Compare::create_revision("k", CompareOp::Equal, created), true),
        (Compare::create_revision("k", CompareOp::Less, created), false),
        (Compare::mod_revision("k", CompareOp::Greater, created), true),
        (Compare::mod_revision("k", CompareOp::NotEqual, modified), false),
        (Compare::value("k", CompareOp::Equal, "w"), true),
        (Compare::value("k", CompareOp::Less, "v"), false),
        // A key that is absent has no value to compare with.
        (Compare::value("absent", CompareOp::NotEqual, "v"), false),
        (Compare::lease("k", CompareOp::Equal, lease), true),
        (Compare::lease("absent", CompareOp::Equal, 0), true),
        (Compare::version("k", CompareOp::Greater, 0).with_prefix(), true),
    ] {
        let txn = Txn::new().when([compare.clone()]).and_then([TxnOp::get("k", None)]);
        let reply = client.txn(txn).await.unwrap();
        assert_eq!(reply.succeeded(), holds, "{compare:?}");
        assert_eq!(reply.op_responses().len(), usize::from(holds));
        assert_eq!(reply.header().unwrap().revision(), modified, "a txn that changes nothing takes no revision");
    }

    // Operations see each other's changes; a nested txn does too, but its comparison looks at the state before all.
    let nested = Txn::new()
        .when([Compare::version("n", CompareOp::Equal, 0)])
        .and_then([TxnOp::put("m", "nested", None), TxnOp::get("n", None)]);
    let txn = Txn::new().and_then([
        TxnOp::put("n", "1", None),
        TxnOp::get("n", None),
        TxnOp::txn(nested),
        TxnOp::delete("k", Some(DeleteOptions::new().with_prev_key())),
    ]);
    let reply = client.txn(txn).await.unwrap();
    let revision = reply.header().unwrap().revision();
    assert_eq!(revision, modified + 1, "a txn is one revision");
    let responses = reply.op_responses();
    let [_, TxnOpResponse::Get(got), TxnOpResponse::Txn(inner), TxnOpResponse::Delete(deleted)] = &responses[..] else {
        panic!("{responses:?}");
    };
    assert_eq!((got.kvs()[0].value(), got.kvs()[0].mod_revision()), (&b"1"[..], revision));
    assert!(inner.succeeded());
    assert_eq!((deleted.deleted(), deleted.prev_kvs()[0].value()), (1, &b"w"[..]));
    let m = client.get("m", None).await.unwrap();
    assert_eq!((m.kvs()[0].value(), m.kvs()[0].mod_revision()), (&b"nested"[..], revision));

    let twice = Txn::new().and_then([TxnOp::put("d", "1", None), TxnOp::put("d", "2", None)]);
    assert_eq!(text(client.txn(twice).await.unwrap_err()), "etcdserver: duplicate key given in txn request");
}

async fn compaction_ends_old_revisions(server: &Member) {
    let mut client = server.client().await;
    let first = client.put("k", "1", None).await.unwrap().header().unwrap().revision();
    client.put("k", "2", None).await.unwrap();
    client.put("k", "3", None).await.unwrap();
    client.compact(first + 1, Some(CompactionOptions::new().with_physical())).await.unwrap();

    let at = |revision| Some(GetOptions::new().with_revision(revision));
    assert_eq!(client.get("k", at(first + 1)).await.unwrap().kvs()[0].value(), b"2");
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(text(client.get("k", at(first)).await.unwrap_err()), compacted);
    assert_eq!(text(client.compact(first + 1, None).await.unwrap_err()), compacted);
    assert_eq!(text(client.compact(first + 9, None).await.unwrap_err()), future);
}

async fn watchers_see_each_event_once_in_order(server: &Member) {
    let mut client = server.client().await;
    let base = client.put("w/a", "1", None).await.unwrap().header().unwrap().revision();
    client.put("other", "x", None).await.unwrap();
    client.put("w/b", "2", None).await.unwrap();

    let options = WatchOptions::new().with_prefix().with_start_revision(base).with_prev_key();
    let mut watch = watch(&mut client, "w/", options).await;
    let txn = Txn::new().and_then([TxnOp::put("w/a", "3", None), TxnOp::delete("w/b", None)]);
    client.txn(txn).await.unwrap();
    assert_eq!(
        seen(&mut watch, 4).await,
        [
            format!("{} put w/a=1", base),
            format!("{} put w/b=2", base + 2),
            format!("{} put w/a=3 was 1", base + 3),
            format!("{} delete w/b was 2", base + 3),
        ]
    );

    // A progress message says that all up to its revision were sent.
    client.put("other", "y", None).await.unwrap();
    watch.request_progress().await.unwrap();
    let progress = message(&mut watch).await;
    assert!(progress.events().is_empty());
    assert_eq!((progress.watch_id(), progress.header().unwrap().revision()), (-1, base + 4));

    // A second watcher on the same stream, without deletes.
    let options = WatchOptions::new().with_filters([WatchFilterType::NoDelete]).with_watch_id(7);
    watch.watch("w/a", Some(options)).await.unwrap();
    let created = message(&mut watch).await;
    assert!(created.created());
    assert_eq!(created.watch_id(), 7);
    watch.cancel(0).await.unwrap();
    let canceled = message(&mut watch).await;
    assert_eq!((canceled.canceled(), canceled.watch_id()), (true, 0));
    client.delete("w/a", None).await.unwrap();
    client.put("w/a", "4", None).await.unwrap();
    assert_eq!(seen(&mut watch, 1).await, [format!("{} put w/a=4", base + 6)]);
}

async fn watchers_behind_a_compaction_are_told(server: &Member) {
    let mut client = server.client().await;
    let base = client.put("k", "1", None).await.unwrap().header().unwrap().revision();
    client.put("k", "2", None).await.unwrap();
    client.put("k", "3", None).await.unwrap();
    client.compact(base + 1, None).await.unwrap();
    let mut watch = watch(&mut client, "k", WatchOptions::new().with_start_revision(base)).await;
    let told = message(&mut watch).await;
    assert_eq!((told.canceled(), told.compact_revision()), (true, base + 1));
    let options = WatchOptions::new().with_start_revision(base + 1);
    watch.watch("k", Some(options)).await.unwrap();
    assert!(message(&mut watch).await.created());
    assert_eq!(seen(&mut watch, 2).await, [format!("{} put k=2", base + 1), format!("{} put k=3", base + 2)]);
}

async fn leases_live_while_they_are_kept(server: &Member) {
    let mut client = server.client().await;
    let chosen = client.lease_grant(60, Some(LeaseGrantOptions::new().with_id(42))).await.unwrap();
    assert_eq!((chosen.id(), chosen.ttl()), (42, 60));
    let twice = client.lease_grant(60, Some(LeaseGrantOptions::new().with_id(42))).await;
    assert_eq!(text(twice.unwrap_err()), "etcdserver: lease already exists");

    let short = client.lease_grant(TTL, None).await.unwrap().id();
    let attach = |lease| Some(PutOptions::new().with_lease(lease));
    client.put("s/1", "x", attach(short)).await.unwrap();
    client.put("l/1", "x", attach(42)).await.unwrap();
    client.put("l/2", "x", attach(42)).await.unwrap();
    let mut listed: Vec<i64> = client.leases().await.unwrap().leases().iter().map(|lease| lease.id()).collect();
    listed.sort_unstable();
    let mut expected = vec![42, short];
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let left = client.lease_time_to_live(42, Some(LeaseTimeToLiveOptions::new().with_keys())).await.unwrap();
    // etcd lists the keys of a lease in any order.
    let mut keys = left.keys().to_vec();
    keys.sort_unstable();
    assert_eq!((left.granted_ttl(), keys), (60, vec![b"l/1".to_vec(), b"l/2".to_vec()]));
    assert!((58..=60).contains(&left.ttl()), "{left:?}");

    // Kept for twice its TTL.
    let (mut keeper, mut answers) = client.lease_keep_alive(short).await.unwrap();
    let kept_until = Instant::now() + 2 * TTL_TIME;
    while Instant::now() < kept_until {
        keeper.keep_alive().await.unwrap();
        let answer = soon(answers.message()).await.unwrap().expect("the stream goes on");
        assert_eq!((answer.id(), answer.ttl()), (short, TTL));
        tokio::time::sleep(TTL_TIME / 4).await;
    }
    assert_eq!(client.get("s/1", None).await.unwrap().kvs().len(), 1);

    client.lease_revoke(42).await.unwrap();
    assert_eq!(client.get("l/", Some(GetOptions::new().with_prefix())).await.unwrap().count(), 0);
    let gone = client.lease_time_to_live(42, None).await.unwrap();
    assert_eq!((gone.ttl(), gone.granted_ttl()), (-1, 0));
    let missing = "etcdserver: requested lease not found";
    assert_eq!(text(client.lease_revoke(42).await.unwrap_err()), missing);
    assert_eq!(text(client.put("l/1", "x", attach(42)).await.unwrap_err()), missing);
    let kept = client.lease_keep_alive(42).await;
    assert!(matches!(kept, Err(Error::LeaseKeepAliveError(_))), "{kept:?}");
}

async fn dead_service_is_seen_deleted_in_time(server: &Member) {
    let mut consumer = server.client().await;
    let mut service = server.client().await;
    let lease = service.lease_grant(TTL, None).await.unwrap().id();
    let options = Some(PutOptions::new().with_lease(lease));
    let put = service.put("/services/web/1", "10.0.0.1", options.clone()).await.unwrap();
    service.put("/services/web/2", "10.0.0.1", options).await.unwrap();
    let revision = put.header().unwrap().revision();
    let options = WatchOptions::new().with_prefix().with_start_revision(revision).with_prev_key();
    let mut watch = watch(&mut consumer, "/services/", options).await;
    let put = |key, revision| format!("{revision} put /services/web/{key}=10.0.0.1");
    assert_eq!(seen(&mut watch, 2).await, [put(1, revision), put(2, revision + 1)]);

    let (mut keeper, mut answers) = service.lease_keep_alive(lease).await.unwrap();
    tokio::time::sleep(TTL_TIME / 2).await;
    let sent = Instant::now();
    keeper.keep_alive().await.unwrap();
    soon(answers.message()).await.unwrap().expect("the stream goes on");
    let answered = Instant::now();
    drop((keeper, answers, service));

    let deletes = seen(&mut watch, 2).await;
    let at = Instant::now();
    let deleted = |key| format!("{} delete /services/web/{key} was 10.0.0.1", revision + 2);
    assert_eq!(deletes, [deleted(1), deleted(2)], "all keys of a lease end in one revision");
    assert!(at - sent >= TTL_TIME, "ended {:?} after a keepalive was sent", at - sent);
    assert!(at - answered <= TTL_TIME + LATE_MAX, "ended only {:?} after the last keepalive", at - answered);
}

async fn lock_passes_when_its_holder_is_revoked(server: &Member) {
    let (mut first, mut second) = (server.client().await, server.client().await);
    let leases = [first.lease_grant(60, None).await.unwrap().id(), second.lease_grant(60, None).await.unwrap().id()];
    let held = first.lock("job", Some(LockOptions::new().with_lease(leases[0]))).await.unwrap();
    let first_key = held.key().to_vec();
    assert_eq!(first_key, format!("job/{:x}", leases[0]).into_bytes());
    let first_token = token(&mut first, &first_key).await;

    let waiting = tokio::spawn(async move { second.lock("job", Some(LockOptions::new().with_lease(leases[1]))).await });
    queued(&mut first, "job/", 2).await;
    assert!(!waiting.is_finished(), "a lock has one holder");
    first.lease_revoke(leases[0]).await.unwrap();
    let second_key = soon(waiting).await.unwrap().unwrap().key().to_vec();
    let second_token = token(&mut first, &second_key).await;
    assert!(second_token > first_token, "fencing token {second_token} after {first_token}");

    // Its own holder gets it again at once, and can let go of it.
    let again = first.lock("job", Some(LockOptions::new().with_lease(leases[1]))).await.unwrap();
    assert_eq!(again.key(), second_key);
    first.unlock(second_key).await.unwrap();
    assert_eq!(first.get("job/", Some(GetOptions::new().with_prefix())).await.unwrap().count(), 0);
    // Without a lease of the client's the server grants one.
    let own = first.lock("job", None).await.unwrap().key().to_vec();
    let kv = first.get(own, None).await.unwrap();
    assert_ne!(kv.kvs()[0].lease(), 0);
}

async fn lock_passes_when_its_holder_dies(server: &Member) {
    let (mut first, mut second) = (server.client().await, server.client().await);
    let sent = Instant::now();
    let dying = first.lease_grant(TTL, None).await.unwrap().id();
    let granted = Instant::now();
    let held = first.lock("job", Some(LockOptions::new().with_lease(dying))).await.unwrap();
    let first_token = token(&mut first, held.key()).await;
    drop(first);
    let lease = second.lease_grant(60, None).await.unwrap().id();
    let held = soon(second.lock("job", Some(LockOptions::new().with_lease(lease)))).await.unwrap();
    let at = Instant::now();
    assert!(at - sent >= TTL_TIME, "passed on {:?} after its lease was asked for", at - sent);
    assert!(at - granted <= TTL_TIME + LATE_MAX, "passed on only after {:?}", at - granted);
    assert!(token(&mut second, held.key()).await > first_token);
}

async fn lock_waiter_that_leaves_is_passed_over(server: &Member) {
    let mut client = server.client().await;
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(client.lease_grant(60, None).await.unwrap().id());
    }
    let lock = |lease| Some(LockOptions::new().with_lease(lease));
    client.lock("job", lock(leases[0])).await.unwrap();
    let mut waiters = Vec::new();
    for (at, &lease) in leases.iter().enumerate().skip(1) {
        let mut waiter = server.client().await;
        waiters.push(tokio::spawn(async move { waiter.lock("job", lock(lease)).await }));
        queued(&mut client, "job/", at + 1).await;
    }
    // The middle one gives up: its key goes with its request.
    waiters[0].abort();
    queued(&mut client, "job/", 2).await;
    client.unlock(format!("job/{:x}", leases[0])).await.unwrap();
    let last = waiters.pop().expect("two waiters");
    assert_eq!(soon(last).await.unwrap().unwrap().key(), format!("job/{:x}", leases[2]).into_bytes());
}

async fn election_passes_when_its_leader_resigns(server: &Member) {
    let (mut first, mut second) = (server.client().await, server.client().await);
    let none = first.leader("web").await.unwrap_err();
    assert_eq!(text(none), "election: no leader");
    let leases = [first.lease_grant(60, None).await.unwrap().id(), second.lease_grant(60, None).await.unwrap().id()];
    let won = first.campaign("web", "node-1", leases[0]).await.unwrap();
    let leader = won.leader().unwrap().clone();
    let mut observed = second.clone().observe("web").await.unwrap();
    assert_eq!((leader.name(), leader.lease()), (&b"web"[..], leases[0]));
    assert_eq!(leader.key(), format!("web/{:x}", leases[0]).into_bytes());
    assert_eq!(first.leader("web").await.unwrap().kv().unwrap().value(), b"node-1");
    assert_eq!(observe(&mut observed).await, "node-1");

    let waiting = tokio::spawn({
        let mut second = second.clone();
        async move { second.campaign("web", "node-2", leases[1]).await }
    });
    queued(&mut first, "web/", 2).await;
    first.proclaim("node-1b", Some(ProclaimOptions::new().with_leader(leader.clone()))).await.unwrap();
    assert_eq!(observe(&mut observed).await, "node-1b");
    assert!(!waiting.is_finished(), "an election has one leader");

    first.resign(Some(ResignOptions::new().with_leader(leader.clone()))).await.unwrap();
    let next = soon(waiting).await.unwrap().unwrap().leader().unwrap().clone();
    assert!(next.rev() > leader.rev(), "fencing token {} after {}", next.rev(), leader.rev());
    assert_eq!(observe(&mut observed).await, "node-2");
    let deposed = first.proclaim("node-1c", Some(ProclaimOptions::new().with_leader(leader))).await;
    assert_eq!(text(deposed.unwrap_err()), "election: not leader");
}

async fn election_passes_when_its_leader_dies(server: &Member) {
    let (mut first, mut second) = (server.client().await, server.client().await);
    let sent = Instant::now();
    let dying = first.lease_grant(TTL, None).await.unwrap().id();
    let granted = Instant::now();
    let won = first.campaign("web", "node-1", dying).await.unwrap();
    let first_token = won.leader().unwrap().rev();
    let mut observed = second.clone().observe("web").await.unwrap();
    assert_eq!(observe(&mut observed).await, "node-1");
    drop(first);
    let lease = second.lease_grant(60, None).await.unwrap().id();
    let won = soon(second.campaign("web", "node-2", lease)).await.unwrap();
    let at = Instant::now();
    assert!(at - sent >= TTL_TIME, "passed on {:?} after its lease was asked for", at - sent);
    assert!(at - granted <= TTL_TIME + LATE_MAX, "passed on only after {:?}", at - granted);
    assert!(won.leader().unwrap().rev() > first_token);
    assert_eq!(observe(&mut observed).await, "node-2");
}

async fn one_member_says_who_it_is(server: &Member) {
    let mut client = server.client().await;
    client.put("k", "v", None).await.unwrap();
    let listed = client.member_list().await.unwrap();
    let [member] = listed.members() else { panic!("{listed:?}") };
    assert_eq!((member.name(), member.is_learner()), ("m1", false));
    assert_eq!(member.client_urls(), [server.endpoint()]);
    assert_eq!(member.id(), listed.header().unwrap().member_id());
    assert_ne!(listed.header().unwrap().cluster_id(), 0);

    let status = client.status().await.unwrap();
    assert_eq!((status.version(), status.leader(), status.is_learner()), ("3.7.1", member.id(), false));
    assert!(status.raft_term() >= 1 && status.raft_applied_index() >= 1 && status.db_size() > 0, "{status:?}");
    assert!(status.raft_index() >= status.raft_applied_index() && status.errors().is_empty(), "{status:?}");
    let alarms = client.alarm(etcd_client::AlarmAction::Get, etcd_client::AlarmType::None, None).await.unwrap();
    assert!(alarms.alarms().is_empty());
}

/// Waits for what must come.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes in time")
}

fn text(error: Error) -> String {
    match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        other => panic!("not a status: {other}"),
    }
}

fn keys(kvs: &[etcd_client::KeyValue]) -> Vec<&str> {
    kvs.iter().map(|kv| kv.key_str().unwrap()).collect()
}

/// Opens a stream with one watcher.
async fn watch(client: &mut Client, key: &str, options: WatchOptions) -> WatchStream {
    let mut watch = client.watch(key, Some(options)).await.unwrap();
    assert!(message(&mut watch).await.created());
    watch
}

async fn message(watch: &mut WatchStream) -> WatchResponse {
    soon(watch.message()).await.unwrap().expect("the stream goes on")
}

/// The next `count` events, as text.
async fn seen(watch: &mut WatchStream, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        for event in message(watch).await.events() {
            let kv = event.kv().unwrap();
            let what = match event.event_type() {
                EventType::Put => format!("put {}={}", kv.key_str().unwrap(), kv.value_str().unwrap()),
                EventType::Delete => format!("delete {}", kv.key_str().unwrap()),
            };
            let was = event.prev_kv().map(|kv| format!(" was {}", kv.value_str().unwrap())).unwrap_or_default();
            lines.push(format!("{} {what}{was}", kv.mod_revision()));
        }
    }
    lines
}

/// The fencing token of a lock: the create revision of its key.
async fn token(client: &mut Client, key: &[u8]) -> i64 {
    client.get(key, None).await.unwrap().kvs()[0].create_revision()
}

/// Waits until so many stand in the queue of a lock or an election.
async fn queued(client: &mut Client, prefix: &str, count: usize) {
    let reached = timeout(PATIENCE, async {
        let options = GetOptions::new().with_prefix().with_count_only();
        while client.get(prefix, Some(options.clone())).await.unwrap().count() != count as i64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    reached.await.unwrap_or_else(|_| panic!("{count} never stood in {prefix}"));
}

async fn observe(stream: &mut etcd_client::ObserveStream) -> String {
    let response = soon(stream.message()).await.unwrap().expect("the stream goes on");
    response.kv().unwrap().value_str().unwrap().to_owned()
}
