//! Clients: each does one thing after another, on members that chance picks, and writes down what came of it.
//!
//! Between a client and a member requests and answers cross at the boundaries of quanta. A client that gets no answer
//! gives up after a while and never learns what became of its request; so does one whose connection breaks because the
//! process is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lodemark::model::{LeaseId, MemberId, Reply};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::checks::history::{History, Moment, Operation, Outcome, Request, Server};
use super::front::serve;
use super::locks::Locker;
use super::workload::Memory;
use super::world::World;

/// Clients that read and write.
const WORKERS: u64 = 8;
/// Clients that take turns at a lock.
const LOCKERS: u64 = 2;
/// Pauses between two requests of a client, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 0..80;
/// How long a client waits for an answer, in milliseconds.
const PATIENCE_MS: std::ops::Range<u64> = 500..8000;
/// How long a client that found nobody waits.
const NOBODY_PAUSE: Duration = Duration::from_millis(100);

/// All clients, and what they know together.
pub struct Clients {
    clients: Vec<Client>,
    random: StdRng,
    /// What they did and heard.
    pub history: History,
    answers: Answers,
    /// Members that no client reaches.
    pub unreachable: BTreeSet<MemberId>,
    /// No client begins anything new.
    pub is_over: bool,
}

/// Answers on their way: the place of the operation in the history, and what became of it.
type Answers = Arc<Mutex<Vec<(usize, Outcome)>>>;

struct Client {
    id: u64,
    role: Role,
    doing: Doing,
}

enum Role {
    Worker(Memory),
    Locker(Locker),
}

enum Doing {
    Nothing { until: Moment },
    Waiting { operation: usize, until: Moment },
}

impl Clients {
    /// Clients that have done nothing yet.
    pub fn new(seed: u64) -> Clients {
        let worker = |id| Role::Worker(Memory::new(id));
        let locker = |id| Role::Locker(Locker::new(id));
        let roles = (1..=WORKERS).map(|id| (id, worker(id)));
        let roles = roles.chain((WORKERS + 1..=WORKERS + LOCKERS).map(|id| (id, locker(id))));
        let idle = |(id, role)| Client { id, role, doing: Doing::Nothing { until: Moment::ZERO } };
        Clients {
            clients: roles.map(idle).collect(),
            random: StdRng::seed_from_u64(seed),
            history: History::default(),
            answers: Arc::default(),
            unreachable: BTreeSet::new(),
            is_over: false,
        }
    }

    /// Nobody waits for anything.
    pub fn are_idle(&self) -> bool {
        self.clients.iter().all(|client| matches!(client.doing, Doing::Nothing { .. }))
    }

    /// All leases whose grant was answered.
    pub fn leases(&self) -> Vec<LeaseId> {
        let granted = self.history.operations.iter().filter_map(|operation| match &operation.outcome {
            Outcome::Changed(Reply::LeaseGrant(reply)) => Some(reply.id),
            _ => None,
        });
        granted.collect()
    }

    /// Hears what was answered during the last quantum, and begins what is to be done next.
    pub fn act(&mut self, world: &World) {
        let answers = std::mem::take(&mut *self.answers.lock());
        for (operation, outcome) in answers {
            self.hear(world, operation, outcome);
        }
        for place in 0..self.clients.len() {
            self.act_one(world, place);
        }
    }

    fn hear(&mut self, world: &World, place: usize, outcome: Outcome) {
        let operation = &mut self.history.operations[place];
        if self.unreachable.contains(&MemberId(operation.server.member)) {
            // The answer is lost. That a request was not done its client does not know either.
            return;
        }
        if operation.end < Moment::MAX {
            // Its client has given up.
            return;
        }
        operation.end = world.now;
        operation.outcome = outcome;
        world.network.trace(|trace, now| trace.tell(now, format_args!("{place} {operation:?}")));
        let waits =
            |client: &&mut Client| matches!(client.doing, Doing::Waiting { operation, .. } if operation == place);
        // None of them, if it was asked from outside.
        let Some(client) = self.clients.iter_mut().find(waits) else { return };
        let pause = Duration::from_millis(self.random.random_range(PAUSE_MS));
        client.doing = Doing::Nothing { until: world.now + pause };
        match &mut client.role {
            Role::Worker(memory) => memory.hear(&operation.request, &operation.outcome),
            Role::Locker(locker) => {
                let hold = locker.hear(&operation.request, &operation.outcome);
                self.history.holds.extend(hold);
            }
        }
    }

    fn act_one(&mut self, world: &World, place: usize) {
        let client = &mut self.clients[place];
        match client.doing {
            Doing::Waiting { operation, until } => {
                let server = self.history.operations[operation].server;
                if until <= world.now || !world.is_up(server) {
                    self.give_up(world, place, operation);
                }
            }
            Doing::Nothing { until } if until <= world.now && !self.is_over => {
                let request = match &mut client.role {
                    Role::Worker(memory) => Some(memory.next(&mut self.random)),
                    Role::Locker(locker) => locker.next(world.now, &mut self.random),
                };
                let target = self.random.random_range(0..world.members.len());
                let asked = request.and_then(|request| self.ask(world, target, self.clients[place].id, request));
                self.clients[place].doing = match asked {
                    Some(operation) => {
                        let patience = Duration::from_millis(self.random.random_range(PATIENCE_MS));
                        Doing::Waiting { operation, until: world.now + patience }
                    }
                    None => Doing::Nothing { until: world.now + NOBODY_PAUSE },
                };
            }
            Doing::Nothing { .. } => {}
        }
    }

    fn give_up(&mut self, world: &World, place: usize, operation: usize) {
        let operation = &mut self.history.operations[operation];
        operation.end = world.now;
        let client = &mut self.clients[place];
        client.doing = Doing::Nothing { until: world.now };
        match &mut client.role {
            Role::Worker(memory) => memory.hear(&operation.request, &Outcome::Unknown),
            Role::Locker(locker) => {
                let _ = locker.hear(&operation.request, &Outcome::Unknown);
            }
        }
    }

    /// Sends a request to a member; gives its place in the history, or nothing if nobody is there.
    pub fn ask(&mut self, world: &World, target: usize, client: u64, request: Request) -> Option<usize> {
        let member = &world.members[target];
        let process = member.process.as_ref()?;
        let server: Server = process.server;
        let node = process.node()?.clone();
        if self.unreachable.contains(&member.id) {
            return None;
        }
        let place = self.history.operations.len();
        let (answers, disk, asked) = (self.answers.clone(), member.disk.clone(), request.clone());
        process.spawn(async move {
            let outcome = serve(node, asked).await;
            if !disk.is_crashed() {
                answers.lock().push((place, outcome));
            }
        });
        // Until it is answered nobody knows what becomes of it.
        let (begin, outcome) = (world.now, Outcome::Unknown);
        self.history.operations.push(Operation { client, server, begin, end: Moment::MAX, request, outcome });
        Some(place)
    }
}
