//! What other members ask of this one: the gate, and the way to whoever answers.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;

use super::Node;
use super::error::NodeError;
use crate::env::Mistake;
use crate::metrics::{PeerMetrics, Stopwatch};
use crate::peer::member_calls::Ping;
use crate::peer::{
    BoxFuture, BoxStream, Envelope, Handler, LeaseQuestion, Method, PeerError, ProposeAnswer, Refusal,
    encode_read_index,
};
use crate::raft::Forwarded;

impl Handler for Node {
    fn call(&self, envelope: Envelope, method: Method, body: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        let (node, traffic) = (self.clone(), self.heard(envelope, body.len()));
        let answer = async move {
            node.admit(envelope)?;
            // Not so for appends and heartbeats: a leader that was removed goes on until another has taken over.
            if method != Method::Heartbeat && node.shared.machine.read().is_removed(envelope.from) {
                return Err(Refusal::Removed(envelope.from));
            }
            node.answer(envelope, method, body).await
        };
        Box::pin(async move {
            let answer = answer.await;
            if let Some(traffic) = traffic {
                answered(&traffic, &answer);
            }
            answer
        })
    }

    fn append(
        &self,
        envelope: Envelope,
        requests: BoxStream<Result<Bytes, PeerError>>,
    ) -> Result<BoxStream<Result<Bytes, Refusal>>, Refusal> {
        self.admit(envelope)?;
        let Some(traffic) = self.traffic.of(envelope.from) else { return Ok(self.consensus.answer_appends(requests)) };
        let heard = traffic.clone();
        let requests = requests.inspect(move |request| match request {
            Ok(request) => heard.received(request.len()),
            Err(_) => heard.receive_failed(),
        });
        let answers = self.consensus.answer_appends(Box::pin(requests));
        Ok(Box::pin(answers.inspect(move |answer| answered(&traffic, answer))))
    }

    fn snapshot(
        &self,
        envelope: Envelope,
        head: Bytes,
        chunks: BoxStream<Result<Bytes, PeerError>>,
    ) -> BoxFuture<Result<Bytes, Refusal>> {
        let (node, traffic) = (self.clone(), self.heard(envelope, head.len()));
        Box::pin(async move {
            node.admit(envelope)?;
            let Some(traffic) = traffic else { return node.consensus.take_snapshot(envelope.from, head, chunks).await };
            let (under_way, watch, heard) = (traffic.receiving_snapshot(), Stopwatch::start(), traffic.clone());
            let chunks = Box::pin(chunks.inspect(move |chunk| heard.received(chunk.as_ref().map_or(0, Bytes::len))));
            let answer = node.consensus.take_snapshot(envelope.from, head, chunks).await;
            answered(&traffic, &answer);
            if answer.is_ok() {
                node.metrics.checkpoint.received.observe(watch.seconds());
                under_way.arrived(watch.elapsed());
            }
            answer
        })
    }
}

impl Node {
    /// Counts what came; gives what its answer is counted by, if it is a member's.
    fn heard(&self, envelope: Envelope, bytes: usize) -> Option<Arc<PeerMetrics>> {
        let traffic = self.traffic.of(envelope.from)?;
        traffic.received(bytes);
        Some(traffic)
    }

    /// Lets in who belongs to the cluster and means this member.
    fn admit(&self, envelope: Envelope) -> Result<(), Refusal> {
        let Envelope { cluster, from, to } = envelope;
        if cluster != self.cluster && !Mistake::AcceptStranger.is_made() {
            return Err(Refusal::WrongCluster { expected: self.cluster, found: cluster });
        }
        if to != self.member && !Mistake::AcceptStranger.is_made() {
            return Err(Refusal::WrongMember { expected: self.member, found: to });
        }
        // Whom the table does not name yet may be new, and lead already: a member that was away must hear it.
        self.contacts.heard(from);
        Ok(())
    }

    async fn answer(&self, envelope: Envelope, method: Method, body: Bytes) -> Result<Bytes, Refusal> {
        match method {
            Method::Vote | Method::PreVote | Method::Heartbeat | Method::Transfer | Method::SnapshotOffset => {
                self.consensus.answer(envelope.from, method, body).await
            }
            Method::Propose => Ok(self.answer_propose(body).await?.encode()),
            Method::ReadIndex => Ok(encode_read_index(self.barrier.round_for_follower().await.map_err(stopped)?)),
            Method::LeaseRenew => Ok(self.answer_lease_renew(LeaseQuestion::decode(body)?).await.encode()),
            Method::LeaseRemaining => Ok(self.answer_lease_remaining(LeaseQuestion::decode(body)?).await.encode()),
            Method::Promote => self.answer_promote(body).await,
            Method::HashKv => self.answer_hash_kv(body).await,
            Method::Ping => {
                self.agreement.hear(envelope.from, Ping::decode(body)?);
                Ok(Bytes::new())
            }
        }
    }

    async fn answer_propose(&self, body: Bytes) -> Result<ProposeAnswer, Refusal> {
        let batch = Forwarded::decode(body).map_err(Refusal::malformed)?;
        if !self.leadership.leads() {
            return Ok(ProposeAnswer::NotLeading);
        }
        Ok(self.proposer.propose_forwarded(batch).await)
    }
}

fn answered(traffic: &PeerMetrics, answer: &Result<Bytes, Refusal>) {
    match answer {
        Ok(answer) => traffic.sent(answer.len()),
        Err(_) => traffic.receive_failed(),
    }
}

fn stopped(error: NodeError) -> Refusal {
    Refusal::Stopped(Arc::from(error.to_string()))
}
