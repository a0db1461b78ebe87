//! Members compare their states while they run.
//!
//! Each ping tells what the sender's chain is and was (`Machine::marks`); whoever gets it remembers the last of each
//! member, and looks all the time what it says ([`super::verdict`]). A member that most voters are against stops: it is
//! not right, and must not be served. It tells the others as its last word, and they say once which one it is. Where no
//! majority is known nobody stops, for it could be the one that is right, and all say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::verdict::{Difference, Majority, Told, judge};
use crate::machine::Shared;
use crate::model::{ChainMark, MemberId};
use crate::peer::member_calls::{Confession, Ping};
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

/// What is known of another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) opinion: Opinion,
    /// The newest entry that says so.
    pub(super) index: u64,
}

/// What is thought of another member, by rising alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Opinion {
    /// It has this member's state.
    Same,
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

    /// Another member has told what its chain is and was, or that it is wrong.
    pub(super) fn hear(&self, from: MemberId, ping: Ping) {
        if !self.is_on {
            return;
        }
        if let Some(Confession { index, own, right }) = ping.confession {
            let difference = Difference { member: from, index, own: right, theirs: own };
            note_difference(&mut self.standings.lock(), &difference, Opinion::Wrong);
        }
        self.told.lock().insert(from, ping.marks);
    }

    /// Looks at what was told; gives the majority if it is against this member, which must stop then. Forgets those who
    /// take no part any more.
    pub(super) fn look(&self, voters: &Voters) -> Option<Majority> {
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
        let against_this_member = verdict.against_this_member();
        if against_this_member.is_some() {
            return against_this_member;
        }
        let mut standings = self.standings.lock();
        standings.retain(|id, _| takes_part(id));
        for (member, index) in verdict.same {
            // An entry before the one that showed a difference says nothing against it.
            if standings.get(&member).is_none_or(|known| known.index < index) {
                standings.insert(member, Standing { opinion: Opinion::Same, index });
            }
        }
        let opinion = if verdict.majority.is_some() { Opinion::Wrong } else { Opinion::Undecided };
        for difference in &verdict.different {
            note_difference(&mut standings, difference, opinion);
        }
        None
    }

    /// What is known of the others.
    #[cfg(test)]
    pub(super) fn standings(&self) -> BTreeMap<MemberId, Standing> {
        self.standings.lock().clone()
    }

    /// Why this member stops, for people.
    pub(super) fn sentence(&self, Majority { index, own, right, count, voters }: &Majority) -> String {
        let member = self.member;
        format!(
            "member {member} differs from the majority: after log entry {index} its chain of effects is {own:016x}, and \
             that of {count} of {voters} voters {right:016x}; remove it from the cluster, empty its data folder and add it \
             as a new member"
        )
    }
}

/// Notes that a member differs, and says so if it is worse than what was known.
fn note_difference(standings: &mut BTreeMap<MemberId, Standing>, difference: &Difference, opinion: Opinion) {
    let &Difference { member, index, own, theirs } = difference;
    let known = standings.get(&member).copied().unwrap_or(Standing { opinion: Opinion::Same, index });
    let standing = Standing { opinion: opinion.max(known.opinion), index: index.max(known.index) };
    standings.insert(member, standing);
    if standing.opinion == known.opinion {
        return;
    }
    let (own, theirs) = (format!("{own:016x}"), format!("{theirs:016x}"));
    if opinion == Opinion::Wrong {
        tracing::error!(
            %member, index, right = own, theirs,
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

    fn at_one(chain: u64) -> Ping {
        Ping { marks: vec![ChainMark { index: 1, chain }], confession: None }
    }

    fn standing(opinion: Opinion, index: u64) -> Standing {
        Standing { opinion, index }
    }

    #[test]
    fn a_member_that_most_are_against_has_a_reason_to_stop() {
        let agreement = agreement(true);
        agreement.hear(OTHER, at_one(0xabc));
        assert_eq!(agreement.look(&voters(1..=3)), None, "one is no majority");
        assert_eq!(agreement.standings(), [(OTHER, standing(Opinion::Undecided, 1))].into());
        agreement.hear(THIRD, at_one(0xabc));
        let why = agreement.sentence(&agreement.look(&voters(1..=3)).unwrap());
        for part in ["member 1 ", "entry 1 ", "0000000000000000", "2 of 3", "0000000000000abc", "remove it"] {
            assert!(why.contains(part), "{part} is missing: {why}");
        }
    }

    #[test]
    fn what_is_known_of_others_only_gets_worse_until_they_agree_later_on() {
        let agreement = agreement(true);
        let look = || {
            assert_eq!(agreement.look(&voters(1..=3)), None);
            agreement.standings()
        };
        agreement.hear(OTHER, at_one(7));
        agreement.hear(THIRD, at_one(0));
        let expected = [(OTHER, standing(Opinion::Wrong, 1)), (THIRD, standing(Opinion::Same, 1))];
        assert_eq!(look(), expected.into());
        // The third says nothing of use: there is no majority now, and what was known stays known.
        agreement.hear(THIRD, Ping::default());
        assert_eq!(look(), expected.into());
        agreement.hear(OTHER, at_one(0));
        assert_eq!(look(), expected.into(), "not at a later entry");
        agreement.shared.machine.write().begin_entry(LogId { term: 1, index: 2 }).unwrap();
        agreement.hear(OTHER, Ping { marks: vec![ChainMark { index: 2, chain: 0 }], confession: None });
        assert_eq!(look()[&OTHER], standing(Opinion::Same, 2));
    }

    #[test]
    fn who_says_that_it_is_wrong_is_wrong() {
        let agreement = agreement(true);
        agreement.hear(OTHER, at_one(0));
        let confession = Some(Confession { index: 300, own: 7, right: 8 });
        agreement.hear(OTHER, Ping { confession, ..at_one(0) });
        assert_eq!(agreement.look(&voters(1..=3)), None);
        assert_eq!(agreement.standings(), [(OTHER, standing(Opinion::Wrong, 300))].into());
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
        assert_eq!((agreement.standings(), agreement.marks()), (BTreeMap::new(), at_one(0).marks));
    }
}
