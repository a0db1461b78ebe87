//! Members compare their states while they run.
//!
//! Each ping tells what the sender's chain is and was (`Machine::marks`); whoever gets it remembers the last of each
//! member, and looks all the time what it says ([`super::verdict`]). A member that most voters are against stops: it is
//! not right, and must not be served. The others say once which one it is. Where no majority is known nobody stops, for it
//! could be the one that is right, and all say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::verdict::{Difference, Majority, Told, judge};
use crate::machine::Shared;
use crate::model::{ChainMark, MemberId};
use crate::raft::Voters;

/// What this member knows of the states of others.
#[derive(Debug)]
pub(super) struct Agreement {
    member: MemberId,
    shared: Arc<Shared>,
    /// If not, others are told, and nothing is concluded.
    is_on: bool,
    told: Mutex<Told>,
    standings: Mutex<BTreeMap<MemberId, Standing>>,
}

/// What is known of another member, by rising alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Its state was this member's after this entry.
    Same { index: u64 },
    /// One of both is wrong.
    Undecided,
    /// It is wrong.
    Wrong,
}

impl Agreement {
    pub(super) fn new(member: MemberId, shared: Arc<Shared>, is_on: bool) -> Arc<Agreement> {
        Arc::new(Agreement { member, shared, is_on, told: Mutex::default(), standings: Mutex::default() })
    }

    /// What there is to tell others.
    pub(super) fn marks(&self) -> Vec<ChainMark> {
        self.shared.machine.read().marks()
    }

    /// Another member has told what its chain is and was.
    pub(super) fn hear(&self, from: MemberId, marks: Vec<ChainMark>) {
        if self.is_on {
            self.told.lock().insert(from, marks);
        }
    }

    /// Looks at what was told; says why this member must stop, if it must. Forgets those who take no part any more.
    pub(super) fn look(&self, voters: &Voters) -> Option<Arc<str>> {
        if !self.is_on {
            return None;
        }
        let own = self.marks();
        let takes_part = |id: &MemberId| voters.voters.contains(id) || voters.learners.contains(id);
        let verdict = {
            let mut told = self.told.lock();
            told.retain(|id, _| takes_part(id));
            judge((self.member, &own), &told, &voters.voters)
        };
        if let Some(majority) = verdict.against_this_member() {
            return Some(self.sentence(majority, voters.voters.len()).into());
        }
        let mut standings = self.standings.lock();
        standings.retain(|id, _| takes_part(id));
        for (member, index) in verdict.same {
            standings.insert(member, Standing::Same { index });
        }
        let standing = if verdict.majority.is_some() { Standing::Wrong } else { Standing::Undecided };
        for difference in verdict.different {
            let known = standings.get(&difference.member);
            if known.is_none_or(|known| *known < standing) {
                standings.insert(difference.member, standing);
                tell(&difference, standing);
            }
        }
        None
    }

    /// What is known of the others.
    #[cfg(test)]
    pub(super) fn standings(&self) -> BTreeMap<MemberId, Standing> {
        self.standings.lock().clone()
    }

    fn sentence(&self, Majority { index, own, right, count }: Majority, voters: usize) -> String {
        let member = self.member;
        format!(
            "member {member} differs from the majority: after log entry {index} its chain of effects is {own:016x}, and \
             that of {count} of {voters} voters {right:016x}; remove it from the cluster, empty its data folder and add it \
             as a new member"
        )
    }
}

fn tell(Difference { member, index, own, theirs }: &Difference, standing: Standing) {
    let (own, theirs) = (format!("{own:016x}"), format!("{theirs:016x}"));
    if standing == Standing::Wrong {
        tracing::error!(
            %member, index, own, theirs,
            "a member differs from the majority and must not be served: remove it and add it as a new one"
        );
    } else {
        tracing::error!(
            %member, index, own, theirs,
            "this member and another differ, and no majority is known that says which is right"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use arc_swap::ArcSwap;
    use parking_lot::RwLock;

    use super::*;
    use crate::env::SimDisk;
    use crate::machine::Machine;
    use crate::model::LogId;
    use crate::storage::Storage;

    const OTHER: MemberId = MemberId(2);
    const THIRD: MemberId = MemberId(3);

    /// At entry 1, with chain 0.
    fn agreement(is_on: bool) -> Arc<Agreement> {
        let storage = Storage::open(Arc::new(SimDisk::new()), Path::new("state"), 1 << 20).unwrap();
        let mut machine = Machine::new();
        machine.begin_entry(LogId { term: 1, index: 1 }).unwrap();
        let shared = Shared { machine: RwLock::new(machine), storage: ArcSwap::from_pointee(storage) };
        Agreement::new(MemberId(1), Arc::new(shared), is_on)
    }

    fn voters(ids: impl IntoIterator<Item = u64>) -> Voters {
        Voters { voters: ids.into_iter().map(MemberId).collect::<BTreeSet<_>>(), ..Voters::default() }
    }

    fn at_one(chain: u64) -> Vec<ChainMark> {
        vec![ChainMark { index: 1, chain }]
    }

    #[test]
    fn a_member_that_most_are_against_has_a_reason_to_stop() {
        let agreement = agreement(true);
        agreement.hear(OTHER, at_one(0xabc));
        assert_eq!(agreement.look(&voters(1..=3)), None, "one is no majority");
        assert_eq!(agreement.standings(), [(OTHER, Standing::Undecided)].into());
        agreement.hear(THIRD, at_one(0xabc));
        let why = agreement.look(&voters(1..=3)).unwrap();
        for part in ["member 1 ", "entry 1 ", "0000000000000000", "2 of 3", "0000000000000abc", "remove it"] {
            assert!(why.contains(part), "{part} is missing: {why}");
        }
    }

    #[test]
    fn what_is_known_of_others_only_gets_worse_until_they_agree() {
        let agreement = agreement(true);
        agreement.hear(OTHER, at_one(7));
        agreement.hear(THIRD, at_one(0));
        assert_eq!(agreement.look(&voters(1..=3)), None);
        let expected = [(OTHER, Standing::Wrong), (THIRD, Standing::Same { index: 1 })];
        assert_eq!(agreement.standings(), expected.into());
        // The third says nothing of use: there is no majority now, and what was known stays known.
        agreement.hear(THIRD, Vec::new());
        assert_eq!(agreement.look(&voters(1..=3)), None);
        assert_eq!(agreement.standings(), expected.into());
        agreement.hear(OTHER, at_one(0));
        assert_eq!(agreement.look(&voters(1..=3)), None);
        assert_eq!(agreement.standings()[&OTHER], Standing::Same { index: 1 });
    }

    #[test]
    fn those_who_take_no_part_are_forgotten() {
        let agreement = agreement(true);
        agreement.hear(OTHER, at_one(7));
        agreement.hear(THIRD, at_one(7));
        assert_eq!(agreement.look(&voters([1])), None, "strangers have no say");
        assert_eq!(agreement.standings(), BTreeMap::new());
        assert_eq!(agreement.look(&voters(1..=3)), None, "and must tell again once they take part");
    }

    #[test]
    fn a_member_that_does_not_compare_tells_and_concludes_nothing() {
        let agreement = agreement(false);
        agreement.hear(OTHER, at_one(7));
        agreement.hear(THIRD, at_one(7));
        assert_eq!(agreement.look(&voters(1..=3)), None);
        assert_eq!((agreement.standings(), agreement.marks()), (BTreeMap::new(), at_one(0)));
    }
}
