//! Makes the calls of a sequence from its seed and from what the reference answered so far.
//!
//! Callers, keys, users, roles and leases are few, so that calls meet. What the generator believes (who is known by which
//! password, which token is good) only steers it: a call that it believes to be refused is made too, now and then. Left
//! out is what no run could go on after:
//!
//! * `root` always has a password that is known here, so that auth can be disabled again;
//! * no voter is added, which a single member would wait for;
//! * locks and elections that somebody else holds are not asked for, since the call would wait (the script does that);
//! * what makes etcd 3.7.1 itself panic: an alarm with an unknown action or kind, a txn that deletes a key and then keeps
//!   its value, and a compaction at exactly the revision of a txn that deleted a key and wrote it again.

mod contenders;
mod kv;
mod upkeep;
mod users;

use std::collections::{BTreeMap, HashSet, VecDeque};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::call::{Call, Caller, Front, Outcome, Proof, Until, number};
use super::schema::*;
use super::side::Tokens;

/// Tokens that a sequence remembers, good or stale.
const TOKENS_LEN_MAX: usize = 24;
/// Leases whose id the servers choose, and that a sequence remembers.
const LEASES_LEN_MAX: usize = 4;

/// What comes next.
#[derive(Debug, Clone)]
pub enum Step {
    Call(Box<Call>),
    /// Both servers end, by a signal that they hear of or not, and start again.
    Restart {
        is_orderly: bool,
    },
}

pub struct Generator {
    random: StdRng,
    tokens_are: Tokens,
    queued: VecDeque<Step>,

    revision: i64,
    compacted: i64,
    fragile: HashSet<i64>,

    auth_is_on: bool,
    passwords: BTreeMap<String, String>,
    /// The newest token of each user, believed to be good.
    good: BTreeMap<String, String>,
    /// All of them.
    tokens: VecDeque<String>,
    tokens_made: u64,
    /// How often each role was granted a permission since it was made.
    grants: BTreeMap<String, u64>,

    /// Names of leases whose id the servers chose.
    named_leases: Vec<String>,
    leases_made: u64,
    members_made: u64,
    learners: Vec<String>,
    removed: Vec<String>,
    peers_made: u64,

    /// Who holds each lock, by its lease.
    locks: BTreeMap<&'static str, i64>,
    /// Who leads each election: lease, and revision of the key.
    leaders: BTreeMap<&'static str, (i64, i64)>,
}

impl Generator {
    pub fn new(seed: u64, tokens_are: Tokens) -> Generator {
        Generator {
            random: StdRng::seed_from_u64(seed),
            tokens_are,
            queued: VecDeque::new(),
            revision: 1,
            compacted: -1,
            fragile: HashSet::new(),
            auth_is_on: false,
            passwords: BTreeMap::new(),
            good: BTreeMap::new(),
            tokens: VecDeque::new(),
            tokens_made: 0,
            grants: BTreeMap::new(),
            named_leases: Vec::new(),
            leases_made: 0,
            members_made: 0,
            learners: Vec::new(),
            removed: Vec::new(),
            peers_made: 0,
            locks: BTreeMap::new(),
            leaders: BTreeMap::new(),
        }
    }

    /// Whether nothing must come next.
    pub fn is_free(&self) -> bool {
        self.queued.is_empty()
    }

    /// The next step: it depends on the seed and on the answers so far, and on nothing else.
    pub fn next(&mut self) -> Step {
        if let Some(mut step) = self.queued.pop_front() {
            if let Step::Call(call) = &mut step
                && call.caller == Caller::Root
            {
                call.caller = self.root();
            }
            return step;
        }
        let call = match self.below(1_000) {
            _ if self.must_log_in() => self.authenticate("root"),
            _ if !self.auth_is_on && self.one_in(20) => return self.found_users(),
            0..330 => self.kv_call(),
            330..430 => self.lease_call(),
            430..470 => self.watch_call(),
            470..740 => self.auth_call(),
            740..850 => self.maintenance_call(),
            850..910 => self.cluster_call(),
            910..995 => self.contender_call(),
            _ => self.health_call(),
        };
        Step::Call(Box::new(call))
    }

    /// Restarts both servers next.
    pub fn plan_restart(&mut self) {
        let is_orderly = self.one_in(2);
        self.queued.push_back(Step::Restart { is_orderly });
    }

    /// Asks for everything that there is next, as somebody who may see it: what two servers that were told the same must
    /// have in common.
    pub fn plan_check(&mut self) {
        self.plan_log_in();
        let everything = json!({"key": "AA==", "range_end": "AA=="});
        let calls = [
            (&RANGE, everything.clone()),
            (&HASH_KV, json!({})),
            (&HASH_KV, json!({"revision": self.compacted})),
            (&LIST_LEASES, json!({})),
            (&MEMBER_LIST, json!({})),
            (&ALARM, json!({})),
            (&STATUS, json!({})),
            (&AUTH_STATUS, json!({})),
            (&USER_LIST, json!({})),
            (&ROLE_LIST, json!({})),
        ];
        for (rpc, request) in calls {
            let call = self.as_root(rpc, request);
            self.queue(call);
        }
        for user in users::USERS {
            let call = self.as_root(&USER_GET, json!({"name": user}));
            self.queue(call);
        }
        for role in users::ROLES {
            let call = self.as_root(&ROLE_GET, json!({"role": role}));
            self.queue(call);
        }
        let first = self.compacted.max(0) + 1;
        if first <= self.revision {
            let mut watch = everything;
            (watch["start_revision"], watch["prev_kv"]) = (json!(first), json!(true));
            for front in [Front::Grpc, Front::Gateway] {
                let call = self.as_root(&WATCH, json!({"create_request": watch}));
                self.queue(Call { until: Until::Revision(self.revision), front, ..call });
            }
        }
    }

    /// Takes in how the reference answered.
    pub fn learn(&mut self, call: &Call, outcome: &Outcome) {
        let Some(answer) = outcome.answer() else {
            // Whoever asked may have to prove again who that is.
            if outcome.message() == "etcdserver: invalid auth token"
                && let Caller::Bearer(token, _) = &call.caller
            {
                self.good.retain(|_, good| good != token);
            }
            return;
        };
        let before = self.revision;
        self.revision = self.revision.max(outcome.revision().unwrap_or(0));
        self.learn_of_keys(call, before);
        self.learn_of_users(call);
        self.learn_of_upkeep(call, answer);
        self.learn_of_contenders(call, answer);
    }

    /// What a restart changes.
    pub fn learn_of_restart(&mut self, is_orderly: bool) {
        if self.tokens_are == Tokens::Simple {
            self.good.clear();
            // Those that were made last come back with the log, and how many is each server's own affair.
            if !is_orderly {
                self.tokens.clear();
            }
        }
    }

    fn queue(&mut self, call: Call) {
        self.queued.push_back(Step::Call(Box::new(call)));
    }

    /// A call by somebody, by one of the two ways in.
    fn call(&mut self, rpc: &'static Rpc, request: Value) -> Call {
        let caller = self.caller();
        let front = if !rpc.gateway.is_empty() && self.one_in(4) { Front::Gateway } else { Front::Grpc };
        let metadata: &[(&str, &[u8])] = match self.below(60) {
            0 => &[("hasleader", b"true")],
            1 => &[("client-api-version", b"3.7")],
            // A message that is too large would be told first by etcd, and the metadata here (docs/compatibility.md).
            2 if front == Front::Grpc && rpc != &PUT && rpc != &TXN => &[("client-api-version", b"\xff\xfe")],
            _ => &[],
        };
        Call { rpc, requests: vec![request], caller, front, metadata, until: Until::End }
    }

    /// The same, by `root`, and surely not refused for its metadata.
    fn as_root(&mut self, rpc: &'static Rpc, request: Value) -> Call {
        Call { caller: Caller::Root, metadata: &[], ..self.call(rpc, request) }
    }

    /// `root` as it is known when a call is made.
    fn root(&self) -> Caller {
        match self.good.get("root") {
            Some(token) if self.auth_is_on => Caller::Bearer(token.clone(), Proof::Token),
            _ => Caller::Nobody,
        }
    }

    /// Lets `root` be known when the next planned call is made.
    fn plan_log_in(&mut self) {
        if self.auth_is_on {
            let call = Call { caller: Caller::Nobody, ..self.authenticate("root") };
            self.queue(call);
        }
    }

    /// Mostly somebody whose token is good, and mostly `root`.
    fn caller(&mut self) -> Caller {
        let choice = if self.auth_is_on { self.below(100) } else { 99 - self.below(12) };
        let root = self.good.get("root").cloned();
        let token = match choice {
            0..50 => root,
            50..85 => {
                let users: Vec<String> = self.good.values().cloned().collect();
                if users.is_empty() { root } else { Some(users[self.random.random_range(0..users.len())].clone()) }
            }
            85..88 => self.any_token(),
            88..91 => {
                // A number that is too high would be waited for.
                let garbage = ["garbage", "abcdefghijklmnop.5", "a.b.c", "."];
                Some(self.pick(&garbage).to_owned())
            }
            _ => None,
        };
        let proof = self.pick(&[Proof::Token, Proof::Token, Proof::Authorization, Proof::BearerWord]);
        token.map_or(Caller::Nobody, |token| Caller::Bearer(token, proof))
    }

    /// One that was good at least once.
    fn any_token(&mut self) -> Option<String> {
        let at = (!self.tokens.is_empty()).then(|| self.random.random_range(0..self.tokens.len()))?;
        Some(self.tokens[at].clone())
    }

    fn must_log_in(&mut self) -> bool {
        self.auth_is_on && !self.good.contains_key("root") && self.one_in(2)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.random_range(0..end)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.random_range(0..from.len())]
    }

    fn health_call(&mut self) -> Call {
        let service = self.pick(&["", "", "etcdserverpb.KV"]);
        self.call(&HEALTH, json!({"service": service}))
    }
}

/// The end of the range of keys that begin with `prefix`, as clients compute it: none of ours ends with 0xff.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end.into()
}
