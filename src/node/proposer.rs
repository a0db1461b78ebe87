//! Proposals on their way into the log.
//!
//! Everybody's proposals go into one queue. A task takes whatever waits there and proposes it as one Raft entry; while
//! that is on its way the next batch builds up by itself. What is in flight is bounded in entries, so that openraft's
//! core never stalls behind apply, and the task waits while the log or the checkpoint are far behind. What the disk has no
//! space for is refused here (see [`Space`]), so that openraft never meets a full disk.
//!
//! One bound goes over both, the queue and the flights: a proposal takes a place when it comes and gives it back when it
//! is answered. Without a place it is refused at once.
//!
//! A proposal is answered exactly once: by apply, or with a timeout after [`REQUEST_TIMEOUT`], or because the node
//! stops. What becomes of a batch on its way is in [`super::flight`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::completion::{Completions, Waiter, Wakes};
use super::error::{NodeError, Outcome};
use super::flight::{Flight, Launcher, Waiting};
use super::memory::MemoryBudget;
use super::quota::Quota;
use crate::env::{Random, Tick};
use crate::peer::ProposeAnswer;
use crate::raft::{Checkpoints, Forwarded, Proposal, Space};
use crate::wal::{Demand, Fit, Wal};

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
/// How often a waiting proposer looks again.
const LAG_POLL: Duration = Duration::from_millis(2);
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
    quota: Arc<Quota>,
}

/// What waits to be proposed.
#[derive(Debug)]
enum Queued {
    /// A command of a client of this member.
    Own { proposal: Proposal, waiter: Waiter, place: OwnedSemaphorePermit },
    /// A batch of a follower.
    Forwarded { batch: Forwarded, answer_tx: oneshot::Sender<ProposeAnswer>, place: OwnedSemaphorePermit },
}

/// The task behind the door, as a value.
pub(super) struct ProposerTask {
    launcher: Arc<Launcher>,
    checkpoints: Arc<Checkpoints>,
    wal: Wal,
    /// How much may wait for the log's disk, and for the checkpoint, before proposals wait too.
    memory: MemoryBudget,
    space: Space,
    /// The next flight's.
    number: u64,
    queue_rx: mpsc::Receiver<Queued>,
    wakes: Arc<Wakes>,
    flights: VecDeque<Arc<Flight>>,
    room: Arc<Semaphore>,
    /// When what is being proposed came up in the queue.
    taken: Tick,
}

/// Makes the queue; the receiver becomes a [`ProposerTask`] once there is a log to propose to.
pub(super) fn queue(wakes: Arc<Wakes>, request_bytes_max: usize, quota: Arc<Quota>) -> (Proposer, ProposerQueue) {
    let (queue_tx, queue_rx) = mpsc::channel(PROPOSALS_MAX);
    let places = Arc::new(Semaphore::new(PROPOSALS_MAX));
    (Proposer { queue_tx, places, wakes: wakes.clone(), request_bytes_max, quota }, ProposerQueue { queue_rx, wakes })
}

/// The receiving end of the queue.
pub(super) struct ProposerQueue {
    queue_rx: mpsc::Receiver<Queued>,
    wakes: Arc<Wakes>,
}

impl ProposerQueue {
    pub(super) fn into_task(
        self,
        launcher: Arc<Launcher>,
        checkpoints: Arc<Checkpoints>,
        wal: Wal,
        memory: MemoryBudget,
        random: &dyn Random,
    ) -> ProposerTask {
        let ProposerQueue { queue_rx, wakes } = self;
        let room = Arc::new(Semaphore::new(FLIGHTS_MAX));
        // Counted from anywhere: no two members, and no two lives of one, choose the same.
        let number = random.next_u64();
        let space = launcher.consensus.space().clone();
        let flights = VecDeque::new();
        ProposerTask {
            launcher,
            checkpoints,
            wal,
            memory,
            space,
            number,
            queue_rx,
            wakes,
            flights,
            room,
            taken: Tick::default(),
        }
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

    /// How many wait for their answer.
    pub(super) fn pending(&self) -> usize {
        PROPOSALS_MAX.saturating_sub(self.places.available_permits())
    }

    fn enqueue(&self, proposal: Proposal, waiter: Waiter) {
        if proposal.request_bytes() > self.request_bytes_max {
            return self.refuse(waiter, NodeError::RequestTooLarge);
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return self.refuse(waiter, NodeError::TooManyRequests);
        };
        if !self.quota.admits(&proposal) {
            return self.refuse_for_quota(waiter, place);
        }
        let (queued, error) = match self.queue_tx.try_send(Queued::Own { proposal, waiter, place }) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(queued)) => (queued, NodeError::TooManyRequests),
            Err(mpsc::error::TrySendError::Closed(queued)) => (queued, NodeError::Stopped),
        };
        queued.refuse(&error, &self.wakes);
        self.wakes.wake();
    }

    /// Proposes a follower's batch and waits for what becomes of it.
    pub(super) async fn propose_forwarded(&self, batch: Forwarded) -> ProposeAnswer {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return ProposeAnswer::Overloaded };
        let (answer_tx, answer_rx) = oneshot::channel();
        match self.queue_tx.try_send(Queued::Forwarded { batch, answer_tx, place }) {
            // Dropped without an answer: the member stops, and what becomes of the batch is unknown.
            Ok(()) => answer_rx.await.unwrap_or(ProposeAnswer::Proposed),
            Err(mpsc::error::TrySendError::Full(_)) => ProposeAnswer::Overloaded,
            Err(mpsc::error::TrySendError::Closed(_)) => ProposeAnswer::NotLeading,
        }
    }

    /// Answers when the alarm is raised: whoever is refused finds it.
    fn refuse_for_quota(&self, waiter: Waiter, place: OwnedSemaphorePermit) {
        let this = self.clone();
        tokio::spawn(async move {
            this.quota.raise(&this).await;
            drop(place);
            this.refuse(waiter, NodeError::NoSpace);
        });
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
        self.taken = self.launcher.clock.now();
        self.wait_for_the_disk().await;
        let mut rest = std::mem::take(queued).into_iter().peekable();
        while let Some(first) = rest.next() {
            let (proposal, waiter, places) = match first {
                Queued::Own { proposal, waiter, place } => (proposal, waiter, place),
                Queued::Forwarded { batch, answer_tx, place } => {
                    self.launch_forwarded(batch, answer_tx, place).await;
                    continue;
                }
            };
            let mut bytes = proposal.request_bytes();
            let mut entry = Entry { proposals: vec![proposal], waiters: vec![waiter], places };
            while let Some(Queued::Own { proposal, waiter, place }) = rest.next_if(|next| next.fits(bytes)) {
                bytes += proposal.request_bytes();
                entry.proposals.push(proposal);
                entry.waiters.push(waiter);
                entry.places.merge(place);
            }
            if let Some(entry) = self.admit(entry, bytes).await {
                self.launch(entry).await;
            }
        }
    }

    /// Refuses what the disk has no space for; gives the rest.
    async fn admit(&mut self, entry: Entry, bytes: usize) -> Option<Entry> {
        // All of it, whatever it is: nearly always.
        if self.has_space(Demand::Growing, bytes).await {
            return Some(entry);
        }
        let (growing, freeing) = entry.split();
        let mut admitted = None;
        let mut refused = growing;
        if let Some(entry) = freeing {
            let bytes = entry.proposals.iter().map(Proposal::request_bytes).sum();
            if self.has_space(Demand::Freeing, bytes).await {
                admitted = Some(entry);
            } else {
                refused.extend(entry.waiters);
            }
        }
        for waiter in refused {
            self.wakes.complete(waiter, Err(NodeError::NoSpace));
        }
        self.wakes.wake();
        admitted
    }

    /// Whether there is space for so many bytes, as soon as that is known.
    async fn has_space(&mut self, demand: Demand, bytes: usize) -> bool {
        loop {
            match self.space.fit(demand, bytes) {
                Fit::Now => return true,
                Fit::Full => return false,
                Fit::Soon => {
                    tokio::time::sleep(LAG_POLL).await;
                    self.sweep();
                }
            }
        }
    }

    async fn launch(&mut self, Entry { proposals, waiters, places }: Entry) {
        let room = self.permit().await;
        let commands = u32::try_from(proposals.len()).unwrap_or(u32::MAX);
        self.launcher.metrics.own.batch.observe(f64::from(commands));
        let started = self.launcher.clock.now();
        let times = [self.taken, started, started.after(REQUEST_TIMEOUT)];
        self.number = self.number.wrapping_add(1);
        let flight = Flight::new(times, self.number, proposals, Waiting { waiters, _places: places, _room: room });
        self.flights.push_back(flight.clone());
        self.launcher.send(flight).await;
    }

    async fn launch_forwarded(
        &mut self,
        batch: Forwarded,
        answer_tx: oneshot::Sender<ProposeAnswer>,
        place: OwnedSemaphorePermit,
    ) {
        let bytes = batch.bytes();
        let has_space = self.has_space(Demand::Growing, bytes).await
            || (batch.demand() == Demand::Freeing && self.has_space(Demand::Freeing, bytes).await);
        if !has_space {
            drop(place);
            // A receiver that is gone has lost its connection.
            let _ = answer_tx.send(ProposeAnswer::NoSpace);
            return;
        }
        let room = self.permit().await;
        let answer = move |answer| {
            // A receiver that is gone has lost its connection.
            let _ = answer_tx.send(answer);
            drop((place, room));
        };
        self.launcher.propose_for_follower(batch, answer).await;
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
        let MemoryBudget { log_queue, pending, .. } = self.memory;
        let is_behind = |this: &Self| this.wal.queued_bytes() > log_queue || this.checkpoints.pending_bytes() > pending;
        // A full disk may be so for long: then it is refused what would wait.
        while is_behind(self) && !self.space.is_short() {
            tokio::time::sleep(LAG_POLL).await;
            self.sweep();
        }
    }

    /// Answers flights that are overdue and forgets those that were answered.
    fn sweep(&mut self) {
        let now = self.launcher.clock.now();
        // In order of their deadlines, so the first that is neither ends the walk.
        while let Some(flight) = self.flights.front() {
            if now >= flight.deadline && !flight.is_answered() {
                self.launcher.fail(flight, &self.launcher.overdue(flight));
            }
            if !flight.is_answered() {
                break;
            }
            self.launcher.abroad.forget(flight.number);
            self.flights.pop_front();
        }
        self.wakes.wake();
    }

    fn refuse_all(mut self, queued: Vec<Queued>) {
        self.queue_rx.close();
        for waiting in queued {
            waiting.refuse(&NodeError::Stopped, &self.wakes);
        }
        while let Ok(waiting) = self.queue_rx.try_recv() {
            waiting.refuse(&NodeError::Stopped, &self.wakes);
        }
        for flight in &self.flights {
            flight.refuse(&NodeError::Stopped, &self.wakes);
        }
        self.wakes.wake();
    }
}

/// What goes into one entry: commands of this member's clients.
struct Entry {
    proposals: Vec<Proposal>,
    /// One for each proposal.
    waiters: Vec<Waiter>,
    /// As many.
    places: OwnedSemaphorePermit,
}

impl Entry {
    /// Takes out what makes the data grow: those who wait for that, and an entry of the rest. The places of the former are
    /// free then.
    fn split(self) -> (Vec<Waiter>, Option<Entry>) {
        let Entry { proposals, waiters, mut places } = self;
        let mut growing = Vec::new();
        let mut freeing = (Vec::new(), Vec::new());
        for (proposal, waiter) in proposals.into_iter().zip(waiters) {
            match proposal.demand() {
                Demand::Growing => growing.push(waiter),
                Demand::Freeing => {
                    freeing.0.push(proposal);
                    freeing.1.push(waiter);
                }
            }
        }
        drop(places.split(growing.len()));
        let (proposals, waiters) = freeing;
        let rest = (!proposals.is_empty()).then_some(Entry { proposals, waiters, places });
        (growing, rest)
    }
}

impl Queued {
    /// Whether it goes into an entry that has so many bytes already.
    fn fits(&self, bytes: usize) -> bool {
        match self {
            Queued::Own { proposal, .. } => bytes + proposal.request_bytes() <= BATCH_BYTES_MAX,
            Queued::Forwarded { .. } => false,
        }
    }

    /// Answers that it was not proposed.
    fn refuse(self, error: &NodeError, wakes: &Wakes) {
        match self {
            Queued::Own { waiter, place, .. } => {
                drop(place);
                wakes.complete(waiter, Err(error.clone()));
            }
            // A receiver that is gone has lost its connection.
            Queued::Forwarded { answer_tx, .. } => drop(answer_tx.send(ProposeAnswer::NotLeading)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::model::{Command, Put};
    use crate::node::Completed;

    /// The errors that came, by token.
    fn refused(completions: &Completions) -> Vec<(u64, NodeError)> {
        let mut outcomes = Vec::new();
        let _: Poll<()> = completions.poll_take(&mut Context::from_waker(Waker::noop()), &mut outcomes);
        let error = |(token, completed)| match completed {
            Completed::Command(Err(error)) => Some((token, error)),
            Completed::Command(Ok(_)) | Completed::Barrier(_) => None,
        };
        outcomes.into_iter().filter_map(error).collect()
    }

    #[test]
    fn a_proposal_has_a_place_until_it_is_answered() {
        let wakes = Arc::new(Wakes::default());
        let (proposer, mut queue) = queue(wakes.clone(), 1024, Arc::new(Quota::unlimited()));
        let completions = Completions::new();
        let proposal = Proposal::from(&Command::Put(Put { key: "k".into(), ..Put::default() }));
        let last = PROPOSALS_MAX as u64;
        for token in 0..=last {
            proposer.propose_into(proposal.clone(), &completions, token);
        }
        assert_eq!(refused(&completions), [(last, NodeError::TooManyRequests)]);

        let Ok(Queued::Own { waiter, place, .. }) = queue.queue_rx.try_recv() else { panic!("it was queued") };
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let waiting = Waiting { waiters: vec![waiter], _places: place, _room: room };
        let flight = Flight::new([Tick::default(); 3], 1, Vec::new(), waiting);
        proposer.propose_into(proposal.clone(), &completions, last);
        assert_eq!(refused(&completions), [(last, NodeError::TooManyRequests)]);
        flight.refuse(&NodeError::Timeout, &wakes);
        assert_eq!(refused(&completions), [(0, NodeError::Timeout)]);
        proposer.propose_into(proposal, &completions, last);
        assert_eq!(refused(&completions), []);
    }
}
