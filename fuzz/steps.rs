//! Steps for the machine and the model, read from bytes.
//!
//! Every byte string is a sequence of steps: a byte chooses among a few things, and what is missing at the end is zero. So
//! a mutation of the bytes is mostly a small change of the sequence.

use bytes::Bytes;
use lodemark::model::{
    Alarm, AlarmChange, AlarmKind, Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange,
    LeaseCheckpoint, LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke, Member, MemberId, Put, Range, Revision, SortOrder,
    SortTarget, Txn, TxnOp,
};

use crate::pair::{KEYS, LONG_VALUE, Step};

const VALUES: &[&[u8]] = &[b"", b"x", b"y", b"yy", LONG_VALUE.as_bytes()];
/// Long enough for a history, short enough for many.
const STEPS_MAX: usize = 16;
/// Txns within txns; one more would only be slower.
const DEPTH_MAX: u32 = 3;

/// Reads all of the steps.
pub fn steps(bytes: &[u8]) -> Vec<Step> {
    let mut source = Source(bytes);
    let mut steps = Vec::new();
    while !source.0.is_empty() && steps.len() < STEPS_MAX {
        steps.push(source.step());
    }
    steps
}

struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()].clone()
    }

    /// Up to three of something.
    fn few<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.byte() % 4).map(|_| one(self)).collect()
    }

    fn step(&mut self) -> Step {
        match self.byte() % 64 {
            0..=37 => {
                let new_term = self.byte() > 250;
                let mut commands = vec![self.command()];
                while self.byte() % 4 == 3 && commands.len() < 4 {
                    commands.push(self.command());
                }
                Step::Entry { commands, new_term }
            }
            38..=45 => Step::Read(self.range()),
            46..=49 => Step::ReadTxn(Txn {
                compare: self.few(Self::compare),
                success: self.few(|source| TxnOp::Range(source.range())),
                failure: self.few(|source| TxnOp::Range(source.range())),
            }),
            50..=55 => Step::Sweep { keys_max: usize::from(self.byte() % 8) + 1 },
            56 | 57 => Step::Pin,
            58..=59 => Step::Evict { keys_max: usize::from(self.byte() % 8) + 1 },
            60..=61 => Step::Restart,
            // These write files, which takes longer than all the rest.
            62 => Step::Checkpoint,
            _ if self.byte() % 4 == 3 => Step::Snapshot,
            _ => Step::Restart,
        }
    }

    fn command(&mut self) -> Command {
        match self.byte() % 32 {
            0..=9 => Command::Put(self.put()),
            10..=13 => Command::DeleteRange(self.delete()),
            14..=20 => Command::Txn(self.txn(0)),
            21..=23 => Command::Compact(Compact { revision: Revision(self.number()), physical: self.byte() & 1 == 1 }),
            24..=26 => {
                let ttl = self.of(&[3600, 1, 9_000_000_000, 9_000_000_001]);
                // A proposer never asks for none.
                let id = self.of(&[1, 2, 3, -1, i64::MAX, i64::MIN]);
                Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl })
            }
            27 => Command::LeaseRevoke(LeaseRevoke { id: self.lease() }),
            28 | 29 => Command::LeaseExpire(LeaseExpire {
                ids: self.few(Self::lease),
                term: u64::from(self.byte() % 3),
                as_of: 0,
            }),
            30 => Command::LeaseCheckpoint(LeaseCheckpoint {
                remaining: self.few(|source| (source.lease(), i64::from(source.byte()))),
                term: u64::from(self.byte() % 3),
                as_of: 0,
            }),
            31 if self.byte().is_multiple_of(2) => Command::Alarm(self.alarm()),
            _ => Command::MemberSet(Member { id: MemberId(1), name: "m".into(), ..Member::default() }),
        }
    }

    fn alarm(&mut self) -> AlarmChange {
        let kind = self.of(&[AlarmKind::NoSpace, AlarmKind::Corrupt]);
        let alarm = Alarm { member: MemberId(u64::from(self.byte() % 2)), kind };
        if self.byte().is_multiple_of(4) { AlarmChange::Raise(alarm) } else { AlarmChange::Lower(alarm) }
    }

    fn key(&mut self) -> Bytes {
        Bytes::from_static(self.of(KEYS))
    }

    fn value(&mut self) -> Bytes {
        Bytes::from_static(self.of(VALUES))
    }

    fn lease(&mut self) -> LeaseId {
        LeaseId(self.of(&[0, 1, 2, 3, -1, i64::MAX]))
    }

    fn keys(&mut self) -> KeyRange {
        let key = self.key();
        let end = match self.byte() % 8 {
            0..=3 => Bytes::new(),
            4 => Bytes::from_static(b"\0"),
            _ => self.key(),
        };
        KeyRange::new(key, end)
    }

    /// Small numbers, and the ends.
    fn number(&mut self) -> i64 {
        match self.byte() {
            255 => i64::MAX,
            254 => i64::MIN,
            byte => i64::from(byte % 64) - 3,
        }
    }

    /// Zero mostly: most requests do not ask for it.
    fn seldom(&mut self) -> i64 {
        if self.byte() >= 224 { self.number() } else { 0 }
    }

    fn put(&mut self) -> Put {
        let (key, flags) = (self.key(), self.byte());
        let (ignore_value, ignore_lease) = (flags & 6 == 6, flags & 24 == 24);
        // The front refuses both a value and the wish to keep the present one.
        let value = if ignore_value { Bytes::new() } else { self.value() };
        let lease = if ignore_lease || flags & 32 == 0 { LeaseId::NONE } else { self.lease() };
        Put { key, value, lease, prev_kv: flags & 1 == 1, ignore_value, ignore_lease }
    }

    fn delete(&mut self) -> DeleteRange {
        DeleteRange { keys: self.keys(), prev_kv: self.byte() & 1 == 1 }
    }

    fn range(&mut self) -> Range {
        let flags = self.byte();
        Range {
            keys: self.keys(),
            limit: self.of(&[0, 0, 1, 2, 3, -1, i64::MAX]),
            revision: if flags & 1 == 1 { self.number() } else { 0 },
            sort_order: self.of(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend]),
            sort_target: self.of(&[
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ]),
            serializable: false,
            keys_only: flags & 6 == 6,
            count_only: flags & 24 == 24,
            min_mod_revision: self.seldom(),
            max_mod_revision: self.seldom(),
            min_create_revision: self.seldom(),
            max_create_revision: self.seldom(),
        }
    }

    fn compare(&mut self) -> Compare {
        let keys = self.keys();
        let result = self.of(&[
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
            CompareResult::Unknown,
        ]);
        let target = match self.byte() % 6 {
            0 => CompareTarget::Version(i64::from(self.byte() % 4)),
            1 => CompareTarget::Create(self.number()),
            2 => CompareTarget::Mod(self.number()),
            3 => CompareTarget::Value(self.value()),
            4 => CompareTarget::Lease(self.lease().0),
            _ => CompareTarget::Unknown,
        };
        Compare { keys, result, target }
    }

    fn txn(&mut self, depth: u32) -> Txn {
        Txn {
            compare: self.few(Self::compare),
            success: self.few(|source| source.op(depth)),
            failure: self.few(|source| source.op(depth)),
        }
    }

    fn op(&mut self, depth: u32) -> TxnOp {
        match self.byte() % 8 {
            0 | 1 => TxnOp::Range(self.range()),
            2..=4 => TxnOp::Put(self.put()),
            5 | 6 => TxnOp::DeleteRange(self.delete()),
            _ if depth < DEPTH_MAX => TxnOp::Txn(self.txn(depth + 1)),
            _ => TxnOp::Put(self.put()),
        }
    }
}
