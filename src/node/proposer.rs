//! Proposals on their way into the log.
//!
//! Everybody's proposals go into one queue. A task takes whatever waits there and proposes it as one Raft entry; while
//! that is on its way the next batch builds up by itself. What is in flight is bounded in entries, so that openraft's
//! core never stalls behind apply, and the task waits while the log or the checkpoint are far behind.
//!
//! One bound goes over both, the queue and the flights: a proposal takes a place when it comes and gives it back when it
//! is answered. Without a place it is refused at once.
//!
//! A proposal is answered exactly once: by apply, or with a timeout after [`REQUEST_TIMEOUT`], or because the node
//! stops. Only a proposal that surely was not proposed (no leader yet) is tried again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::completion::{Completions, Waiter, Wakes};
use super::error::{NodeError, Outcome};
use crate::env::{Clock, Tick};
use crate::raft::{Answer, Checkpoints, Consensus, Proposal, ProposeError};
use crate::wal::Wal;

/// How long a request may take in all: etcd's 5 s and two election timeouts of a second.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
/// Proposals that may wait for their answer; more are refused at once.
///
/// etcd refuses when apply is 5,000 entries behind the commit index. Here those count too that wait for the disk, and
/// they are as many as there are busy clients: the bound leaves each of 1,000 of them 16. It takes apply less than a
/// second to work off, so that whoever got a place is answered long before [`REQUEST_TIMEOUT`], unless single requests
/// take their time: then more clients only make all of them fail.
const PROPOSALS_MAX: usize = 16 * 1024;
/// Commands in one entry: bounds how long apply holds the machine for it.
const BATCH_COMMANDS_MAX: usize = 1024;
/// Bytes in one entry; a single command may be larger.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Entries in flight: well below openraft's apply queue of 1024.
const FLIGHTS_MAX: usize = 256;
/// Bytes that may wait for the log's disk before proposals wait too.
const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that may wait for the checkpoint before proposals wait too.
const CHECKPOINT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How often a waiting proposer looks again.
const LAG_POLL: Duration = Duration::from_millis(2);
/// How often proposals without a leader are tried again.
const LEADER_POLL: Duration = Duration::from_millis(20);
/// How often overdue flights are looked for.
const SWEEP_PERIOD: Duration = Duration::from_millis(250);

/// The door to the queue.
#[derive(Debug, Clone)]
pub(super) struct Proposer {
    /// Never full: what is queued has a place.
    queue_tx: mpsc::Sender<Queued>,
    places: Arc<Semaphore>,
    wakes: Arc<Wakes>,
    request_bytes_max: usize,
}

#[derive(Debug)]
struct Queued {
    proposal: Proposal,
    waiter: Waiter,
    place: OwnedSemaphorePermit,
}

/// The task behind the door, as a value.
pub(super) struct ProposerTask {
    pub(super) consensus: Consensus,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) wal: Wal,
    pub(super) clock: Arc<dyn Clock>,
    queue_rx: mpsc::Receiver<Queued>,
    wakes: Arc<Wakes>,
    flights: VecDeque<Arc<Flight>>,
    room: Arc<Semaphore>,
}

/// One entry on its way.
#[derive(Debug)]
struct Flight {
    deadline: Tick,
    proposals: Vec<Proposal>,
    /// With the places that they have. Taken by whoever answers: apply or the sweep.
    waiters: Mutex<Option<(Vec<Waiter>, OwnedSemaphorePermit)>>,
}

/// Makes the queue; the receiver becomes a [`ProposerTask`] once there is a log to propose to.
pub(super) fn queue(wakes: Arc<Wakes>, request_bytes_max: usize) -> (Proposer, ProposerQueue) {
    let (queue_tx, queue_rx) = mpsc::channel(PROPOSALS_MAX);
    let places = Arc::new(Semaphore::new(PROPOSALS_MAX));
    (Proposer { queue_tx, places, wakes: wakes.clone(), request_bytes_max }, ProposerQueue { queue_rx, wakes })
}

/// The receiving end of the queue.
pub(super) struct ProposerQueue {
    queue_rx: mpsc::Receiver<Queued>,
    wakes: Arc<Wakes>,
}

impl ProposerQueue {
    pub(super) fn into_task(
        self,
        consensus: Consensus,
        checkpoints: Arc<Checkpoints>,
        wal: Wal,
        clock: Arc<dyn Clock>,
    ) -> ProposerTask {
        let ProposerQueue { queue_rx, wakes } = self;
        let room = Arc::new(Semaphore::new(FLIGHTS_MAX));
        ProposerTask { consensus, checkpoints, wal, clock, queue_rx, wakes, flights: VecDeque::new(), room }
    }
}

impl Proposer {
    /// Proposes and waits.
    pub(super) async fn propose(&self, proposal: Proposal) -> Outcome {
        let (tx, rx) = oneshot::channel();
        self.enqueue(proposal, Waiter::Task(tx));
        rx.await.unwrap_or(Err(NodeError::Stopped))
    }

    /// Proposes; the outcome goes to `completions` under `token`.
    pub(super) fn propose_into(&self, proposal: Proposal, completions: &Arc<Completions>, token: u64) {
        self.enqueue(proposal, Waiter::Connection(completions.clone(), token));
    }

    fn enqueue(&self, proposal: Proposal, waiter: Waiter) {
        if proposal.request_bytes() > self.request_bytes_max {
            return self.refuse(waiter, NodeError::RequestTooLarge);
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return self.refuse(waiter, NodeError::TooManyRequests);
        };
        match self.queue_tx.try_send(Queued { proposal, waiter, place }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(queued)) => self.refuse(queued.waiter, NodeError::TooManyRequests),
            Err(mpsc::error::TrySendError::Closed(queued)) => self.refuse(queued.waiter, NodeError::Stopped),
        }
    }

    fn refuse(&self, waiter: Waiter, error: NodeError) {
        self.wakes.complete(waiter, Err(error));
        self.wakes.wake();
    }
}

impl ProposerTask {
    /// Proposes until `stop`; then everything that still waits is answered with [`NodeError::Stopped`].
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut sweep = tokio::time::interval(SWEEP_PERIOD);
        let mut queued = Vec::new();
        loop {
            tokio::select! {
                // Cancel safe: nothing is taken from the queue unless this arm wins.
                count = self.queue_rx.recv_many(&mut queued, BATCH_COMMANDS_MAX) => {
                    if count == 0 {
                        break;
                    }
                    tokio::select! {
                        () = self.propose(&mut queued) => {}
                        () = stop.cancelled() => break,
                    }
                }
                _ = sweep.tick() => self.sweep(),
                () = stop.cancelled() => break,
            }
        }
        self.refuse_all(queued);
    }

    /// Proposes all of `queued`, in as many entries as it takes.
    async fn propose(&mut self, queued: &mut Vec<Queued>) {
        self.wait_for_the_disk().await;
        let mut rest = std::mem::take(queued).into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut bytes = first.proposal.request_bytes();
            let (mut proposals, mut waiters, mut places) = (vec![first.proposal], vec![first.waiter], first.place);
            while let Some(next) = rest.next_if(|next| bytes + next.proposal.request_bytes() <= BATCH_BYTES_MAX) {
                bytes += next.proposal.request_bytes();
                proposals.push(next.proposal);
                waiters.push(next.waiter);
                places.merge(next.place);
            }
            let deadline = self.clock.now().after(REQUEST_TIMEOUT);
            let waiters = Mutex::new(Some((waiters, places)));
            let flight = Arc::new(Flight { deadline, proposals, waiters });
            self.launch(flight).await;
        }
    }

    async fn launch(&mut self, flight: Arc<Flight>) {
        let permit = self.permit().await;
        self.flights.push_back(flight.clone());
        let sender = Sender { consensus: self.consensus.clone(), clock: self.clock.clone(), wakes: self.wakes.clone() };
        sender.send(flight, permit).await;
    }

    /// Room for one more entry; overdue ones are answered meanwhile.
    async fn permit(&mut self) -> OwnedSemaphorePermit {
        loop {
            let acquire = self.room.clone().acquire_owned();
            match tokio::time::timeout(SWEEP_PERIOD, acquire).await {
                Ok(permit) => return permit.expect("the semaphore is never closed"),
                Err(_) => self.sweep(),
            }
        }
    }

    async fn wait_for_the_disk(&mut self) {
        while self.wal.queued_bytes() > LOG_BYTES_MAX || self.checkpoints.pending_bytes() > CHECKPOINT_BYTES_MAX {
            tokio::time::sleep(LAG_POLL).await;
            self.sweep();
        }
    }

    /// Answers flights that are overdue and forgets those that were answered.
    fn sweep(&mut self) {
        let now = self.clock.now();
        // In order of their deadlines, so the first that is neither ends the walk.
        while let Some(flight) = self.flights.front() {
            if now >= flight.deadline {
                flight.refuse(&NodeError::Timeout, &self.wakes);
            }
            if flight.waiters.lock().is_some() {
                break;
            }
            self.flights.pop_front();
        }
        self.wakes.wake();
    }

    fn refuse_all(mut self, queued: Vec<Queued>) {
        self.queue_rx.close();
        for waiting in queued {
            self.wakes.complete(waiting.waiter, Err(NodeError::Stopped));
        }
        while let Ok(waiting) = self.queue_rx.try_recv() {
            self.wakes.complete(waiting.waiter, Err(NodeError::Stopped));
        }
        for flight in &self.flights {
            flight.refuse(&NodeError::Stopped, &self.wakes);
        }
        self.wakes.wake();
    }
}

/// Sends one flight, and again while there is no leader.
struct Sender {
    consensus: Consensus,
    clock: Arc<dyn Clock>,
    wakes: Arc<Wakes>,
}

impl Sender {
    async fn send(self, flight: Arc<Flight>, permit: OwnedSemaphorePermit) {
        let consensus = self.consensus.clone();
        let shared = flight.clone();
        let done = move |result: Result<Answer, ProposeError>| match result {
            Ok(answer) => {
                shared.answer(answer, &self.wakes);
                drop(permit);
            }
            // Surely not proposed: nobody leads yet.
            Err(ProposeError::NotLeader(_)) if self.clock.now() < shared.deadline => {
                tokio::spawn(self.resend(shared, permit));
            }
            Err(error) => {
                let error = match error {
                    ProposeError::NotLeader(_) | ProposeError::Unknown => NodeError::Timeout,
                    ProposeError::Stopped(_) => NodeError::Stopped,
                };
                shared.refuse(&error, &self.wakes);
                self.wakes.wake();
            }
        };
        consensus.propose(flight.proposals.iter(), done).await;
    }

    /// Boxed: it sends, and sending may come back here.
    fn resend(
        self,
        flight: Arc<Flight>,
        permit: OwnedSemaphorePermit,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            tokio::time::sleep(LEADER_POLL).await;
            self.send(flight, permit).await;
        })
    }
}

impl Flight {
    /// Hands each command's result to its waiter; the wakes are left to whoever runs apply.
    fn answer(&self, answer: Answer, wakes: &Wakes) {
        let Some(waiters) = self.take() else { return };
        debug_assert_eq!(waiters.len(), answer.results.len(), "each command has one result");
        for (waiter, result) in waiters.into_iter().zip(answer.results) {
            wakes.complete(waiter, result.map_err(NodeError::from));
        }
    }

    fn refuse(&self, error: &NodeError, wakes: &Wakes) {
        for waiter in self.take().into_iter().flatten() {
            wakes.complete(waiter, Err(error.clone()));
        }
    }

    /// Those who are to be answered now. Their places are free before they are: whoever has an answer finds room for
    /// the next proposal.
    fn take(&self) -> Option<Vec<Waiter>> {
        self.waiters.lock().take().map(|(waiters, _places)| waiters)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::model::{Command, Put};

    /// The errors that came, by token.
    fn refused(completions: &Completions) -> Vec<(u64, NodeError)> {
        let mut outcomes = Vec::new();
        let _: Poll<()> = completions.poll_take(&mut Context::from_waker(Waker::noop()), &mut outcomes);
        outcomes.into_iter().filter_map(|(token, outcome)| Some((token, outcome.err()?))).collect()
    }

    #[test]
    fn a_proposal_has_a_place_until_it_is_answered() {
        let wakes = Arc::new(Wakes::default());
        let (proposer, mut queue) = queue(wakes.clone(), 1024);
        let completions = Completions::new();
        let proposal = Proposal::from(&Command::Put(Put { key: "k".into(), ..Put::default() }));
        let last = PROPOSALS_MAX as u64;
        for token in 0..=last {
            proposer.propose_into(proposal.clone(), &completions, token);
        }
        assert_eq!(refused(&completions), [(last, NodeError::TooManyRequests)]);

        let Queued { waiter, place, .. } = queue.queue_rx.try_recv().unwrap();
        let waiters = Mutex::new(Some((vec![waiter], place)));
        let flight = Flight { deadline: Tick::default(), proposals: Vec::new(), waiters };
        proposer.propose_into(proposal.clone(), &completions, last);
        assert_eq!(refused(&completions), [(last, NodeError::TooManyRequests)]);
        flight.refuse(&NodeError::Timeout, &wakes);
        assert_eq!(refused(&completions), [(0, NodeError::Timeout)]);
        proposer.propose_into(proposal, &completions, last);
        assert_eq!(refused(&completions), []);
    }
}
