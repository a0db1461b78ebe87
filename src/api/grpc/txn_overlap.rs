//! Whether the operations of a txn may write one key twice.
//!
//! In one list of operations a key may be put once, and not be deleted beside that; deletes may overlap each other. A
//! nested txn counts as the sum of its branches, of which only one runs: they may repeat each other, but neither may
//! repeat an earlier sibling.
//!
//! Two cases pass as they do in etcd, and then run in the order given: a nested delete that comes after a nested put of
//! an earlier sibling, and a delete from a key on, without end.
//!
//! The work is bounded by the size of the message, not by puts times deletes: sets are ordered, and the smaller one is
//! always looked up in, or moved to, the larger.
//!
//! Source: etcd, `checkIntervals` in `server/etcdserver/api/v3rpc/key.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::model::{KeyRange, RangeEnd};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{DeleteRangeRequest, RequestOp};

/// Tells whether `ops`, one branch of a txn, may write one key twice.
pub(super) fn writes_a_key_twice(ops: &[RequestOp]) -> bool {
    writes(ops).is_none()
}

type Puts<'r> = BTreeSet<&'r [u8]>;

/// What a list of operations may put and delete; `None` if it is at odds with itself.
fn writes(ops: &[RequestOp]) -> Option<(Puts<'_>, Deletes)> {
    let (mut puts, mut deletes) = (Puts::new(), Deletes::default());
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            deletes.add(delete);
        }
    }
    for op in ops {
        let Some(Request::RequestTxn(nested)) = &op.request else { continue };
        let (then_puts, then_deletes) = writes(&nested.success)?;
        let (else_puts, else_deletes) = writes(&nested.failure)?;
        for branch in [&then_puts, &else_puts] {
            if !are_disjoint(&puts, branch) || deletes.meet(branch) {
                return None;
            }
        }
        puts = union(union(puts, then_puts), else_puts);
        deletes = deletes.union(then_deletes).union(else_deletes);
    }
    for op in ops {
        let Some(Request::RequestPut(put)) = &op.request else { continue };
        if deletes.contains(&put.key) || !puts.insert(&put.key) {
            return None;
        }
    }
    Some((puts, deletes))
}

fn are_disjoint(a: &Puts<'_>, b: &Puts<'_>) -> bool {
    let (small, large) = if a.len() < b.len() { (a, b) } else { (b, a) };
    small.iter().all(|key| !large.contains(key))
}

fn union<'r>(a: Puts<'r>, b: Puts<'r>) -> Puts<'r> {
    let (small, mut large) = if a.len() < b.len() { (a, b) } else { (b, a) };
    large.extend(small);
    large
}

/// Keys that may be deleted: intervals that do not touch, each as its first key and the key it ends before.
#[derive(Default)]
struct Deletes(BTreeMap<Bytes, Bytes>);

impl Deletes {
    fn add(&mut self, delete: &DeleteRangeRequest) {
        let KeyRange { start, end } = KeyRange::new(delete.key.clone(), delete.range_end.clone());
        match end {
            // The first key after it.
            RangeEnd::Single => {
                let end = [start.as_ref(), &[0]].concat().into();
                self.add_interval(start, end);
            }
            RangeEnd::Before(end) => self.add_interval(start, end),
            // etcd takes the end as it is written, a zero byte, so that nothing is in it.
            RangeEnd::Unbounded => {}
        }
    }

    fn add_interval(&mut self, mut start: Bytes, mut end: Bytes) {
        if start >= end {
            return;
        }
        // From the last one on that begins before the end, as long as they reach the start.
        while let Some((other_start, other_end)) = self.0.range(..=end.clone()).next_back() {
            if *other_end < start {
                break;
            }
            let other_start = other_start.clone();
            let other_end = self.0.remove(&other_start).expect("it was just found");
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.0.insert(start, end);
    }

    fn contains(&self, key: &[u8]) -> bool {
        let before = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, end)| key < end.as_ref())
    }

    fn meet(&self, puts: &Puts<'_>) -> bool {
        if puts.len() < self.0.len() {
            return puts.iter().any(|key| self.contains(key));
        }
        self.0.iter().any(|(start, end)| {
            let within = (Bound::Included(start.as_ref()), Bound::Excluded(end.as_ref()));
            puts.range::<[u8], _>(within).next().is_some()
        })
    }

    fn union(self, other: Deletes) -> Deletes {
        let (small, mut large) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        for (start, end) in small.0 {
            large.add_interval(start, end);
        }
        large
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::etcdserverpb::{PutRequest, TxnRequest};

    fn op(request: Request) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    fn put(key: &'static str) -> RequestOp {
        op(Request::RequestPut(PutRequest { key: key.into(), ..Default::default() }))
    }

    fn delete(key: &'static str, range_end: &'static str) -> RequestOp {
        let request = DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: false };
        op(Request::RequestDeleteRange(request))
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        op(Request::RequestTxn(TxnRequest { compare: vec![], success, failure }))
    }

    #[test]
    fn puts_may_meet_neither_puts_nor_deletes_of_their_list() {
        assert!(!writes_a_key_twice(&[put("a"), put("b")]));
        assert!(writes_a_key_twice(&[put("a"), put("a")]));
        assert!(writes_a_key_twice(&[delete("a", ""), put("a")]));
        assert!(writes_a_key_twice(&[put("b"), delete("a", "c")]));
        assert!(!writes_a_key_twice(&[put("c"), delete("a", "c")]));
        assert!(!writes_a_key_twice(&[put("a\0"), delete("a", "")]));
    }

    #[test]
    fn deletes_may_overlap() {
        assert!(!writes_a_key_twice(&[delete("a", "c"), delete("b", "d"), delete("b", "")]));
        assert!(writes_a_key_twice(&[delete("a", "c"), delete("b", "d"), put("c")]));
    }

    #[test]
    fn branches_of_a_nested_txn_may_repeat_each_other_but_not_a_sibling() {
        assert!(!writes_a_key_twice(&[txn(vec![put("a")], vec![put("a")])]));
        assert!(writes_a_key_twice(&[txn(vec![put("a")], vec![]), txn(vec![], vec![put("a")])]));
        assert!(writes_a_key_twice(&[txn(vec![], vec![delete("a", "c")]), txn(vec![put("b")], vec![])]));
    }

    #[test]
    fn puts_may_not_meet_what_is_nested() {
        assert!(writes_a_key_twice(&[put("a"), txn(vec![], vec![put("a")])]));
        assert!(writes_a_key_twice(&[put("a"), txn(vec![delete("a", "")], vec![])]));
        assert!(writes_a_key_twice(&[txn(vec![put("b")], vec![]), delete("a", "c")]));
        assert!(writes_a_key_twice(&[put("a"), txn(vec![txn(vec![put("a")], vec![])], vec![])]));
    }

    #[test]
    fn quirk_a_nested_delete_after_a_nested_put_passes() {
        assert!(!writes_a_key_twice(&[txn(vec![put("b")], vec![]), txn(vec![delete("a", "c")], vec![])]));
    }

    #[test]
    fn quirk_a_delete_without_end_meets_nothing() {
        assert!(!writes_a_key_twice(&[put("b"), delete("a", "\0")]));
        assert!(!writes_a_key_twice(&[put("b"), delete("z", "a")]));
    }

    /// etcd's own steps, with plain lists.
    fn plain(ops: &[RequestOp]) -> Option<(Vec<Bytes>, Vec<KeyRange>)> {
        let hit = |deletes: &[KeyRange], key: &Bytes| {
            deletes.iter().any(|range| range.end != RangeEnd::Unbounded && range.contains(key))
        };
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for op in ops {
            if let Some(Request::RequestDeleteRange(delete)) = &op.request {
                deletes.push(KeyRange::new(delete.key.clone(), delete.range_end.clone()));
            }
        }
        for op in ops {
            let Some(Request::RequestTxn(nested)) = &op.request else { continue };
            let (then_puts, then_deletes) = plain(&nested.success)?;
            let (else_puts, else_deletes) = plain(&nested.failure)?;
            for key in &then_puts {
                if puts.contains(key) || hit(&deletes, key) {
                    return None;
                }
            }
            puts.extend(then_puts.iter().cloned());
            for key in else_puts {
                if (puts.contains(&key) && !then_puts.contains(&key)) || hit(&deletes, &key) {
                    return None;
                }
                if !then_puts.contains(&key) {
                    puts.push(key);
                }
            }
            deletes.extend(then_deletes);
            deletes.extend(else_deletes);
        }
        for op in ops {
            let Some(Request::RequestPut(put)) = &op.request else { continue };
            if puts.contains(&put.key) || hit(&deletes, &put.key) {
                return None;
            }
            puts.push(put.key.clone());
        }
        Some((puts, deletes))
    }

    fn some_key() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(b'c'), Just(0xff)], 1..3)
            .prop_map(Bytes::from)
    }

    fn some_ops() -> impl Strategy<Value = Vec<RequestOp>> {
        let range_end = prop_oneof![Just(Bytes::new()), some_key()];
        let leaf = prop_oneof![
            some_key().prop_map(|key| op(Request::RequestPut(PutRequest { key, ..Default::default() }))),
            (some_key(), range_end).prop_map(|(key, range_end)| {
                op(Request::RequestDeleteRange(DeleteRangeRequest { key, range_end, prev_kv: false }))
            }),
        ];
        let ops = |op| proptest::collection::vec(op, 0..4);
        let any = leaf.prop_recursive(3, 24, 4, move |inner| {
            (ops(inner.clone().boxed()), ops(inner.boxed())).prop_map(|(success, failure)| txn(success, failure))
        });
        proptest::collection::vec(any, 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_etcds_own_steps(ops in some_ops()) {
            prop_assert_eq!(writes_a_key_twice(&ops), plain(&ops).is_none(), "{:?}", ops);
        }
    }
}
