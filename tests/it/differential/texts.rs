//! Every error text that etcd's API has, and where a test reaches it.
//!
//! A row is the code as it is on the wire, the text, and how a client comes to see it. The random calls of several users
//! ([`services`](super::services)) count the texts that the reference answers, and must reach all that are theirs; the
//! other rows name the test that compares or shows them, or say why no client can see them.
//!
//! Source: etcd, `api/v3rpc/rpctypes/error.go`, and the texts of errors that it has no row for.

use std::collections::BTreeMap;
use std::fmt;

use tonic::Code;
use tonic::Code::{
    Cancelled, DataLoss, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, PermissionDenied,
    ResourceExhausted, Unauthenticated, Unavailable, Unimplemented, Unknown,
};

use self::Reach::{Never, Random, Test};
use super::client::Failure;

/// How a client comes to see a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By random calls of several users.
    Random,
    /// As another test shows: file and function.
    Test(&'static str, &'static str),
    /// Not at all, and why.
    Never(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct Text {
    pub code: Code,
    /// The text, or what it begins with if it goes on with numbers.
    pub text: &'static str,
    pub reach: Reach,
}

const fn text(code: Code, text: &'static str, reach: Reach) -> Text {
    Text { code, text, reach }
}

/// The script of `script`.
const SCRIPT: Reach =
    Test("tests/it/differential/mod.rs", "locks_elections_alarms_expiry_and_overload_are_answered_as_by_etcd");
/// The clusters of `cluster`.
const CLUSTERS: Reach = Test("tests/it/differential/cluster.rs", "members_of_a_cluster_refuse_as_those_of_etcd");

/// All of them, in the order of the contract.
pub const TEXTS: &[Text] = &[
    text(InvalidArgument, "etcdserver: key is not provided", Random),
    text(InvalidArgument, "etcdserver: key not found", Random),
    text(InvalidArgument, "etcdserver: value is provided", Random),
    text(InvalidArgument, "etcdserver: lease is provided", Random),
    text(InvalidArgument, "etcdserver: too many operations in txn request", Random),
    text(InvalidArgument, "etcdserver: duplicate key given in txn request", Random),
    text(InvalidArgument, "etcdserver: invalid client api version", Random),
    text(InvalidArgument, "etcdserver: invalid sort option", Random),
    text(Unimplemented, "RangeStream does not support custom sort orders", Random),
    text(Unimplemented, "RangeStream does not support revision filters", Random),
    text(OutOfRange, "etcdserver: mvcc: required revision has been compacted", Random),
    text(OutOfRange, "etcdserver: mvcc: required revision is a future revision", Random),
    text(ResourceExhausted, "etcdserver: mvcc: database space exceeded", Random),
    text(NotFound, "etcdserver: requested lease not found", Random),
    text(FailedPrecondition, "etcdserver: lease already exists", Random),
    text(OutOfRange, "etcdserver: too large lease TTL", Random),
    text(
        Cancelled,
        "etcdserver: watch canceled",
        Never("it is sent to a client that has cancelled the call, and reads no more"),
    ),
    text(
        FailedPrecondition,
        "etcdserver: member ID already exist",
        Test("tests/it/differential/cluster.rs", "a_member_added_twice_within_a_second_has_one_id"),
    ),
    text(FailedPrecondition, "etcdserver: Peer URLs already exists", Random),
    text(Unknown, "etcdserver: re-configuration failed due to not enough started members", Random),
    text(InvalidArgument, "etcdserver: given member URLs are invalid", Random),
    text(NotFound, "etcdserver: member not found", Random),
    text(FailedPrecondition, "etcdserver: can only promote a learner member", Random),
    text(FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader", Random),
    text(FailedPrecondition, "etcdserver: too many learner members in cluster", Random),
    text(FailedPrecondition, "etcdserver: cluster ID mismatch", Never("only members ask each other for hashes so")),
    text(InvalidArgument, "etcdserver: request is too large", Random),
    text(ResourceExhausted, "grpc: received message larger than max (", Random),
    text(Unknown, "etcdserver: too many requests", SCRIPT),
    text(FailedPrecondition, "etcdserver: root user does not exist", Random),
    text(FailedPrecondition, "etcdserver: root user does not have root role", Random),
    text(FailedPrecondition, "etcdserver: user name already exists", Random),
    text(InvalidArgument, "etcdserver: user name is empty", Random),
    text(FailedPrecondition, "etcdserver: user name not found", Random),
    text(FailedPrecondition, "etcdserver: role name already exists", Random),
    text(FailedPrecondition, "etcdserver: role name not found", Random),
    text(InvalidArgument, "etcdserver: role name is empty", Random),
    text(InvalidArgument, "etcdserver: authentication failed, invalid user ID or password", Random),
    text(InvalidArgument, "etcdserver: permission not given", Random),
    text(PermissionDenied, "etcdserver: permission denied", Random),
    text(FailedPrecondition, "etcdserver: role is not granted to the user", Random),
    text(FailedPrecondition, "etcdserver: permission is not granted to the role", Random),
    text(FailedPrecondition, "etcdserver: authentication is not enabled", Random),
    text(Unauthenticated, "etcdserver: invalid auth token", Random),
    text(InvalidArgument, "etcdserver: invalid auth management", Random),
    text(InvalidArgument, "etcdserver: revision of auth store is old", Random),
    text(Unavailable, "etcdserver: no leader", CLUSTERS),
    text(FailedPrecondition, "etcdserver: not leader", CLUSTERS),
    text(
        Unavailable,
        "etcdserver: leader changed",
        Test("src/api/grpc/status.rs", "every_error_of_the_node_has_its_row"),
    ),
    text(FailedPrecondition, "etcdserver: not capable", Never("a cluster has its version before it serves clients")),
    text(
        Unavailable,
        "etcdserver: server stopped",
        Test("tests/it/gateway/limits.rs", "a_server_that_stops_ends_its_streams"),
    ),
    text(Unavailable, "etcdserver: request timed out", CLUSTERS),
    text(
        Unavailable,
        "etcdserver: request timed out, possibly due to previous leader failure",
        Test("src/api/grpc/status.rs", "every_error_of_the_node_has_its_row"),
    ),
    text(
        Unavailable,
        "etcdserver: request timed out, possibly due to connection lost",
        Test("src/api/grpc/status.rs", "every_error_of_the_node_has_its_row"),
    ),
    text(
        Unavailable,
        "etcdserver: request timed out, waiting for the applied index took too long",
        Never("here nothing waits so: leases and promotions pass the barrier of reads, and say `request timed out`"),
    ),
    text(Unavailable, "etcdserver: unhealthy cluster", CLUSTERS),
    text(DataLoss, "etcdserver: corrupt cluster", Random),
    text(FailedPrecondition, "etcdserver: rpc not supported for learner", CLUSTERS),
    text(FailedPrecondition, "etcdserver: bad leader transferee", Random),
    text(InvalidArgument, "etcdserver: wrong downgrade target version format", Random),
    text(InvalidArgument, "etcdserver: invalid downgrade target version", Random),
    text(
        FailedPrecondition,
        "etcdserver: cluster version not found during downgrade",
        Never("a cluster has its version before it serves clients"),
    ),
    text(FailedPrecondition, "etcdserver: cluster has a downgrade job in progress", Random),
    text(FailedPrecondition, "etcdserver: no inflight downgrade job", Never("CANCEL swallows it")),
    text(
        Cancelled,
        "etcdserver: request canceled",
        Never("it is sent to a client that has cancelled the call, and reads no more"),
    ),
    text(
        DeadlineExceeded,
        "etcdserver: context deadline exceeded",
        Never("etcd defines it and sends the one without its name"),
    ),
    text(DeadlineExceeded, "context deadline exceeded", CLUSTERS),
    text(Cancelled, "context canceled", Never("it is sent to a client that has cancelled the call, and reads no more")),
    text(
        Unknown,
        "not a primary lessor",
        Never("it tells of a renewal while the lead is lost; here a member that does not lead asks the one that does"),
    ),
    text(
        Unknown,
        "raft proposal dropped",
        Never("it tells of a write while the lead is handed over; here that waits for the next leader"),
    ),
    text(Unknown, "etcdserver: unknown method", Random),
    text(
        Unknown,
        "etcdserver: request timed out, leader transfer took too long",
        Test("src/api/grpc/maintenance.rs", "the_lead_goes_only_to_a_voter"),
    ),
    text(Unknown, "auth: authentication failed, password was given for no password user", Random),
    text(
        Unknown,
        "auth: token signing attempted with verify-only key",
        Test("tests/it/auth_calls/jwt.rs", "tokens_that_are_signed_with_a_key_of_rsa"),
    ),
    text(Unknown, "bcrypt: password length exceeds 72 bytes", Random),
    text(Unknown, "\"leader\" field must be provided", Random),
    text(Unknown, "election: no leader", Random),
    text(Unknown, "election: not leader", Random),
    text(Unknown, "mutex: session is expired", SCRIPT),
    text(
        Unknown,
        "lost watcher waiting for delete",
        Never("it tells of a wait that a compaction overtook; here the wait looks again"),
    ),
];

/// How often the reference answered each.
#[derive(Debug, Default, Clone)]
pub struct Reached(BTreeMap<usize, u64>);

impl Reached {
    pub fn note(&mut self, failure: &Failure) {
        let is_it = |row: &Text| match row.text.strip_suffix('(') {
            Some(_) => row.code == failure.code && failure.message.starts_with(row.text),
            None => row.code == failure.code && failure.message == row.text,
        };
        if let Some(row) = TEXTS.iter().position(is_it) {
            *self.0.entry(row).or_default() += 1;
        }
    }

    pub fn merge(&mut self, other: &Reached) {
        for (row, count) in &other.0 {
            *self.0.entry(*row).or_default() += count;
        }
    }

    /// What random calls must reach and did not.
    pub fn missed(&self) -> Vec<&'static str> {
        let rows = TEXTS.iter().enumerate().filter(|(row, text)| text.reach == Random && !self.0.contains_key(row));
        rows.map(|(_, text)| text.text).collect()
    }

    /// How often `text` was reached.
    pub fn count_of(&self, text: &str) -> u64 {
        let rows = self.0.iter().filter(|(row, _)| TEXTS[**row].text == text);
        rows.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (row, text) in TEXTS.iter().enumerate() {
            let count = self.0.get(&row).unwrap_or(&0);
            let how = match text.reach {
                Random => String::new(),
                Test(_, name) => format!("  [{name}]"),
                Never(why) => format!("  [never: {why}]"),
            };
            writeln!(f, "{count:>8}  {:?} {}{how}", text.code, text.text)?;
        }
        Ok(())
    }
}

#[test]
fn tests_that_show_an_error_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for row in TEXTS {
        let Test(file, name) = row.reach else { continue };
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {name}(")), "{}: {file} has no {name}", row.text);
        let is_counted_here = file.starts_with("tests/it/differential/");
        assert!(is_counted_here || source.contains(row.text), "{file} does not have {}", row.text);
    }
}
