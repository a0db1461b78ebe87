//! The world: members, the network between them, and time.
//!
//! Time goes on in quanta. In each quantum every process runs by itself, one after another, up to the same moment;
//! whatever one says to another, or to a client, crosses between quanta. So within a quantum they run at the same time,
//! in effect, and all of it happens on one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lodemark::env::Image;
use lodemark::model::{Member as MemberRow, MemberId};
use lodemark::node::{Founding, REMOVED};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::checks::Violation;
use super::checks::agreement::Chains;
use super::checks::history::{Moment, Server};
use super::member::{Member, Process};
use super::network::{Network, url_of};
use super::trace::Trace;

/// How far processes run at a time: what a message takes at least from one to another.
pub const QUANTUM: Duration = Duration::from_millis(4);
/// How far off a member's clock runs at most, in parts of a thousand.
pub const DRIFT_PERMILLE_MAX: i64 = 5;
const IMAGES: [Image; 4] = [Image::Nothing, Image::Everything, Image::Subset, Image::Torn];

fn drift(random: &mut StdRng) -> i64 {
    random.random_range(-DRIFT_PERMILLE_MAX..=DRIFT_PERMILLE_MAX)
}

/// All there is, but the clients.
pub struct World {
    /// The present moment, between two quanta.
    pub now: Moment,
    /// In order of id.
    pub members: Vec<Member>,
    /// Between them.
    pub network: Network,
    /// What was found to be wrong so far.
    pub violations: Vec<String>,
    /// What was learned of the members' states so far.
    pub chains: Chains,
    /// Members that are or will be removed: they may say so and end.
    pub leaving: BTreeSet<MemberId>,
    seed: u64,
    /// The highest id that any member has or had.
    last_id: u64,
    random: StdRng,
}

impl World {
    /// Members that were never started.
    pub fn new(seed: u64, size: u64) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let row = |id| MemberRow { id, peer_urls: vec![url_of(id)], ..MemberRow::default() };
        let founders: Vec<MemberRow> = (1..=size).map(|id| row(MemberId(id))).collect();
        let found = |id| Member::new(MemberId(id), Founding::New(founders.clone()), seed, drift(&mut random));
        let members = (1..=size).map(found).collect();
        World {
            now: Moment::ZERO,
            members,
            network: Network::new(random.random(), Trace::new()),
            violations: Vec::new(),
            chains: Chains::default(),
            leaving: BTreeSet::new(),
            seed,
            last_id: size,
            random,
        }
    }

    /// An id that no member ever had.
    pub fn new_id(&mut self) -> MemberId {
        self.last_id += 1;
        MemberId(self.last_id)
    }

    /// Puts a new member with an empty disk in the place of one that is down.
    pub fn seat(&mut self, place: usize, id: MemberId, founding: Founding) {
        self.members[place] = Member::new(id, founding, self.seed, drift(&mut self.random));
    }

    /// Starts a member that is down.
    pub fn start(&mut self, place: usize) {
        if self.members[place].process.is_none() {
            self.note_checkpoint(place);
            self.members[place].start(self.now, &self.network);
        }
    }

    /// Kills a process; everything that it wrote is there afterwards.
    pub fn kill(&mut self, place: usize) {
        self.members[place].kill(&self.network, Image::Everything, 0, false);
    }

    /// Takes the power from a machine; what was not synced may be lost.
    pub fn cut_power(&mut self, place: usize) {
        let (image, seed) = (IMAGES[self.random.random_range(0..IMAGES.len())], self.random.random());
        self.members[place].kill(&self.network, image, seed, true);
    }

    /// Stops a process for a while.
    pub fn pause(&mut self, place: usize, duration: Duration) {
        if let Some(process) = &mut self.members[place].process {
            process.asleep_until = Some(self.now + duration);
            self.network.fall_asleep(self.members[place].id);
        }
    }

    /// The process of a member, if it runs and does not sleep.
    pub fn awake(&self, place: usize) -> Option<&Process> {
        self.members[place].process.as_ref().filter(|process| process.asleep_until.is_none())
    }

    /// Whether exactly this start of a member still runs.
    pub fn is_up(&self, server: Server) -> bool {
        let servers = self.members.iter().filter_map(|member| member.process.as_ref());
        servers.map(|process| process.server).any(|up| up == server)
    }

    /// Lets a quantum pass.
    pub fn step(&mut self) {
        let up = self.members.iter().filter_map(|member| Some((member.id, member.process.as_ref()?.endpoint())));
        let endpoints: BTreeMap<_, _> = up.collect();
        self.network.deliver(self.now, &endpoints);
        drop(endpoints);
        self.now += QUANTUM;
        for place in 0..self.members.len() {
            self.run(place);
        }
        self.violations.extend(self.network.offences());
    }

    fn run(&mut self, place: usize) {
        let member = &mut self.members[place];
        let Some(process) = &mut member.process else { return };
        if process.asleep_until.is_some_and(|until| until <= self.now) {
            process.wake(self.now);
            self.network.wake_up(member.id);
        }
        process.run(self.now);
        if member.disk.is_crashed() {
            return self.cut_power(place);
        }
        self.network.collect(process.server);
        if let Some(why) = process.failure() {
            if why.contains(REMOVED) && self.leaving.contains(&member.id) {
                return self.kill(place);
            }
            self.violations.push(format!("member {} at {:?}: {why}", member.id, self.now));
            self.kill(place);
        }
    }

    /// Compares the state that a member has on disk with what is known of the others.
    pub fn note_checkpoint(&mut self, place: usize) {
        let member = &self.members[place];
        let found = match member.checkpoint() {
            Ok(None) => return,
            Ok(Some((index, chain))) => {
                self.chains.note(member.id.0, index, chain).map_err(|Violation { what, .. }| what)
            }
            Err(error) => Err(format!("the checkpoint of member {} cannot be read: {error}", member.id)),
        };
        self.violations.extend(found.err());
    }
}
