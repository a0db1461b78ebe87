//! Who has the right state, judged from what members tell of their chains.
//!
//! Two members can be compared where both tell, or know, what their chain was. The newest such place says all: each step
//! of the chain leads from different chains to different ones, so two that differed once differ ever after, and two that
//! are equal were so before.
//!
//! Nobody knows the right state; what a majority of the voters has is taken for it. It is what clients were told, as a
//! rule, and what would be left after the loss of a minority. So at one place of the log the chains of the voters are
//! counted: one that more than half of them have is right. Without such a one, two of two that differ say, nothing is
//! known but that somebody is wrong.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ChainMark, MemberId};

/// What others have told last, in any order.
pub(super) type Told = BTreeMap<MemberId, Vec<ChainMark>>;

/// What can be said of the members.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Others that have the same state as this member, and the newest entry that says so.
    pub(super) same: Vec<(MemberId, u64)>,
    /// Others that have another state than this member.
    pub(super) different: Vec<Difference>,
    /// What most voters have, if that is known.
    pub(super) majority: Option<Majority>,
}

/// Another member's state is not this member's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference {
    /// Whose.
    pub(super) member: MemberId,
    /// The newest entry at which both are known.
    pub(super) index: u64,
    /// This member's chain.
    pub(super) own: u64,
    /// Its chain.
    pub(super) theirs: u64,
}

/// A chain that more than half of the voters have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Majority {
    /// After which entry.
    pub(super) index: u64,
    /// This member's chain there.
    pub(super) own: u64,
    /// The majority's.
    pub(super) right: u64,
    /// How many voters have it.
    pub(super) count: usize,
    /// Of how many.
    pub(super) voters: usize,
}

impl Verdict {
    /// The majority, if it says that this member is wrong.
    pub(super) fn against_this_member(&self) -> Option<Majority> {
        self.majority.filter(|majority| majority.own != majority.right)
    }
}

/// Judges from the chain of this `member`, newest first, and from what others have told.
pub(super) fn judge((member, own): (MemberId, &[ChainMark]), told: &Told, voters: &BTreeSet<MemberId>) -> Verdict {
    let mut verdict = Verdict { majority: majority((member, own), told, voters), ..Verdict::default() };
    for (&other, marks) in told {
        let both = own.iter().find_map(|mark| Some((mark.index, mark.chain, chain_at(marks, mark.index)?)));
        match both {
            Some((index, own, theirs)) if own == theirs => verdict.same.push((other, index)),
            Some((index, own, theirs)) => verdict.different.push(Difference { member: other, index, own, theirs }),
            None => {}
        }
    }
    verdict
}

/// The newest place at which a majority can be counted.
fn majority((member, own): (MemberId, &[ChainMark]), told: &Told, voters: &BTreeSet<MemberId>) -> Option<Majority> {
    own.iter().find_map(|&ChainMark { index, chain }| {
        let of_voter = |id: &MemberId| if *id == member { Some(chain) } else { chain_at(told.get(id)?, index) };
        let mut counts = BTreeMap::<u64, usize>::new();
        for voter in voters.iter().filter_map(of_voter) {
            *counts.entry(voter).or_default() += 1;
        }
        let (right, count) = counts.into_iter().find(|(_, count)| *count > voters.len() / 2)?;
        Some(Majority { index, own: chain, right, count, voters: voters.len() })
    })
}

fn chain_at(marks: &[ChainMark], index: u64) -> Option<u64> {
    marks.iter().find(|mark| mark.index == index).map(|mark| mark.chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELF: MemberId = MemberId(1);

    fn marks(marks: &[(u64, u64)]) -> Vec<ChainMark> {
        marks.iter().map(|&(index, chain)| ChainMark { index, chain }).collect()
    }

    /// Judges in member 1; the others are 2, 3 and so on.
    fn judged(own: &[(u64, u64)], told: &[&[(u64, u64)]], voters: u64) -> Verdict {
        let told = told.iter().zip(2..).map(|(told, id)| (MemberId(id), marks(told))).collect();
        judge((SELF, &marks(own)), &told, &(1..=voters).map(MemberId).collect())
    }

    fn differing(verdict: &Verdict) -> Vec<u64> {
        verdict.different.iter().map(|difference| difference.member.0).collect()
    }

    #[test]
    fn equal_members_are_fine() {
        let verdict = judged(&[(9, 90), (8, 80)], &[&[(9, 90)], &[(8, 80)]], 3);
        assert_eq!(verdict.same, [(MemberId(2), 9), (MemberId(3), 8)]);
        assert_eq!(verdict.different, []);
        assert_eq!(verdict.majority, Some(Majority { index: 9, own: 90, right: 90, count: 2, voters: 3 }));
        assert_eq!(verdict.against_this_member(), None);
    }

    #[test]
    fn the_one_that_most_are_against_is_wrong() {
        let verdict = judged(&[(9, 91), (8, 81)], &[&[(9, 90), (8, 80)], &[(8, 80)]], 3);
        let majority = Majority { index: 8, own: 81, right: 80, count: 2, voters: 3 };
        assert_eq!(verdict.against_this_member(), Some(majority));
        let differences = [
            Difference { member: MemberId(2), index: 9, own: 91, theirs: 90 },
            Difference { member: MemberId(3), index: 8, own: 81, theirs: 80 },
        ];
        assert_eq!(verdict.different, differences);
    }

    #[test]
    fn another_that_is_wrong_is_named() {
        let verdict = judged(&[(9, 90)], &[&[(9, 90)], &[(9, 91)]], 3);
        assert_eq!(verdict.against_this_member(), None);
        assert!(verdict.majority.is_some());
        assert_eq!(differing(&verdict), [3]);
    }

    #[test]
    fn half_is_no_majority() {
        for (own, told, voters) in [
            // One against one, and two against two.
            (90, &[&[(9, 91)][..]][..], 2),
            (90, &[&[(9, 90)], &[(9, 91)], &[(9, 91)]], 4),
            // The third is silent, or all three differ.
            (90, &[&[(9, 91)]], 3),
            (90, &[&[(9, 91)], &[(9, 92)]], 3),
            // Two agree against this one, and the votes of five count.
            (90, &[&[(9, 91)], &[(9, 91)]], 5),
        ] {
            let verdict = judged(&[(9, own)], told, voters);
            assert_eq!((verdict.majority, verdict.against_this_member()), (None, None), "{told:?}");
            assert!(!verdict.different.is_empty(), "{told:?}");
        }
    }

    #[test]
    fn three_of_four_and_three_of_five_are_one() {
        for voters in [4, 5] {
            let verdict = judged(&[(9, 90)], &[&[(9, 91)], &[(9, 91)], &[(9, 91)]], voters);
            assert_eq!(verdict.against_this_member().map(|majority| majority.count), Some(3));
        }
    }

    #[test]
    fn chains_at_different_entries_are_not_compared() {
        let verdict = judged(&[(9, 90), (4, 40)], &[&[(10, 1), (8, 1)], &[]], 3);
        assert_eq!(verdict, Verdict::default());
        // Each pair can be compared, and there is no place at which all voters are known: nothing is counted together.
        let verdict = judged(&[(9, 90), (8, 80)], &[&[(9, 91)], &[(8, 81)]], 3);
        assert_eq!((verdict.majority, differing(&verdict)), (None, vec![2, 3]));
    }

    #[test]
    fn learners_are_judged_and_do_not_vote() {
        let voters = BTreeSet::from([MemberId(2), MemberId(3), MemberId(4)]);
        let told = Told::from([(MemberId(2), marks(&[(9, 90)])), (MemberId(3), marks(&[(9, 90)]))]);
        let verdict = judge((SELF, &marks(&[(9, 91)])), &told, &voters);
        assert_eq!(verdict.against_this_member().map(|majority| majority.right), Some(90), "this one is a learner");

        // Members 3 and 4 are learners, and both are wrong.
        let voters = BTreeSet::from([SELF, MemberId(2)]);
        let told: Told = [(2, 90), (3, 91), (4, 91)].map(|(id, chain)| (MemberId(id), marks(&[(9, chain)]))).into();
        let verdict = judge((SELF, &marks(&[(9, 90)])), &told, &voters);
        assert_eq!((verdict.against_this_member(), differing(&verdict)), (None, vec![3, 4]));
    }

    #[test]
    fn whoever_is_alone_is_right() {
        assert_eq!(
            judged(&[(9, 90)], &[], 1).majority,
            Some(Majority { index: 9, own: 90, right: 90, count: 1, voters: 1 })
        );
        assert_eq!(judged(&[], &[], 1), Verdict::default());
    }
}
