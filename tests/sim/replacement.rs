//! A member whose disk is lost: it is removed, and another one with a new id, an empty disk and a new URL takes its place,
//! at once as a voter or as a learner that is promoted.
//!
//! Each step is asked of some other member until it is done; a step whose answer is lost is asked again, and then may be
//! refused because it was done. Ids are chosen here and not by the node, which would ask the clock of the machine.

use std::sync::Arc;
use std::time::Duration;

use lodemark::model::{Command, Member as MemberRow, MemberAdd, MemberId};
use lodemark::node::{Consistency, Founding, Node, NodeError, Proposal, Rejection};
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;

use super::checks::history::{Moment, Server};
use super::network::url_of;
use super::world::World;

/// Learners that a cluster may have: no bound that matters here.
const LEARNERS_MAX: usize = 5;
/// From one attempt of a step to the next.
const PAUSE: Duration = Duration::from_millis(300);

/// A replacement under way.
pub struct Replacement {
    /// Which seat changes hands.
    pub place: usize,
    /// Who leaves it.
    old: MemberId,
    /// Who takes it.
    new: MemberRow,
    step: Step,
    next_try: Moment,
    asked: Option<(Server, Answered)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Remove,
    Add,
    Join,
    Promote,
    Done,
}

/// What came of an attempt, once it has.
type Answered = Arc<Mutex<Option<Attempt>>>;

enum Attempt {
    Done,
    Failed,
    /// The members, with the new one among them.
    Members(Vec<MemberRow>),
}

impl Replacement {
    /// Begins. The old member may have died of it already, or may not know yet.
    pub fn begin(world: &mut World, place: usize, random: &mut StdRng) -> Replacement {
        let old = world.members[place].id;
        world.leaving.insert(old);
        if random.random() {
            world.cut_power(place);
        }
        let (id, is_learner) = (world.new_id(), random.random());
        let new = MemberRow { id, peer_urls: vec![url_of(id)], is_learner, ..MemberRow::default() };
        Replacement { place, old, new, step: Step::Remove, next_try: world.now, asked: None }
    }

    /// Tells whether the seat is empty, or is its old member's, which does not come back.
    pub fn holds_seat(&self) -> bool {
        matches!(self.step, Step::Remove | Step::Add | Step::Join)
    }

    /// Goes on; tells whether it is done.
    pub fn act(&mut self, world: &mut World, random: &mut StdRng) -> bool {
        if let Some((server, answered)) = &self.asked {
            let attempt = answered.lock().take();
            match attempt {
                None if world.is_up(*server) => return false,
                None | Some(Attempt::Failed) => self.next_try = world.now + PAUSE,
                Some(Attempt::Done) => self.go_on(world, None),
                Some(Attempt::Members(members)) => self.go_on(world, Some(members)),
            }
            self.asked = None;
        }
        if self.step != Step::Done && self.next_try <= world.now {
            self.attempt(world, random);
        }
        self.step == Step::Done
    }

    fn go_on(&mut self, world: &mut World, members: Option<Vec<MemberRow>>) {
        self.step = match self.step {
            Step::Remove => {
                // Whatever it still does, nobody needs it.
                world.kill(self.place);
                Step::Add
            }
            Step::Add => Step::Join,
            Step::Join => {
                world.seat(self.place, self.new.id, Founding::Join(members.unwrap_or_default()));
                world.start(self.place);
                if self.new.is_learner { Step::Promote } else { Step::Done }
            }
            Step::Promote | Step::Done => Step::Done,
        };
    }

    fn attempt(&mut self, world: &World, random: &mut StdRng) {
        self.next_try = world.now + PAUSE;
        let target = random.random_range(0..world.members.len());
        let Some(process) = world.awake(target).filter(|_| target != self.place) else { return };
        let Some(node) = process.node().cloned() else { return };
        let (step, old, new) = (self.step, self.old, self.new.clone());
        let disk = world.members[target].disk.clone();
        let answered = Answered::default();
        let answer = answered.clone();
        process.spawn(async move {
            let attempt = attempt(&node, step, old, new).await;
            if !disk.is_crashed() {
                *answer.lock() = Some(attempt);
            }
        });
        self.asked = Some((process.server, answered));
    }
}

async fn attempt(node: &Node, step: Step, old: MemberId, new: MemberRow) -> Attempt {
    let result = match step {
        Step::Remove => node.propose(Proposal::from(&Command::MemberRemove(old))).await.map(drop),
        Step::Add => {
            let add = MemberAdd { member: new, learners_max: LEARNERS_MAX };
            node.propose(Proposal::from(&Command::MemberAdd(add))).await.map(drop)
        }
        Step::Join => match node.members(Consistency::Linearizable).await {
            Ok(members) if members.iter().any(|member| member.id == new.id) => return Attempt::Members(members),
            _ => return Attempt::Failed,
        },
        Step::Promote => node.member_promote(new.id).await.map(drop),
        Step::Done => Ok(()),
    };
    match result {
        Ok(()) => Attempt::Done,
        Err(NodeError::Rejected(rejection)) if was_done(&rejection) => Attempt::Done,
        Err(_) => Attempt::Failed,
    }
}

/// Whether a step is refused because an earlier attempt has done it.
fn was_done(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::MemberRemoved | Rejection::MemberExists | Rejection::MemberNotLearner)
}
