//! openraft's network over our transport.
//!
//! One [`Link`] speaks to one member. Replication is one long append stream. A heartbeat is a stream of a single request
//! without entries to openraft, and a call to us: to open a stream takes a round trip more, and every round of reads waits
//! for heartbeats. Three things that openraft leaves to its network are kept here: a stream that
//! cannot be opened fails only after it has taken a request (else replication would spin instead of backing off); the
//! request stream lives and dies with the answers (a task of its own would go on taking requests for nobody); and a
//! stream whose oldest request stays unanswered breaks.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::PollSender;

use super::snapshot::{SnapshotData, SnapshotOf};
use super::types::{Tc, Vote, ours};
use super::wire::{SnapshotHead, Wire, read};
use crate::env::{Random, go_duration};
use crate::metrics::PeerMetrics;
use crate::model::{ClusterId, MemberId};
use crate::peer::{BoxStream, Envelope, Method, PeerError, Refusal, SnapshotSource, Traffic, Transport};
use crate::proto::lodemarkpb as pb;

/// How often a snapshot that broke off is taken up again before openraft hears of it.
const SNAPSHOT_RESUMES_MAX: u32 = 10;
/// How long a snapshot that broke off waits before it is taken up again.
const SNAPSHOT_RESUME_PAUSE: Duration = Duration::from_millis(200);
/// How long the question after a snapshot's offset may take.
const SNAPSHOT_OFFSET_TIMEOUT: Duration = Duration::from_secs(1);
/// Heartbeats in the time of which there was none, until one is late.
const HEARTBEATS_LATE: u32 = 2;

/// Whether this member may speak: one that nobody reaches must not lead, though it can still send.
pub trait Permission: Send + Sync + 'static {
    /// Whether Raft's messages may go out.
    fn may_speak(&self) -> bool;
}

/// Makes links to other members.
#[derive(Clone)]
pub struct Network {
    /// The cluster.
    pub cluster: ClusterId,
    /// This member.
    pub member: MemberId,
    /// How others are reached.
    pub transport: Arc<dyn Transport>,
    /// Numbers for sendings of snapshots.
    pub random: Arc<dyn Random>,
    /// Whether anything is sent at all.
    pub permission: Arc<dyn Permission>,
    /// Counts appends; the transport counts all else.
    pub traffic: Arc<Traffic>,
    /// How long an append may stay unanswered.
    pub append_timeout: Duration,
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
}

/// The way to one member.
#[derive(Clone)]
pub struct Link {
    envelope: Envelope,
    network: Network,
    /// When the last heartbeat was answered; `None` if it was not.
    heartbeat_at: Option<Instant>,
}

impl RaftNetworkFactory<Tc> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Link {
        let envelope = Envelope { cluster: self.cluster, from: self.member, to: MemberId(target) };
        Link { envelope, network: self.clone(), heartbeat_at: None }
    }
}

impl Link {
    async fn ask<Q: Wire, A: Wire>(&self, method: Method, request: Q, within: Duration) -> Result<A, RPCError<Tc>> {
        self.check_permission().map_err(|error| rpc_error(&error))?;
        let answer = self.network.transport.call(self.envelope, method, request.encode(), within).await;
        answer.and_then(|bytes| Ok(A::decode(bytes)?)).map_err(|error| rpc_error(&error))
    }

    fn check_permission(&self) -> Result<(), PeerError> {
        if self.network.permission.may_speak() {
            return Ok(());
        }
        Err(PeerError::Unreachable("no quorum reaches this member, so it keeps quiet".into()))
    }

    /// Shows that this member lives. Says so if it could have done that long ago: the machine or the disk is overloaded.
    ///
    /// Source: etcd, `raftNode.processMessages`.
    async fn send_heartbeat(
        &mut self,
        request: AppendEntriesRequest<Tc>,
        within: Duration,
    ) -> Result<StreamAppendResult<Tc>, RPCError<Tc>> {
        let (interval, expected) = (self.network.heartbeat, self.network.heartbeat * HEARTBEATS_LATE);
        let exceeded = self.heartbeat_at.take().and_then(|at| at.elapsed().checked_sub(expected));
        if let Some(exceeded) = exceeded.filter(|exceeded| !exceeded.is_zero()) {
            tracing::warn!(
                to = %self.envelope.to,
                "heartbeat-interval" = go_duration(interval),
                "expected-duration" = go_duration(expected),
                "exceeded-duration" = go_duration(exceeded),
                "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk"
            );
        }
        let answer = self.ask(Method::Heartbeat, request, within).await?;
        self.heartbeat_at = Some(Instant::now());
        Ok(answer)
    }

    async fn snapshot_offset(&self, head: &SnapshotHead) -> Result<u64, PeerError> {
        let call = (self.envelope, Method::SnapshotOffset, head.clone().encode());
        let answer = self.network.transport.call(call.0, call.1, call.2, SNAPSHOT_OFFSET_TIMEOUT).await?;
        Ok(read::<pb::SnapshotOffset>(answer)?.offset)
    }

    /// Sends what the other side does not have yet.
    async fn send_snapshot(&self, head: &mut SnapshotHead, data: &SnapshotData) -> Result<Bytes, PeerError> {
        head.offset = self.snapshot_offset(head).await?;
        let source = Rest { data: data.clone(), offset: head.offset };
        self.network.transport.snapshot(self.envelope, head.clone().encode(), Arc::new(source)).await
    }
}

impl RaftNetworkV2<Tc> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Tc>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Tc>, RPCError<Tc>> {
        let input = futures_util::stream::iter([rpc]);
        let mut answers = self.stream_append(input, option).await?;
        match answers.next().await {
            Some(answer) => Ok(answer?.into()),
            None => Err(rpc_error(&PeerError::Broken("there was no answer".into()))),
        }
    }

    fn stream_append<'s, S>(&'s mut self, input: S, option: RPCOption) -> AppendFuture<'s>
    where
        S: Stream<Item = AppendEntriesRequest<Tc>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let mut input = input.peekable();
            // Taken first: whoever fails without taking one is asked again at once.
            let Some(first) = input.next().await else { return Ok(empty()) };
            if first.entries.is_empty() && matches!(Pin::new(&mut input).peek().now_or_never(), Some(None)) {
                let answer = self.send_heartbeat(first, option.hard_ttl()).await?;
                return Ok(Box::pin(futures_util::stream::iter([Ok(answer)])) as AppendAnswers<'s>);
            }
            self.check_permission().map_err(|error| rpc_error(&error))?;
            let pipe = self.network.transport.append(self.envelope).await.map_err(|error| rpc_error(&error))?;
            let answers = Answers {
                first: Some(first),
                input: Some(input),
                requests: PollSender::new(pipe.requests),
                answers: pipe.answers,
                unanswered: VecDeque::new(),
                timeout: self.network.append_timeout,
                timer: Box::pin(tokio::time::sleep(self.network.append_timeout)),
                permission: self.network.permission.clone(),
                traffic: self.network.traffic.of(self.envelope.to),
                is_over: false,
            };
            Ok(Box::pin(answers) as AppendAnswers<'s>)
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<Tc>, option: RPCOption) -> Result<VoteResponse<Tc>, RPCError<Tc>> {
        self.ask(Method::Vote, rpc, option.hard_ttl()).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<Tc>, option: RPCOption) -> Result<VoteResponse<Tc>, RPCError<Tc>> {
        self.ask(Method::PreVote, rpc, option.hard_ttl()).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Tc>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Tc>, RPCError<Tc>> {
        let call = (self.envelope, Method::Transfer, request.encode());
        let answer = self.network.transport.call(call.0, call.1, call.2, option.hard_ttl()).await;
        let refused = answer.and_then(|bytes| Ok(read::<pb::TransferResponse>(bytes)?.refused));
        match refused.map_err(|error| rpc_error(&error))?.as_str() {
            "" => Ok(Ok(())),
            why => Err(RPCError::Network(NetworkError::from_string(why))),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Tc>, StreamingError<Tc>> {
        let sending = self.network.random.next_u64();
        let mut head = SnapshotHead { vote, meta: snapshot.meta, sending, offset: 0 };
        let mut cancel = pin!(cancel);
        let mut resumes = 0;
        let index = head.meta.last_log_id.as_ref().map_or(0, |id| ours(id).index);
        tracing::info!("snapshot-index" = index, "remote-peer-id" = %self.envelope.to, "sending database snapshot");
        loop {
            let sent = tokio::select! {
                biased;
                closed = &mut cancel => return Err(closed.into()),
                sent = self.send_snapshot(&mut head, &snapshot.snapshot) => sent,
            };
            let error = match sent.and_then(|bytes| Ok(SnapshotResponse::decode(bytes)?)) {
                Ok(response) => {
                    tracing::info!("snapshot-index" = index, "remote-peer-id" = %self.envelope.to, "sent database snapshot");
                    return Ok(response);
                }
                Err(error) => error,
            };
            resumes += 1;
            if resumes > SNAPSHOT_RESUMES_MAX || matches!(error, PeerError::Refused(_)) {
                return Err(match rpc_error(&error) {
                    RPCError::Unreachable(error) => error.into(),
                    _ => NetworkError::from_string(error.to_string()).into(),
                });
            }
            tracing::warn!(to = %self.envelope.to, %error, "a snapshot broke off and is taken up again");
            tokio::time::sleep(SNAPSHOT_RESUME_PAUSE).await;
        }
    }
}

type AppendAnswers<'s> = Pin<Box<dyn Stream<Item = Result<StreamAppendResult<Tc>, RPCError<Tc>>> + Send + 's>>;
type AppendFuture<'s> = Pin<Box<dyn Future<Output = Result<AppendAnswers<'s>, RPCError<Tc>>> + Send + 's>>;

fn empty<'s>() -> AppendAnswers<'s> {
    Box::pin(futures_util::stream::empty())
}

/// The answers of an append stream; being polled, it also passes the requests on.
struct Answers<S> {
    first: Option<AppendEntriesRequest<Tc>>,
    /// `None` when it has ended.
    input: Option<S>,
    requests: PollSender<Bytes>,
    answers: BoxStream<Result<Bytes, PeerError>>,
    /// When each request without an answer was sent, oldest first.
    unanswered: VecDeque<Instant>,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    permission: Arc<dyn Permission>,
    traffic: Option<Arc<PeerMetrics>>,
    is_over: bool,
}

impl<S: Stream<Item = AppendEntriesRequest<Tc>> + Unpin> Answers<S> {
    /// Passes requests on while there are any and the network takes them.
    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        while self.input.is_some() {
            match self.requests.poll_reserve(cx) {
                Poll::Ready(Ok(())) => {}
                // Broken: the answers say why.
                Poll::Ready(Err(_)) => return self.input = None,
                Poll::Pending => return,
            }
            let next = match (self.first.take(), &mut self.input) {
                (Some(first), _) => Some(first),
                (None, Some(input)) => match input.poll_next_unpin(cx) {
                    Poll::Ready(next) => next,
                    Poll::Pending => return,
                },
                (None, None) => return,
            };
            let Some(request) = next else {
                self.input = None;
                // The place that was reserved would keep the channel open.
                self.requests.abort_send();
                return self.requests.close();
            };
            let request = request.encode();
            if let Some(traffic) = &self.traffic {
                traffic.sent(request.len());
            }
            // An error shows in the answers.
            let _ = self.requests.send_item(request);
            self.unanswered.push_back(Instant::now());
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(&oldest) = self.unanswered.front() else { return Poll::Pending };
        let deadline = oldest + self.timeout;
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx)
    }

    fn fail(&mut self, error: &PeerError) -> Poll<Option<Result<StreamAppendResult<Tc>, RPCError<Tc>>>> {
        self.is_over = true;
        Poll::Ready(Some(Err(rpc_error(error))))
    }
}

impl<S: Stream<Item = AppendEntriesRequest<Tc>> + Unpin> Stream for Answers<S> {
    type Item = Result<StreamAppendResult<Tc>, RPCError<Tc>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        if !this.permission.may_speak() {
            return this.fail(&PeerError::Unreachable("no quorum reaches this member any more".into()));
        }
        this.poll_requests(cx);
        match this.answers.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                this.unanswered.pop_front();
                match StreamAppendResult::decode(bytes) {
                    Ok(result) => {
                        this.is_over = result.is_err();
                        Poll::Ready(Some(Ok(result)))
                    }
                    Err(refusal) => this.fail(&refusal.into()),
                }
            }
            Poll::Ready(Some(Err(error))) => this.fail(&error),
            Poll::Ready(None) if this.unanswered.is_empty() && this.input.is_none() => {
                this.is_over = true;
                Poll::Ready(None)
            }
            Poll::Ready(None) => this.fail(&PeerError::Broken("the stream ended".into())),
            Poll::Pending => {
                ready!(this.poll_timeout(cx));
                this.fail(&PeerError::Timeout)
            }
        }
    }
}

/// A snapshot without its first bytes.
struct Rest {
    data: SnapshotData,
    offset: u64,
}

impl SnapshotSource for Rest {
    fn write_to(&self, offset: u64, out: &mut dyn io::Write) -> io::Result<()> {
        self.data.write_to(self.offset + offset, out)
    }
}

fn rpc_error(error: &PeerError) -> RPCError<Tc> {
    match error {
        // One whose disk is full is asked again after a pause, as one that is not there.
        PeerError::Unreachable(_) | PeerError::Refused(Refusal::NoSpace) => {
            RPCError::Unreachable(Unreachable::from_string(error.to_string()))
        }
        PeerError::Timeout | PeerError::Broken(_) | PeerError::Refused(_) => {
            RPCError::Network(NetworkError::from_string(error.to_string()))
        }
    }
}
