//! Lodemark: a Raft-replicated MVCC key-value store for naming and service discovery that answers the etcd v3 API.
//!
//! Services register under a prefix with a lease that they keep alive, consumers list and watch the prefix, groups elect a
//! leader. The program `lodemark` serves that to every etcd client; its README says how to run it. This crate is the same
//! server as a library: for a program that wants the store inside itself, and for tests of programs that use etcd.
//!
//! # Where to begin
//!
//! | to | read |
//! | --- | --- |
//! | have the store inside a program | [Embed it](#embed-it), then [`embed::Store`]: every verb, with its errors |
//! | test code that uses etcd | [Test with it](#test-with-it), then [`embed::ManualClock`] |
//! | know what an answer promises | `docs/consistency.md` of the repository |
//! | find one's way in the code | [How it works](#how-it-works), then [`node`] and [`machine`] |
//! | add a protocol, or look for where bytes are checked | [Where bytes enter](#where-bytes-enter) |
//!
//! # Embed it
//!
//! Everything is in [`embed`]. A server needs a tokio runtime and a folder, and no port unless others are to reach it:
//!
//! ```
//! use std::time::Duration;
//! use lodemark::embed::{Compare, Server, prefix};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("data");
//! let server = Server::in_dir(folder).client_addr("127.0.0.1:0").start().await?;
//! println!("any etcd client may connect to {:?}", server.endpoints());
//!
//! // The same store without a socket between.
//! let store = server.store();
//! let mut watch = store.watch(prefix("/services/web/")).await?;
//! let lease = store.grant(Duration::from_secs(10)).await?;
//! store.put("/services/web/1", "10.0.0.1:8080").lease(lease.id).await?;
//! let events = watch.next().await?;
//! assert_eq!(events[0].key(), b"/services/web/1");
//!
//! // One of many becomes the leader: whoever finds the key missing writes it.
//! let campaign = store.txn().when(Compare::missing("leader")).then(store.put("leader", "me").lease(lease.id));
//! assert!(campaign.await?.succeeded);
//!
//! server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What was acknowledged is in the folder, and survives a crash of the program. Turn default features off: they choose the
//! allocator of the program `lodemark`, and yours is your own choice.
//!
//! # Test with it
//!
//! A server in memory is ready in some milliseconds, each test has its own, and time passes when the test says so. The code
//! under test connects with the client that it always uses:
//!
//! ```
//! use std::time::Duration;
//! use etcd_client::{Client, PutOptions};
//! use lodemark::embed::{ManualClock, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = ManualClock::new();
//! let server = Server::in_memory().client_addr("127.0.0.1:0").clock(&clock).start().await?;
//! let mut client = Client::connect(server.endpoints(), None).await?;
//! let lease = client.lease_grant(10, None).await?.id();
//! client.put("/services/web/1", "10.0.0.1:8080", Some(PutOptions::new().with_lease(lease))).await?;
//!
//! // Nobody keeps the lease alive: ten seconds later, which take no time, the service is gone.
//! clock.advance(Duration::from_secs(10)).await?;
//! assert_eq!(client.get("/services/web/1", None).await?.count(), 0);
//! server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Leases run by the clock, and nothing else does: deadlines of requests and elections have the time of the machine. So do
//! tokio's own timers; a server does not work in a runtime whose time is paused.
//!
//! # How it works
//!
//! A synchronous, deterministic state machine turns each committed [`model::Command`] into a reply, events and table
//! writes. Raft decides the order of commands, a write-ahead log makes them durable, redb is a lazily written
//! checkpoint of the state, an async [`node::Node`] is the only door, and every protocol is a thin front before it. A
//! member that is alone takes the same way, with nobody to wait for; in memory log and checkpoint are on a disk that is
//! memory.
//!
//! The folders, lowest first; each may use only what stands above it:
//!
//! | folder | idea |
//! | --- | --- |
//! | [`model`] | plain values: keys, revisions, records, commands, replies |
//! | [`mod@env`] | the seams to the outside: clock, disk, randomness, each real and simulated |
//! | [`metrics`] | what a member counts and measures, for Prometheus |
//! | [`wal`] | segmented write-ahead log with group commit |
//! | [`bolt`] | bbolt, the file format of etcd's database |
//! | [`storage`] | redb: tables, checkpoints, whole-state snapshots |
//! | [`mvcc`] | key index, revisions, reads at a revision, compaction |
//! | [`lease`], [`auth`], [`watch`] | the pure rules of each |
//! | [`machine`] | apply: one file per command family |
//! | [`proto`] | etcd's messages and ours, and the way to `model` |
//! | [`net`], [`dns`], [`peer`] | sockets and TLS; what services DNS names; what members say to each other |
//! | [`client`] | what the program itself asks of members |
//! | [`etcd_file`] | etcd's snapshot: what is in its buckets, both ways |
//! | [`raft`] | the only folder that knows openraft |
//! | [`node`] | the async door: propose, read, watch, leases, shutdown |
//! | [`api`] | fronts: etcd's gRPC services, plain HTTP |
//! | [`config`], [`server`], [`telemetry`] | flags, assembly, logs |
//! | [`embed`] | a server inside a program, and its store without a socket |
//! | [`tcp_gateway`] | the command that forwards connections to members |
//! | [`command`], [`snapshot`], [`inspect`], [`cli`] | the program's commands: what they share; snapshots; `check` and `dump`; which there are |
//!
//! Only [`embed`], with the values of [`model`] that it names, is meant to be built upon; the rest is open for those who read
//! it, and changes as it must.
//!
//! # Where bytes enter
//!
//! Whatever comes from outside is checked where it enters, once, and is one of our values from there on:
//!
//! | from | enters at | and becomes |
//! | --- | --- | --- |
//! | etcd's clients, by gRPC | [`api::grpc`], behind [`api::serve`] | requests of [`model`], for the verbs of [`node::Node`] |
//! | the same, by JSON | [`api::http::gateway`] | calls by gRPC |
//! | probes and tools, by HTTP | [`api::http`] | the same |
//! | other members | [`peer::http2::serve`] | calls of [`peer::Handler`], which the node is |
//! | callers, with their tokens | [`auth::token::Tokens::caller`] | a [`model::Caller`] |
//! | the program around it | [`embed::Store`] | requests of [`model`] |
//! | the log and the checkpoint | [`wal::Wal::open`], [`storage::Storage::open`] | entries and tables |
//! | a snapshot on its way | [`storage::Arrival`] | batches of table rows |
//! | a snapshot of etcd's | [`etcd_file::SnapshotFile`] | rows of tables |
//! | members that are asked for a snapshot, or who founds a cluster | [`client::Answers::next`] | messages of [`proto`] |
//! | the command line, variables, a file | [`config::Invocation::read`] | a [`config::Config`] |
//!
//! A further protocol would be a folder in [`api`] with a decoder and a table of errors of its own, before the same verbs.
//! Each decoder is a fuzz target (`fuzz/`), whose body the tests run as well.

#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
pub mod bolt;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod dns;
pub mod embed;
pub mod env;
pub mod etcd_file;
pub mod inspect;
pub mod lease;
pub mod machine;
pub mod metrics;
pub mod model;
pub mod mvcc;
pub mod net;
pub mod node;
pub mod peer;
pub mod proto;
pub mod raft;
pub mod server;
pub mod snapshot;
pub mod storage;
pub mod tcp_gateway;
pub mod telemetry;
pub mod wal;
pub mod watch;
