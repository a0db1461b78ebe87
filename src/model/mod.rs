//! The vocabulary: plain values that every other folder speaks in, and that know nothing of it.
//!
//! A **key** is a byte string, a [`KeyRange`] selects keys, a [`Revision`] counts the changes of the whole store, and a
//! [`Record`] is one key-value pair as it was written at one revision. A [`Command`] asks for a change, a [`Reply`]
//! tells what it did, an [`Event`] tells watchers. A [`Caller`] is who asks, a [`User`] who may, by the [`Role`]s that it has.

mod alarm;
mod auth;
mod chain_mark;
mod command;
mod event;
mod ids;
mod key_range;
mod record;
mod record_key;
mod reply;
mod retention;
mod revision;
mod summary;
mod version;

pub use alarm::{Alarm, AlarmChange, AlarmKind, Alarms};
pub use auth::{AuthChange, Authenticate, Caller, PasswordHash, Permission, PermissionKind, Role, User};
pub use chain_mark::ChainMark;
pub use command::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseCheckpoint, LeaseExpire, LeaseGrant,
    LeaseRevoke, Member, MemberAdd, MemberAttributes, MemberUpdate, Operand, Put, Range, Request, SortOrder,
    SortTarget, Txn, TxnOp,
};
pub use event::{Event, EventKind};
pub use ids::{ClusterId, LeaseId, LogId, MemberId, WatchId};
pub use key_range::{KeyRange, RangeEnd};
pub use record::{KeyValue, Record, RecordError};
pub use record_key::RecordKey;
pub use reply::{DeleteReply, GrantReply, OpReply, PutReply, RangeReply, Reply, TxnReply};
pub use retention::Retention;
pub use revision::{Revision, SubRevision};
pub use version::{CLUSTER_VERSION, ClusterVersion, ETCD_VERSION, STORAGE_VERSION};
