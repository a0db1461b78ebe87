//! Batches on their way: here if this member leads, or through the member that does.
//!
//! A follower sends the batch to the leader under a number and waits until it applies an entry with that number itself:
//! the answer is then its own apply's, and whoever reads from this member afterwards sees the write.
//!
//! A batch that surely was not proposed is sent again, to whoever leads by then. One whose outcome is unknown is not: its
//! clients hear of it when it is applied here, or that it is overdue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::completion::{Waiter, Wakes};
use super::error::NodeError;
use super::leadership::Leadership;
use super::overdue::Overdue;
use super::peers::Peers;
use crate::env::{Clock, Tick, go_duration, timestamp, unix_time};
use crate::machine::Rejection;
use crate::metrics::Metrics;
use crate::model::{MemberId, Reply};
use crate::peer::{Method, PeerError, ProposeAnswer, Refusal};
use crate::raft::{Answer, Consensus, Forwarded, Proposal, ProposeError};
use crate::wal::Demand;

/// How often a batch that nobody takes looks for a leader again.
const LEADER_POLL: Duration = Duration::from_millis(20);

/// One entry on its way.
#[derive(Debug)]
pub(super) struct Flight {
    /// When it came up in the queue, when it was sent, and when it is overdue.
    taken: Tick,
    pub(super) started: Tick,
    pub(super) deadline: Tick,
    /// By which this member knows its batch again if another proposes it.
    pub(super) number: u64,
    /// Fewer once a leader had no space for all of them.
    proposals: Mutex<Arc<Vec<Proposal>>>,
    /// It may be in somebody's log.
    is_sent: AtomicBool,
    /// Taken by whoever answers: apply or the sweep.
    waiting: Mutex<Option<Waiting>>,
}

/// Those who wait for a flight, and the room that it takes until they are answered.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) waiters: Vec<Waiter>,
    /// Among the proposals that may wait.
    pub(super) _places: OwnedSemaphorePermit,
    /// Among the entries that may be in flight.
    pub(super) _room: OwnedSemaphorePermit,
}

impl Flight {
    pub(super) fn new(times: [Tick; 3], number: u64, proposals: Vec<Proposal>, waiting: Waiting) -> Arc<Flight> {
        let [taken, started, deadline] = times;
        let proposals = Mutex::new(Arc::new(proposals));
        let (is_sent, waiting) = (AtomicBool::new(false), Mutex::new(Some(waiting)));
        Arc::new(Flight { taken, started, deadline, number, proposals, is_sent, waiting })
    }

    pub(super) fn is_answered(&self) -> bool {
        self.waiting.lock().is_none()
    }

    /// Whether it may be in somebody's log.
    pub(super) fn is_sent(&self) -> bool {
        // Relaxed: it orders nothing but itself.
        self.is_sent.load(Ordering::Relaxed)
    }

    fn set_sent(&self, is_sent: bool) {
        // Relaxed: as above.
        self.is_sent.store(is_sent, Ordering::Relaxed);
    }

    /// Hands each command's result to its waiter; the wakes are left to whoever runs apply.
    fn answer(&self, results: Vec<Result<Reply, Rejection>>, wakes: &Wakes) {
        let Some(waiters) = self.take() else { return };
        debug_assert_eq!(waiters.len(), results.len(), "each command has one result");
        for (waiter, result) in waiters.into_iter().zip(results) {
            wakes.complete(waiter, result.map_err(NodeError::from));
        }
    }

    /// Gives how many waited.
    pub(super) fn refuse(&self, error: &NodeError, wakes: &Wakes) -> usize {
        let waiters = self.take().unwrap_or_default();
        let count = waiters.len();
        for waiter in waiters {
            wakes.complete(waiter, Err(error.clone()));
        }
        count
    }

    fn proposals(&self) -> Arc<Vec<Proposal>> {
        self.proposals.lock().clone()
    }

    /// The leader's disk has no space for all of it, and nothing was proposed: refuses what makes the data grow. If there
    /// is no such thing, or nothing else, all of it is refused.
    fn refuse_growing(&self, wakes: &Wakes) {
        let refused: Vec<Waiter> = {
            let (mut proposals, mut waiting) = (self.proposals.lock(), self.waiting.lock());
            let Some(mut held) = waiting.take() else { return };
            let frees = |proposal: &Proposal| proposal.demand() == Demand::Freeing;
            let freeing = proposals.iter().filter(|proposal| frees(proposal)).count();
            if freeing == 0 || freeing == proposals.len() {
                held.waiters
            } else {
                let (mut refused, mut kept) = (Vec::new(), Vec::new());
                for (proposal, waiter) in proposals.iter().zip(held.waiters) {
                    if frees(proposal) { kept.push(waiter) } else { refused.push(waiter) }
                }
                *proposals = Arc::new(proposals.iter().filter(|proposal| frees(proposal)).cloned().collect());
                held.waiters = kept;
                *waiting = Some(held);
                refused
            }
        };
        for waiter in refused {
            wakes.complete(waiter, Err(NodeError::NoSpace));
        }
    }

    /// Those who are to be answered now. Their places are free before they are: whoever has an answer finds room for
    /// the next proposal.
    fn take(&self) -> Option<Vec<Waiter>> {
        self.waiting.lock().take().map(|waiting| waiting.waiters)
    }
}

/// The flights that another member may have proposed, by number.
#[derive(Debug, Default)]
pub(super) struct Abroad(Mutex<BTreeMap<u64, Arc<Flight>>>);

impl Abroad {
    /// An entry with this number was applied here.
    pub(super) fn applied(&self, number: u64, results: Vec<Result<Reply, Rejection>>, wakes: &Wakes) {
        let flight = self.0.lock().remove(&number);
        if let Some(flight) = flight {
            flight.answer(results, wakes);
        }
    }

    pub(super) fn forget(&self, number: u64) {
        self.0.lock().remove(&number);
    }

    fn expect(&self, flight: &Arc<Flight>) {
        self.0.lock().insert(flight.number, flight.clone());
    }
}

/// Sends flights.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) consensus: Consensus,
    pub(super) leadership: Arc<Leadership>,
    pub(super) peers: Peers,
    pub(super) abroad: Arc<Abroad>,
    pub(super) overdue: Overdue,
    pub(super) clock: Arc<dyn Clock>,
    /// A batch that takes longer is told of.
    pub(super) slow: Duration,
    pub(super) wakes: Arc<Wakes>,
    pub(super) metrics: Arc<Metrics>,
}

impl Launcher {
    /// Sends a flight on its way; returns as soon as that needs no more attention.
    pub(super) async fn send(self: &Arc<Self>, flight: Arc<Flight>) {
        if self.leadership.leads() {
            self.propose(flight).await;
        } else {
            tokio::spawn(self.clone().pass_on(flight));
        }
    }

    /// Refuses what was to be proposed, or may have been.
    pub(super) fn fail(&self, flight: &Flight, error: &NodeError) {
        let failed = flight.refuse(error, &self.wakes);
        self.metrics.server.proposals_failed.inc_by(failed as u64);
    }

    /// Why a flight is answered with an error at its deadline.
    pub(super) fn overdue(&self, flight: &Flight) -> NodeError {
        if flight.is_sent() { self.overdue.reason(flight.started) } else { NodeError::NotProposed }
    }

    /// Proposes a follower's batch; says what became of it.
    pub(super) async fn propose_for_follower(
        &self,
        batch: Forwarded,
        answer: impl FnOnce(ProposeAnswer) + Send + 'static,
    ) {
        let done = move |result: Result<Answer, ProposeError>| {
            answer(match result {
                Err(ProposeError::NotLeader(_)) => ProposeAnswer::NotLeading,
                // The follower learns from its own log what became of it, if anything.
                Ok(_) | Err(ProposeError::Unknown | ProposeError::Stopped(_)) => ProposeAnswer::Proposed,
            });
        };
        self.consensus.propose_forwarded(batch, done).await;
    }

    /// Proposes here.
    async fn propose(self: &Arc<Self>, flight: Arc<Flight>) {
        let (launcher, own) = (self.clone(), flight.clone());
        flight.set_sent(true);
        let done = move |result: Result<Answer, ProposeError>| match result {
            Ok(answer) => {
                launcher.tell_if_slow(&own, &answer);
                own.answer(answer.results, &launcher.wakes);
            }
            // Surely not proposed.
            Err(ProposeError::NotLeader(_)) => {
                own.set_sent(false);
                tokio::spawn(launcher.retry(own));
            }
            Err(error) => {
                let error = match error {
                    ProposeError::Stopped(_) => NodeError::Stopped,
                    ProposeError::NotLeader(_) | ProposeError::Unknown => launcher.overdue(&own),
                };
                launcher.fail(&own, &error);
                launcher.wakes.wake();
            }
        };
        self.consensus.propose(flight.proposals().iter(), done).await;
    }

    /// Says where the time of a slow batch went that was proposed here, as etcd traces a slow request.
    ///
    /// Source: etcd, `pkg/traceutil/trace.go`.
    fn tell_if_slow(&self, flight: &Flight, answer: &Answer) {
        let now = self.clock.now();
        let took = now.since(flight.taken);
        if took <= self.slow {
            return;
        }
        let (number, proposals) = (flight.number, flight.proposals());
        let logged = self.consensus.logged_at(answer.at.index).unwrap_or(flight.started);
        let stages = [
            ("wait for its turn", flight.taken, flight.started),
            ("write it to the log", flight.started, logged),
            ("agree on it", logged.max(flight.started), answer.apply_began),
            ("apply it", answer.apply_began, now),
        ];
        let steps = stages.map(|(what, from, until)| {
            format!("trace[{number}] '{what}'  (duration: {})", go_duration(until.since(from)))
        });
        let first = proposals.first().and_then(Proposal::command).map(|command| command.summary());
        let end = unix_time();
        tracing::info!(
            detail = format!(
                "{{requests:{}; log_index:{}; first:{}; }}",
                proposals.len(),
                answer.at.index,
                first.unwrap_or_default()
            ),
            duration = go_duration(took),
            start = timestamp(end.saturating_sub(took)),
            end = timestamp(end),
            "steps.json" = serde_json::to_string(&steps).expect("a list of texts has a JSON form"),
            step_count = steps.len(),
            "trace[{number}] process raft request"
        );
    }

    /// Boxed: it sends, and sending may come back here.
    fn retry(self: Arc<Self>, flight: Arc<Flight>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            tokio::time::sleep(LEADER_POLL).await;
            self.pass_on(flight).await;
        })
    }

    /// Has the leader propose, as soon as there is one.
    async fn pass_on(self: Arc<Self>, flight: Arc<Flight>) {
        // The sweep answers what is overdue.
        while !flight.is_answered() {
            if self.leadership.leads() {
                return self.propose(flight).await;
            }
            if let Some(leader) = self.leadership.other_leader() {
                let batch = Forwarded::encode(flight.number, flight.proposals().iter());
                if self.ask(leader, &flight, batch).await {
                    return;
                }
            }
            tokio::time::sleep(LEADER_POLL).await;
        }
    }

    /// Asks `leader` to propose; `false` if it surely did not and may be asked again.
    async fn ask(&self, leader: MemberId, flight: &Arc<Flight>, batch: bytes::Bytes) -> bool {
        let within = flight.deadline.since(self.clock.now());
        self.abroad.expect(flight);
        flight.set_sent(true);
        let answer = self.peers.ask(leader, Method::Propose, batch, within).await;
        let was_proposed = match answer.and_then(|bytes| Ok(ProposeAnswer::decode(bytes)?)) {
            Ok(ProposeAnswer::Proposed) => true,
            Ok(ProposeAnswer::NotLeading) | Err(PeerError::Unreachable(_)) => false,
            Ok(ProposeAnswer::Overloaded) => {
                self.fail(flight, &NodeError::TooManyRequests);
                self.wakes.wake();
                true
            }
            Ok(ProposeAnswer::NoSpace) => {
                flight.refuse_growing(&self.wakes);
                self.wakes.wake();
                false
            }
            Err(PeerError::Refused(Refusal::Stopped(_)) | PeerError::Timeout | PeerError::Broken(_)) => true,
            // Refused before anything was looked at.
            Err(PeerError::Refused(_)) => false,
        };
        if !was_proposed {
            flight.set_sent(false);
        }
        // One that was answered meanwhile is not swept again, and would stay for ever.
        if !was_proposed || flight.is_answered() {
            self.abroad.forget(flight.number);
        }
        was_proposed
    }
}
