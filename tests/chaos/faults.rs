//! Carries out what goes wrong, and heals it.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::checks::history::Moment;
use super::connections::Connections;
use super::harness::{Cluster, Ext4, can_trace, skip};
use super::journal::Journal;
use super::network::{From, Network};
use super::plan::{Fault, Step};
use super::workers;

/// Between two looks at whether a member has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long members may need, after a fault is over, until all agree on who leads; and how long one look may take.
const AGREE_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(2);
/// How long a cluster may need to be itself again after a fault is over, beside two election timeouts.
const RECOVERY: Duration = Duration::from_secs(4);
/// Clients that write much while a disk is full.
const FLOOD_CLIENTS: std::ops::Range<u64> = 100..104;
/// What a slow sync takes, in microseconds.
const SLOW_SYNC_US: u64 = 150_000;

/// A cluster that things are done to.
pub struct Scene {
    /// First: its processes end before the places where they live go.
    pub cluster: Cluster,
    /// One for each member; empty where none can be mounted.
    pub disks: Vec<Ext4>,
    pub network: Network,
    pub journal: Arc<Journal>,
    /// Where members serve clients.
    pub endpoints: Arc<[String]>,
    pub election_timeout: Duration,
    /// Members must not end for a full disk.
    pub outlives_full_disks: bool,
    /// From when to when something was wrong.
    pub troubles: Vec<(Moment, Moment)>,
    /// When there was no quorum.
    pub blackouts: Vec<(Moment, Moment)>,
    /// How often each was done.
    pub counts: BTreeMap<Fault, u64>,
    /// What was done, for whoever reads of a failure.
    pub told: Vec<String>,
    /// How long it took until the others had another leader, by what the leader was hit with.
    pub replaced: BTreeMap<Fault, Vec<Duration>>,
}

impl Scene {
    /// Lets one thing go wrong, until it is over.
    ///
    /// # Errors
    /// The cluster has not got over what was before.
    pub async fn act(&mut self, step: &Step) -> Result<(), String> {
        sleep(step.calm).await;
        let leader = self.leader().await?;
        let size = self.cluster.size();
        let victim = if step.hits_leader { leader } else { (leader + 1 + step.choice % (size - 1)) % size };
        let begun = self.journal.now();
        self.tell(format!("{} of member {victim}, {leader} leads, for {:?}", step.fault, step.lasts));
        let is_done = match step.fault {
            Fault::Kill => self.kill(&[victim], step.lasts).await,
            Fault::KillAll => self.kill(&(0..size).collect::<Vec<_>>(), step.lasts).await,
            Fault::Pause => self.pause(victim, step, leader).await,
            Fault::Full | Fault::Deaf | Fault::Mute | Fault::Pair | Fault::Clients => {
                self.cut(step, victim, leader).await
            }
            Fault::DiskFull => self.fill_disk(victim, step.lasts).await?,
            Fault::SyncFails => self.trace_syncs(victim, step.lasts, "error=EIO").await,
            Fault::SyncSlow => self.trace_syncs(victim, step.lasts, &format!("delay_enter={SLOW_SYNC_US}")).await,
        };
        if is_done {
            *self.counts.entry(step.fault).or_default() += 1;
        } else {
            skip(&format!("{}: ext4 in a file, or strace that may trace", step.fault));
        }
        let ended = self.journal.now();
        self.troubles.push((begun, ended + 2 * self.election_timeout + RECOVERY));
        if step.fault == Fault::KillAll {
            self.blackouts.push((begun, ended));
        }
        Ok(())
    }

    /// Waits until all members run and agree on who leads.
    async fn leader(&mut self) -> Result<usize, String> {
        let begun = Instant::now();
        while begun.elapsed() < AGREE_MAX {
            // A member whose disk has failed may have ended only now.
            self.raise();
            if let Ok(leader) = timeout(LOOK, self.cluster.leader()).await {
                return Ok(leader);
            }
        }
        Err(format!("at {:?} members do not agree on a leader for {AGREE_MAX:?}", self.journal.now()))
    }

    /// Notes what was done, for whoever reads of a failure.
    pub fn tell(&mut self, what: String) {
        let what = format!("{:.3}: {what}", self.journal.now().as_secs_f64());
        println!("  {what}");
        self.told.push(what);
    }

    /// Starts a member that is down.
    pub fn launch(&mut self, member: usize) {
        self.journal.turn(member);
        self.cluster.launch(member);
    }

    async fn kill(&mut self, victims: &[usize], down: Duration) -> bool {
        for &victim in victims {
            self.journal.turn(victim);
            self.cluster.kill(victim);
        }
        sleep(down).await;
        for &victim in victims {
            self.launch(victim);
        }
        true
    }

    async fn pause(&mut self, victim: usize, step: &Step, leader: usize) -> bool {
        let others: Vec<usize> = (0..self.cluster.size()).filter(|&member| member != victim).collect();
        self.cluster.pause(victim);
        self.observe(step, if victim == leader { &others } else { &[] }).await;
        self.cluster.resume(victim);
        true
    }

    /// Cuts links of the victim, and of as many others as there can be without a majority, for a while.
    async fn cut(&mut self, step: &Step, victim: usize, leader: usize) -> bool {
        let size = self.cluster.size();
        let others = (0..size - 1).map(|nth| (victim + 1 + (step.choice + nth) % (size - 1)) % size);
        let order: Vec<usize> = [victim].into_iter().chain(others).collect();
        let (few, many) = order.split_at((size - 1) / 2);
        let between = |from: &[usize], to: &[usize]| {
            let links = from.iter().flat_map(|&from| to.iter().map(move |&to| (From::Member(from), to)));
            links.collect::<Vec<_>>()
        };
        let links = match step.fault {
            Fault::Full => [between(few, many), between(many, few)].concat(),
            Fault::Deaf => between(many, few),
            Fault::Mute => between(few, many),
            Fault::Pair => [between(&order[..1], &order[1..2]), between(&order[1..2], &order[..1])].concat(),
            _ => vec![(From::Clients, victim)],
        };
        for &(from, to) in &links {
            self.network.cut(from, to);
        }
        let has_lost_leader = victim == leader && !matches!(step.fault, Fault::Pair | Fault::Clients);
        self.observe(step, if has_lost_leader { many } else { &[] }).await;
        for &(from, to) in &links {
            self.network.mend(from, to);
        }
        true
    }

    /// Waits, and notes how long those who have lost their leader need for another.
    async fn observe(&mut self, step: &Step, leaderless: &[usize]) {
        let begun = Instant::now();
        if !leaderless.is_empty() {
            if let Ok(next) = timeout(step.lasts, self.cluster.leader_of(leaderless)).await {
                let after = begun.elapsed();
                self.tell(format!("{next} leads after {after:?}"));
                self.replaced.entry(step.fault).or_default().push(after);
            } else if step.fault != Fault::Pause {
                // A pause may be over before anybody notices.
                self.tell("nobody else leads".into());
                self.replaced.entry(step.fault).or_default().push(Duration::MAX);
            }
        }
        sleep(step.lasts.saturating_sub(begun.elapsed())).await;
    }

    /// Fills the disk of a member, and writes so much that what it has in reserve does not suffice.
    ///
    /// # Errors
    /// The member has ended.
    async fn fill_disk(&mut self, victim: usize, lasts: Duration) -> Result<bool, String> {
        if self.disks.is_empty() {
            return Ok(false);
        }
        self.disks[victim].fill();
        let mut flood = JoinSet::new();
        for client in FLOOD_CLIENTS {
            let connections = Connections::new(client, self.journal.clone(), self.endpoints.clone());
            flood.spawn(workers::flood(connections, victim));
        }
        let has_ended = self.ends_within(victim, lasts).await;
        flood.shutdown().await;
        self.disks[victim].free();
        self.restart_if(has_ended, victim);
        if has_ended && self.outlives_full_disks {
            return Err(format!("member {victim} has ended because its disk is full"));
        }
        Ok(true)
    }

    /// Lets something happen to all syncs of a member for a while.
    async fn trace_syncs(&mut self, victim: usize, lasts: Duration, what: &str) -> bool {
        if !can_trace() {
            return false;
        }
        let tracer = Tracer::attach(self.cluster.process(victim).pid(), what);
        let has_ended = self.ends_within(victim, lasts).await;
        drop(tracer);
        self.restart_if(has_ended, victim);
        true
    }

    /// Whether a member ends by itself in time.
    async fn ends_within(&mut self, member: usize, lasts: Duration) -> bool {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            if !self.cluster.process(member).is_running() {
                return true;
            }
            sleep(LOOK_AGAIN).await;
        }
        false
    }

    fn restart_if(&mut self, has_ended: bool, member: usize) {
        if has_ended {
            self.journal.turn(member);
            let status = self.cluster.ended(member);
            self.tell(format!("member {member} has ended with {status}"));
            self.launch(member);
        }
    }

    /// Starts members that have ended. One whose disk has failed may need a while for it.
    pub fn raise(&mut self) {
        for member in self.cluster.running() {
            let has_ended = !self.cluster.process(member).is_running();
            self.restart_if(has_ended, member);
        }
    }
}

/// `strace` on a process, until this is dropped.
#[derive(Debug)]
struct Tracer(Child);

impl Tracer {
    fn attach(process: u32, what: &str) -> Tracer {
        let inject = format!("inject=fsync,fdatasync:{what}");
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            "signal=none",
            "-e",
            &inject,
        ]);
        strace.args(["-p", &process.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Tracer(strace.spawn().expect("it was there when it was looked for"))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It lets go of the process then, unless both have ended.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
