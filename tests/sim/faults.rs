//! What goes wrong, and when: drawn from the seed.
//!
//! Every now and then something is drawn that lasts for a while. Several things may be wrong at once; so much that there
//! is no quorum, if chance wants it. At the end of the chaos everything heals at once.

use std::collections::BTreeSet;
use std::time::Duration;

use lodemark::env::SyncSite;
use lodemark::model::MemberId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::checks::history::Moment;
use super::checks::leases::LeaseTerms;
use super::clients::Clients;
use super::network::Weather;
use super::replacement::Replacement;
use super::world::World;

/// From one fault to the next, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 200..4000;
/// How long what lasts does, in milliseconds.
const LASTS_MS: std::ops::Range<u64> = 300..6000;
/// How long a member is down, in milliseconds.
const DOWN_MS: std::ops::Range<u64> = 50..4000;
/// How long a cluster may need to be itself again after a fault is over.
const RECOVERY: Duration = Duration::from_secs(4);
/// How far a clock jumps, in milliseconds.
const JUMP_MS: std::ops::Range<u64> = 100..4000;
/// What a sync takes on a slow disk, in milliseconds.
const SLOW_MS: std::ops::Range<u64> = 20..400;
const SITES: [(SyncSite, u64); 6] = [
    (SyncSite::WalBatch, 60),
    (SyncSite::WalSegment, 3),
    (SyncSite::WalFolder, 3),
    (SyncSite::Checkpoint, 12),
    (SyncSite::Snapshot, 3),
    (SyncSite::DataFolder, 3),
];

type Links = BTreeSet<(MemberId, MemberId)>;

/// What is wrong at present, and what will be.
pub struct Faults {
    random: StdRng,
    next: Moment,
    lasting: Vec<(Moment, Lasting)>,
    restarts: Vec<Option<Moment>>,
    replacement: Option<Replacement>,
    /// Those that were begun.
    replacements: usize,
    /// What the check of leases must know.
    pub terms: LeaseTerms,
    /// What was drawn so far, for whoever reads of a failure.
    pub told: Vec<String>,
}

/// What goes on until it is over.
enum Lasting {
    Cut(Links),
    Weather,
    SlowDisk(usize),
    Clients(MemberId),
}

impl Faults {
    /// Nothing is wrong yet.
    pub fn new(seed: u64, size: usize, terms: LeaseTerms) -> Faults {
        Faults {
            random: StdRng::seed_from_u64(seed),
            next: Moment::ZERO,
            lasting: Vec::new(),
            restarts: vec![None; size],
            replacement: None,
            replacements: 0,
            terms,
            told: Vec::new(),
        }
    }

    /// Ends what is over, restarts who has been down long enough, and lets something new go wrong now and then.
    pub fn act(&mut self, world: &mut World, clients: &mut Clients) {
        self.end(world, clients, |until, now| until <= now);
        self.go_on(world);
        for place in 0..world.members.len() {
            if world.members[place].process.is_some() || self.holds_seat(place) {
                continue;
            }
            match self.restarts[place] {
                Some(at) if at <= world.now => {
                    self.restarts[place] = None;
                    world.start(place);
                }
                Some(_) => {}
                None => {
                    let down = self.draw_ms(DOWN_MS);
                    self.restarts[place] = Some(world.now + down);
                    self.trouble(world.now, down);
                }
            }
        }
        if self.next <= world.now {
            if self.next > Moment::ZERO {
                self.draw(world, clients);
            }
            self.next = world.now + self.draw_ms(PAUSE_MS);
        }
    }

    /// Ends everything that is wrong.
    pub fn heal(&mut self, world: &mut World, clients: &mut Clients) {
        self.end(world, clients, |_, _| true);
        for place in 0..world.members.len() {
            world.members[place].disk.disarm();
            if let Some(process) = &mut world.members[place].process
                && process.asleep_until.is_some()
            {
                process.asleep_until = Some(world.now);
            }
            if !self.holds_seat(place) {
                world.start(place);
            }
        }
        self.trouble(world.now, Duration::ZERO);
    }

    /// Goes on with a replacement; tells whether there is none any more.
    pub fn go_on(&mut self, world: &mut World) -> bool {
        let is_done = self.replacement.as_mut().is_none_or(|replacement| replacement.act(world, &mut self.random));
        if is_done && self.replacement.take().is_some() {
            self.trouble(world.now, Duration::ZERO);
        }
        is_done
    }

    fn holds_seat(&self, place: usize) -> bool {
        self.replacement.as_ref().is_some_and(|replacement| replacement.place == place && replacement.holds_seat())
    }

    fn end(&mut self, world: &World, clients: &mut Clients, is_over: impl Fn(Moment, Moment) -> bool) {
        let before = self.lasting.len();
        let mut over = Vec::new();
        let lasting = std::mem::take(&mut self.lasting);
        for (until, fault) in lasting {
            if is_over(until, world.now) { over.push(fault) } else { self.lasting.push((until, fault)) }
        }
        for fault in over {
            match fault {
                Lasting::Cut(_) => {}
                Lasting::Weather => world.network.set_weather(Weather::calm()),
                Lasting::SlowDisk(place) => world.members[place].pace.recover(),
                Lasting::Clients(member) => {
                    clients.unreachable.remove(&member);
                }
            }
        }
        if self.lasting.len() != before {
            self.set_cuts(world);
        }
    }

    fn set_cuts(&self, world: &World) {
        let cuts = self.lasting.iter().filter_map(|(_, fault)| match fault {
            Lasting::Cut(links) => Some(links),
            _ => None,
        });
        world.network.set_cut(cuts.flatten().copied().collect());
    }

    fn draw(&mut self, world: &mut World, clients: &mut Clients) {
        let place = self.random.random_range(0..world.members.len());
        let member = world.members[place].id;
        let lasts = self.draw_ms(LASTS_MS);
        let what = match self.random.random_range(0..100) {
            0..10 => {
                world.kill(place);
                format!("member {member} is killed")
            }
            10..18 => {
                world.cut_power(place);
                format!("member {member} loses power")
            }
            18..40 => {
                let (site, often) = SITES[self.random.random_range(0..SITES.len())];
                let nth = self.random.random_range(1..=often);
                world.members[place].disk.crash_at(site, nth);
                format!("member {member} is to lose power at sync {nth} of {site:?}")
            }
            40..45 => {
                for place in 0..world.members.len() {
                    world.cut_power(place);
                }
                "all members lose power".into()
            }
            45..65 => {
                let links = self.links(world, member);
                let what = format!("{} links are cut for {lasts:?}: {links:?}", links.len());
                self.lasting.push((world.now + lasts, Lasting::Cut(links)));
                self.set_cuts(world);
                what
            }
            65..75 => {
                let weather = self.weather();
                let what = format!("for {lasts:?} the network is {weather:?}");
                world.network.set_weather(weather);
                self.lasting.push((world.now + lasts, Lasting::Weather));
                what
            }
            75..82 => {
                let log_ms = self.random.random_range(SLOW_MS);
                world.members[place].pace.slow_down(log_ms);
                self.lasting.push((world.now + lasts, Lasting::SlowDisk(place)));
                format!("a sync of member {member} takes {log_ms} ms for {lasts:?}")
            }
            82..88 => {
                world.pause(place, lasts);
                format!("member {member} is stopped for {lasts:?}")
            }
            88..92 => {
                let by = self.draw_ms(JUMP_MS);
                world.members[place].clock.jump(by);
                self.terms.jumps.push((world.now, by));
                format!("the clock of member {member} jumps by {by:?}")
            }
            92..95 => {
                clients.unreachable.insert(member);
                self.lasting.push((world.now + lasts, Lasting::Clients(member)));
                format!("no client reaches member {member} for {lasts:?}")
            }
            95 => {
                let (asked, to) = (self.random.random_range(0..world.members.len()), member);
                if let Some((process, node)) = world.awake(asked).and_then(|process| Some((process, process.node()?))) {
                    let node = node.clone();
                    process.spawn(async move {
                        // Most are not asked of the leader, and refused.
                        let _ = node.move_leader(to).await;
                    });
                }
                format!("member {to} shall lead")
            }
            // No more disks than the cluster can lose for ever: a new member need not have its vote before the next is lost.
            _ if self.replacements >= (world.members.len() - 1) / 2 || self.replacement.is_some() => return,
            _ => {
                self.replacements += 1;
                self.replacement = Some(Replacement::begin(world, place, &mut self.random));
                format!("member {member} loses its disk and is replaced")
            }
        };
        self.trouble(world.now, lasts);
        let what = format!("{:?}: {what}", world.now);
        world.network.trace(|trace, now| trace.add(now, &[], what.as_bytes()));
        self.told.push(what);
    }

    fn trouble(&mut self, now: Moment, lasts: Duration) {
        self.terms.troubles.push((now, now + lasts + RECOVERY));
    }

    /// Links around one member, in one of the ways that networks part.
    fn links(&mut self, world: &World, member: MemberId) -> Links {
        let ids: Vec<MemberId> = world.members.iter().map(|member| member.id).collect();
        let others: Vec<MemberId> = ids.iter().copied().filter(|&id| id != member).collect();
        let (out, back) = (others.iter().map(|&other| (member, other)), others.iter().map(|&other| (other, member)));
        match self.random.random_range(0..6) {
            0 => out.chain(back).collect(),
            1 => out.collect(),
            2 => back.collect(),
            // One pair does not hear of each other, though both hear of the others.
            3 => out.take(1).chain(back.take(1)).collect(),
            4 => out.take(1).collect(),
            _ => {
                let side: BTreeSet<MemberId> = ids.iter().copied().filter(|_| self.random.random()).collect();
                let pairs = ids.iter().flat_map(|&from| ids.iter().map(move |&to| (from, to)));
                pairs.filter(|(from, to)| side.contains(from) != side.contains(to)).collect()
            }
        }
    }

    fn weather(&mut self) -> Weather {
        let (low, spread) = (self.random.random_range(0..30), self.random.random_range(1..120));
        Weather {
            latency_ms: low..low + spread,
            loss: self.random.random_range(0.0..0.3),
            late: (self.random.random_range(0.0..0.3), 10..600),
            duplicate: self.random.random_range(0.0..0.3),
            strange: self.random.random_range(0.0..0.05),
        }
    }

    fn draw_ms(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }
}
