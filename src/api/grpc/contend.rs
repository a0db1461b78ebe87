//! Contenders: who queues under a name, oldest first. Locks and elections are both this queue.
//!
//! A contender is a key `<name>/<lease in hex>`, attached to its lease. Its **place** in the queue is the revision that
//! created it: the key with the lowest one is the head, which holds the lock or leads. Each contender waits only for the
//! one just before it, so that a release wakes one and not all.
//!
//! ```text
//!   n/7a  created 5   the head
//!   n/31  created 8   waits for n/7a to be deleted
//!   n/0c  created 9   waits for n/31
//! ```
//!
//! Nothing of the queue is kept here: it is the keys. A member that falls down forgets who waits on its connections,
//! and nothing else.
//!
//! # When an answer is given
//!
//! Only when the key and its live lease were seen in one linearizable state, after everybody before had gone:
//!
//! * To be at the head is for ever, as long as the key lives. Create revisions only grow, so nobody can come in before a
//!   key once no older one is there; that may be learned from any later state, also from a local one.
//! * A key that was just made was made by a txn that checks the lease. A key that was found or waited with is read again
//!   after the last one before it has gone. The read shows the revision that created the key (a key that was deleted
//!   and made again has another, and another place) and its lease.
//! * A lease that ends deletes its keys in the same change. So a state with a key under a lease is a state with the
//!   lease, and one read of the key is a look at both.
//!
//! # When nobody waits any more
//!
//! A [`Place`] that is dropped before it was kept is given back: its key is deleted, if it is still the same. That is
//! an effort, not a promise; what remains ends with its lease.
//!
//! Source: client/v3/concurrency of etcd (`key.go`, `mutex.go`, `election.go`). It differs in that etcd reads a key
//! again by name alone, and after a campaign not at all.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::runtime::Handle;
use tonic::{Request, Status};

use super::access::Credentials;
use super::status;
use crate::model::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, Event, KeyRange, LeaseId, OpReply, Put, Range,
    RangeReply, Record, Reply, Revision, SortOrder, SortTarget, Txn, TxnOp, TxnReply,
};
use crate::node::{Node, NodeError, Proposal, Session, WatchSpec, WatchStream, WatchUpdate};

/// Seconds that a lease lives which was made for a contender that brought none. Nobody keeps it alive.
const LEASE_TTL: i64 = 60;

/// Why a call of a lock or an election failed.
///
/// etcd answers these through a client of its own, which loses the code: all become `Unknown`, with the usual text.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContendError {
    /// The node refused.
    #[error("{}", status::of(.0).message())]
    Node(#[from] NodeError),
    /// The watch of the contender before has ended, and so will the node.
    #[error("lost watcher waiting for delete")]
    WatcherLost,
    /// The contender's key is gone: deleted, or ended with its lease.
    #[error("mutex: session is expired")]
    SessionExpired,
    /// The same, in an election.
    #[error("election: not leader")]
    NotLeader,
    /// Nobody has campaigned.
    #[error("election: no leader")]
    NoLeader,
    /// The request does not say who leads.
    #[error("\"leader\" field must be provided")]
    NoLeaderKey,
    /// The request has no key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
}

impl From<ContendError> for Status {
    fn from(error: ContendError) -> Status {
        Status::unknown(error.to_string())
    }
}

/// The node for whoever makes a call of a lock or an election.
pub(super) async fn session_of<T>(request: &Request<T>, node: &Node) -> Result<Session, Status> {
    let session = Credentials::of_request(request).session(node).await;
    session.map_err(|refused| Status::unknown(refused.message()))
}

/// The lease that a contender lives by: the one it brings, or a new one of [`LEASE_TTL`].
pub(super) async fn lease_of(node: &Session, lease: i64) -> Result<LeaseId, NodeError> {
    match LeaseId(lease) {
        LeaseId::NONE => Ok(node.lease_grant(LeaseId::NONE, LEASE_TTL).await?.id),
        lease => Ok(lease),
    }
}

/// All contenders for one name.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    prefix: Bytes,
}

impl Queue {
    pub(super) fn new(name: &[u8]) -> Queue {
        let mut prefix = BytesMut::with_capacity(name.len() + 1);
        prefix.put_slice(name);
        prefix.put_u8(b'/');
        Queue { prefix: prefix.freeze() }
    }

    /// Every key that may be in the queue.
    pub(super) fn keys(&self) -> KeyRange {
        KeyRange::prefix(self.prefix.clone())
    }

    /// The key of whoever contends by `lease`: no zeros before the digits, a minus before those of a negative one.
    fn key(&self, lease: LeaseId) -> Bytes {
        let sign = if lease.0 < 0 { "-" } else { "" };
        let mut key = self.prefix.to_vec();
        key.extend_from_slice(format!("{sign}{:x}", lease.0.unsigned_abs()).as_bytes());
        key.into()
    }

    /// Reads the head of the queue: one pair, or none.
    pub(super) async fn head(&self, node: &Session) -> Result<RangeReply, NodeError> {
        read(node, &self.oldest()).await
    }

    fn oldest(&self) -> Range {
        Range { limit: 1, sort_order: SortOrder::Ascend, sort_target: SortTarget::Create, ..Range::of(self.keys()) }
    }

    /// The newest contender that is older than `created`.
    ///
    /// A local read is enough: this member has applied the change that made the later one, so it knows all earlier
    /// ones. It may not know yet that one has gone; then its watch will tell.
    fn newest_before(&self, created: Revision) -> Range {
        Range {
            limit: 1,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Create,
            // Never zero, which would be no bound: the first write of a store makes revision 2.
            max_create_revision: created.previous().0,
            serializable: true,
            ..Range::of(self.keys())
        }
    }
}

/// What a contender found when it queued.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The revision of the txn that looked, and that made the key if there was none.
    pub(super) revision: Revision,
    /// The contender's pair, if it was there before.
    pub(super) present: Option<Record>,
    /// Nobody was before it.
    pub(super) is_first: bool,
}

/// A contender in its queue. Dropped before [`Place::keep`], it leaves the queue.
#[derive(Debug)]
pub(super) struct Place {
    node: Session,
    queue: Queue,
    key: Bytes,
    lease: LeaseId,
    created: Revision,
    withdraws: bool,
}

impl Place {
    /// Queues `lease` under its name; a contender that is there already has the place that it had.
    ///
    /// Cancel safe: a key that was made for a caller who is gone is deleted.
    pub(super) async fn take(
        node: &Session,
        queue: Queue,
        lease: LeaseId,
        value: Bytes,
    ) -> Result<(Place, Arrival), NodeError> {
        // In a task of its own, so that it learns what became of the txn whoever has gone by then. It ends with the
        // proposal's own timeout.
        let queueing = tokio::spawn(queue_up(node.clone(), queue, lease, value));
        // The error is a panic or the end of the runtime.
        let (mut place, arrival) = queueing.await.map_err(|_| NodeError::Stopped)??;
        place.withdraws = true;
        Ok((place, arrival))
    }

    /// The contender's key.
    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }

    /// The revision that created the key.
    pub(super) fn created(&self) -> Revision {
        self.created
    }

    /// Tells whether `record` is this contender, alive.
    pub(super) fn is(&self, record: &Record) -> bool {
        let pair = record.pair();
        pair.create_revision == self.created && pair.lease == self.lease
    }

    /// Waits until nobody is before this contender.
    pub(super) async fn reach_head(&self) -> Result<(), ContendError> {
        loop {
            let reply = read(&self.node, &self.queue.newest_before(self.created)).await?;
            let Some(before) = reply.kvs.first() else { return Ok(()) };
            self.outlive(before, reply.revision).await?;
        }
    }

    /// Reads the contender's own pair: the revision of the read, if the key and its lease are alive. If not, there is
    /// nothing to withdraw any more.
    pub(super) async fn look(&mut self) -> Result<Option<Revision>, NodeError> {
        let reply = read(&self.node, &Range::of(KeyRange::single(self.key.clone()))).await?;
        if reply.kvs.first().is_some_and(|record| self.is(record)) {
            return Ok(Some(reply.revision));
        }
        self.withdraws = false;
        Ok(None)
    }

    /// Lets the contender stay in the queue.
    pub(super) fn keep(mut self) {
        self.withdraws = false;
    }

    /// Waits until `before`, seen at revision `seen`, may have been deleted.
    async fn outlive(&self, before: &Record, seen: Revision) -> Result<(), ContendError> {
        let key = Bytes::copy_from_slice(before.key());
        // Only deletes are asked for, so whatever comes is one.
        match Watching::deletes(&self.node, KeyRange::single(key), seen.next()).await.next().await {
            Ok(_) | Err(Lost::Compacted) => Ok(()),
            Err(Lost::Ended) => Err(ContendError::WatcherLost),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and the lease will do it.
        if let (true, Ok(runtime)) = (self.withdraws, Handle::try_current()) {
            let (node, key, created) = (self.node.clone(), self.key.clone(), self.created);
            runtime.spawn(async move {
                if let Err(error) = delete_if_created_at(&node, key, created).await {
                    tracing::debug!(%error, "a contender that gave up stays until its lease ends");
                }
            });
        }
    }
}

async fn queue_up(node: Session, queue: Queue, lease: LeaseId, value: Bytes) -> Result<(Place, Arrival), NodeError> {
    let key = queue.key(lease);
    let put = Put { key: key.clone(), value, lease, ..Put::default() };
    let head = || TxnOp::Range(queue.oldest());
    let txn = Txn {
        compare: vec![created_at(key.clone(), Revision(0))],
        success: vec![TxnOp::Put(put), head()],
        failure: vec![TxnOp::Range(Range::of(KeyRange::single(key.clone()))), head()],
    };
    let TxnReply { revision, succeeded, responses } = propose_txn(&node, txn).await?;
    let mut pairs = responses.into_iter().map(|response| match response {
        OpReply::Range(reply) => reply.kvs.into_iter().next(),
        OpReply::Put(_) | OpReply::DeleteRange(_) | OpReply::Txn(_) => None,
    });
    let (present, head) = (pairs.next().flatten(), pairs.next().flatten());

    let created_of = |record: &Record| record.pair().create_revision;
    let created = present.as_ref().map_or(revision, created_of);
    let is_first = head.as_ref().is_none_or(|head| created_of(head) == created);
    let place = Place { node, queue, key, lease, created, withdraws: succeeded };
    Ok((place, Arrival { revision, present, is_first }))
}

/// Deletes `key` if it is still the one that was created at `created`; gives the revision after that.
pub(super) async fn delete_if_created_at(node: &Session, key: Bytes, created: Revision) -> Result<Revision, NodeError> {
    let delete = DeleteRange { keys: KeyRange::single(key.clone()), prev_kv: false };
    let txn =
        Txn { compare: vec![created_at(key, created)], success: vec![TxnOp::DeleteRange(delete)], failure: Vec::new() };
    Ok(propose_txn(node, txn).await?.revision)
}

/// Writes `put` if its key is still the one that was created at `created`; gives the revision of the write.
pub(super) async fn put_if_created_at(
    node: &Session,
    put: Put,
    created: Revision,
) -> Result<Option<Revision>, NodeError> {
    let txn = Txn {
        compare: vec![created_at(put.key.clone(), created)],
        success: vec![TxnOp::Put(put)],
        failure: Vec::new(),
    };
    let reply = propose_txn(node, txn).await?;
    Ok(reply.succeeded.then_some(reply.revision))
}

/// Reads as whoever the caller is by now: a contender may have waited for long.
async fn read(node: &Session, range: &Range) -> Result<RangeReply, NodeError> {
    node.renewed().await?.range(range).await
}

/// As [`read`] for a txn.
async fn propose_txn(node: &Session, txn: Txn) -> Result<TxnReply, NodeError> {
    match node.renewed().await?.propose(Proposal::from(&Command::Txn(txn))).await? {
        Reply::Txn(reply) => Ok(reply),
        reply => Err(NodeError::Fault(format!("a txn was answered with {reply:?}").into())),
    }
}

fn created_at(key: Bytes, created: Revision) -> Compare {
    Compare { keys: KeyRange::single(key), result: CompareResult::Equal, target: CompareTarget::Create(created.0) }
}

/// What happens to some keys from a revision on: a watch stream with one watcher.
#[derive(Debug)]
pub(super) struct Watching(WatchStream);

/// Why no more events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// They are compacted.
    Compacted,
    /// The node stops.
    Ended,
}

impl Watching {
    /// Watches for everything.
    pub(super) async fn changes(node: &Session, keys: KeyRange, start: Revision) -> Watching {
        Watching::start(node, WatchSpec::of(keys, start.0)).await
    }

    /// Watches for deletes only.
    async fn deletes(node: &Session, keys: KeyRange, start: Revision) -> Watching {
        Watching::start(node, WatchSpec { no_put: true, ..WatchSpec::of(keys, start.0) }).await
    }

    async fn start(node: &Session, spec: WatchSpec) -> Watching {
        // Whoever got here may read all keys of the queue: it has read them.
        let stream = node.node().watch();
        stream.create(spec).await;
        Watching(stream)
    }

    /// The next events, never none, with the revision that their message has. Cancel safe.
    pub(super) async fn next(&self) -> Result<(Revision, Arc<[Event]>), Lost> {
        loop {
            match self.0.next().await {
                Some(WatchUpdate::Events { revision, events, .. }) => return Ok((revision, events)),
                Some(WatchUpdate::Created { .. } | WatchUpdate::Progress { .. }) => {}
                Some(WatchUpdate::Compacted { .. }) => return Err(Lost::Compacted),
                Some(WatchUpdate::Refused { .. } | WatchUpdate::Canceled { .. }) | None => return Err(Lost::Ended),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::testing::{api, soon};
    use crate::model::AuthChange;

    async fn lease(node: &Node, id: i64) -> LeaseId {
        node.lease_grant(LeaseId(id), 600).await.unwrap().id
    }

    async fn take(node: &Node, lease: LeaseId) -> (Place, Arrival) {
        Place::take(&node.nobody(), Queue::new(b"n"), lease, Bytes::new()).await.unwrap()
    }

    /// Waits until the queue has `count` contenders.
    async fn contenders(node: &Node, count: i64) {
        while node.range(&Range::of(Queue::new(b"n").keys())).await.unwrap().count != count {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_key_ends_in_the_plain_hex_of_its_lease() {
        let queue = Queue::new(b"n");
        for (lease, key) in
            [(0x0a, "n/a"), (-0x12, "n/-12"), (i64::MAX, "n/7fffffffffffffff"), (i64::MIN, "n/-8000000000000000")]
        {
            assert_eq!(queue.key(LeaseId(lease)), key);
        }
        assert_eq!(Queue::new(b"").key(LeaseId(1)), "/1");
    }

    #[tokio::test]
    async fn who_comes_again_has_the_place_it_had() {
        let node = soon(api()).await.node;
        let (one, two) = (lease(&node, 1).await, lease(&node, 2).await);
        let (first, arrival) = take(&node, one).await;
        assert!(arrival.is_first && arrival.present.is_none());
        let (second, arrival) = take(&node, two).await;
        assert!(!arrival.is_first);
        let (again, arrival) = take(&node, one).await;
        assert!(arrival.is_first && arrival.present.is_some_and(|record| first.is(&record)));
        assert_eq!(again.created(), first.created());
        assert!(first.created() < second.created());
        node.stop().await;
    }

    /// A waiting contender kept the caller that it came with. Once a user had been added it was refused as of an old revision,
    /// and could not even leave the queue.
    #[tokio::test]
    async fn a_contender_waits_while_users_and_roles_change() {
        let node = soon(api()).await.node;
        let (name, nobody) = (|| "root".to_owned(), node.nobody());
        nobody.change_auth(AuthChange::UserAdd { name: name(), password: None }).await.unwrap();
        nobody.change_auth(AuthChange::UserGrantRole { user: name(), role: name() }).await.unwrap();
        nobody.change_auth(AuthChange::Enable).await.unwrap();
        let root = node.session(None, Some("root")).await.unwrap();
        let (one, two) = (root.lease_grant(LeaseId(1), 600).await.unwrap().id, root.lease_grant(LeaseId(2), 600).await);
        let queue = || Queue::new(b"n");
        let (first, _) = Place::take(&root, queue(), one, Bytes::new()).await.unwrap();
        let (mut second, arrival) = Place::take(&root, queue(), two.unwrap().id, Bytes::new()).await.unwrap();
        assert!(!arrival.is_first);
        root.change_auth(AuthChange::RoleAdd { name: "later".into() }).await.unwrap();
        drop(first);
        soon(second.reach_head()).await.unwrap();
        assert!(second.look().await.unwrap().is_some());
        node.stop().await;
    }

    #[tokio::test]
    async fn a_place_that_is_dropped_leaves_the_queue_and_one_that_is_kept_stays() {
        let node = soon(api()).await.node;
        let (one, two) = (lease(&node, 1).await, lease(&node, 2).await);
        take(&node, one).await.0.keep();
        drop(take(&node, two).await);
        soon(contenders(&node, 1)).await;
        assert_eq!(node.range(&Queue::new(b"n").oldest()).await.unwrap().kvs[0].key(), b"n/1");
        node.stop().await;
    }

    /// A caller who goes away while the txn is on its way must not leave a key that only its lease would end.
    #[tokio::test]
    async fn a_key_that_was_made_for_nobody_is_deleted() {
        let node = soon(api()).await.node;
        let (one, two) = (lease(&node, 1).await, lease(&node, 2).await);
        {
            let session = node.nobody();
            let mut take = Box::pin(Place::take(&session, Queue::new(b"n"), one, Bytes::new()));
            assert!(futures_util::poll!(&mut take).is_pending());
        }
        // Its txn is ordered before this one, or comes later; in both cases its key goes and this one stays.
        take(&node, two).await.0.keep();
        let is_alone = async {
            while node.revision() < Revision(4) {
                tokio::task::yield_now().await;
            }
            contenders(&node, 1).await;
        };
        soon(is_alone).await;
        assert_eq!(node.range(&Queue::new(b"n").oldest()).await.unwrap().kvs[0].key(), b"n/2");
        node.stop().await;
    }

    #[tokio::test]
    async fn a_key_that_was_made_again_is_not_withdrawn_with_the_old_one() {
        let node = soon(api()).await.node;
        let one = lease(&node, 1).await;
        let (old, _) = take(&node, one).await;
        delete_if_created_at(&node.nobody(), old.key().clone(), old.created()).await.unwrap();
        let (new, _) = take(&node, one).await;
        assert_eq!(delete_if_created_at(&node.nobody(), old.key().clone(), old.created()).await, Ok(node.revision()));
        soon(contenders(&node, 1)).await;
        new.keep();
        node.stop().await;
    }

    #[tokio::test]
    async fn only_the_same_key_under_the_same_lease_is_alive() {
        let node = soon(api()).await.node;
        let (one, two) = (lease(&node, 1).await, lease(&node, 2).await);
        let (mut place, arrival) = take(&node, one).await;
        assert_eq!(place.look().await, Ok(Some(arrival.revision)));

        let moved = Put { key: place.key().clone(), lease: two, ..Put::default() };
        assert!(put_if_created_at(&node.nobody(), moved, place.created()).await.unwrap().is_some());
        assert_eq!(place.look().await, Ok(None));

        let (mut place, _) = Place::take(&node.nobody(), Queue::new(b"m"), one, Bytes::new()).await.unwrap();
        node.lease_revoke(one).await.unwrap();
        assert_eq!(place.look().await, Ok(None));
        node.stop().await;
    }

    #[tokio::test]
    async fn a_contender_outlives_all_before_it() {
        let node = soon(api()).await.node;
        let mut places = Vec::new();
        for id in 1..=3 {
            let lease = lease(&node, id).await;
            places.push(take(&node, lease).await.0);
        }
        let last = places.pop().unwrap();
        let waiting = tokio::spawn(async move {
            last.reach_head().await.unwrap();
            last
        });
        // The one before it goes first: the last must then wait for the head.
        drop(places.pop());
        soon(contenders(&node, 2)).await;
        assert!(!waiting.is_finished());
        drop(places.pop());
        soon(waiting).await.unwrap().keep();
        node.stop().await;
    }

    #[tokio::test]
    async fn compaction_while_waiting_does_no_harm() {
        let node = soon(api()).await.node;
        let (one, two) = (lease(&node, 1).await, lease(&node, 2).await);
        let (first, _) = take(&node, one).await;
        let (second, _) = take(&node, two).await;
        let waiting = tokio::spawn(async move {
            second.reach_head().await.unwrap();
            second
        });
        for _ in 0..10 {
            let put = Put { key: Bytes::from_static(b"x"), ..Put::default() };
            let revision = node.propose(Proposal::from(&Command::Put(put))).await.unwrap().revision();
            node.compact(crate::model::Compact { revision, physical: false }).await.unwrap();
        }
        drop(first);
        soon(waiting).await.unwrap().keep();
        node.stop().await;
    }

    #[test]
    fn errors_lose_their_code_but_not_their_text() {
        let status = Status::from(ContendError::from(NodeError::Stopped));
        assert_eq!((status.code(), status.message()), (tonic::Code::Unknown, "etcdserver: server stopped"));
        assert_eq!(Status::from(ContendError::SessionExpired).message(), "mutex: session is expired");
        assert_eq!(Status::from(ContendError::NoLeaderKey).message(), "\"leader\" field must be provided");
    }
}
