//! A real etcdctl sees the same from Lodemark as from a real etcd. The steps are scripts:
//!
//! | script | what |
//! | --- | --- |
//! | `tests/etcdctl.sh` | keys, txns, watches, leases, locks, elections, members |
//! | `tests/upkeep.sh` | alarms, snapshots, downgrades, endpoints; formats, flags and variables of etcdctl |
//! | `tests/mirror.sh` | `make-mirror` between two servers of a kind |
//! | `tests/auth.sh` | users and roles (run by `auth_calls`) |
//! | `tests/cluster.sh` | three members, one of which is killed |
//! | `tests/check.sh` | `check perf`, `check datascale` |

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Member, Program, Site, reference};

/// A watch that asks for it hears of progress soon.
const PROGRESS: &str = "--watch-progress-notify-interval=1s";
/// Every script of this folder that runs etcdctl.
const SCRIPTS: [&str; 6] = ["auth", "check", "cluster", "etcdctl", "mirror", "upkeep"];
/// What comes before a command of etcdctl in the scripts, and how much of the command it stands for.
const CALLERS: [(&str, &[&str]); 7] = [
    ("run", &[]),
    ("quiet", &[]),
    ("run_protobuf", &[]),
    ("same_in_chunks", &[]),
    ("\"${call[@]}\"", &[]),
    ("mirror", &["make-mirror"]),
    ("check", &["check"]),
];
/// The same, with a name in between.
const NAMED_CALLERS: [&str; 2] = ["background", "quiet_as"];
/// Flags of every command that no script gives: DNS is asked for them, and no server.
const NOT_OF_SERVERS: [&str; 3] = ["discovery-srv", "discovery-srv-name", "insecure-discovery"];

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn succeeds(script: &mut Command) -> String {
    // Each step has a deadline of its own.
    let output = script.output().expect("the script runs");
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{said}\n{complained}");
    said.into_owned()
}

/// Runs a script on a real etcd and on this program, with `LEN` fresh servers of each; gives what it says.
async fn sees_the_same<const LEN: usize>(name: &str, arguments: &[&str]) -> Option<String> {
    let (Some(folder), Some(etcd)) = (reference(), Program::etcd()) else { return None };
    let (mut members, mut folders, mut subjects) = (Vec::new(), Vec::new(), Vec::new());
    for program in [etcd, Program::lodemark()] {
        let mut endpoints = Vec::new();
        for _ in 0..LEN {
            let temp = tempfile::tempdir().expect("a temporary folder");
            let site = Site::new(temp.path()).with_flags([PROGRESS.to_owned()]);
            let member = Member::start(&program, site).await;
            endpoints.push(member.endpoint());
            members.push(member);
            folders.push(temp);
        }
        subjects.push(endpoints.join(","));
    }
    let mut script = Command::new(script(name));
    Some(succeeds(script.args(arguments).arg(folder.join("etcdctl")).args(subjects)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_sees_the_same_from_both_servers() {
    sees_the_same::<1>("etcdctl.sh", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_looks_after_both_servers_alike() {
    sees_the_same::<1>("upkeep.sh", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_the_same_between_servers_of_both_kinds() {
    sees_the_same::<2>("mirror.sh", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes four minutes, and the machine to itself"]
async fn check_perf_passes_on_both_servers() {
    println!("{}", sees_the_same::<1>("check.sh", &["perf"]).await.unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute for each server"]
async fn check_datascale_passes_on_both_servers() {
    println!("{}", sees_the_same::<1>("check.sh", &["datascale"]).await.unwrap_or_default());
}

#[test]
#[ignore = "takes a minute: two clusters, one after the other"]
fn etcdctl_sees_the_same_from_both_clusters() {
    let Some(folder) = reference() else { return };
    let mut script = Command::new(script("cluster.sh"));
    succeeds(script.arg(folder.join("etcdctl")).arg(folder.join("etcd")).arg(env!("CARGO_BIN_EXE_lodemark")));
}

#[test]
fn every_command_and_flag_of_etcdctl_is_in_a_script() {
    let Some(folder) = reference() else { return };
    let etcdctl = folder.join("etcdctl");
    let texts: Vec<String> =
        SCRIPTS.iter().map(|name| fs::read_to_string(script(&format!("{name}.sh"))).expect("it is there")).collect();
    let calls: Vec<Vec<String>> = texts.iter().flat_map(|text| text.lines().flat_map(calls)).collect();
    let over_tls = fs::read_to_string(script("it/client_tls.rs")).expect("it is there");

    let mut missing = Vec::new();
    let commands = commands(&etcdctl);
    assert!(commands.len() > 40, "the walk through the help found the commands: {commands:?}");
    for command in &commands {
        let calls: Vec<&Vec<String>> = calls.iter().filter(|call| call.starts_with(command)).collect();
        if calls.is_empty() {
            missing.push(format!("etcdctl {}", command.join(" ")));
            continue;
        }
        for flag in flags(&help(&etcdctl, command), "Flags:") {
            let is_given = calls.iter().any(|call| call.iter().any(|word| is_flag(word, &flag)));
            if !is_given && !over_tls.contains(&format!("\"--{flag}")) {
                missing.push(format!("etcdctl {} --{flag}", command.join(" ")));
            }
        }
    }
    let options = run(&etcdctl, &["options"]);
    for flag in flags(&options, "The following options can be passed to any command:") {
        let variable = format!("ETCDCTL_{}=", flag.replace('-', "_").to_uppercase());
        let is_given = texts.iter().flat_map(|text| text.split_whitespace()).any(|word| is_flag(word, &flag))
            || texts.iter().any(|text| text.contains(&variable))
            || over_tls.contains(&format!("\"--{flag}"));
        if !is_given && !NOT_OF_SERVERS.contains(&flag.as_str()) {
            missing.push(format!("--{flag}"));
        }
    }
    assert!(missing.is_empty(), "no script has\n{}", missing.join("\n"));
}

/// The calls of etcdctl in a line of a script, word by word.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.trim();
    let words: Vec<&str> = if line.starts_with('#') { Vec::new() } else { line.split_whitespace().collect() };
    let mut calls = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let word = word.trim_start_matches(['(', '<', '$']).trim_start_matches("\"$(");
        let begun = CALLERS.iter().find(|(caller, _)| *caller == word).map(|(_, command)| (i + 1, *command));
        let named = NAMED_CALLERS.contains(&word).then_some((i + 2, [].as_slice()));
        let Some((from, command)) = begun.or(named) else { continue };
        let rest = words.iter().skip(from).take_while(|word| !["|", "||", "&&", ";"].contains(word));
        let rest = rest.map(|word| word.trim_end_matches([')', ';', '"']));
        calls.push(command.iter().copied().chain(rest).map(str::to_owned).collect());
    }
    calls
}

fn is_flag(word: &str, flag: &str) -> bool {
    word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(flag))
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    String::from_utf8(output.stdout).expect("help is text")
}

fn help(etcdctl: &Path, command: &[String]) -> String {
    let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    run(etcdctl, &arguments)
}

/// Every command that has none below it, as its help has them.
fn commands(etcdctl: &Path) -> BTreeSet<Vec<String>> {
    let (mut found, mut open) = (BTreeSet::new(), vec![Vec::new()]);
    while let Some(command) = open.pop() {
        let below = commands_of(&help(etcdctl, &command));
        if below.is_empty() {
            found.insert(command);
            continue;
        }
        open.extend(below.into_iter().map(|name| [command.clone(), vec![name]].concat()));
    }
    found
}

/// The names in the sections of a help that list commands: lines below a title, two blanks in.
fn commands_of(help: &str) -> Vec<String> {
    let (mut names, mut in_list) = (Vec::new(), false);
    for line in help.lines() {
        match line.strip_prefix("  ") {
            Some(listed) if in_list => names.extend(listed.split_whitespace().next().map(str::to_owned)),
            _ => in_list = line.ends_with(" commands") || line == "Available Commands:",
        }
    }
    names
}

/// The long flags that are listed below a title.
fn flags(help: &str, title: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != title).skip(1);
    let listed = listed.skip_while(|line| line.is_empty()).take_while(|line| line.starts_with("  "));
    let long = listed.filter_map(|line| line.split_once("--")?.1.split_whitespace().next());
    long.filter(|flag| *flag != "help").map(str::to_owned).collect()
}
