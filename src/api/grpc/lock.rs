//! Lock: contenders are keys under a lease, the oldest holds it.
//!
//! The rules, and why an answer can be trusted, stand in [`super::contend`].
//!
//! Source: etcd API reference, `v3lock.proto`.

use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::Api;
use super::contend::{ContendError, Place, Queue, lease_of, session_of};
use super::encode::header;
use crate::model::{Command, DeleteRange, KeyRange};
use crate::node::{Proposal, Session};
use crate::proto::v3lockpb::lock_server::Lock;
use crate::proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

/// etcd's `v3lockpb.Lock`.
#[derive(Debug, Clone)]
pub(crate) struct LockService(pub(crate) Api);

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let session = session_of(&request, &self.0.node).await?;
        Ok(Response::new(acquire(&session, request.into_inner()).await?))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        // Before it matters who asks, as in etcd.
        if request.get_ref().key.is_empty() {
            return Err(ContendError::EmptyKey.into());
        }
        let session = session_of(&request, &self.0.node).await?;
        Ok(Response::new(release(&session, request.into_inner()).await?))
    }
}

/// Waits for the lock. A caller who goes away meanwhile leaves the queue.
async fn acquire(node: &Session, request: LockRequest) -> Result<LockResponse, ContendError> {
    let lease = lease_of(node, request.lease).await?;
    let (mut place, arrival) = Place::take(node, Queue::new(&request.name), lease, Bytes::new()).await?;

    let revision = if arrival.is_first {
        // The state that was found has the lock; what was made was made with the lease.
        let is_held = arrival.present.as_ref().is_none_or(|record| place.is(record));
        is_held.then_some(arrival.revision)
    } else {
        place.reach_head().await?;
        place.look().await?
    };
    let key = place.key().clone();
    place.keep();
    let revision = revision.ok_or(ContendError::SessionExpired)?;
    Ok(LockResponse { header: Some(header(node.header(), revision)), key })
}

/// Deletes the key, whoever holds it.
async fn release(node: &Session, request: UnlockRequest) -> Result<UnlockResponse, ContendError> {
    let delete = DeleteRange { keys: KeyRange::single(request.key), prev_kv: false };
    let reply = node.propose(Proposal::from(&Command::DeleteRange(delete))).await?;
    Ok(UnlockResponse { header: Some(header(node.header(), reply.revision())) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::testing::{api, soon};
    use crate::model::{LeaseId, Put, Revision};

    struct Client(LockService);

    impl Client {
        async fn new() -> Client {
            Client(LockService(soon(api()).await))
        }

        async fn lease(&self, id: i64) {
            self.0.0.node.lease_grant(LeaseId(id), 600).await.unwrap();
        }

        fn lock(&self, name: &'static str, lease: i64) -> impl Future<Output = Result<LockResponse, Status>> + 'static {
            let service = self.0.clone();
            let request = Request::new(LockRequest { name: name.into(), lease });
            async move { service.lock(request).await.map(Response::into_inner) }
        }

        async fn unlock(&self, key: &Bytes) -> Result<UnlockResponse, Status> {
            let request = Request::new(UnlockRequest { key: key.clone() });
            self.0.unlock(request).await.map(Response::into_inner)
        }

        /// Waits until the store has reached `revision`.
        async fn at_revision(&self, revision: i64) {
            while self.0.0.node.revision() < Revision(revision) {
                tokio::task::yield_now().await;
            }
        }

        async fn stop(self) {
            self.0.0.node.stop().await;
        }
    }

    fn revision(header: &Option<crate::proto::etcdserverpb::ResponseHeader>) -> i64 {
        header.as_ref().unwrap().revision
    }

    fn text(status: &Status) -> (tonic::Code, &str) {
        (status.code(), status.message())
    }

    #[tokio::test]
    async fn a_free_lock_is_taken_and_taken_again_by_the_same_lease() {
        let client = Client::new().await;
        client.lease(0x1f).await;
        let taken = soon(client.lock("n", 0x1f)).await.unwrap();
        assert_eq!((taken.key.as_ref(), revision(&taken.header)), (&b"n/1f"[..], 2));
        let again = soon(client.lock("n", 0x1f)).await.unwrap();
        assert_eq!((&again.key, revision(&again.header)), (&taken.key, 2));
        client.stop().await;
    }

    #[tokio::test]
    async fn without_a_lease_one_is_granted_for_a_minute() {
        let client = Client::new().await;
        let taken = soon(client.lock("n", 0)).await.unwrap();
        let leases = client.0.0.node.leases().unwrap();
        assert_eq!(leases.len(), 1);
        assert_eq!(taken.key, format!("n/{:x}", leases[0].0));
        let remaining = client.0.0.node.lease_time_to_live(leases[0], true).await.unwrap().unwrap();
        assert_eq!(remaining.granted, 60);
        client.stop().await;
    }

    #[tokio::test]
    async fn errors_have_the_code_unknown_and_the_usual_text() {
        let client = Client::new().await;
        let status = soon(client.lock("n", 77)).await.unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "etcdserver: requested lease not found"));
        let status = client.unlock(&Bytes::new()).await.unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "etcdserver: key is not provided"));
        client.stop().await;
    }

    #[tokio::test]
    async fn unlocking_what_is_not_there_succeeds() {
        let client = Client::new().await;
        let response = client.unlock(&Bytes::from_static(b"none")).await.unwrap();
        assert_eq!(revision(&response.header), 1);
        client.stop().await;
    }

    /// A key that somebody wrote by hand would outlive any lease: it is no lock.
    #[tokio::test]
    async fn a_key_without_the_lease_is_no_lock_and_is_left_alone() {
        let client = Client::new().await;
        client.lease(1).await;
        let put = Put { key: Bytes::from_static(b"n/1"), ..Put::default() };
        client.0.0.node.propose(Proposal::from(&Command::Put(put))).await.unwrap();
        let status = soon(client.lock("n", 1)).await.unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "mutex: session is expired"));
        assert_eq!(client.0.0.node.revision(), Revision(2));
        client.stop().await;
    }

    #[tokio::test]
    async fn waiters_are_served_in_the_order_in_which_they_came() {
        let client = Client::new().await;
        let mut held = None;
        let mut waiters = Vec::new();
        for id in 1..=5 {
            client.lease(id).await;
            if id == 1 {
                held = Some(soon(client.lock("n", id)).await.unwrap().key);
            } else {
                waiters.push(tokio::spawn(client.lock("n", id)));
                soon(client.at_revision(id + 1)).await;
            }
        }
        let mut held = held.unwrap();
        for (waiter, id) in waiters.into_iter().zip(2..) {
            assert!(!waiter.is_finished());
            client.unlock(&held).await.unwrap();
            let taken = soon(waiter).await.unwrap().unwrap();
            assert_eq!(taken.key, format!("n/{id}"));
            // Five contenders made revisions 2 to 6, each release one more.
            assert_eq!(revision(&taken.header), 5 + id);
            held = taken.key;
        }
        client.stop().await;
    }

    #[tokio::test]
    async fn a_waiter_whose_client_goes_away_leaves_the_queue() {
        let client = Client::new().await;
        for id in 1..=3 {
            client.lease(id).await;
        }
        let held = soon(client.lock("n", 1)).await.unwrap();
        let gone = tokio::spawn(client.lock("n", 2));
        soon(client.at_revision(3)).await;
        let waiter = tokio::spawn(client.lock("n", 3));
        soon(client.at_revision(4)).await;
        gone.abort();
        // Its key is deleted.
        soon(client.at_revision(5)).await;
        client.unlock(&held.key).await.unwrap();
        assert_eq!(soon(waiter).await.unwrap().unwrap().key.as_ref(), b"n/3");
        client.stop().await;
    }

    #[tokio::test]
    async fn a_waiter_whose_lease_ends_gets_no_lock() {
        let client = Client::new().await;
        client.lease(1).await;
        client.lease(2).await;
        let held = soon(client.lock("n", 1)).await.unwrap();
        let waiter = tokio::spawn(client.lock("n", 2));
        soon(client.at_revision(3)).await;
        client.0.0.node.lease_revoke(LeaseId(2)).await.unwrap();
        client.unlock(&held.key).await.unwrap();
        let status = soon(waiter).await.unwrap().unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "mutex: session is expired"));
        client.stop().await;
    }

    /// etcd looks at its key by name alone: a call whose key was deleted would be answered when another call of the same
    /// lease has made it again, though others came in between.
    #[tokio::test]
    async fn a_key_that_was_made_again_has_lost_its_place() {
        let client = Client::new().await;
        for id in 1..=3 {
            client.lease(id).await;
        }
        let held = soon(client.lock("n", 1)).await.unwrap();
        let first = tokio::spawn(client.lock("n", 2));
        soon(client.at_revision(3)).await;
        let between = tokio::spawn(client.lock("n", 3));
        soon(client.at_revision(4)).await;
        client.unlock(&Bytes::from_static(b"n/2")).await.unwrap();
        let again = tokio::spawn(client.lock("n", 2));
        soon(client.at_revision(6)).await;

        client.unlock(&held.key).await.unwrap();
        let status = soon(first).await.unwrap().unwrap_err();
        assert_eq!(status.message(), "mutex: session is expired");
        let between = soon(between).await.unwrap().unwrap();
        assert!(!again.is_finished());
        client.unlock(&between.key).await.unwrap();
        assert_eq!(soon(again).await.unwrap().unwrap().key.as_ref(), b"n/2");
        client.stop().await;
    }
}
