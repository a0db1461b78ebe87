//! What clients ask for.
//!
//! Requests are checked at the door (size, form, enums) and become these values once. Numbers whose odd values mean
//! something to etcd's clients (a negative limit or revision) stay as they came; the rules stand where they are used.

use bytes::Bytes;

use super::{AlarmChange, AuthChange, Authenticate, Caller, ClusterVersion, KeyRange, LeaseId, MemberId, Revision};

/// A command, and who asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `None` is nobody: auth was not enabled when it came, or it is not a client's.
    pub caller: Option<Caller>,
    /// What is asked for.
    pub command: Command,
}

impl From<Command> for Request {
    /// Nobody asks.
    fn from(command: Command) -> Request {
        Request { caller: None, command }
    }
}

/// A change of the replicated state. What it does depends only on the state and on what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Writes one key.
    Put(Put),
    /// Deletes a range of keys.
    DeleteRange(DeleteRange),
    /// Compares, then runs one of two lists of operations, as one change.
    Txn(Txn),
    /// Forgets superseded history.
    Compact(Compact),
    /// Makes a lease.
    LeaseGrant(LeaseGrant),
    /// Ends a lease by request.
    LeaseRevoke(LeaseRevoke),
    /// Ends leases whose time is over.
    LeaseExpire(LeaseExpire),
    /// Stores what is left of leases.
    LeaseCheckpoint(LeaseCheckpoint),
    /// Raises or lowers an alarm.
    Alarm(AlarmChange),
    /// Begins a downgrade to a version, or ends it.
    Downgrade(Option<ClusterVersion>),
    /// Changes users or roles.
    Auth(AuthChange),
    /// Gives a token to a user.
    Authenticate(Authenticate),
    /// Stores a member as it is given; only logs of the first version have it.
    MemberSet(Member),
    /// Stores the members that the cluster begins with; does nothing once there was any member.
    MembersFound(Vec<Member>),
    /// Takes a member in.
    MemberAdd(MemberAdd),
    /// Removes a member for ever.
    MemberRemove(MemberId),
    /// Moves a member.
    MemberUpdate(MemberUpdate),
    /// Gives a learner a vote.
    MemberPromote(MemberId),
    /// Removes all members but one, for ever.
    MembersReduce(MemberId),
    /// Stores what a member tells of itself when it starts.
    MemberAttributes(MemberAttributes),
}

/// Writes one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// Never empty.
    pub key: Bytes,
    /// May be empty.
    pub value: Bytes,
    /// The lease to attach to; [`LeaseId::NONE`] detaches.
    pub lease: LeaseId,
    /// Answer the pair as it was before.
    pub prev_kv: bool,
    /// Keep the present value; the key must exist, `value` is empty.
    pub ignore_value: bool,
    /// Keep the present lease; the key must exist, `lease` is none.
    pub ignore_lease: bool,
}

/// Deletes a range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRange {
    /// Which keys.
    pub keys: KeyRange,
    /// Answer the pairs as they were before.
    pub prev_kv: bool,
}

/// Reads a range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Which keys.
    pub keys: KeyRange,
    /// How many pairs at most; zero and below mean all.
    pub limit: i64,
    /// At which revision; zero is the newest. A negative one is the newest too, except inside a txn.
    pub revision: i64,
    /// In which order.
    pub sort_order: SortOrder,
    /// Ordered by what.
    pub sort_target: SortTarget,
    /// Read what this member has, without asking the others.
    pub serializable: bool,
    /// Leave values and leases out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Leave out pairs written before this revision; zero is no bound.
    pub min_mod_revision: i64,
    /// Leave out pairs written after this revision; zero is no bound.
    pub max_mod_revision: i64,
    /// Leave out pairs created before this revision; zero is no bound.
    pub min_create_revision: i64,
    /// Leave out pairs created after this revision; zero is no bound.
    pub max_create_revision: i64,
}

impl Range {
    /// Reads all of `keys` as they are now, linearizably, in key order.
    #[must_use]
    pub fn of(keys: KeyRange) -> Range {
        Range {
            keys,
            limit: 0,
            revision: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            serializable: false,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }

    /// Whether pairs are left out for their revisions.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        [self.min_mod_revision, self.max_mod_revision, self.min_create_revision, self.max_create_revision]
            .iter()
            .any(|&bound| bound != 0)
    }
}

/// The direction of a sorted range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// Key order; ascending if the target is not the key.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// What a range is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The version.
    Version,
    /// The create revision.
    Create,
    /// The mod revision.
    Mod,
    /// The value.
    Value,
}

/// Compares, then runs one of two lists of operations, as one change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold for `success` to run; none means that it runs.
    pub compare: Vec<Compare>,
    /// Runs if all comparisons hold.
    pub success: Vec<TxnOp>,
    /// Runs otherwise.
    pub failure: Vec<TxnOp>,
}

/// One operation of a [`Txn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnOp {
    /// Reads.
    Range(Range),
    /// Writes.
    Put(Put),
    /// Deletes.
    DeleteRange(DeleteRange),
    /// A txn within the txn.
    Txn(Txn),
}

/// One condition of a [`Txn`]: holds if it holds for every key of the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// Which keys.
    pub keys: KeyRange,
    /// How the key's field must relate to the operand.
    pub result: CompareResult,
    /// Which field, and what it is compared with.
    pub target: CompareTarget,
}

/// How the left side must relate to the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareResult {
    /// Equal.
    Equal,
    /// Greater.
    Greater,
    /// Less.
    Less,
    /// Not equal.
    NotEqual,
    /// A number that etcd does not know: always holds.
    Unknown,
}

/// The field of a key that a [`Compare`] looks at, with its operand.
///
/// An operand of the wrong kind counts as zero or empty; that is settled where the request is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareTarget {
    /// The version; zero for a key that does not exist.
    Version(i64),
    /// The create revision; zero for a key that does not exist.
    Create(i64),
    /// The mod revision; zero for a key that does not exist.
    Mod(i64),
    /// The value; never holds for a key that does not exist.
    Value(Operand),
    /// The lease; zero for a key that does not exist.
    Lease(i64),
    /// A number that etcd does not know: counts as equal.
    Unknown,
}

/// The bytes that a value is compared with.
pub type Operand = Bytes;

/// Forgets superseded history below a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compact {
    /// The lowest revision that stays readable.
    pub revision: Revision,
    /// Answer only when the space is free.
    pub physical: bool,
}

/// Makes a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Never zero: the proposer has chosen one if the client did not.
    pub id: LeaseId,
    /// Seconds; the proposer has raised it to its minimum.
    pub ttl: i64,
}

/// Ends a lease and deletes its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRevoke {
    /// Which.
    pub id: LeaseId,
}

/// Ends leases whose time is over, each as one change of its own.
///
/// Dropped whole by apply if the entry that carries it was written in another term: then the leader that saw them
/// expire is deposed, and the new one counts anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseExpire {
    /// Which; unknown ones are passed over.
    pub ids: Vec<LeaseId>,
    /// The term in which the leader saw them expire.
    pub term: u64,
    /// The last entry that the leader had applied when it looked, zero if the log does not say. A lease that was granted
    /// behind it is another one under the same id, and is passed over: a leader that does not know what became of its
    /// proposal makes it again, and between the two a client may have its id granted anew.
    pub as_of: u64,
}

/// Stores what is left of leases, so that a new leader need not give them all of their time again.
///
/// Dropped whole by apply in another term than that of its leader, and without effect on leases that were granted after
/// it looked, as [`LeaseExpire`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseCheckpoint {
    /// Which, and the seconds left; zero for all of its time. Unknown leases are passed over.
    pub remaining: Vec<(LeaseId, i64)>,
    /// The term in which the leader looked at them.
    pub term: u64,
    /// The last entry that the leader had applied when it looked, zero if the log does not say.
    pub as_of: u64,
}

/// Takes a member in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAdd {
    /// The member; it has no name and no client URLs until it has started.
    pub member: Member,
    /// Learners that the cluster may have, the new one included.
    pub learners_max: usize,
}

/// Moves a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberUpdate {
    /// Which.
    pub id: MemberId,
    /// Where other members reach it from now on.
    pub peer_urls: Vec<String>,
}

/// Stores what a member tells of itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAttributes {
    /// Which.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

/// What the cluster knows of one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its name; empty until it has started.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
    /// It receives the log but has no vote.
    pub is_learner: bool,
}

impl Member {
    /// Tells whether it has ever started: then it has told its name.
    #[must_use]
    pub fn has_started(&self) -> bool {
        !self.name.is_empty()
    }
}
