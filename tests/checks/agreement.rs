//! Members agree: whoever has applied the same entries has the same state.
//!
//! Each member keeps a chain: a hash over the effects of every entry in order. Two members, or one before and after a
//! restart, that are at the same index must have the same chain; one that differs has applied something else. At the end
//! of a run, when all are at the same index, what can be read from them must be the same too.

use std::collections::BTreeMap;

use lodemark::model::{Record, Revision};

use super::{Promise, Violation};

/// The chains seen so far.
#[derive(Debug, Default)]
pub struct Chains {
    seen: BTreeMap<u64, (u64, u64)>,
}

impl Chains {
    /// Notes that a member that has applied everything up to an index has this chain.
    ///
    /// # Errors
    /// Another one had another chain there.
    pub fn note(&mut self, member: u64, index: u64, chain: u64) -> Result<(), Violation> {
        let &mut (other, seen) = self.seen.entry(index).or_insert((member, chain));
        if seen == chain {
            return Ok(());
        }
        let what = format!("at entry {index} member {other} had chain {seen:x}, member {member} has {chain:x}");
        Err(Violation::new(Promise::Agreed, what))
    }
}

/// What one member has at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Which member.
    pub member: u64,
    /// Its newest revision.
    pub revision: Revision,
    /// All its pairs, in order of key.
    pub pairs: Vec<Record>,
}

/// Checks that all have the same.
pub fn check(members: &[Contents]) -> Vec<Violation> {
    let Some((first, others)) = members.split_first() else { return Vec::new() };
    let differs = |other: &&Contents| (&other.revision, &other.pairs) != (&first.revision, &first.pairs);
    let tell = |other: &Contents| {
        let mut pairs = first.pairs.iter().zip(&other.pairs).filter(|(a, b)| a != b);
        let what = format!(
            "members {} and {} are at revisions {} and {} with {} and {} keys; the first that differ: {:?}",
            first.member,
            other.member,
            first.revision,
            other.revision,
            first.pairs.len(),
            other.pairs.len(),
            pairs.next()
        );
        Violation::new(Promise::Agreed, what)
    };
    others.iter().filter(differs).map(tell).collect()
}

mod tests {
    use super::super::samples::record;
    use super::*;

    #[test]
    fn another_chain_at_the_same_index_is_rejected() {
        let mut chains = Chains::default();
        assert_eq!(chains.note(1, 5, 77), Ok(()));
        assert_eq!(chains.note(2, 6, 78), Ok(()));
        assert_eq!(chains.note(2, 5, 77), Ok(()));
        assert!(chains.note(3, 6, 77).is_err());
    }

    #[test]
    fn contents_that_differ_are_rejected() {
        let contents = |member, value| {
            let pairs = vec![record("a", (value, 2, 2, 1), 0)];
            Contents { member, revision: Revision(2), pairs }
        };
        assert_eq!(check(&[contents(1, "1"), contents(2, "1")]), []);
        assert_eq!(check(&[contents(1, "1"), contents(2, "1"), contents(3, "2")]).len(), 1);
        let fewer = Contents { pairs: Vec::new(), ..contents(2, "1") };
        assert_eq!(check(&[contents(1, "1"), fewer]).len(), 1);
        let behind = Contents { revision: Revision(1), ..contents(2, "1") };
        assert_eq!(check(&[contents(1, "1"), behind]).len(), 1);
    }
}
