//! What was asked and answered, in plain values.
//!
//! Times are counted from the beginning of the run on one clock that all clients share: simulated time, or the
//! monotonic clock of the machine that all clients run on. An operation that ended at or before the moment at which
//! another began came before it.

use std::time::Duration;

use lodemark::machine::Rejection;
use lodemark::model::{
    Command, DeleteReply, Event, KeyRange, LeaseId, OpReply, Range, RangeReply, Record, Reply, Revision, TxnReply,
};

/// A moment of the run.
pub type Moment = Duration;

/// One process: a member between one start and its end. Two starts of a member are two servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Which member.
    pub member: u64,
    /// Which of its starts.
    pub start: u64,
}

/// Everything that clients did and heard.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// In order of their beginning.
    pub operations: Vec<Operation>,
    /// In any order.
    pub watchings: Vec<Watching>,
    /// In any order.
    pub holds: Vec<Hold>,
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Who asked.
    pub client: u64,
    /// Who was asked.
    pub server: Server,
    /// When the client asked.
    pub begin: Moment,
    /// When the client had the outcome, or gave up.
    pub end: Moment,
    /// What was asked.
    pub request: Request,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A change.
    Command(Command),
    /// A read.
    Range(Range),
    /// A lease is to live on.
    KeepAlive(LeaseId),
    /// What is left of a lease.
    TimeToLive(LeaseId),
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A change was made, or found that there was nothing to change.
    Changed(Reply),
    /// A read was answered.
    Read(RangeReply),
    /// The state did not allow it. Nothing was changed.
    Rejected(Rejection),
    /// The lease was renewed: its whole time in seconds. Zero: there is no such lease.
    KeptAlive(i64),
    /// The time that was granted to a lease, in seconds; `None` if there is no such lease.
    Granted(Option<i64>),
    /// It surely did not and will not take effect.
    NotDone,
    /// It may have taken effect, or may yet.
    Unknown,
}

/// One watch as its client means it: it goes on over connections that break.
#[derive(Debug, Clone)]
pub struct Watching {
    /// Which keys.
    pub keys: KeyRange,
    /// It wants pairs as they were before.
    pub prev_kv: bool,
    /// Puts are left out.
    pub no_put: bool,
    /// Deletes are left out.
    pub no_delete: bool,
    /// One after another.
    pub sessions: Vec<Session>,
    /// It must have heard everything up to here, for there was time enough.
    pub must_reach: Option<Revision>,
}

/// One connection of a [`Watching`].
#[derive(Debug, Clone)]
pub struct Session {
    /// Who was asked.
    pub server: Server,
    /// From which revision on; zero is "from now on".
    pub from: i64,
    /// In order.
    pub heard: Vec<(Moment, Heard)>,
}

/// What a watch was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The watcher was made when the store was at this revision.
    Created(Revision),
    /// Something happened.
    Events(Vec<Event>),
    /// Everything up to this revision was told.
    Progress(Revision),
    /// What it needs is compacted; from this revision on it can be watched.
    Compacted(Revision),
}

/// A lock was held, or an election won.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Who held it.
    pub client: u64,
    /// Which one: the prefix of the keys of those who want it.
    pub lock: Vec<u8>,
    /// The key of this one.
    pub key: Vec<u8>,
    /// The revision at which the client was told that it holds.
    pub acquired: Revision,
}

impl Operation {
    /// The revision of the store that the answer tells of.
    pub fn revision(&self) -> Option<Revision> {
        match &self.outcome {
            Outcome::Changed(reply) => Some(reply.revision()),
            Outcome::Read(reply) => Some(reply.revision),
            Outcome::Rejected(_)
            | Outcome::KeptAlive(_)
            | Outcome::Granted(_)
            | Outcome::NotDone
            | Outcome::Unknown => None,
        }
    }

    /// The revision that the change took for itself, if it surely took one.
    pub fn took_revision(&self) -> Option<Revision> {
        let Outcome::Changed(reply) = &self.outcome else { return None };
        let has_changed = match reply {
            Reply::Put(_) => true,
            Reply::DeleteRange(reply) => has_deleted(reply),
            Reply::Txn(reply) => has_written(reply),
            _ => false,
        };
        has_changed.then(|| reply.revision())
    }

    /// It must be answered from the newest state.
    pub fn is_linearizable(&self) -> bool {
        match &self.request {
            Request::Range(range) => !range.serializable,
            Request::Command(_) | Request::KeepAlive(_) | Request::TimeToLive(_) => true,
        }
    }
}

fn has_deleted(reply: &DeleteReply) -> bool {
    reply.deleted > 0
}

fn has_written(reply: &TxnReply) -> bool {
    reply.responses.iter().any(|response| match response {
        OpReply::Put(_) => true,
        OpReply::DeleteRange(reply) => has_deleted(reply),
        OpReply::Txn(reply) => has_written(reply),
        OpReply::Range(_) => false,
    })
}

impl History {
    /// Each revision that anybody was told of, with when: answers and watches.
    pub fn sightings(&self) -> Vec<(Moment, Revision)> {
        let answers = self.operations.iter().filter_map(|op| Some((op.end, op.revision()?)));
        let heard = self.watchings.iter().flat_map(|watching| &watching.sessions).flat_map(|session| &session.heard);
        let told = heard.filter_map(|(at, heard)| match heard {
            Heard::Created(revision) | Heard::Progress(revision) => Some((*at, *revision)),
            Heard::Events(events) => Some((*at, events.last()?.revision())),
            Heard::Compacted(_) => None,
        });
        answers.chain(told).collect()
    }

    /// The highest revision that anybody asked to compact at, answered or not; `before` that moment.
    pub fn compaction_asked(&self, before: Moment) -> Option<Revision> {
        let asked = self.operations.iter().filter(|op| op.begin < before && op.outcome != Outcome::NotDone);
        asked.filter_map(|op| compaction(&op.request)).max()
    }
}

/// The revision that a request wants to compact at.
pub fn compaction(request: &Request) -> Option<Revision> {
    match request {
        Request::Command(Command::Compact(compact)) => Some(compact.revision),
        _ => None,
    }
}

/// The pairs of a reply in words.
pub fn pairs(kvs: &[Record]) -> String {
    kvs.iter().map(|record| format!("{record:?}")).collect::<Vec<_>>().join(", ")
}
