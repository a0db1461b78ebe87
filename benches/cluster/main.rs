//! Clusters of three members of Lodemark and of a real etcd, side by side on this machine.
//!
//! ```text
//! cargo build --profile dist
//! export LODEMARK_REFERENCE_BIN=folder/of/etcd LODEMARK_BIN=target/dist/lodemark
//! cargo bench --bench cluster -- puts 5       100 clients over all members: rate, latency, CPU of all members
//! cargo bench --bench cluster -- reads 5      linearizable reads of the two followers: the same
//! cargo bench --bench cluster -- failover 30  kill -9 of the leader under load: how long clients go without an answer
//! cargo bench --bench cluster -- transfer 30  MoveLeader under load: the same
//! cargo bench --bench cluster -- join 3       a new member of a cluster with 1 GiB: time until it has everything
//! ```
//!
//! The number is that of rounds. In each round one program and then the other has a new cluster, with default durability and
//! timings, on the same disk (the target folder's) and under the same load. Clients and members share the cores, so CPU
//! per request says more than the rate. A ratio is Lodemark's figure by etcd's in the same round. Another etcd as
//! LODEMARK_BIN shows how much a ratio means: it should be 1. Linux only.
//!
//! REQUESTS (100000) of `puts` and `reads`; KEYS (262144) of 4 KiB in `join`.

mod figures;
mod generator;
#[path = "../../tests/harness/mod.rs"]
#[allow(clippy::unwrap_used, reason = "it is what tests use, too")]
mod harness;
mod interruption;
mod join;
mod writers;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::figures::{Figure, Figures};
use crate::generator::Generator;
use crate::harness::{Program, reference};

const USAGE: &str = "use: cargo bench --bench cluster -- puts|reads|failover|transfer|join [ROUNDS]";
/// Names the program under test.
const LODEMARK_BIN: &str = "LODEMARK_BIN";
/// Members of a cluster in the beginning.
const MEMBERS: usize = 3;
/// Source: Linux, `statfs(2)`.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Puts,
    Reads,
    Failover,
    Transfer,
    Join,
}

impl Mode {
    fn named(name: &str) -> Option<Mode> {
        match name {
            "puts" => Some(Mode::Puts),
            "reads" => Some(Mode::Reads),
            "failover" => Some(Mode::Failover),
            "transfer" => Some(Mode::Transfer),
            "join" => Some(Mode::Join),
            _ => None,
        }
    }

    fn default_rounds(self) -> u64 {
        match self {
            Mode::Puts | Mode::Reads => 5,
            Mode::Failover | Mode::Transfer => 30,
            Mode::Join => 3,
        }
    }

    /// How long one program may take for a round.
    fn measure_max(self) -> Duration {
        Duration::from_mins(match self {
            Mode::Puts | Mode::Reads => 15,
            Mode::Failover | Mode::Transfer => 3,
            Mode::Join => 30,
        })
    }
}

/// One of the two programs.
struct Side {
    program: Program,
    /// Flags of every member besides the harness's; everything that they do not say is default.
    flags: &'static [&'static str],
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [mode, rounds @ ..] = &arguments[..] else {
        println!("SKIPPED cluster: nothing is asked for; {USAGE}");
        return ExitCode::SUCCESS;
    };
    let Some((mode, rounds)) = parse(mode, rounds) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Some(reference) = reference() else { return ExitCode::SUCCESS };
    let Some(lodemark) = std::env::var_os(LODEMARK_BIN).filter(|path| !path.is_empty()) else {
        eprintln!("{LODEMARK_BIN} must be the program to measure, such as target/dist/lodemark");
        return ExitCode::from(2);
    };
    let lodemark = std::path::absolute(lodemark).expect("there is a working directory");

    println!("command: {}cargo bench --bench cluster -- {}", settings(), arguments.join(" "));
    println!("data in {}", use_disk_of_target().display());
    let etcd = reference.join("etcd");
    for path in [&etcd, &lodemark] {
        println!("{}: {}", path.display(), version(path));
    }
    let sides = [
        // More than the 2 GiB of its default; a limit that nobody reaches costs nothing.
        Side { program: Program::at(etcd), flags: &["--quota-backend-bytes=8589934592"] },
        Side { program: Program::at(lodemark), flags: &[] },
    ];
    let generator = Generator::new(reference.join("benchmark"));
    tokio::select! {
        () = all_rounds(mode, rounds, &sides, &generator) => ExitCode::SUCCESS,
        // Clusters and their folders end with the future that is dropped.
        () = asked_to_end() => ExitCode::FAILURE,
    }
}

/// What is to be measured, and in how many rounds.
fn parse(mode: &str, rounds: &[String]) -> Option<(Mode, u64)> {
    let mode = Mode::named(mode)?;
    match rounds {
        [] => Some((mode, mode.default_rounds())),
        [rounds] => Some((mode, rounds.parse().ok()?)),
        _ => None,
    }
}

/// The settings of the environment that differ from the default, as a shell takes them.
fn settings() -> String {
    let set = ["REQUESTS", "KEYS"].into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
    set.map(|(name, value)| format!("{name}={value} ")).collect()
}

async fn all_rounds(mode: Mode, rounds: u64, sides: &[Side; 2], generator: &Generator) {
    let mut figures = Figures::default();
    for round in 1..=rounds {
        println!("-- round {round} of {rounds}, load average {}", load_average());
        let mut measured = Vec::new();
        for side in sides {
            // What one has left to write down is not the other's load.
            rustix::fs::sync();
            let measuring = measure(mode, side, generator);
            measured.push(timeout(mode.measure_max(), measuring).await.expect("a round ends in time"));
        }
        let [etcd, lodemark] = measured.try_into().expect("there are two sides");
        print!("{}", figures.add_round(etcd, lodemark));
    }
    println!("-- {rounds} rounds\n{}", figures.summary());
}

async fn measure(mode: Mode, side: &Side, generator: &Generator) -> Vec<Figure> {
    match mode {
        Mode::Puts => generator::puts(side, generator).await,
        Mode::Reads => generator::reads(side, generator).await,
        Mode::Failover => interruption::failover(side).await,
        Mode::Transfer => interruption::transfer(side).await,
        Mode::Join => join::join(side, generator).await,
    }
}

/// Puts all data into the target folder.
fn use_disk_of_target() -> &'static Path {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let about = rustix::fs::statfs(folder).expect("cargo makes the folder");
    assert!(about.f_type as i64 != TMPFS_MAGIC, "{} is in memory: a sync costs nothing there", folder.display());
    tempfile::env::override_temp_dir(folder).expect("nothing has asked for a temporary folder before");
    folder
}

/// The first two of the lines that `--version` prints, which tell the programs apart.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
    String::from_utf8_lossy(&output.stdout).lines().take(2).collect::<Vec<_>>().join(", ")
}

/// Tells whether the machine does something else besides.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").expect("Linux");
    text.split(' ').next().unwrap_or_default().to_owned()
}

async fn asked_to_end() {
    let [mut interrupt, mut terminate] =
        [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).expect("the runtime hears signals"));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
