//! What goes wrong in a run, and in which order: drawn from a seed.
//!
//! The same seed gives the same faults on the same kind of member for the same time; what clients do meanwhile, and who
//! leads, is chance.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// From the end of one fault to the next, in milliseconds.
const CALM_MS: Range<u64> = 300..1500;
/// How long a killed member is down, in milliseconds.
const DOWN_MS: Range<u64> = 50..2500;
/// How long what cuts the network lasts, in election timeouts: long enough for another leader.
const CUT_TIMEOUTS: Range<f64> = 4.0..7.0;
/// How long a disk is full, slow, or fails at most, in milliseconds: a member may end before.
const DISK_MS: Range<u64> = 2500..5000;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL, and a start after a while.
    Kill,
    /// SIGKILL of all members, one right after another.
    KillAll,
    /// SIGSTOP, and SIGCONT after a while.
    Pause,
    /// It neither reaches the others nor is reached by them.
    Full,
    /// It hears nobody, and is heard.
    Deaf,
    /// It hears the others, and nobody hears it.
    Mute,
    /// It and one other do not reach each other; the rest reaches both.
    Pair,
    /// Clients do not reach it.
    Clients,
    /// Its disk is full.
    DiskFull,
    /// Its syncs fail.
    SyncFails,
    /// Its syncs take long.
    SyncSlow,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Fault::Kill => "kill",
            Fault::KillAll => "kill of all",
            Fault::Pause => "pause",
            Fault::Full => "full partition",
            Fault::Deaf => "partition, deaf",
            Fault::Mute => "partition, mute",
            Fault::Pair => "partition of a pair",
            Fault::Clients => "clients cut off",
            Fault::DiskFull => "full disk",
            Fault::SyncFails => "failing syncs",
            Fault::SyncSlow => "slow syncs",
        };
        f.pad(words)
    }
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Step {
    /// Nothing goes wrong for so long before.
    pub calm: Duration,
    /// What.
    pub fault: Fault,
    /// Whether it hits whoever leads then; else a member by its number.
    pub hits_leader: bool,
    /// Chooses a member that does not lead, or a second one.
    pub choice: usize,
    /// For how long.
    pub lasts: Duration,
}

/// How much goes wrong in a run, with which cluster.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides the order and everything that is left open here.
    pub seed: u64,
    /// Members.
    pub members: usize,
    /// The cluster's; `None` for what it is by default.
    pub election_timeout: Option<Duration>,
    /// How often each.
    pub counts: Vec<(Fault, u64)>,
    /// How long members are stopped, in milliseconds.
    pub pause_ms: Range<u64>,
}

/// The default.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// As by default.
const HEARTBEATS_PER_TIMEOUT: u32 = 10;

impl Plan {
    /// The time after which members elect another leader.
    pub fn election_timeout(&self) -> Duration {
        self.election_timeout.unwrap_or(ELECTION_TIMEOUT)
    }

    /// What tells members of it.
    pub fn flags(&self) -> Vec<String> {
        // Clients ping more often than they may otherwise.
        let mut flags = vec!["--grpc-keepalive-min-time=1s".to_owned()];
        if let Some(timeout) = self.election_timeout {
            let heartbeat = timeout / HEARTBEATS_PER_TIMEOUT;
            flags.push(format!("--heartbeat-interval={}", heartbeat.as_millis()));
            flags.push(format!("--election-timeout={}", timeout.as_millis()));
        }
        flags
    }

    /// The faults in their order.
    pub fn steps(&self) -> Vec<Step> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let faults = self.counts.iter().flat_map(|&(fault, count)| (0..count).map(move |_| fault));
        let mut faults: Vec<Fault> = faults.collect();
        faults.shuffle(&mut random);
        // Each kind hits the leader first: what it does then must be seen also in a short run.
        let mut seen = Vec::new();
        let mut step = |fault| {
            let is_first = !seen.contains(&fault);
            seen.push(fault);
            let hits_leader = match fault {
                Fault::Kill | Fault::KillAll => true,
                Fault::Clients => random.random_bool(0.5),
                _ => is_first || random.random_bool(0.7),
            };
            let (calm, lasts) = (ms(&mut random, CALM_MS), self.lasts(fault, &mut random));
            Step { calm, fault, hits_leader, choice: random.random_range(0..usize::MAX), lasts }
        };
        faults.into_iter().map(&mut step).collect()
    }

    fn lasts(&self, fault: Fault, random: &mut StdRng) -> Duration {
        match fault {
            Fault::Kill | Fault::KillAll => ms(random, DOWN_MS),
            Fault::Pause => ms(random, self.pause_ms.clone()),
            Fault::Full | Fault::Deaf | Fault::Mute | Fault::Pair | Fault::Clients => {
                self.election_timeout().mul_f64(random.random_range(CUT_TIMEOUTS))
            }
            Fault::DiskFull | Fault::SyncFails | Fault::SyncSlow => ms(random, DISK_MS),
        }
    }
}

fn ms(random: &mut StdRng, range: Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        let counts = vec![(Fault::Kill, 3), (Fault::Deaf, 2), (Fault::Pause, 2)];
        Plan { seed, members: 3, election_timeout: None, counts, pause_ms: 1000..3000 }
    }

    fn in_words(seed: u64) -> Vec<String> {
        plan(seed).steps().iter().map(|step| format!("{step:?}")).collect()
    }

    #[test]
    fn a_seed_draws_the_same_faults_again_and_another_seed_others() {
        assert_eq!(in_words(1), in_words(1));
        assert_ne!(in_words(1), in_words(2));
    }

    #[test]
    fn every_fault_comes_as_often_as_planned_and_each_kind_hits_the_leader_first() {
        for seed in 0..20 {
            let (plan, steps) = (plan(seed), plan(seed).steps());
            for (fault, count) in plan.counts {
                let of_kind: Vec<&Step> = steps.iter().filter(|step| step.fault == fault).collect();
                assert_eq!(of_kind.len() as u64, count);
                assert!(of_kind[0].hits_leader, "{fault}");
            }
        }
    }
}
