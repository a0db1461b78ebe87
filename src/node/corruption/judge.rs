//! What follows from hashes: who is wrong.

use std::collections::BTreeMap;

use crate::model::MemberId;
use crate::mvcc::KvHash;
use crate::node::error::NodeError;

/// Whom an alarm names if it is not known who is wrong: everybody.
const NOBODY_KNOWN: MemberId = MemberId(0);

/// What another member answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) member: MemberId,
    pub(super) outcome: Result<KvHash, NodeError>,
}

/// What the leader found in itself: before it asked others, and after it had made sure that it leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    pub(super) first: KvHash,
    pub(super) second: KvHash,
}

/// The first member that is wrong by a comparison of all records at one revision, if any is.
///
/// Nobody can have more than the leader, who was asked last. At the same revision and compacted revision hashes are equal;
/// the leader, whose own did not change, is taken to be right.
pub(super) fn periodic(leader: MemberId, Looks { first, second }: &Looks, others: &[Answer]) -> Option<MemberId> {
    let is_one_state = second.at == first.at && second.compacted == first.compacted;
    if is_one_state && second.hash != first.hash {
        tracing::warn!("peer-id" = %leader, first = first.hash, second = second.hash, "found hash mismatch");
        return Some(leader);
    }
    let answered = others.iter().filter_map(|answer| Some((answer.member, answer.outcome.as_ref().ok()?)));
    answered
        .filter_map(|(member, theirs)| {
            let why = if theirs.revision > second.revision {
                "revision from follower must be less than or equal to leader's"
            } else if theirs.compacted > second.compacted {
                "compact revision from follower must be less than or equal to leader's"
            } else if theirs.compacted == first.compacted && theirs.hash != first.hash {
                "same compact revision then hashes must match"
            } else {
                return None;
            };
            tracing::warn!(
                "follower-peer-id" = %member, "follower-hash" = theirs.hash, "leader-hash" = first.hash,
                "follower-revision" = theirs.revision.0, "leader-revision" = second.revision.0,
                "follower-compact-revision" = theirs.compacted.0, "leader-compact-revision" = first.compacted.0,
                "{why}"
            );
            Some(member)
        })
        .next()
}

/// What a compaction's hashes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// All members have the same.
    Agreed,
    /// Those that can be compared have; not all can.
    Incomplete,
    /// These have another one than most, by their ids; [`NOBODY_KNOWN`] if there is no most.
    Wrong(Vec<MemberId>),
}

/// Counts the members by the hash that they have of one compaction. What more than half of all have is right.
pub(super) fn vote(leader: MemberId, own: &KvHash, others: &[Answer]) -> Conclusion {
    let mut members = BTreeMap::from([(own.hash, vec![leader])]);
    let mut compared = 0;
    for Answer { member, outcome } in others {
        let why = match outcome {
            Ok(theirs) if theirs.compacted == own.compacted => {
                compared += 1;
                members.entry(theirs.hash).or_default().push(*member);
                continue;
            }
            Ok(theirs) => format!("its compact revision {} is not the leader's {}", theirs.compacted, own.compacted),
            Err(error) => error.to_string(),
        };
        tracing::warn!("leader-id" = %leader, "peer-id" = %member, reason = why, "skipped peer's hash");
    }
    if members.len() == 1 {
        return if compared == others.len() { Conclusion::Agreed } else { Conclusion::Incomplete };
    }
    let all = others.len() + 1;
    let quorum = all / 2 + 1;
    let Some(right) = members.iter().find(|(_, members)| members.len() >= quorum).map(|(&hash, _)| hash) else {
        return Conclusion::Wrong(vec![NOBODY_KNOWN]);
    };
    members.remove(&right);
    let mut wrong: Vec<MemberId> = members.into_values().flatten().collect();
    wrong.sort_unstable();
    Conclusion::Wrong(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Revision;

    const LEADER: MemberId = MemberId(1);

    fn hash(hash: u32, compacted: i64) -> KvHash {
        KvHash { hash, at: Revision(10), compacted: Revision(compacted), revision: Revision(10) }
    }

    fn answers(outcomes: impl IntoIterator<Item = Option<KvHash>>) -> Vec<Answer> {
        let answer = |(outcome, id): (Option<KvHash>, u64)| Answer {
            member: MemberId(id),
            outcome: outcome.ok_or(NodeError::Timeout),
        };
        outcomes.into_iter().zip(2..).map(answer).collect()
    }

    fn judged(others: impl IntoIterator<Item = Option<KvHash>>) -> Option<u64> {
        let looks = Looks { first: hash(7, 3), second: KvHash { revision: Revision(12), ..hash(9, 4) } };
        periodic(LEADER, &looks, &answers(others)).map(|id| id.0)
    }

    #[test]
    fn a_leader_whose_hash_changes_by_itself_is_wrong() {
        let wrong = Looks { first: hash(7, 3), second: hash(8, 3) };
        assert_eq!(periodic(LEADER, &wrong, &answers([Some(hash(9, 3))])), Some(LEADER), "one alarm at most");
        for second in [hash(7, 3), hash(8, 4), KvHash { at: Revision(11), ..hash(8, 3) }] {
            assert_eq!(periodic(LEADER, &Looks { first: hash(7, 3), second }, &[]), None, "{second:?}");
        }
    }

    #[test]
    fn a_follower_with_more_than_the_leader_or_with_something_else_is_wrong() {
        assert_eq!(judged([Some(hash(7, 3)), None, Some(hash(5, 2)), Some(hash(5, 4))]), None);
        let ahead = KvHash { revision: Revision(13), ..hash(7, 3) };
        assert_eq!(judged([Some(hash(7, 3)), Some(ahead)]), Some(3));
        assert_eq!(judged([Some(hash(7, 5))]), Some(2));
        assert_eq!(judged([None, Some(hash(8, 3)), Some(hash(9, 3))]), Some(3), "the first of them");
    }

    #[test]
    fn of_a_compaction_the_majority_is_right() {
        let voted = |others: &[Option<KvHash>]| vote(LEADER, &hash(7, 3), &answers(others.iter().copied()));
        let (same, other, elsewhere) = (Some(hash(7, 3)), Some(hash(8, 3)), Some(hash(8, 2)));
        let wrong = |ids: &[u64]| Conclusion::Wrong(ids.iter().map(|&id| MemberId(id)).collect());
        assert_eq!(voted(&[same, same]), Conclusion::Agreed);
        assert_eq!(voted(&[same, None]), Conclusion::Incomplete);
        assert_eq!(voted(&[same, elsewhere]), Conclusion::Incomplete);
        assert_eq!(voted(&[same, other]), wrong(&[3]));
        assert_eq!(voted(&[other, other]), wrong(&[1]));
        assert_eq!(voted(&[other]), wrong(&[0]));
        assert_eq!(voted(&[other, None]), wrong(&[0]), "one of three is not most of them");
        assert_eq!(voted(&[same, same, other, Some(hash(9, 3))]), wrong(&[4, 5]));
    }
}
