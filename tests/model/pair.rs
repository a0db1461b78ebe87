//! The machine and the reference model side by side: each step is taken by both, and what they say is compared.
//!
//! Every reply, every event and every range must be equal, and after a restart the machine must answer as if there had
//! been none. Property tests and a fuzz target make the steps.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use lodemark::env::MemoryDisk;
use lodemark::machine::{Effects, LeaseChange, Machine, Rejection, Shared, read_txn};
use lodemark::model::{
    Command, Event, EventKind, KeyRange, LeaseId, LogId, Range, RangeEnd, Record, Reply, Revision, SubRevision, Txn,
};
use lodemark::mvcc::{self, ReadError};
use lodemark::storage::{Import, Storage, TableWrite};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::model::Model;

const CACHE_BYTES: usize = 1 << 20;
/// So few that commands meet.
pub const KEYS: &[&[u8]] = &[b"a", b"a\0", b"ab", b"b", b"c", b"\xff"];
/// So long that it may fall out of memory.
pub const LONG_VALUE: &str = "a long value, for which it is worth while to leave memory when there are too many of them, \
                              and to be read from the disk again when somebody asks for it";

/// Everything that lived at a revision, in order of key.
pub fn all_keys(revision: i64) -> Range {
    let keys = KeyRange { start: Bytes::from_static(b"\0"), end: RangeEnd::Unbounded };
    Range { revision, ..Range::of(keys) }
}

/// One step of a sequence.
#[derive(Debug, Clone)]
pub enum Step {
    /// A log entry with these commands; a new leader's, if the term moves on.
    Entry { commands: Vec<Command>, new_term: bool },
    /// Reads, outside apply.
    Read(Range),
    /// Reads with conditions, outside apply.
    ReadTxn(Txn),
    /// Writes everything pending as one transaction, then lets the tail go.
    Checkpoint,
    /// Frees what is compacted, some keys of it.
    Sweep { keys_max: usize },
    /// Holds the present revision readable, until the next one of these.
    Pin,
    /// Visits some keys to let values go from memory, if there are too many.
    Evict { keys_max: usize },
    /// Starts again from the last checkpoint, and applies the log after it.
    Restart,
    /// Goes on as another member that has received the present state as a snapshot.
    Snapshot,
}

/// The machine with its disk, and the model beside it.
pub struct Pair {
    model: Model,
    shared: Shared,
    /// It has a checkpoint of its own.
    is_stored: bool,
    log: Vec<(LogId, Vec<Command>)>,
    /// What the next checkpoint writes.
    pending: Vec<TableWrite>,
    /// Everything watchers have been told.
    events: Vec<Event>,
    pin: Option<mvcc::Pin>,
    /// Bytes of pairs that may be in memory.
    values_max: usize,
}

impl Pair {
    pub fn new(values_max: usize) -> Pair {
        Pair {
            model: Model::new(),
            shared: Shared {
                machine: RwLock::new(EMPTY.with(|empty| Machine::load(empty, values_max)).unwrap()),
                storage: ArcSwap::new(EMPTY.with(Arc::clone)),
            },
            is_stored: false,
            log: Vec::new(),
            pending: Vec::new(),
            events: Vec::new(),
            pin: None,
            values_max,
        }
    }

    /// Whether anything was written.
    pub fn has_changed(&self) -> bool {
        !self.events.is_empty()
    }

    fn machine(&self) -> RwLockReadGuard<'_, Machine> {
        self.shared.machine.read()
    }

    fn machine_mut(&self) -> RwLockWriteGuard<'_, Machine> {
        self.shared.machine.write()
    }

    fn storage(&self) -> Arc<Storage> {
        self.shared.storage.load_full()
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Entry { commands, new_term } => {
                self.model.term += u64::from(*new_term);
                self.entry(commands);
                self.compare_range(&all_keys(0));
            }
            Step::Read(query) => self.compare_range(query),
            Step::ReadTxn(txn) => {
                let reply = read_txn(&self.shared, txn).unwrap().0.map(Reply::Txn);
                assert_eq!(reply, self.model.clone().apply(&Command::Txn(txn.clone())), "{txn:?}");
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Sweep { keys_max } => {
                let removed = self.machine_mut().kv.compact_step(*keys_max).unwrap_or_default();
                self.pending.extend(removed.into_iter().map(|at| TableWrite::RemoveRecord { at }));
                self.compare_range(&all_keys(self.model.compacted().0));
            }
            Step::Pin => {
                let pin = self.machine().kv.pin(self.model.revision());
                self.pin = Some(pin);
            }
            Step::Evict { keys_max } => {
                self.machine_mut().kv.evict_step(*keys_max);
                self.compare_range(&all_keys(0));
            }
            Step::Restart => self.restart(),
            Step::Snapshot => self.snapshot(),
        }
        assert_eq!(self.machine().kv.revision(), self.model.revision());
        assert_eq!(self.machine().kv.compacted(), self.model.compacted());
    }

    /// Applies an entry to both, and compares what each command did.
    fn entry(&mut self, commands: &[Command]) {
        let at = LogId { term: self.model.term, index: self.machine().applied().index + 1 };
        self.machine_mut().begin_entry(at).unwrap();
        let mut effects = Effects::default();
        for command in commands {
            let revision_before = self.model.revision();
            let leases_before = self.model.leases();
            let (told, compacted_before) = (effects.events.len(), self.model.compacted());

            let reply = self.machine_mut().apply(command, &self.storage(), &mut effects).unwrap();
            let promised = self.model.apply(command);
            assert_eq!(reply, promised, "{command:?}");

            let promised = self.model.events_from(revision_before.next().max(compacted_before)).unwrap();
            self.compare_events(&effects.events[told..], &promised);
            if self.model.compacted() != compacted_before {
                assert_eq!(effects.compacted, Some(self.model.compacted()));
            }
            for change in effects.leases.drain(..) {
                let has = |leases: &[(LeaseId, i64, Vec<Vec<u8>>)], lease: LeaseId| leases.iter().any(|l| l.0 == lease);
                match change {
                    LeaseChange::Granted { id, .. } => {
                        assert!(!has(&leases_before, id) && has(&self.model.leases(), id))
                    }
                    LeaseChange::Ended { id } => assert!(has(&leases_before, id) && !has(&self.model.leases(), id)),
                }
            }
        }
        self.compare_leases();
        self.pending.append(&mut effects.writes);
        self.events.append(&mut effects.events);
        self.log.push((at, commands.to_vec()));
    }

    fn checkpoint(&mut self) {
        if !self.is_stored {
            self.shared.storage.store(Arc::new(new_storage()));
            self.is_stored = true;
        }
        let revision = self.machine().kv.revision();
        self.storage().commit(&self.pending, &self.machine().meta(Bytes::new())).unwrap();
        self.pending.clear();
        self.log.clear();
        self.machine_mut().kv.release_tail(revision);
        assert_eq!(self.machine().kv.tail_start(), None);
        assert_eq!(self.machine().kv.tail_bytes(), 0);
    }

    /// What a member does after a crash. What was pending is lost and comes again from the log.
    fn restart(&mut self) {
        let mut again = Machine::load(&self.storage(), self.values_max).unwrap();
        self.pending.clear();
        let mut effects = Effects::default();
        for (at, commands) in &self.log {
            again.begin_entry(*at).unwrap();
            for command in commands {
                let _ = again.apply(command, &self.storage(), &mut effects).unwrap();
            }
        }
        self.pending = effects.writes;
        let first = self.events.len() - effects.events.len();
        // Pairs before may have left memory in one life and not in the other.
        let told = |events: &[Event]| events.iter().map(|event| event.record.clone()).collect::<Vec<_>>();
        assert_eq!(told(&effects.events), told(&self.events[first..]), "the log gives the same events again");
        assert_eq!(again.meta(Bytes::new()), self.machine().meta(Bytes::new()));
        assert_eq!(again.kv.live_keys(), self.machine().kv.live_keys());
        assert_eq!(again.kv.live_bytes(), self.machine().kv.live_bytes());
        self.pin = None;
        *self.machine_mut() = again;
        self.compare_everything();
    }

    /// What a member does that was away for too long.
    fn snapshot(&mut self) {
        self.checkpoint();
        let (mut stream, disk, path) = (Vec::new(), Arc::new(MemoryDisk::new()), Path::new("state"));
        self.storage().freeze().unwrap().export(&mut stream).unwrap();
        let imported = Import::of_pieces(disk.clone(), path, stream.chunks(100)).unwrap();
        assert_eq!(imported.meta, self.machine().meta(Bytes::new()));
        let storage = Storage::open_built(disk.as_ref(), path, CACHE_BYTES).unwrap();
        let records = imported.records.expect("they may all be kept");
        let again = Machine::of_records(&storage, records, self.values_max).unwrap();
        assert_eq!(again.meta(Bytes::new()), imported.meta);
        self.shared.storage.store(Arc::new(storage));
        self.pin = None;
        *self.machine_mut() = again;
        self.compare_everything();
    }

    fn compare_range(&self, query: &Range) {
        let reply = mvcc::range(&self.shared, &self.storage(), query).map_err(rejection);
        let promised = self.model.range(query);
        assert_eq!(reply, promised, "{query:?}");
        if let Some(now) = mvcc::range_now(&self.machine().kv, query, usize::MAX) {
            assert_eq!(now.map_err(rejection), promised, "from memory: {query:?}");
        }
    }

    /// The pair before an event may be missing if it has left memory, which only a long one does.
    fn compare_events(&self, found: &[Event], promised: &[Event]) {
        let is_long = |record: &Record| record.value() == LONG_VALUE.as_bytes();
        let may_have_left = |event: &Event| self.values_max < usize::MAX && event.prev.as_ref().is_some_and(is_long);
        let is_told = |(found, promised): (&Event, &Event)| {
            (found.kind, &found.record) == (promised.kind, &promised.record)
                && (found.prev == promised.prev || (found.prev.is_none() && may_have_left(promised)))
        };
        assert!(
            found.len() == promised.len() && found.iter().zip(promised).all(is_told),
            "{found:?}, not {promised:?}"
        );
    }

    fn compare_leases(&self) {
        let machine = self.machine();
        let leases = machine.lessor.iter().map(|(id, lease)| {
            let keys = machine.lessor.keys(id).iter().map(|key| key.to_vec()).collect();
            (id, lease.ttl, keys)
        });
        assert_eq!(leases.collect::<Vec<_>>(), self.model.leases());
    }

    /// Every revision there is, read whole; the history from each on; and each key by itself.
    pub fn compare_everything(&self) {
        self.compare_leases();
        for revision in -2..=self.model.revision().0 + 1 {
            self.compare_range(&all_keys(revision));
            self.compare_history(Revision(revision));
        }
        for key in KEYS {
            let keys = KeyRange::single(Bytes::from_static(key));
            let latest = self.machine().kv.newest(key).map(|newest| newest.read(&self.storage()).unwrap());
            let reply = self.model.range(&Range { keys, ..all_keys(0) }).unwrap();
            assert_eq!(latest.as_slice(), reply.kvs, "{key:?}");
        }
    }

    fn compare_history(&self, from: Revision) {
        let through = self.machine().kv.revision();
        let mut found: Vec<(SubRevision, Record)> = Vec::new();
        loop {
            let next = found.last().map_or(from, |(at, _)| at.main.next());
            match mvcc::changes(&self.shared, &self.storage(), next, through, 3, usize::MAX) {
                Ok(more) if more.is_empty() => break,
                Ok(more) => found.extend(more),
                Err(ReadError::Compacted { compacted, .. }) => {
                    assert_eq!(self.model.events_from(from), Err(compacted));
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let promised = self.model.events_from(from).unwrap();
        // What one request changed twice in the compacted revision itself may be there or not.
        let (at_floor, later): (Vec<_>, Vec<_>) =
            promised.into_iter().partition(|event| event.revision() == self.model.compacted());
        let found_later = found.iter().filter(|(at, _)| at.main > self.model.compacted());
        assert!(found_later.map(|(_, record)| record).eq(later.iter().map(|event| &event.record)), "from {from}");
        for (i, event) in at_floor.iter().enumerate() {
            if at_floor[i + 1..].iter().all(|other| other.key() != event.key()) {
                assert!(found.iter().any(|(_, record)| *record == event.record), "{event:?} from {from}");
            }
        }
        for event in later {
            assert_eq!(event.kind == EventKind::Delete, event.record.is_tombstone());
            let revision_before = event.revision().previous();
            let pair = event.record.pair();
            if revision_before < self.model.compacted() || pair.create_revision == pair.mod_revision {
                continue;
            }
            let before = mvcc::record_at(&self.shared, &self.storage(), event.key(), revision_before);
            assert_eq!(before.unwrap(), event.prev, "{} at {revision_before}", event.key().escape_ascii());
        }
    }
}

fn rejection(error: ReadError) -> Rejection {
    match error {
        ReadError::Compacted { requested, compacted } => Rejection::Compacted { requested, compacted },
        ReadError::Future { requested, current } => Rejection::FutureRevision { requested, current },
        ReadError::Storage(error) => panic!("{error}"),
    }
}

fn new_storage() -> Storage {
    Storage::open(Arc::new(MemoryDisk::new()), Path::new("state"), CACHE_BYTES).unwrap()
}

thread_local! {
    /// What all begin with: a file is made when the first checkpoint is written, for it takes a while.
    static EMPTY: Arc<Storage> = Arc::new(new_storage());
}
