//! A cluster of real processes of either kind, this program or etcd: on ports of the loopback interface, or wherever a
//! test places them.
//!
//! Members are numbered from 0 in the order in which they were made, whatever becomes of them; `m0` is the name of the
//! first. Each keeps its ports and its data folder from one start to the next:
//!
//! ```text
//! launch ──> runs ──> kill, terminate ──> launch ...
//!              └──> pause ──> resume
//! ```

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use etcd_client::{Client, Error, MemberAddOptions};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::ports::free_port;
use super::process::WAIT_MAX;
use super::{Process, Program};

/// Between two looks at the cluster.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long one look at one member may take: it may be waiting for a leader.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// What a member does.
#[derive(Debug)]
enum Doing {
    Runs(Process),
    /// Stopped by a signal: it keeps its sockets and says nothing.
    Pauses(Process),
    Down,
}

/// Where a member lives.
#[derive(Debug, Clone)]
pub struct Place {
    /// What it runs, and within what.
    pub program: Program,
    /// Its address, without a port.
    pub host: String,
    /// Where it serves clients.
    pub client_port: u16,
    /// Where it serves other members.
    pub peer_port: u16,
    /// What it speaks with them: `http` or `https`.
    pub peer_scheme: &'static str,
    /// Where it keeps its data; a folder of the cluster's own if there is none.
    pub data_dir: Option<PathBuf>,
}

impl Place {
    /// On free ports of the loopback interface.
    fn loopback(program: &Program) -> Place {
        let host = "127.0.0.1".to_owned();
        let (client_port, peer_port) = (free_port(), free_port());
        Place { program: program.clone(), host, client_port, peer_port, peer_scheme: "http", data_dir: None }
    }

    fn client_url(&self) -> String {
        format!("http://{}:{}", self.host, self.client_port)
    }

    fn peer_url(&self) -> String {
        format!("{}://{}:{}", self.peer_scheme, self.host, self.peer_port)
    }
}

#[derive(Debug)]
struct ClusterMember {
    place: Place,
    /// What it founds or joins; the same at every start, as launchers do it.
    initial_cluster: String,
    initial_cluster_state: &'static str,
    doing: Doing,
}

/// What a member says of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its own id.
    pub id: u64,
    /// Who leads; 0 if nobody does.
    pub leader: u64,
    /// The Raft term.
    pub term: u64,
    /// The store's revision.
    pub revision: i64,
}

/// A cluster. Its members end, and their data goes, with this value.
#[derive(Debug)]
pub struct Cluster {
    /// Flags of every member, besides those for name, folder and sockets.
    flags: Vec<String>,
    members: Vec<ClusterMember>,
    /// What processes have said that have ended.
    said: Vec<String>,
    temp: TempDir,
}

impl Cluster {
    /// Starts a cluster of `size` members and waits until all of them serve.
    pub async fn start(program: &Program, size: usize) -> Cluster {
        Cluster::start_with(program, size, &[]).await
    }

    /// The same, with flags for every member.
    pub async fn start_with(program: &Program, size: usize, flags: &[&str]) -> Cluster {
        Cluster::planned(program, size, flags).started().await
    }

    /// The same, with members that speak TLS with each other.
    pub async fn start_over_tls(program: &Program, size: usize, flags: &[&str]) -> Cluster {
        Cluster::planned_over_tls(program, size, flags).started().await
    }

    async fn started(mut self) -> Cluster {
        for member in 0..self.size() {
            self.launch(member);
        }
        for member in 0..self.size() {
            self.wait_until_it_serves(member).await;
        }
        self
    }

    /// A cluster of `size` members none of which is started yet.
    pub fn planned(program: &Program, size: usize, flags: &[&str]) -> Cluster {
        Cluster::placed((0..size).map(|_| Place::loopback(program)).collect(), flags)
    }

    /// The same, of members that speak TLS with each other.
    pub fn planned_over_tls(program: &Program, size: usize, flags: &[&str]) -> Cluster {
        let place = |_| Place { peer_scheme: "https", ..Place::loopback(program) };
        Cluster::placed((0..size).map(place).collect(), flags)
    }

    /// The same at places of the test's choice.
    pub fn placed(places: Vec<Place>, flags: &[&str]) -> Cluster {
        let list: Vec<String> =
            places.iter().enumerate().map(|(i, place)| format!("m{i}={}", place.peer_url())).collect();
        let member = |place| ClusterMember {
            place,
            initial_cluster: list.join(","),
            initial_cluster_state: "new",
            doing: Doing::Down,
        };
        Cluster {
            flags: flags.iter().copied().map(str::to_owned).collect(),
            members: places.into_iter().map(member).collect(),
            said: Vec::new(),
            temp: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// How many members were made.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Starts the process of a member that is down, and waits for nothing.
    pub fn launch(&mut self, member: usize) {
        self.launch_with(member, &[]);
    }

    /// The same, with flags for this start alone.
    pub fn launch_with(&mut self, member: usize, flags: &[&str]) {
        assert!(matches!(self.members[member].doing, Doing::Down), "member {member} is not down");
        let at = &self.members[member];
        let (client, peer) = (at.place.client_url(), at.place.peer_url());
        let fixed = [
            format!("--name=m{member}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", at.initial_cluster),
            format!("--initial-cluster-state={}", at.initial_cluster_state),
        ];
        let flags = self.flags.iter().cloned().chain(flags.iter().copied().map(str::to_owned));
        let data_dir = ["--data-dir".into(), self.data_dir(member).into()];
        // What is said last counts.
        let arguments = fixed.into_iter().map(OsString::from).chain(data_dir).chain(flags.map(OsString::from));
        let process = self.members[member].place.program.start(arguments, self.temp.path());
        self.members[member].doing = Doing::Runs(process);
    }

    /// Starts a member that is down, and waits until it serves.
    pub async fn restart(&mut self, member: usize) {
        self.launch(member);
        self.wait_until_it_serves(member).await;
    }

    /// Waits until a member that runs reads linearizably, which takes a leader.
    pub async fn wait_until_it_serves(&mut self, member: usize) {
        let served = async {
            loop {
                assert!(self.process(member).is_running(), "member {member} ends instead of serving");
                // A new client each time: one that was refused waits long before it tries again.
                let mut client = self.client(member).await;
                if let Ok(Ok(_)) = timeout(LOOK_MAX, client.get("any", None)).await {
                    return;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(WAIT_MAX, served).await.unwrap_or_else(|_| panic!("member {member} does not serve"));
    }

    /// Ends a member with SIGKILL, paused or not.
    pub fn kill(&mut self, member: usize) {
        match std::mem::replace(&mut self.members[member].doing, Doing::Down) {
            Doing::Runs(mut process) | Doing::Pauses(mut process) => {
                process.kill();
                self.said.extend(process.lines());
            }
            Doing::Down => panic!("member {member} is down"),
        }
    }

    /// Ends a member with SIGTERM and waits for its end.
    pub fn terminate(&mut self, member: usize) -> ExitStatus {
        self.process(member).terminate();
        self.ended(member)
    }

    /// Waits until a member ends by itself.
    pub fn ended(&mut self, member: usize) -> ExitStatus {
        let status = self.process(member).wait();
        let lines = self.process(member).lines();
        self.said.extend(lines);
        self.members[member].doing = Doing::Down;
        status
    }

    /// Stops a member with SIGSTOP: it keeps its sockets and says nothing.
    pub fn pause(&mut self, member: usize) {
        let process = self.take_process(member, "run", |doing| matches!(doing, Doing::Runs(_)));
        process.signal(Signal::STOP);
        self.members[member].doing = Doing::Pauses(process);
    }

    /// Lets a paused member go on.
    pub fn resume(&mut self, member: usize) {
        let process = self.take_process(member, "pause", |doing| matches!(doing, Doing::Pauses(_)));
        process.signal(Signal::CONT);
        self.members[member].doing = Doing::Runs(process);
    }

    fn take_process(&mut self, member: usize, must: &str, does: impl Fn(&Doing) -> bool) -> Process {
        let doing = &mut self.members[member].doing;
        assert!(does(doing), "member {member} does not {must}");
        match std::mem::replace(doing, Doing::Down) {
            Doing::Runs(process) | Doing::Pauses(process) => process,
            Doing::Down => unreachable!("it was looked at"),
        }
    }

    /// Removes everything that a member that is down has kept.
    pub fn empty(&mut self, member: usize) {
        assert!(matches!(self.members[member].doing, Doing::Down), "member {member} is not down");
        fs::remove_dir_all(self.data_dir(member)).expect("it has a data folder");
    }

    /// The process of a member that is not down.
    pub fn process(&mut self, member: usize) -> &mut Process {
        match &mut self.members[member].doing {
            Doing::Runs(process) | Doing::Pauses(process) => process,
            Doing::Down => panic!("member {member} is down"),
        }
    }

    /// Everything that any process of the cluster has said so far.
    pub fn lines(&self) -> Vec<String> {
        let present = self.members.iter().flat_map(|member| match &member.doing {
            Doing::Runs(process) | Doing::Pauses(process) => process.lines(),
            Doing::Down => Vec::new(),
        });
        self.said.iter().cloned().chain(present).collect()
    }

    /// The members that run, and are not paused.
    pub fn running(&self) -> Vec<usize> {
        let runs = |member: &usize| matches!(self.members[*member].doing, Doing::Runs(_));
        (0..self.members.len()).filter(runs).collect()
    }

    /// Where a member keeps its data.
    pub fn data_dir(&self, member: usize) -> PathBuf {
        let placed = self.members[member].place.data_dir.clone();
        placed.unwrap_or_else(|| self.temp.path().join(format!("m{member}")))
    }

    /// The folder of all of it.
    pub fn folder(&self) -> &Path {
        self.temp.path()
    }

    /// Where a member serves clients, as a URL.
    pub fn endpoint(&self, member: usize) -> String {
        self.members[member].place.client_url()
    }

    /// Where a member serves others, as a URL.
    pub fn peer_url(&self, member: usize) -> String {
        self.members[member].place.peer_url()
    }

    /// Gives a member that is down another port for its peers; the cluster has to be told.
    pub fn move_peers(&mut self, member: usize) {
        assert!(matches!(self.members[member].doing, Doing::Down), "member {member} is not down");
        self.members[member].place.peer_port = free_port();
    }

    /// A client of one member, with a connection of its own.
    pub async fn client(&self, member: usize) -> Client {
        Client::connect([self.endpoint(member)], None).await.expect("etcd-client connects lazily")
    }

    /// Where the members that were made serve clients.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|member| self.endpoint(member)).collect()
    }

    /// A client of all members, which tries another when one does not answer.
    pub async fn client_of_all(&self) -> Client {
        Client::connect(self.endpoints(), None).await.expect("etcd-client connects lazily")
    }

    /// What a member says of the cluster; `None` if it does not answer.
    pub async fn view(&self, member: usize) -> Option<View> {
        let mut client = self.client(member).await;
        let status = timeout(LOOK_MAX, client.status()).await.ok()?.ok()?;
        let header = status.header()?;
        Some(View {
            id: header.member_id(),
            leader: status.leader(),
            term: status.raft_term(),
            revision: header.revision(),
        })
    }

    /// Waits until all members that run agree on a leader, which is one of them; gives its number.
    pub async fn leader(&self) -> usize {
        self.leader_of(&self.running()).await
    }

    /// The same for some of them.
    pub async fn leader_of(&self, members: &[usize]) -> usize {
        let found = async {
            loop {
                if let Some(leader) = self.agreed_leader(members).await {
                    return leader;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(WAIT_MAX, found).await.unwrap_or_else(|_| panic!("members {members:?} do not agree on a leader"))
    }

    /// The leader that all of `members` name in the same term, if it is one of them.
    async fn agreed_leader(&self, members: &[usize]) -> Option<usize> {
        let mut views = Vec::new();
        for &member in members {
            views.push((member, self.view(member).await?));
        }
        let agreed: BTreeSet<(u64, u64)> = views.iter().map(|(_, view)| (view.leader, view.term)).collect();
        let &(leader, _) = agreed.first().filter(|_| agreed.len() == 1)?;
        views.iter().find(|(_, view)| view.id == leader).map(|&(member, _)| member)
    }

    /// Removes a member from the cluster, by way of `through`.
    pub async fn remove(&self, through: usize, id: u64) {
        let client = self.client(through).await;
        once_healthy(async || client.clone().member_remove(id).await).await;
    }

    /// Tells the cluster of a new member, by way of `through`, and gives its number and id. It is not started yet.
    pub async fn add(&mut self, through: usize, is_learner: bool) -> (usize, u64) {
        let Place { program, peer_scheme, .. } = &self.members[through].place;
        let (number, place) = (self.members.len(), Place { peer_scheme, ..Place::loopback(program) });
        let client = self.client(through).await;
        let added = once_healthy(async || {
            let options = is_learner.then(|| MemberAddOptions::new().with_is_learner());
            client.clone().member_add([place.peer_url()], options).await
        })
        .await;
        let id = added.member().expect("it was added").id();
        let others = added.member_list().iter().filter(|member| member.id() != id);
        // A member that has not published its name is listed by its id; names of others are not compared.
        let name = |member: &etcd_client::Member| match member.name() {
            "" => format!("{:x}", member.id()),
            name => name.to_owned(),
        };
        let listed = others.flat_map(|member| {
            let name = name(member);
            member.peer_urls().iter().map(move |url| format!("{name}={url}")).collect::<Vec<_>>()
        });
        let list: Vec<String> = listed.chain([format!("m{number}={}", place.peer_url())]).collect();
        self.members.push(ClusterMember {
            place,
            initial_cluster: list.join(","),
            initial_cluster_state: "existing",
            doing: Doing::Down,
        });
        (number, id)
    }
}

/// Changes the members; a cluster that is young, or has just changed, refuses for a few seconds.
async fn once_healthy<T>(change: impl AsyncFn() -> Result<T, Error>) -> T {
    let changed = async {
        loop {
            match change().await {
                Ok(changed) => return changed,
                Err(error) => assert!(error.to_string().contains("unhealthy cluster"), "{error}"),
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(WAIT_MAX, changed).await.expect("the cluster becomes healthy")
}
