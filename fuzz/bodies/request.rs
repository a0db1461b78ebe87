//! The messages of every call of clients, checked as the front does, and carried out by the machine.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use lodemark::api::grpc::any_bytes::{self, Asked};
use lodemark::env::MemoryDisk;
use lodemark::machine::{Effects, Machine, Shared, read_txn};
use lodemark::model::{Command, LeaseGrant, LeaseId, LogId, Put, RangeEnd, Reply};
use lodemark::mvcc::{self, ReadError};
use lodemark::raft::{Proposal, decode_commands, encode_commands};
use lodemark::storage::Storage;
use parking_lot::RwLock;

/// Any bytes as the message of a call: it is refused, or what it asks for is applied as a log entry, or read, and the
/// answer has bytes.
pub fn request(bytes: &[u8]) -> bool {
    let Some((read, message)) = super::chosen(bytes, any_bytes::READERS) else { return false };
    match read(Bytes::copy_from_slice(message)) {
        Ok(asked) => {
            carry_out(asked);
            true
        }
        Err(status) => {
            assert!(!status.message().is_empty());
            false
        }
    }
}

fn carry_out(asked: Asked) {
    match asked {
        Asked::Propose(proposal) => {
            let shared = filled();
            if let Some(reply) = apply(&shared, &proposal) {
                assert!(!any_bytes::answer(reply).is_empty());
            }
        }
        Asked::Compact(compact) => {
            let shared = filled();
            if apply(&shared, &Proposal::from(&Command::Compact(compact))).is_some() {
                while shared.machine.write().kv.compact_step(2).is_some_and(|removed| !removed.is_empty()) {}
            }
        }
        Asked::Range(query) => match mvcc::range(&filled(), &storage(), &query) {
            Ok(reply) => drop(any_bytes::answer_range(reply)),
            Err(ReadError::Storage(error)) => panic!("{error}"),
            Err(ReadError::Compacted { .. } | ReadError::Future { .. }) => {}
        },
        Asked::ReadTxn(txn) => {
            if let Ok(reply) = read_txn(&filled(), &txn).expect("memory does not fail").0 {
                assert!(!any_bytes::answer(Reply::Txn(reply)).is_empty());
            }
        }
        Asked::Watch(spec) => assert!(!spec.keys.start.is_empty() || spec.keys.end != RangeEnd::Single),
        Asked::MemberAt(urls) => assert!(!urls.is_empty() && urls.is_sorted()),
        Asked::Other => {}
    }
}

/// Applies a command as the only one of its log entry; `None` if it is refused.
fn apply(shared: &Shared, proposal: &Proposal) -> Option<Reply> {
    let entry = encode_commands([proposal].into_iter());
    let requests = decode_commands(entry).expect("what the front let in can be read from the log");
    let [request] = requests.as_slice() else { panic!("one command became {}", requests.len()) };
    let mut machine = shared.machine.write();
    let index = machine.applied().index + 1;
    machine.begin_entry(LogId { term: 1, index }).expect("it is the next entry");
    let mut effects = Effects::default();
    let applied = machine.apply_by(request.caller.as_ref(), &request.command, &storage(), &mut effects);
    applied.expect("memory does not fail").ok()
}

/// A machine with a few keys, one of them attached to a lease, and one with a past.
fn filled() -> Shared {
    let shared = Shared { machine: RwLock::new(Machine::new()), storage: ArcSwap::new(storage()) };
    let put = |key: &'static [u8], lease| {
        Command::Put(Put { key: key.into(), value: Bytes::from_static(b"vv"), lease: LeaseId(lease), ..Put::default() })
    };
    let grant = Command::LeaseGrant(LeaseGrant { id: LeaseId(4), ttl: 60 });
    for command in [grant, put(b"key", 0), put(b"key", 4), put(b"kez", 0)] {
        apply(&shared, &Proposal::from(&command)).expect("nothing is wrong with it");
    }
    shared
}

fn storage() -> Arc<Storage> {
    thread_local! {
        static EMPTY: Arc<Storage> =
            Arc::new(Storage::open(Arc::new(MemoryDisk::new()), Path::new("state"), 1 << 16).expect("a new file opens"));
    }
    EMPTY.with(Arc::clone)
}
