//! One run: a cluster starts, things go wrong under load, everything heals and is judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lodemark::model::{Command, LeaseId, Put, Range, Reply, Revision};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::checks;
use super::checks::agreement::{self, Contents};
use super::checks::history::{History, Moment, Outcome, Request, Watching};
use super::checks::leases::LeaseTerms;
use super::connections::Connections;
use super::faults::Scene;
use super::harness::{Cluster, Ext4, Line, Place, Program, has_program};
use super::journal::Journal;
use super::network::Network;
use super::plan::{Fault, Plan};
use super::stalls::{self, Lookout, Stall};
use super::watchers::{Stage, watchers};
use super::wire::everything;
use super::{lock_service, workers};

/// Clients that read and write.
const WORKERS: u64 = 10;
/// Clients that take turns at a lock, of each kind.
const LOCKERS: u64 = 2;
/// The client that asks to see whether the cluster is well.
const PROBE: u64 = 0;
/// The client that lets members write their files anew.
const DEFRAGMENTER: u64 = 98;
/// The client that writes all the time.
const PULSE: u64 = 99;
/// Ports within a namespace.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// Of the disk of each member. The file has holes: what is not written takes no room.
const DISK_BYTES: u64 = 1024 * 1024 * 1024;

/// How long after everything is healed a write on each member may take.
const HEAL_MAX: Duration = Duration::from_secs(20);
/// How long the last requests may take: as long as the patience of a client, and a moment.
const LAST_ANSWERS: Duration = Duration::from_secs(30);
/// After this, and four election timeouts, all leases that nobody renews must have ended: 5 s, and 2 s of grace.
const LEASES_END: Duration = Duration::from_secs(8);
/// After this watchers have heard everything, and members have applied everything.
const QUIET: Duration = Duration::from_secs(3);
/// How long one request of the probe may take, and how long it pauses.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// A leader that hears nobody, or that nobody hears, is followed by another within so many election timeouts: two until
/// it has lost the lead and another is elected, and one more if two wanted that at the same time.
const REPLACED_TIMEOUTS: u32 = 3;
/// After so many the cluster takes writes again. The pulse asks one member after another, and waits for one in vain.
const SILENCE_TIMEOUTS: u32 = 4;
/// So many lines that are none are shown.
const MALFORMED_SHOWN: usize = 20;
/// What a machine that is busy adds to either.
const GRACE: Duration = Duration::from_secs(2);

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// What must not have happened.
    pub violations: Vec<String>,
    /// What went wrong on purpose, in order.
    pub told: Vec<String>,
    /// How often each.
    pub counts: BTreeMap<Fault, u64>,
    /// How long it took until there was another leader, by what the leader was hit with.
    pub replaced: BTreeMap<Fault, Vec<Duration>>,
    /// How often a member wrote its file anew.
    pub defragmented: u64,
    /// Everything that clients did and heard.
    pub history: History,
    /// The longest time without an acknowledged change while there was a quorum, without those in which the machine's
    /// disk stood still.
    pub silence: Duration,
    /// When it stood still.
    pub stalls: Vec<Stall>,
    /// The last revision.
    pub revision: Revision,
    /// Of the run, and of its judgement.
    pub lasted: (Duration, Duration),
    /// What members have said that ran in the end, each process by itself.
    pub logs: Vec<(String, Vec<String>)>,
    /// How many lines all processes have logged, by level.
    pub lines: BTreeMap<String, u64>,
}

/// Runs a plan.
///
/// # Errors
/// What is missing here, in words.
pub async fn run(program: &Program, plan: &Plan) -> Result<Report, String> {
    let network = Network::new(plan.members)?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disks = disks(folder.path(), plan.members);
    let places = (0..plan.members).map(|member| {
        let program = program.clone().under(network.inside(member));
        let data_dir = disks.get(member).map(|disk| disk.mounted.join("data"));
        let (host, peer_scheme) = (network.host(member), "http");
        Place { program, host, client_port: CLIENT_PORT, peer_port: PEER_PORT, peer_scheme, data_dir }
    });
    let flags = plan.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let cluster = Cluster::placed(places.collect(), &flags);
    let journal = Journal::new(plan.members);
    let endpoints: Arc<[String]> = (0..plan.members).map(|member| cluster.endpoint(member)).collect();
    let scene = Scene {
        cluster,
        disks,
        network,
        journal: journal.clone(),
        endpoints: endpoints.clone(),
        election_timeout: plan.election_timeout(),
        outlives_full_disks: program.is_lodemark(),
        troubles: Vec::new(),
        blackouts: Vec::new(),
        counts: BTreeMap::new(),
        told: Vec::new(),
        replaced: BTreeMap::new(),
    };
    let probe = Connections::new(PROBE, journal, endpoints);
    let lookout = Lookout::begin(folder.path(), scene.journal.clone());
    let run = Run { scene, probe, defragmented: Arc::default(), violations: Vec::new(), _folder: folder };
    Ok(run.course(plan, lookout).await)
}

/// A disk for each member, or none at all.
fn disks(folder: &Path, members: usize) -> Vec<Ext4> {
    if !["mkfs.ext4", "mount", "umount"].into_iter().all(has_program) {
        return Vec::new();
    }
    let disk = |member: usize| {
        let folder: PathBuf = folder.join(format!("disk{member}"));
        std::fs::create_dir(&folder).expect("a folder within a temporary one");
        Ext4::make(&folder, DISK_BYTES)
    };
    (0..members).map(disk).collect::<Option<Vec<Ext4>>>().unwrap_or_default()
}

struct Run {
    scene: Scene,
    probe: Connections,
    /// How often a member wrote its file anew.
    defragmented: Arc<AtomicU64>,
    violations: Vec<String>,
    /// Holds the disks: the last to go.
    _folder: TempDir,
}

impl Run {
    async fn course(mut self, plan: &Plan, lookout: Lookout) -> Report {
        for member in 0..plan.members {
            self.scene.launch(member);
        }
        for member in 0..plan.members {
            self.scene.cluster.wait_until_it_serves(member).await;
        }
        let begun = Instant::now();
        self.scene.troubles.push((Moment::ZERO, self.scene.journal.now()));
        let chaos_begun = self.scene.journal.now();
        let over = CancellationToken::new();
        let (stage, stages) = watch::channel(Stage::Unsteady);
        let mut clients = self.start_clients(plan.seed, &over);
        let mut watching = self.start_watchers(plan.seed, &stages);

        for step in plan.steps() {
            if let Err(violation) = self.scene.act(&step).await {
                self.violations.push(violation);
                break;
            }
        }
        self.scene.raise();
        self.heals().await;

        let chaos = (chaos_begun, self.scene.journal.now());
        over.cancel();
        let all_end = async { while clients.join_next().await.transpose().expect("clients do not panic").is_some() {} };
        if timeout(LAST_ANSWERS, all_end).await.is_err() {
            self.violations.push("clients wait for ever".into());
        }
        stage.send_replace(Stage::Steady);
        sleep(LEASES_END + 4 * plan.election_timeout()).await;
        for lease in self.leases() {
            self.insist(0, &Request::TimeToLive(lease), QUIET, "the time to live of a lease").await;
        }
        let newest = self.reads_everything().await;
        sleep(QUIET).await;
        self.compare_contents().await;
        self.compare_hashes(newest).await;
        stage.send_replace(Stage::Over);
        let mut watchings = Vec::new();
        while let Some(watching) = watching.join_next().await {
            let watching = watching.expect("watchers do not panic");
            watchings.push(Watching { must_reach: Some(newest), ..watching });
        }
        self.check_replacements();
        let stalls = lookout.end();
        let silence = self.check_silence(chaos, &stalls);
        let logs = self.end_in_order();
        let lines = self.check_lines();
        let report = self.judge(plan, watchings, begun.elapsed(), logs);
        Report { silence, stalls, lines, ..report }
    }

    fn start_clients(&self, seed: u64, over: &CancellationToken) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for id in 1..=WORKERS + 2 * LOCKERS {
            let connections = Connections::new(id, self.scene.journal.clone(), self.scene.endpoints.clone());
            let (seed, over) = (seed.wrapping_add(id), over.clone());
            match id {
                1..=WORKERS => clients.spawn(workers::work(connections, seed, over)),
                id if id <= WORKERS + LOCKERS => clients.spawn(workers::lock(connections, seed, over)),
                _ => clients.spawn(lock_service::lock(connections, seed, over)),
            };
        }
        let pulse = Connections::new(PULSE, self.scene.journal.clone(), self.scene.endpoints.clone());
        clients.spawn(workers::pulse(pulse, over.clone()));
        let defragmenter = Connections::new(DEFRAGMENTER, self.scene.journal.clone(), self.scene.endpoints.clone());
        clients.spawn(workers::defragment(defragmenter, seed, self.defragmented.clone(), over.clone()));
        clients
    }

    fn start_watchers(&self, seed: u64, stages: &watch::Receiver<Stage>) -> JoinSet<Watching> {
        let mut watching = JoinSet::new();
        for (number, watcher) in (1..).zip(watchers()) {
            let seed = seed.wrapping_mul(31).wrapping_add(number);
            let (journal, endpoints) = (self.scene.journal.clone(), self.scene.endpoints.clone());
            watching.spawn(watcher.watch(journal, endpoints, seed, stages.clone()));
        }
        watching
    }

    /// Every member serves a write soon after the last fault.
    async fn heals(&mut self) {
        let healed = Instant::now();
        for member in 0..self.scene.endpoints.len() {
            let value = Bytes::from(format!("probe-{member}-{}", self.scene.journal.now().as_millis()));
            let put = Put { key: Bytes::from_static(b"probe"), value, ..Put::default() };
            let left = HEAL_MAX.saturating_sub(healed.elapsed());
            let request = Request::Command(Command::Put(put));
            self.insist(member, &request, left, "a write after everything was healed").await;
        }
        self.scene.tell(format!("all members served a write {:?} after everything was healed", healed.elapsed()));
    }

    /// Asks one member until it answers; gives the revision of the answer.
    async fn insist(&mut self, member: usize, request: &Request, within: Duration, what: &str) -> Option<Revision> {
        let begun = Instant::now();
        loop {
            let outcome = self.probe.ask(member, request, PROBE_PATIENCE).await;
            match outcome {
                Outcome::Unknown | Outcome::NotDone => {}
                Outcome::Changed(reply) => return Some(reply.revision()),
                Outcome::Read(reply) => return Some(reply.revision),
                Outcome::Rejected(_) | Outcome::KeptAlive(_) | Outcome::Granted(_) => return None,
            }
            if begun.elapsed() > within {
                self.violations.push(format!("member {member} does not answer {what} within {within:?}"));
                return None;
            }
            sleep(PROBE_PAUSE).await;
        }
    }

    /// All leases that were granted.
    fn leases(&self) -> Vec<LeaseId> {
        let history = self.scene.journal.history(Vec::new());
        let granted = history.operations.iter().filter_map(|operation| match &operation.outcome {
            Outcome::Changed(Reply::LeaseGrant(reply)) => Some(reply.id),
            _ => None,
        });
        granted.collect()
    }

    async fn reads_everything(&mut self) -> Revision {
        let mut newest = Revision::FRESH;
        for member in 0..self.scene.endpoints.len() {
            let read = Request::Range(Range::of(everything()));
            let revision = self.insist(member, &read, QUIET, "a read of everything").await;
            newest = newest.max(revision.unwrap_or(Revision::FRESH));
        }
        newest
    }

    async fn compare_contents(&mut self) {
        let range = Range { serializable: true, ..Range::of(everything()) };
        let mut contents = Vec::new();
        for member in 0..self.scene.endpoints.len() {
            match self.probe.ask(member, &Request::Range(range.clone()), PROBE_PATIENCE).await {
                Outcome::Read(reply) => {
                    contents.push(Contents { member: member as u64, revision: reply.revision, pairs: reply.kvs });
                }
                other => self.violations.push(format!("member {member} answers {other:?} instead of its contents")),
            }
        }
        self.violations.extend(agreement::check(&contents).iter().map(ToString::to_string));
    }

    async fn compare_hashes(&mut self, at: Revision) {
        let mut hashes = Vec::new();
        for member in 0..self.scene.endpoints.len() {
            // Not by its number: if it was compacted, members that were not restarted since know what that had found.
            let hashed = timeout(PROBE_PATIENCE, self.probe.client(member).await.hash_kv(0)).await;
            match hashed {
                Ok(Ok(response)) => hashes.push((response.hash(), response.compact_version())),
                other => self.violations.push(format!("member {member} gives no hash at {at}: {other:?}")),
            }
        }
        if hashes.windows(2).any(|pair| pair[0] != pair[1]) {
            self.violations.push(format!("members hash differently at {at}: {hashes:x?}"));
        }
    }

    fn check_replacements(&mut self) {
        let most = REPLACED_TIMEOUTS * self.scene.election_timeout + GRACE;
        for fault in [Fault::Full, Fault::Deaf, Fault::Mute] {
            let late = self.scene.replaced.get(&fault).into_iter().flatten().filter(|after| **after > most);
            self.violations.extend(late.map(|after| format!("{fault}: the leader was followed after {after:?} only")));
        }
    }

    /// The cluster takes writes whenever there is a quorum; gives the longest time in which it took none. While the machine's
    /// disk stands still nothing can be acknowledged, so that time is not counted.
    fn check_silence(&mut self, (from, to): (Moment, Moment), stalls: &[Stall]) -> Duration {
        let most = SILENCE_TIMEOUTS * self.scene.election_timeout + GRACE;
        let history = self.scene.journal.history(Vec::new());
        let acknowledged = history.operations.iter().filter(|operation| operation.took_revision().is_some());
        let inside = acknowledged.map(|operation| operation.end).filter(|end| (from..to).contains(end));
        let mut moments: Vec<Moment> = [from, to].into_iter().chain(inside).collect();
        moments.sort();
        let has_quorum = |pair: &&[Moment]| {
            let blackouts = &self.scene.blackouts;
            !blackouts.iter().any(|&(begun, ended)| begun <= pair[1] && pair[0] <= ended)
        };
        let silences = moments.windows(2).filter(has_quorum).map(|pair| {
            let (before, after) = (pair[0], pair[1]);
            ((after - before).saturating_sub(stalls::within(stalls, before, after)), before, after)
        });
        let Some((longest, before, after)) = silences.max() else { return Duration::ZERO };
        if longest > most {
            self.violations.push(format!(
                "no change was acknowledged from {before:?} to {after:?}, of which the disk worked for {longest:?}"
            ));
        }
        longest
    }

    /// Ends all members; gives what they have said.
    fn end_in_order(&mut self) -> Vec<(String, Vec<String>)> {
        let mut logs = Vec::new();
        for member in self.scene.cluster.running() {
            logs.push((format!("member {member}"), self.scene.cluster.process(member).lines()));
            self.scene.cluster.terminate(member);
        }
        logs
    }

    /// Whatever went wrong, each line that any process has written is a line of a log: nothing has panicked either.
    fn check_lines(&mut self) -> BTreeMap<String, u64> {
        let (mut levels, mut malformed) = (BTreeMap::new(), Vec::new());
        for text in self.scene.cluster.lines() {
            match Line::parse(&text) {
                Ok(line) => *levels.entry(line.text("level").to_owned()).or_default() += 1,
                Err(why) => malformed.push(format!("a line of the log is none, for {why}: {text}")),
            }
        }
        malformed.truncate(MALFORMED_SHOWN);
        self.violations.extend(malformed);
        levels
    }

    fn judge(
        self,
        plan: &Plan,
        watchings: Vec<Watching>,
        lasted: Duration,
        logs: Vec<(String, Vec<String>)>,
    ) -> Report {
        let Run { scene, mut violations, defragmented, .. } = self;
        let defragmented = defragmented.load(Ordering::Relaxed);
        if defragmented == 0 {
            violations.push("no member was defragmented".into());
        }
        let history = scene.journal.history(watchings);
        let election_timeout = plan.election_timeout();
        let terms = LeaseTerms { election_timeout, troubles: scene.troubles, ..LeaseTerms::default() };
        let begun = Instant::now();
        let (found, truth) = checks::check(&history, &terms);
        violations.extend(found.iter().map(ToString::to_string));
        Report {
            violations,
            told: scene.told,
            counts: scene.counts,
            replaced: scene.replaced,
            defragmented,
            history,
            silence: Duration::ZERO,
            stalls: Vec::new(),
            revision: truth.map_or(Revision(0), |truth| truth.model.revision()),
            lasted: (lasted, begun.elapsed()),
            logs,
            lines: BTreeMap::new(),
        }
    }
}
