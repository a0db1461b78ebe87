//! A server inside a Rust program: started, used without a socket, and stopped in order.
//!
//! ```text
//!   Server::in_memory() / in_dir(path) ── Builder ── start ──> Server ──> endpoints: for any etcd client
//!                                            │                    └─────> Store: put, range, txn, watch, leases
//!                                            └ clock: ManualClock, which a test moves
//! ```
//!
//! A [`Server`] is a member that is alone: the whole of the program `lodemark`, started the same way, on the tokio runtime
//! of whoever starts it and a few threads of its own. In a folder it keeps what it acknowledged through a crash, as the
//! program does; in memory everything goes with it. Clients of the network are served only where [`Builder::client_addr`]
//! says.
//!
//! A [`Store`] is the server's store without a socket. What it asks for is a value with a few methods that is awaited:
//!
//! ```
//! # use lodemark::embed::{Server, prefix};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::in_memory().start().await?;
//! let store = server.store();
//! store.put("/services/web/1", "10.0.0.1:8080").await?;
//! let found = store.range(prefix("/services/web/")).limit(10).await?;
//! assert_eq!(found.kvs[0].value(), b"10.0.0.1:8080");
//! server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | what | type |
//! | --- | --- |
//! | start, stop, endpoints | [`Server`], [`Builder`] |
//! | put, get, range, delete, compact | [`Store`]; [`Put`], [`Range`] and [`Delete`] have the options |
//! | conditions, several things as one change | [`Txn`], [`Compare`] |
//! | follow changes from a revision on | [`Watch`] |
//! | keys that end by themselves | [`Lease`], [`Store::grant`], [`Store::keep_alive`] |
//! | one key or many | text or bytes, [`prefix`], [`between`], [`from_key`], [`all`] |
//! | time that a test moves | [`ManualClock`] |
//! | what can go wrong | [`StartError`], [`Error`] |
//!
//! Keys, values, replies and events are those of [`crate::model`]; [`Record`] is a pair as it was written.

mod builder;
mod calls;
mod clock;
mod error;
mod keys;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod txn;
mod watch;

pub use self::builder::Builder;
pub use self::calls::{Delete, Op, Put, Range};
pub use self::clock::ManualClock;
pub use self::error::{Error, StartError};
pub use self::keys::{all, between, from_key, prefix};
pub use self::server::Server;
pub use self::store::{Lease, Store};
pub use self::txn::Txn;
pub use self::watch::{Watch, WatchCall};
pub use crate::model::{
    Compare, DeleteReply, Event, EventKind, KeyRange, KeyValue, LeaseId, OpReply, PutReply, RangeReply, Record,
    Retention, Revision, SortOrder, SortTarget, TxnReply,
};
pub use crate::server::Error as ServerError;
