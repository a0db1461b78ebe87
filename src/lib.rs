//! Lodemark: a Raft-replicated MVCC key-value store for naming and service discovery that answers the etcd v3 API.
//!
//! A synchronous, deterministic state machine turns each committed [`model::Command`] into a reply, events and table
//! writes. Raft decides the order of commands, a write-ahead log makes them durable, redb is a lazily written
//! checkpoint of the state, an async [`node::Node`] is the only door, and every protocol is a thin front before it.
//!
//! The folders, lowest first; each may use only what stands above it:
//!
//! | folder | idea |
//! | --- | --- |
//! | [`model`] | plain values: keys, revisions, records, commands, replies |
//! | [`mod@env`] | the seams to the outside: clock, disk, randomness, each real and simulated |
//! | [`net`] | sockets of the network and of the file system, TLS |
//! | [`wal`] | segmented write-ahead log with group commit |
//! | [`storage`] | redb: tables, checkpoints, whole-state snapshots |
//! | [`mvcc`] | key index, revisions, reads at a revision, compaction |
//! | [`lease`], [`watch`] | the pure rules of each |
//! | [`machine`] | apply: one file per command family |
//! | [`mod@net`], [`peer`] | sockets and TLS; what members say to each other |
//! | `raft` | the only folder that knows openraft |
//! | [`node`] | the async door: propose, read, watch, leases, shutdown |
//! | [`api`] | fronts: etcd's gRPC services, plain HTTP |
//! | [`config`], [`server`], [`telemetry`] | flags, assembly, logs |

pub mod api;
pub mod config;
pub mod env;
pub mod lease;
pub mod machine;
pub mod model;
pub mod mvcc;
pub mod net;
pub mod node;
pub mod peer;
pub mod proto;
pub mod raft;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod wal;
pub mod watch;
