//! The same calls to both: what counts operations has counted the same after each.

use std::fmt::Write;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp, WatchOptions};

use super::Both;
use super::scrape::Scrape;

/// How long what is counted at the end of a call may take to be.
const SETTLING_MAX: Duration = Duration::from_secs(10);

/// What must be equal: all samples of these.
const EQUAL: &[&str] = &[
    "etcd_mvcc_put_total",
    "etcd_mvcc_delete_total",
    "etcd_mvcc_range_total",
    "etcd_mvcc_txn_total",
    "etcd_debugging_mvcc_keys_total",
    "etcd_debugging_mvcc_current_revision",
    "etcd_debugging_mvcc_compact_revision",
    "etcd_debugging_mvcc_total_put_size_in_bytes",
    "etcd_debugging_mvcc_events_total",
    "etcd_debugging_mvcc_watch_stream_total",
    "etcd_debugging_mvcc_watcher_total",
    "etcd_debugging_mvcc_slow_watcher_total",
    "etcd_debugging_mvcc_pending_events_total",
    "etcd_debugging_lease_granted_total",
    "etcd_debugging_lease_revoked_total",
    "etcd_debugging_lease_renewed_total",
    "etcd_debugging_lease_ttl_total_sum",
    "etcd_debugging_lease_ttl_total_count",
    "etcd_debugging_server_lease_expired_total",
    "etcd_debugging_auth_revision",
    "etcd_server_client_requests_total",
    "etcd_server_range_duration_seconds_count",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_slow_apply_total",
    "etcd_mvcc_hash_rev_duration_seconds_count",
    "etcd_disk_backend_defrag_duration_seconds_count",
    "etcd_disk_backend_snapshot_duration_seconds_count",
    "grpc_server_started_total",
    "grpc_server_handled_total",
    "grpc_server_msg_received_total",
    "grpc_server_msg_sent_total",
];
/// Of these only what clients ask for: members do other things of their own.
const EQUAL_BY_CLIENTS: &[(&str, &str)] =
    &[("etcd_server_apply_duration_seconds_count", "op"), ("etcd_server_request_duration_seconds_count", "type")];
/// What these do by themselves. `unknown` is what etcd calls questions about auth, which take its log; here they do not.
const OF_THEIR_OWN: &[&str] = &["ClusterMemberAttrSet", "ClusterVersionSet", "Membership", "unknown"];
/// Services that etcd does not describe before they are called.
const LATE: &[&str] = &["v3lockpb.Lock", "v3electionpb.Election"];

/// All that must be equal, one sample a line; those at zero are left out.
fn counted(scrape: &Scrape) -> String {
    let mut text = String::new();
    let mut add = |name: &str, by: Option<&str>| {
        let mut lines = Vec::new();
        for sample in scrape.samples(name).filter(|sample| sample.value != 0.0) {
            let labels = &sample.labels;
            let is_own =
                by.is_some_and(|label| labels.get(label).is_some_and(|it| OF_THEIR_OWN.contains(&it.as_str())));
            let is_late = labels.get("grpc_service").is_some_and(|service| LATE.contains(&service.as_str()));
            // The client ends its requests and takes the call back in one breath; which of the two counts is chance.
            let is_chance = name == "grpc_server_handled_total" && sample.has(&[("grpc_method", "LeaseKeepAlive")]);
            if !is_own && !is_late && !is_chance {
                lines.push(format!("{name}{labels:?} {}", sample.value));
            }
        }
        lines.sort();
        lines.into_iter().for_each(|line| writeln!(text, "{line}").unwrap());
    };
    EQUAL.iter().for_each(|name| add(name, None));
    EQUAL_BY_CLIENTS.iter().for_each(|(name, label)| add(name, Some(*label)));
    text
}

/// Both as they are after a step, as soon as they agree.
async fn agree(both: &Both, step: &str) {
    let deadline = tokio::time::Instant::now() + SETTLING_MAX;
    loop {
        let [own, etcd] =
            [both.own.client_address(), both.etcd.client_address()].map(|address| counted(&Scrape::of(address)));
        if own == etcd {
            return;
        }
        if tokio::time::Instant::now() > deadline {
            let only = |a: &str, b: &str| {
                a.lines().filter(|line| !b.lines().any(|other| other == *line)).collect::<Vec<_>>().join("\n  ")
            };
            panic!("after {step}\nonly here:\n  {}\nonly etcd:\n  {}", only(&own, &etcd), only(&etcd, &own));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A step of the sequence, made by one client after the other.
macro_rules! steps {
    ($both:ident, $clients:ident, $($name:literal: |$client:ident| $body:expr,)*) => {$(
        for $client in &mut $clients {
            // What is refused counts as well.
            let _ = $body.await;
        }
        agree(&$both, $name).await;
    )*};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_counted_as_etcd_counts_them() {
    let Some(both) = Both::start(&[]) else { return };
    let mut clients = Vec::new();
    for endpoint in [both.own.endpoint(), both.etcd.endpoint()] {
        clients.push(Client::connect([endpoint], None).await.unwrap());
    }
    let of_prefix = || Some(DeleteOptions::new().with_prefix());
    steps!(both, clients,
        "a put": |client| client.put("a", "1", None),
        "a put that shows what was": |client| client.put("a", "22", Some(PutOptions::new().with_prev_key())),
        "a put that keeps the value": |client| client.put("a", "", Some(PutOptions::new().with_ignore_value())),
        "a put that keeps what is not there": |client| client.put("no", "", Some(PutOptions::new().with_ignore_value())),
        "a put with no lease": |client| client.put("a", "1", Some(PutOptions::new().with_lease(77))),
        "one of three": |client| client.put("k1", "v", None),
        "two of three": |client| client.put("k2", "v", None),
        "three of three": |client| client.put("k3", "v", None),
        "a deletion of three": |client| client.delete("k", of_prefix()),
        "a deletion of none": |client| client.delete("k", of_prefix()),
        "a deletion that shows what was": |client| client.delete("a", Some(DeleteOptions::new().with_prev_key())),
        "a range": |client| client.get("a", Some(GetOptions::new().with_prefix())),
        "a serializable range": |client| client.get("a", Some(GetOptions::new().with_serializable())),
        "a range of the future": |client| client.get("a", Some(GetOptions::new().with_revision(1000))),
        "a txn that looks and reads": |client| client.txn(
            Txn::new()
                .when([Compare::value("a", CompareOp::Equal, "1")])
                .and_then([TxnOp::put("b", "1", None)])
                .or_else([TxnOp::get("b", None)])
        ),
        "a txn that writes": |client| client.txn(Txn::new().and_then([
            TxnOp::put("b", "1", Some(PutOptions::new().with_prev_key())),
            TxnOp::put("c", "1", None),
            TxnOp::delete("d", None),
            TxnOp::get("b", None),
        ])),
        "a txn of one put": |client| client.txn(Txn::new().and_then([TxnOp::put("b", "1", None)])),
        "a txn that keeps values": |client| client.txn(Txn::new().and_then([
            TxnOp::put("b", "", Some(PutOptions::new().with_ignore_value())),
            TxnOp::put("c", "", Some(PutOptions::new().with_ignore_value())),
        ])),
        "a txn that keeps what is not there": |client| client.txn(Txn::new().and_then([
            TxnOp::put("no", "", Some(PutOptions::new().with_ignore_value())),
        ])),
        "a txn in a txn": |client| client.txn(Txn::new().and_then([
            TxnOp::txn(Txn::new().when([Compare::version("b", CompareOp::Greater, 0)]).and_then([TxnOp::put("n", "1", None)])),
            TxnOp::get("b", None),
        ])),
        "a txn of one key twice": |client| client.txn(Txn::new().and_then([
            TxnOp::put("b", "1", None),
            TxnOp::put("b", "2", None),
        ])),
        "a lease": |client| client.lease_grant(100, Some(etcd_client::LeaseGrantOptions::new().with_id(7))),
        "the same lease": |client| client.lease_grant(100, Some(etcd_client::LeaseGrantOptions::new().with_id(7))),
        "a key of a lease": |client| client.put("l1", "x", Some(PutOptions::new().with_lease(7))),
        "another key of it": |client| client.put("l2", "x", Some(PutOptions::new().with_lease(7))),
        "what is left of it": |client| client.lease_time_to_live(7, None),
        "all leases": |client| client.leases(),
        "the end of a lease": |client| client.lease_revoke(7),
        "the end of none": |client| client.lease_revoke(7),
        "a compaction": |client| client.compact(5, None),
        "the same compaction": |client| client.compact(5, None),
        "hash of all": |client| client.hash_kv(0),
        "a user": |client| client.user_add("u", "p", None),
        "the same user": |client| client.user_add("u", "p", None),
        "a role": |client| client.role_add("r"),
        "the members": |client| client.member_list(),
        "the status": |client| client.status(),
        "a defragmentation": |client| client.defragment(),
    );

    let mut renewed = Vec::new();
    for client in &mut clients {
        client.lease_grant(50, Some(etcd_client::LeaseGrantOptions::new().with_id(8))).await.unwrap();
        let (mut keeper, mut stream) = client.lease_keep_alive(8).await.unwrap();
        keeper.keep_alive().await.unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().ttl(), 50);
        renewed.push((keeper, stream));
    }
    drop(renewed);
    let mut watching = Vec::new();
    for client in &mut clients {
        let mut watch = client.watch("w", Some(WatchOptions::new().with_prefix())).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        watching.push(watch);
    }
    agree(&both, "a watcher is made").await;
    for (client, watch) in clients.iter_mut().zip(&mut watching) {
        for value in ["1", "2", "3"] {
            client.put("w1", value, None).await.unwrap();
            assert_eq!(watch.message().await.unwrap().unwrap().events().len(), 1);
        }
    }
    agree(&both, "three events").await;
    drop(watching);
    agree(&both, "a watcher has gone").await;
}
