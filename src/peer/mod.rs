//! Peers: what members say to each other, and the way it travels.
//!
//! Two seams make the rest of the store independent of sockets. A member speaks through a [`Transport`] and is spoken to
//! through a [`Handler`]; the real transport (`http2`) and the simulated network of the tests both connect the one to
//! the other:
//!
//! ```text
//!   raft, node ── Transport::call, append, snapshot ──>  ~~ network ~~  ──> Handler ── raft, node of the other member
//! ```
//!
//! Three shapes are enough: a **call** has one request and one answer; an **append** stream carries many requests and an
//! answer to each, in order, so that replication is pipelined; a **snapshot** is a long stream of bytes with one answer.
//! Bodies are protobuf (`proto/lodemark/peer.proto`) that only the two ends understand.
//!
//! Everything names its [`Envelope`]: the cluster, who sends and whom it is for. Whoever receives checks all three before
//! anything else; a stranger is refused. A transport delivers a call at most once and never repeats one by itself: whether
//! a request whose answer is missing may be sent again is for the sender to know.

mod alone;
mod body;
pub mod http2;
pub mod member_calls;
mod traffic;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

pub use self::alone::Alone;
pub use self::body::{LeaseAnswer, LeaseQuestion, ProposeAnswer, decode_read_index, encode_read_index};
pub use self::traffic::{Metered, Traffic};
use crate::model::{ClusterId, MemberId};

/// A future that can be sent to another thread.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// A stream that can be sent to another thread.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// Requests of an append stream that may wait for the network; more make the sender wait.
pub const APPEND_QUEUE_LEN: usize = 64;

/// Who speaks to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The cluster that the sender belongs to.
    pub cluster: ClusterId,
    /// The sender.
    pub from: MemberId,
    /// The addressee.
    pub to: MemberId,
}

/// What a call asks for. The numbers are on the wire and never get a second meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Method {
    /// A candidate asks for a vote.
    Vote = 1,
    /// Somebody who would stand for election asks whether it could win.
    PreVote = 2,
    /// The leader asks the addressee to take over.
    Transfer = 3,
    /// The leader asks how much of a snapshot has arrived.
    SnapshotOffset = 4,
    /// A follower asks the leader to propose commands.
    Propose = 5,
    /// A follower asks the leader up to where it must have applied to answer a read.
    ReadIndex = 6,
    /// A follower asks the leader to renew a lease.
    LeaseRenew = 7,
    /// A follower asks the leader what is left of a lease.
    LeaseRemaining = 8,
    /// A member asks the leader to make a voter of a learner.
    Promote = 9,
    /// A member asks for the hash of another's key space.
    HashKv = 10,
    /// A member shows that it can reach the addressee, and tells what its chain of effects was; the answer is empty.
    Ping = 11,
    /// The leader shows that it leads: an append without entries, answered by itself and not in a stream.
    Heartbeat = 12,
}

impl Method {
    /// The method of a number.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Method> {
        use Method::*;
        let all = [
            Vote,
            PreVote,
            Transfer,
            SnapshotOffset,
            Propose,
            ReadIndex,
            LeaseRenew,
            LeaseRemaining,
            Promote,
            HashKv,
            Heartbeat,
            Ping,
        ];
        all.into_iter().find(|&method| method as u32 == number)
    }
}

/// How a member reaches the others. Cheap to share; every queue inside is bounded.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Says where the other members are (peer URLs); replaces what was said before. Connections to members that are gone or have
    /// moved are closed.
    fn set_addresses(&self, addresses: BTreeMap<MemberId, Vec<String>>);

    /// Sends one request and waits for its answer, `within` that time.
    fn call(
        &self,
        envelope: Envelope,
        method: Method,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<Result<Bytes, PeerError>>;

    /// Opens a stream of append requests. Dropping the pipe ends the stream at once.
    fn append(&self, envelope: Envelope) -> BoxFuture<Result<AppendPipe, PeerError>>;

    /// Sends a snapshot: `head` says what it is, `source` has its bytes. Waits for the answer of the other side, which
    /// comes when it has installed the snapshot or has what it needs to.
    fn snapshot(
        &self,
        envelope: Envelope,
        head: Bytes,
        source: Arc<dyn SnapshotSource>,
    ) -> BoxFuture<Result<Bytes, PeerError>>;
}

/// An open append stream.
pub struct AppendPipe {
    /// Takes requests, at most [`APPEND_QUEUE_LEN`] ahead of the network. Closed when the stream has broken.
    pub requests: mpsc::Sender<Bytes>,
    /// Gives one answer for each request, in order; ends after an error, or when `requests` was dropped and everything is
    /// answered.
    pub answers: BoxStream<Result<Bytes, PeerError>>,
}

/// The bytes of a snapshot, which can be written as often as it takes.
pub trait SnapshotSource: Send + Sync + 'static {
    /// Writes the bytes from `offset` on; blocks the thread for as long as that takes.
    ///
    /// # Errors
    /// Those of reading the state and of `out`.
    fn write_to(&self, offset: u64, out: &mut dyn io::Write) -> io::Result<()>;
}

/// What a member does with what others say. Methods return at once; the futures do the work.
pub trait Handler: Send + Sync + 'static {
    /// Answers a call.
    fn call(&self, envelope: Envelope, method: Method, body: Bytes) -> BoxFuture<Result<Bytes, Refusal>>;

    /// Answers each request of an append stream, in order.
    ///
    /// # Errors
    /// [`Refusal`] if the stream is not for this member.
    fn append(
        &self,
        envelope: Envelope,
        requests: BoxStream<Result<Bytes, PeerError>>,
    ) -> Result<BoxStream<Result<Bytes, Refusal>>, Refusal>;

    /// Takes a snapshot. Each chunk was checked on its way; an error in `chunks` means that it broke off.
    fn snapshot(
        &self,
        envelope: Envelope,
        head: Bytes,
        chunks: BoxStream<Result<Bytes, PeerError>>,
    ) -> BoxFuture<Result<Bytes, Refusal>>;
}

/// Why a request to another member has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It was surely not delivered: there is no connection, or no address.
    #[error("cannot reach the member: {0}")]
    Unreachable(Arc<str>),
    /// It may have been delivered; no answer came in time.
    #[error("the member did not answer in time")]
    Timeout,
    /// It may have been delivered; the connection broke.
    #[error("the connection to the member broke: {0}")]
    Broken(Arc<str>),
    /// It was delivered and refused.
    #[error("the member refused: {0}")]
    Refused(#[from] Refusal),
}

/// Why a member does not do what another asks. On the wire each is a number and a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is of another cluster.
    #[error("request is of cluster {found}, this member belongs to {expected}")]
    WrongCluster {
        /// Of the member that refuses.
        expected: ClusterId,
        /// Of the request.
        found: ClusterId,
    },
    /// The request is for another member.
    #[error("request is for member {found}, this is {expected}")]
    WrongMember {
        /// The member that refuses.
        expected: MemberId,
        /// The addressee.
        found: MemberId,
    },
    /// The sender is not in the cluster.
    #[error("member {0} is not in this cluster")]
    Stranger(MemberId),
    /// The sender was removed from the cluster.
    #[error("the member {0} has been permanently removed from the cluster")]
    Removed(MemberId),
    /// The request cannot be read.
    #[error("malformed request: {0}")]
    Malformed(Arc<str>),
    /// The member is stopping or has failed.
    #[error("the member is not running: {0}")]
    Stopped(Arc<str>),
    /// The member's disk is full.
    #[error("no space is left on the member's disk")]
    NoSpace,
}

impl Refusal {
    /// For a body that is not what its method says.
    pub fn malformed(error: impl fmt::Display) -> Refusal {
        Refusal::Malformed(error.to_string().into())
    }
}
