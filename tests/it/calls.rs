//! Every call that etcd knows, and some that it does not, with an empty message: what is unimplemented there is so
//! here, and nothing else is.

use std::time::Duration;

use lodemark::proto::descriptors;
use tokio::time::Instant;

use super::wire::{Wire, framed};
use crate::harness::{Etcd, Options, Server, reference};

/// Streams, and calls that wait, end with the client's time. It is more than any other call takes.
const TIMEOUT: (&str, &[u8]) = ("grpc-timeout", b"2S");
const TIME: Duration = Duration::from_secs(2);
const DEADLINE_EXCEEDED: (&str, &str) = ("4", "context deadline exceeded");

/// The calls of gRPC's own service; it has no file among etcd's.
const HEALTH: [&str; 3] =
    ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List", "/grpc.health.v1.Health/Watch"];

/// What a server could know and etcd does not, and paths that are no call.
const UNKNOWN: [&str; 26] = [
    "/",
    "//",
    "/KV/Range",
    "/etcdserverpb.Auth/Login",
    "/etcdserverpb.Cluster/MemberJoin",
    "/etcdserverpb.KV",
    "/etcdserverpb.KV/",
    "/etcdserverpb.KV/Nope",
    "/etcdserverpb.KV/Range/",
    "/etcdserverpb.KV/Range/x",
    "/etcdserverpb.KV/range",
    "/etcdserverpb.Lease/LeaseCheckpoint",
    "/etcdserverpb.Lease/Nope",
    "/etcdserverpb.Maintenance/DowngradeVersionTest",
    "/etcdserverpb.Maintenance/Nope",
    "/etcdserverpb.Nope/Range",
    "/etcdserverpb.Watch/Nope",
    "/etcdserverpb.kv/Range",
    "/grpc.channelz.v1.Channelz/GetServers",
    "/grpc.health.v1.Health/Nope",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/leasepb.Lease/LeaseGrant",
    "/lodemarkpb.Peer/Append",
    "/v3electionpb.Election/Nope",
    "/v3lockpb.Lock/TryLock",
];

/// A request for the health of the service `x`.
const OF_X: &[u8] = b"\x0a\x01x";

const UNIMPLEMENTED: &str = "12";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_etcd_does_not_implement_is_all_that_is_unimplemented() {
    let Some(reference) = reference() else { return };
    let etcd = Etcd::start(&reference, &[]);
    let own = Server::start(&Options::default());
    let known: Vec<String> = descriptors()
        .services()
        .flat_map(|service| {
            service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name())).collect::<Vec<_>>()
        })
        .chain(HEALTH.map(str::to_owned))
        .collect();
    assert_eq!(known.len(), 52, "{known:?}");

    let mut differences = Vec::new();
    for path in known.iter().map(String::as_str).chain(UNKNOWN) {
        let expected = answer(&etcd.endpoint(), path, b"").await;
        let actual = answer(&own.endpoint(), path, b"").await;
        println!("{path}: {actual:?}");
        if expected != actual {
            differences.push(format!("{path}: etcd {expected:?}, we {actual:?}"));
        }
        let is_known = known.iter().any(|known| known == path);
        assert_eq!(actual.0 == UNIMPLEMENTED, !is_known, "{path}: {actual:?}");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for path in HEALTH {
        assert_eq!(answer(&own.endpoint(), path, OF_X).await, answer(&etcd.endpoint(), path, OF_X).await, "{path}");
    }
}

/// The code and the text of a call with one message.
async fn answer(endpoint: &str, path: &str, message: &[u8]) -> (String, String) {
    let wire = Wire::connect(endpoint).await;
    let begun = Instant::now();
    let answer = wire.attempt(path, &[TIMEOUT], framed(message)).await;
    if begun.elapsed() >= TIME {
        // It is chance what the server says then, and whether: a client no longer listens.
        return (DEADLINE_EXCEEDED.0.to_owned(), DEADLINE_EXCEEDED.1.to_owned());
    }
    let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
    (answer.code.unwrap_or_default(), answer.text.unwrap_or_default())
}
