//! What reads showed of single keys.
//!
//! Where no watch heard of a change, because the history was compacted before it could, reads that came later still say
//! something of who made it: the search for an order is led by that.

use std::collections::BTreeMap;

use lodemark::model::{Event, EventKind, Range, RangeReply, Revision};

use super::history::{History, Outcome, Request};

/// How well a change agrees with what was read later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// It did not happen at that revision.
    Contradicted,
    /// Its key was gone when somebody looked: something else must have deleted it meanwhile.
    Doubtful,
    /// Nobody looked, or only after other changes.
    Open,
    /// Somebody saw it.
    Shown,
}

/// What all reads showed.
pub struct Seen<'h> {
    /// Reads that show all that there is in a range, with the revision whose state they show, in its order.
    whole: Vec<(Revision, &'h Range, &'h RangeReply)>,
    /// The keys that were last changed by a revision, as any read showed.
    changed: BTreeMap<Revision, Vec<&'h [u8]>>,
}

impl<'h> Seen<'h> {
    /// Gathers what a history shows.
    pub fn new(history: &'h History) -> Seen<'h> {
        let (mut whole, mut changed) = (Vec::new(), BTreeMap::<Revision, Vec<&[u8]>>::new());
        for operation in &history.operations {
            let (Request::Range(range), Outcome::Read(reply)) = (&operation.request, &operation.outcome) else {
                continue;
            };
            for record in &reply.kvs {
                changed.entry(record.mod_revision()).or_default().push(record.key());
            }
            if shows_all(range, reply) {
                let at = if range.revision > 0 { Revision(range.revision) } else { reply.revision };
                whole.push((at, range, reply));
            }
        }
        whole.sort_by_key(|(at, ..)| *at);
        Seen { whole, changed }
    }

    /// How well the changes of a revision agree with what was read at it and later.
    pub fn sight(&self, revision: Revision, made: &[Event]) -> Sight {
        let puts = || made.iter().filter(|event| event.kind == EventKind::Put);
        let changed = self.changed.get(&revision).map_or(&[][..], Vec::as_slice);
        if !changed.iter().all(|&key| puts().any(|event| event.key() == key)) {
            return Sight::Contradicted;
        }
        if !changed.is_empty() {
            return Sight::Shown;
        }
        made.iter().map(|event| self.sight_of(event, revision)).min().unwrap_or(Sight::Open)
    }

    fn sight_of(&self, event: &Event, revision: Revision) -> Sight {
        let first = self.whole.partition_point(|(at, ..)| *at < revision);
        let look = self.whole[first..].iter().find(|(_, range, _)| range.keys.contains(event.key()));
        let Some((_, _, reply)) = look else { return Sight::Open };
        match (reply.kvs.iter().find(|record| record.key() == event.key()), event.kind) {
            (Some(record), _) if record.mod_revision() > revision => Sight::Open,
            (Some(_), _) => Sight::Contradicted,
            (None, EventKind::Put) => Sight::Doubtful,
            (None, EventKind::Delete) => Sight::Open,
        }
    }
}

/// Whether a read shows each key in its range, or that there is none.
fn shows_all(range: &Range, reply: &RangeReply) -> bool {
    let bounds = [range.min_mod_revision, range.max_mod_revision, range.min_create_revision, range.max_create_revision];
    bounds == [0; 4] && !reply.more && (!range.count_only || reply.count == 0)
}
