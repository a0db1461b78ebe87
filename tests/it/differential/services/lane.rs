//! One run on one pair of servers: sequences of calls, and after each the whole state of both compared.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::super::report::{Difference, Report};
use super::super::texts::Reached;
use super::call::{Call, Front, Outcome, number};
use super::generate::{Generator, Step};
use super::schema::*;
use super::side::{Side, Tokens, flags};
use crate::harness::Program;

/// Calls between two comparisons of everything.
const SEQUENCE_LEN: u64 = 500;
/// Every so many sequences both servers restart in the middle of one.
const SEQUENCES_LEN_OF_RESTART: u64 = 4;
/// So many differences are told of one run; then it ends.
const DIFFERENCES_LEN_MAX: u64 = 100;
/// How long etcd may take for another version of its cluster.
const VERSION_TIME_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A message of either server, and a JSON value of ours, has so many bytes at most.
const MESSAGE_BYTES_MAX: u64 = 2 * 1024 * 1024;
const JSON_BYTES_MAX: u64 = 2 * MESSAGE_BYTES_MAX;

pub struct Lane {
    /// The reference, and the subject.
    pub sides: [Side; 2],
    generator: Generator,
    tokens_len: u64,
    leases_len: u64,
    members_len: u64,
    /// The cluster may take the version of before for the moment.
    is_downgrading: bool,
    /// Whether what was compacted last was waited for, so that both are done with it.
    is_compaction_done: bool,
    /// Compactions that were not waited for, or began while nobody knew that the last one had ended: what they had found
    /// may be known to one server and not to the other.
    hasty_compactions: HashSet<i64>,
    /// How far what is left of a lease may be apart: a start renews all, and one server starts sooner than the other.
    ttl_slack_seconds: u64,
    /// The states differ, so what follows cannot be compared.
    has_parted: bool,
    /// When to end early.
    pub differences_len_max: u64,
    pub done: Done,
    pub report: Report,
    pub reached: Reached,
    replay: String,
    /// Each call is printed.
    is_told: bool,
    /// Holds the key of signed tokens.
    _folder: TempDir,
}

/// How much was done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Done {
    pub calls: u64,
    pub in_json: u64,
    pub sequences: u64,
    pub restarts: u64,
}

impl Lane {
    pub async fn start(programs: [&Program; 2], seed: u64, tokens: Tokens, replay: String) -> Lane {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let flags = flags(tokens, folder.path());
        let [reference, subject] = programs;
        let with_etcd = |program: &Program| {
            // What is lost in a crash is not the question here, and etcd waits for each sync.
            let sync = (!program.is_lodemark()).then(|| "--unsafe-no-fsync".to_owned());
            flags.iter().cloned().chain(sync).collect::<Vec<_>>()
        };
        let (of_reference, of_subject) = (with_etcd(reference), with_etcd(subject));
        let (reference, subject) =
            tokio::join!(Side::start(reference, &of_reference), Side::start(subject, &of_subject));
        let mut lane = Lane {
            sides: [reference, subject],
            generator: Generator::new(seed, tokens),
            tokens_len: 0,
            leases_len: 0,
            members_len: 0,
            is_downgrading: false,
            is_compaction_done: true,
            hasty_compactions: HashSet::new(),
            ttl_slack_seconds: 1,
            has_parted: false,
            differences_len_max: DIFFERENCES_LEN_MAX,
            done: Done::default(),
            report: Report::default(),
            reached: Reached::default(),
            replay,
            is_told: std::env::var("LODEMARK_DIFF_TOLD").as_deref() == Ok("1"),
            _folder: folder,
        };
        lane.versions_agree().await;
        lane
    }

    /// Makes `calls_len` calls, or fewer if the servers part for good.
    pub async fn run(&mut self, calls_len: u64) {
        while self.done.calls < calls_len && !self.is_over() {
            self.done.sequences += 1;
            let restart_at = self.done.calls + SEQUENCE_LEN / 2;
            let end = self.done.calls + SEQUENCE_LEN;
            let mut must_restart = self.done.sequences % SEQUENCES_LEN_OF_RESTART == 2;
            while self.done.calls < end && !self.is_over() {
                if must_restart && self.done.calls >= restart_at && self.generator.is_free() {
                    must_restart = false;
                    self.generator.plan_restart();
                }
                self.step().await;
            }
            while !self.generator.is_free() && !self.is_over() {
                self.step().await;
            }
            self.generator.plan_check();
            while !self.generator.is_free() && !self.is_over() {
                self.step().await;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.has_parted || self.report.len() >= self.differences_len_max
    }

    async fn step(&mut self) {
        match self.generator.next() {
            Step::Call(call) => self.exchange(&call).await,
            Step::Restart { is_orderly } => {
                let begun = Instant::now();
                let [reference, subject] = &mut self.sides;
                tokio::join!(reference.restart(is_orderly), subject.restart(is_orderly));
                self.ttl_slack_seconds = self.ttl_slack_seconds.max(begun.elapsed().as_secs() + 2);
                self.done.restarts += 1;
                self.generator.learn_of_restart(is_orderly);
                self.versions_agree().await;
            }
        }
    }

    /// Asks both servers and compares.
    async fn exchange(&mut self, call: &Call) {
        self.done.calls += 1;
        if self.is_told {
            println!("{}: {call}", self.done.calls);
        }
        self.done.in_json += u64::from(call.front == Front::Gateway);
        let [reference, subject] = &mut self.sides;
        let (mut left, mut right) = tokio::join!(reference.ask(call), subject.ask(call));
        self.give_names(call, [&left, &right]);
        for (side, outcome) in self.sides.iter().zip([&mut left, &mut right]) {
            side.names.blur_outcome(call, outcome);
        }
        if let Some(failure) = &left.failure {
            self.reached.note(failure);
        }
        self.make_equal_what_is_free(call, &mut left, &mut right);
        if left != right {
            self.differ(call, &left, &right);
        }
        self.generator.learn(call, &left);
        if call.is(&COMPACT) && left.is_ok() {
            let is_physical = call.request()["physical"] == true;
            let was_done = std::mem::replace(&mut self.is_compaction_done, is_physical);
            if !(was_done && is_physical) {
                self.hasty_compactions.extend(call.request()["revision"].as_i64());
            }
        }
        if call.is(&DOWNGRADE) && left.is_ok() {
            match call.request()["action"].as_str() {
                Some("ENABLE") => {
                    self.is_downgrading = true;
                    self.versions_agree().await;
                }
                Some("CANCEL") if std::mem::take(&mut self.is_downgrading) => self.versions_agree().await,
                _ => {}
            }
        }
    }

    /// Takes in what both servers chose, each for itself.
    fn give_names(&mut self, call: &Call, outcomes: [&Outcome; 2]) {
        let chosen = |outcome: &Outcome| {
            let answer = outcome.answer()?;
            let value = match call {
                _ if call.is(&AUTHENTICATE) => &answer["token"],
                _ if call.is(&MEMBER_ADD) => &answer["member"]["ID"],
                _ if call.is(&GRANT) && call.request()["ID"].is_null() => &answer["ID"],
                _ => return None,
            };
            Some(value.as_str()?.to_owned())
        };
        let [Some(left), Some(right)] = outcomes.map(chosen) else { return };
        let name = match call {
            _ if call.is(&AUTHENTICATE) => next_name("@token", &mut self.tokens_len, 0),
            _ if call.is(&MEMBER_ADD) => next_name("@member", &mut self.members_len, 1),
            _ => next_name("@lease", &mut self.leases_len, 0),
        };
        for (side, value) in self.sides.iter_mut().zip([left, right]) {
            side.names.insert(&name, &value);
        }
    }

    fn make_equal_what_is_free(&self, call: &Call, left: &mut Outcome, right: &mut Outcome) {
        if call.is(&TIME_TO_LIVE)
            && let ([left], [right]) = (&left.answers[..], &mut right.answers[..])
            && let (Some(at_left), Some(at_right)) = (number(&left["TTL"]), number(&right["TTL"]))
            && at_left > 0
            && at_left.abs_diff(at_right) <= self.ttl_slack_seconds
        {
            right["TTL"] = left["TTL"].clone();
        }
        let is_of_hasty_compaction = call.is(&HASH_KV)
            && call.request()["revision"].as_i64().is_some_and(|at| self.hasty_compactions.contains(&at));
        if is_of_hasty_compaction {
            right.clone_from(left);
        }
        // The gateway has a bound for a JSON value, etcd's reads it whole and refuses the message that it makes
        // (docs/compatibility.md).
        if call.front == Front::Gateway
            && let (Some(of_etcd), Some(ours)) = (&left.failure, &mut right.failure)
            && of_etcd.code == ours.code
            && is_refused_for_length(&of_etcd.message, MESSAGE_BYTES_MAX)
            && is_refused_for_length(&ours.message, JSON_BYTES_MAX)
        {
            ours.message.clone_from(&of_etcd.message);
        }
        // What etcd keeps becomes a database of the earlier version, and ours stays ours (docs/compatibility.md).
        if self.is_downgrading && (call.is(&SNAPSHOT) || call.is(&STATUS)) {
            mask(left, &["versions", "storageVersion"]);
            mask(right, &["versions", "storageVersion"]);
        }
    }

    fn differ(&mut self, call: &Call, left: &Outcome, right: &Outcome) {
        let is_silence = |outcome: &Outcome| outcome.failure.as_ref().is_some_and(|failure| failure.is_silence);
        self.has_parted |= is_silence(left) || is_silence(right);
        self.has_parted |= matches!((left.revision(), right.revision()), (Some(left), Some(right)) if left != right);
        self.has_parted |= left.is_ok() != right.is_ok() && !is_read(call.rpc);
        let kind = format!("{}: {}", call.kind(), first_difference(left, right));
        let replay = self.replay.replace("{number}", &self.done.calls.to_string());
        self.report.add(Difference::new(kind, &call.to_string(), left, right), &replay);
    }

    /// Waits until both tell the same versions of server, cluster and, unless there is a downgrade, storage. etcd's cluster
    /// takes another version with its next look at its members.
    async fn versions_agree(&mut self) {
        let [reference, subject] = &self.sides;
        let agree = async {
            loop {
                let (mut left, mut right) = tokio::join!(reference.versions(), subject.versions());
                if self.is_downgrading {
                    left["storage"] = right["storage"].take();
                    right["storage"] = left["storage"].clone();
                }
                if left.is_object() && left == right {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(VERSION_TIME_MAX, agree).await.is_err() {
            let text = "after a start or a downgrade".to_owned();
            self.report.add(Difference { kind: "versions do not agree".to_owned(), text }, &self.replay);
        }
    }
}

fn next_name(kind: &str, len: &mut u64, first: u64) -> String {
    let name = format!("{kind}{}", first + *len);
    *len += 1;
    name
}

fn mask(outcome: &mut Outcome, fields: &[&str]) {
    for answer in &mut outcome.answers {
        fields.iter().for_each(|field| answer[*field] = json!("?"));
    }
}

/// It changes nothing that later answers depend on.
fn is_read(rpc: &Rpc) -> bool {
    let reads: [&Rpc; 17] = [
        &RANGE,
        &RANGE_STREAM,
        &WATCH,
        &TIME_TO_LIVE,
        &LIST_LEASES,
        &KEEP_ALIVE,
        &MEMBER_LIST,
        &STATUS,
        &HASH,
        &HASH_KV,
        &AUTH_STATUS,
        &USER_GET,
        &USER_LIST,
        &ROLE_GET,
        &ROLE_LIST,
        &LEADER,
        &OBSERVE,
    ];
    reads.contains(&rpc)
}

/// Where two outcomes part.
fn first_difference(left: &Outcome, right: &Outcome) -> String {
    if left.failure != right.failure {
        let told = |outcome: &Outcome| match &outcome.failure {
            Some(failure) => format!("{:?} {}", failure.code, failure.message),
            None => "OK".to_owned(),
        };
        return format!("{} against {}", told(left), told(right));
    }
    if left.head != right.head {
        return "status or headers".to_owned();
    }
    let pairs = left.answers.iter().zip(&right.answers);
    let path = pairs.filter(|(left, right)| left != right).map(|(left, right)| path_of(left, right)).next();
    path.unwrap_or_else(|| "number of messages".to_owned())
}

/// The field in which two values part.
fn path_of(left: &Value, right: &Value) -> String {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let fields = left.keys().chain(right.keys());
            let field = fields.into_iter().find(|field| left.get(*field) != right.get(*field));
            let field = field.map_or("", String::as_str);
            match (left.get(field), right.get(field)) {
                (Some(left @ Value::Object(_)), Some(right @ Value::Object(_))) => {
                    format!("{field}.{}", path_of(left, right))
                }
                _ => field.to_owned(),
            }
        }
        _ => "kind".to_owned(),
    }
}

/// Whether a text says that something had more bytes than `max`, and it had.
fn is_refused_for_length(text: &str, max: u64) -> bool {
    let figures = text.strip_prefix("grpc: received message larger than max (").and_then(|rest| rest.strip_suffix(')'));
    let figures = figures.and_then(|figures| figures.split_once(" vs. "));
    figures.is_some_and(|(bytes, limit)| limit == max.to_string() && bytes.parse().is_ok_and(|bytes: u64| bytes > max))
}

#[test]
fn refusals_for_length_name_the_limit_and_more() {
    let is_refused = |text| is_refused_for_length(text, 8);
    assert!(is_refused("grpc: received message larger than max (9 vs. 8)"));
    for text in
        ["grpc: received message larger than max (8 vs. 8)", "grpc: received message larger than max (9 vs. 7)", ""]
    {
        assert!(!is_refused(text), "{text}");
    }
}
