//! The real transport: gRPC over HTTP/2 on the peer URLs.
//!
//! ```text
//!   Http2Transport                                              serve
//!     link    one a member: keeps a connection, pings it          listener: accepts, TLS, tells HTTP/1.1 from HTTP/2
//!       call      stream with one message each way                  connection: one task a stream
//!       append    stream, many messages each way                      the service Peer  -> Handler
//!     snapshot  a connection and a stream of its own                  anything else     -> plain HTTP
//! ```
//!
//! Both ends speak HTTP/2 by hand (`h2`), for what matters here is beyond a general client: to know whether a request was
//! surely **not delivered** (`call`), to end a stream the moment that its pipe is dropped (`append`), to notice within
//! `PING_AFTER` and `PONG_TIMEOUT` that a connection leads nowhere (`dial`). Messages are framed as gRPC frames them
//! (`messages`), so any HTTP/2 tool can read along; `proto/lodemark/peer.proto` says what they hold.
//!
//! All I/O runs on the runtime that the transport was given and that [`serve`] is called on: Raft's own, so that clients
//! cannot make it late. Every queue, message, wait and number of connections has a bound below.

mod answer;
#[doc(hidden)]
pub mod any_bytes;
mod append;
mod call;
mod connection;
mod dial;
mod envelope;
mod keepalive;
mod link;
mod messages;
mod refusal;
mod refusal_log;
mod request;
mod server;
mod snapshot;
#[cfg(test)]
mod tests;
mod transport;

use std::time::Duration;

pub use self::server::serve;
pub use self::transport::{Http2Options, Http2Transport};

/// The path of the call.
const CALL_PATH: &str = "/lodemarkpb.Peer/Call";
/// The path of append streams.
const APPEND_PATH: &str = "/lodemarkpb.Peer/Append";
/// The path of snapshots.
const SNAPSHOT_PATH: &str = "/lodemarkpb.Peer/Snapshot";
/// What the paths of all gRPC services of ours begin with.
const SERVICES_PATH: &str = "/lodemarkpb.";

/// The largest message of a call, either way.
pub const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest message of an append stream, either way: a batch of the largest commands, and then some.
pub const APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The bytes of one chunk of a snapshot. Large enough that the frame costs nothing, small enough to hold a few.
const CHUNK_BYTES: usize = 256 * 1024;
/// The largest part of a snapshot's stream: a head, or a chunk of a member that makes larger ones.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Calls on behalf of clients to one member at a time; more wait for their turn within their own time.
const CLIENT_CALLS_MAX: usize = 1024;
/// Raft's own calls and pings to one member at a time. They have places of their own: clients must not make them late.
const RAFT_CALLS_MAX: usize = 64;
/// Streams of one connection at a time: the calls, and append streams old and new.
const STREAMS_MAX: u32 = (CLIENT_CALLS_MAX + RAFT_CALLS_MAX) as u32 + 64;
/// What may come on one stream before it is read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for a connection: a few streams that nobody reads do not hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// The headers of one request or answer.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;

/// How long connecting to one URL may take, TLS and the first answer included. Source: etcd dials peers for a second and
/// an election timeout.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an append stream may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a first failure to connect; it doubles with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause between attempts to connect.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How often a connection is pinged.
const PING_AFTER: Duration = Duration::from_millis(500);
/// How long nothing at all may come after a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(1);
