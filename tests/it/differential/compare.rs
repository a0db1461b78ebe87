//! Whether two answers are the same, as far as etcd itself fixes them.
//!
//! Three things are not fixed, and are made equal before the comparison:
//!
//! * **Ties.** etcd sorts with Go's `sort.Sort`, which is stable only up to [`STABLE_LEN_MAX`] elements. In longer
//!   answers, pairs that sort alike may stand in any order; and if the limit falls among them, any of them may be there.
//! * **Keys of a lease** come in any order.
//! * **Remaining time** of a lease may be one second apart.

use super::client::Failure;
use super::request::{Answer, Request};
use super::wire::*;

/// Go's sort uses insertion sort up to this length.
pub const STABLE_LEN_MAX: usize = 12;

pub type Outcome = Result<Answer, Failure>;

/// What was compared less than exactly.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Leniency {
    /// Answers in which ties were put into one order.
    pub ties: u64,
    /// Messages with events.
    pub messages: u64,
    /// Those that came late to a watcher that had caught up, and with others.
    pub late: u64,
}

impl Leniency {
    pub fn add(&mut self, other: Leniency) {
        self.ties += other.ties;
        self.messages += other.messages;
        self.late += other.late;
    }
}

/// Compares two outcomes that were blurred already.
///
/// Both are left in the form in which they were compared.
pub fn same(request: &Request, left: &mut Outcome, right: &mut Outcome, leniency: &mut Leniency) -> bool {
    if left == right {
        return true;
    }
    if let (Ok(left), Ok(right)) = (&mut *left, &mut *right) {
        make_equal_what_is_free(request, left, right, leniency);
    }
    left == right
}

fn make_equal_what_is_free(request: &Request, left: &mut Answer, right: &mut Answer, leniency: &mut Leniency) {
    match (request, left, right) {
        (Request::Range(request), Answer::Range(left), Answer::Range(right)) => {
            order_ties_of_both(request, left, right, leniency);
        }
        (Request::Txn(request), Answer::Txn(left), Answer::Txn(right)) => {
            order_ties_in_txn(request, left, right, leniency);
        }
        (_, Answer::TimeToLive(left), Answer::TimeToLive(right)) => {
            left.keys.sort();
            right.keys.sort();
            if left.ttl.abs_diff(right.ttl) <= 1 && left.ttl >= 0 && right.ttl >= 0 {
                right.ttl = left.ttl;
            }
        }
        _ => {}
    }
}

fn order_ties_in_txn(request: &TxnRequest, left: &mut TxnResponse, right: &mut TxnResponse, leniency: &mut Leniency) {
    let ops = if left.succeeded { &request.success } else { &request.failure };
    for ((op, left), right) in ops.iter().zip(&mut left.responses).zip(&mut right.responses) {
        match (&op.request, &mut left.response, &mut right.response) {
            (Some(Op::Range(request)), Some(OpAnswer::Range(left)), Some(OpAnswer::Range(right))) => {
                order_ties_of_both(request, left, right, leniency);
            }
            (Some(Op::Txn(request)), Some(OpAnswer::Txn(left)), Some(OpAnswer::Txn(right))) => {
                order_ties_in_txn(request, left, right, leniency);
            }
            _ => {}
        }
    }
}

fn order_ties_of_both(
    request: &RangeRequest,
    left: &mut RangeResponse,
    right: &mut RangeResponse,
    leniency: &mut Leniency,
) {
    if left != right && order_ties(request, left) | order_ties(request, right) {
        leniency.ties += 1;
    }
}

/// Puts pairs that sort alike into key order; if the limit cut among them, they lose all but what they sort by.
///
/// False if the order of this answer is fixed.
fn order_ties(request: &RangeRequest, answer: &mut RangeResponse) -> bool {
    let sorted_len = usize::try_from(answer.count).unwrap_or(0);
    if request.sort_target == BY_KEY || sorted_len <= STABLE_LEN_MAX {
        return false;
    }
    let alike = |a: &KeyValue, b: &KeyValue| match request.sort_target {
        BY_VERSION => a.version == b.version,
        BY_CREATE => a.create_revision == b.create_revision,
        BY_MOD => a.mod_revision == b.mod_revision,
        // Without the values nobody can tell what sorts alike: all may.
        _ => request.keys_only || a.value == b.value,
    };
    let more = answer.more;
    let mut groups = answer.kvs.chunk_by_mut(alike).peekable();
    while let Some(group) = groups.next() {
        let is_cut = more && groups.peek().is_none();
        if is_cut {
            for kv in group {
                kv.key = bytes::Bytes::from_static(b"<any that sorts alike>");
                let (version, create, modified, value) =
                    (kv.version, kv.create_revision, kv.mod_revision, std::mem::take(&mut kv.value));
                *kv = KeyValue { key: kv.key.clone(), ..KeyValue::default() };
                match request.sort_target {
                    BY_VERSION => kv.version = version,
                    BY_CREATE => kv.create_revision = create,
                    BY_MOD => kv.mod_revision = modified,
                    _ => kv.value = value,
                }
            }
        } else {
            group.sort_by(|a, b| a.key.cmp(&b.key));
        }
    }
    true
}

/// Where two outcomes part: the first line of their long forms that differs, for counting alike differences together.
pub fn first_difference(left: &impl std::fmt::Debug, right: &impl std::fmt::Debug) -> String {
    let (left, right) = (format!("{left:#?}"), format!("{right:#?}"));
    let mut lines = left.lines().zip(right.lines());
    match lines.find(|(left, right)| left != right) {
        Some((left, right)) => {
            let field = |line: &str| line.trim().split([':', ' ', '(']).next().unwrap_or_default().to_owned();
            let (left, right) = (field(left), field(right));
            if left == right { left } else { format!("{left} against {right}") }
        }
        None => "length".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn pair(key: &str, version: i64) -> KeyValue {
        KeyValue { key: Bytes::copy_from_slice(key.as_bytes()), version, ..KeyValue::default() }
    }

    fn answer(pairs: &[(&str, i64)], more: bool, count: i64) -> Outcome {
        let kvs = pairs.iter().map(|(key, version)| pair(key, *version)).collect();
        Ok(Answer::Range(RangeResponse { header: None, kvs, more, count }))
    }

    fn by_version() -> Request {
        Request::Range(RangeRequest { sort_order: 1, sort_target: BY_VERSION, ..RangeRequest::default() })
    }

    fn is_same(mut left: Outcome, mut right: Outcome) -> bool {
        same(&by_version(), &mut left, &mut right, &mut Leniency::default())
    }

    #[test]
    fn long_answers_may_order_ties_as_they_like() {
        let left = answer(&[("a", 1), ("b", 1), ("c", 2)], false, 20);
        assert!(is_same(left.clone(), answer(&[("b", 1), ("a", 1), ("c", 2)], false, 20)));
        assert!(!is_same(left.clone(), answer(&[("a", 1), ("c", 1), ("b", 2)], false, 20)));
        assert!(!is_same(left, answer(&[("a", 1), ("c", 2), ("b", 1)], false, 20)));
    }

    #[test]
    fn short_answers_order_ties_by_key() {
        let left = answer(&[("a", 1), ("b", 1)], false, 2);
        assert!(!is_same(left, answer(&[("b", 1), ("a", 1)], false, 2)));
    }

    #[test]
    fn a_limit_may_keep_any_of_a_tie() {
        let left = answer(&[("a", 1), ("b", 2)], true, 20);
        assert!(is_same(left.clone(), answer(&[("a", 1), ("c", 2)], true, 20)));
        assert!(!is_same(left.clone(), answer(&[("c", 1), ("b", 2)], true, 20)));
        assert!(!is_same(left, answer(&[("a", 1), ("b", 3)], true, 20)));
    }

    #[test]
    fn remaining_time_may_be_a_second_apart_but_not_a_missing_lease() {
        let request = Request::TimeToLive(LeaseTimeToLiveRequest::default());
        let remaining = |ttl| Ok(Answer::TimeToLive(LeaseTimeToLiveResponse { ttl, ..Default::default() }));
        let is_same =
            |left, right| same(&request, &mut remaining(left), &mut remaining(right), &mut Leniency::default());
        assert!(is_same(10, 9));
        assert!(!is_same(10, 8));
        assert!(!is_same(0, -1));
    }
}
