//! Loads of etcd's own generator, `benchmark`, and what they cost the members.
//!
//! Each of its connections reaches all endpoints that it is given, in turn.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

use crate::figures::Figure;
use crate::harness::{Cluster, Process, number};
use crate::{MEMBERS, Side};

/// As many clients share a connection as in etcd's own figures. Source: etcd, `op-guide/performance.md`.
const CLIENTS: [&str; 3] = ["--clients=100", "--conns=10", "--precise"];
const VALUE_BYTES: usize = 256;
/// The kernel's unit of CPU time in `/proc`: 100 a second. Source: Linux, `USER_HZ`.
const TICK_US: f64 = 10_000.0;
/// Between two looks at whether a load has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The program.
#[derive(Debug)]
pub struct Generator {
    path: PathBuf,
}

impl Generator {
    pub fn new(path: PathBuf) -> Generator {
        assert!(path.is_file(), "there is no {}", path.display());
        Generator { path }
    }

    /// Lets clients make requests to `members` until all are answered; gives its report.
    ///
    /// # Panics
    /// If a request fails.
    pub async fn run(&self, cluster: &Cluster, members: &[usize], load: &[&str]) -> Report {
        let endpoints: Vec<String> = members.iter().map(|&member| cluster.endpoint(member)).collect();
        let endpoints = format!("--endpoints={}", endpoints.join(","));
        let arguments: Vec<OsString> =
            [endpoints.as_str()].iter().chain(&CLIENTS).chain(load).map(Into::into).collect();
        let mut running = Process::start(&self.path, &arguments, cluster.folder());
        while running.is_running() {
            sleep(LOOK_AGAIN).await;
        }
        let (status, text, errors) = running.output();
        assert!(status == Some(0) && !text.contains("Error distribution"), "{arguments:?}:\n{text}\n{errors}");
        Report(text)
    }
}

/// What the generator prints in the end.
#[derive(Debug)]
pub struct Report(String);

impl Report {
    /// The number beside `name`, which comes before it (`Requests/sec: 1.5`) and after it (`50% in 0.1 secs`).
    fn number(&self, name: &str) -> f64 {
        let after = self.0.lines().find_map(|line| line.trim().strip_prefix(name));
        let number = after.and_then(|after| after.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }
}

/// Puts through all members.
pub async fn puts(side: &Side, generator: &Generator) -> Vec<Figure> {
    let mut cluster = Cluster::start_with(&side.program, MEMBERS, side.flags).await;
    cluster.leader().await;
    let value = format!("--val-size={VALUE_BYTES}");
    let load = ["put", "--key-size=32", &value, "--key-space-size=100000"];
    measure(&mut cluster, &[0, 1, 2], generator, &load).await
}

/// Linearizable ranges of one key, asked of followers.
pub async fn reads(side: &Side, generator: &Generator) -> Vec<Figure> {
    let mut cluster = Cluster::start_with(&side.program, MEMBERS, side.flags).await;
    let leader = cluster.leader().await;
    let put = cluster.client(leader).await.put("key", [b'v'; VALUE_BYTES], None).await;
    put.expect("the leader takes a put");
    let followers: Vec<usize> = (0..MEMBERS).filter(|&member| member != leader).collect();
    measure(&mut cluster, &followers, generator, &["range", "key", "--consistency=l"]).await
}

async fn measure(cluster: &mut Cluster, members: &[usize], generator: &Generator, load: &[&str]) -> Vec<Figure> {
    let requests = number("REQUESTS", 100_000);
    let total = format!("--total={requests}");
    let before_us = cpu_us(cluster);
    let report = generator.run(cluster, members, &[load, &[total.as_str()]].concat()).await;
    let spent_us = cpu_us(cluster) - before_us;
    vec![
        Figure { what: "requests/s", value: report.number("Requests/sec:") },
        Figure { what: "p50, ms", value: report.number("50% in") * 1000.0 },
        Figure { what: "p99, ms", value: report.number("99% in") * 1000.0 },
        Figure { what: "CPU of all members per request, us", value: spent_us / requests as f64 },
    ]
}

/// The CPU time of all members so far.
fn cpu_us(cluster: &mut Cluster) -> f64 {
    (0..cluster.size()).map(|member| cpu_ticks(cluster.process(member).pid()) * TICK_US).sum()
}

fn cpu_ticks(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux, and the member lives");
    // What follows the name, which may hold spaces: utime and stime are fields 14 and 15 of the whole line.
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("a number"));
    ticks.sum()
}
