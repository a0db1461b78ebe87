//! The messages on the wire and in the log, generated from `proto/`.
//!
//! `proto/etcd` is our own text of etcd's client API: names and numbers are the contract with clients. `proto/lodemark`
//! has what only our log and our members say. Byte fields are [`bytes::Bytes`], which share the buffer they were read from.
//!
//! Two messages are not generated: a [`KeyValue`] is the stored [`crate::model::Record`] itself, so that answers copy its
//! bytes and never encode a pair again, and a [`WatchResponse`] shares its events with all watchers that hear the same.
//!
//! A [`StoredLease`] is a row of etcd's database, which has no text of ours.
//!
//! Only the fronts and the log use these; everything else speaks [`crate::model`], and `convert` leads from one to the
//! other.

mod convert;
mod descriptors;
mod record;
mod rows;
mod stored_lease;
mod watch_response;

pub use descriptors::descriptors;
pub use record::KeyValue;
pub use rows::{from_row, to_row};
pub use stored_lease::StoredLease;
pub use watch_response::{Events, WatchResponse, event_len};

/// Keys, watches, leases, members, maintenance and auth, with their services.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// Events. The pair is [`KeyValue`].
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Users, roles and permissions.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// Locks, with their service.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// Elections, with their service.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// gRPC's own question after a server's health, with its service.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod healthpb {
    tonic::include_proto!("grpc.health.v1");
}

/// What only our log carries, and what members say to each other.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod lodemarkpb {
    tonic::include_proto!("lodemarkpb");
}
