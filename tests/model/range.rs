//! Ranges, step by step as etcd describes them.

use lodemark::machine::Rejection;
use lodemark::model::{KeyValue, LeaseId, Range, RangeReply, Record, Revision, SortOrder, SortTarget};

use super::{Model, Pair, record};

impl Model {
    /// Answers a range that is not part of a txn.
    pub fn range(&self, query: &Range) -> Result<RangeReply, Rejection> {
        let at = if query.revision <= 0 { self.revision } else { query.revision };
        self.check_readable(at)?;
        Ok(self.answer(query, at))
    }

    /// Answers a range at a revision that was reached, whether or not it is compacted.
    pub fn range_at(&self, query: &Range, at: Revision) -> RangeReply {
        self.answer(query, at.0)
    }

    pub(super) fn check_readable(&self, at: i64) -> Result<(), Rejection> {
        if at > self.revision {
            return Err(Rejection::FutureRevision { requested: Revision(at), current: self.revision() });
        }
        if at < self.compacted {
            return Err(Rejection::Compacted { requested: Revision(at), compacted: self.compacted() });
        }
        Ok(())
    }

    /// The answer at a revision that may be read.
    pub(super) fn answer(&self, query: &Range, at: i64) -> RangeReply {
        let revision = self.now();
        let mut found = self.pairs_at(&query.keys, at);
        let count = i64::try_from(found.len()).unwrap();
        if query.count_only {
            return RangeReply { revision, kvs: Vec::new(), more: false, count };
        }

        // A quirk of etcd: sorted by something else than the key, but in no direction, it sorts only what the limit and
        // one more let through, unless there are filters.
        let filters =
            [query.max_mod_revision, query.min_mod_revision, query.max_create_revision, query.min_create_revision];
        let limit = usize::try_from(query.limit).unwrap_or(0);
        if query.sort_order == SortOrder::None && filters == [0; 4] && limit > 0 {
            found.truncate(limit.saturating_add(1));
        }

        let (max_mod, min_mod) = (query.max_mod_revision, query.min_mod_revision);
        let (max_create, min_create) = (query.max_create_revision, query.min_create_revision);
        found.retain(|(_, pair)| {
            (max_mod == 0 || pair.modified <= max_mod)
                && (min_mod == 0 || pair.modified >= min_mod)
                && (max_create == 0 || pair.created <= max_create)
                && (min_create == 0 || pair.created >= min_create)
        });

        // Insertion by hand keeps it obvious that equal ones stay in order of key, in both directions.
        let mut sorted: Vec<(Vec<u8>, Pair)> = Vec::new();
        for entry in found {
            let place = sorted.iter().position(|other| comes_before(query, &entry, other)).unwrap_or(sorted.len());
            sorted.insert(place, entry);
        }

        let more = limit > 0 && sorted.len() > limit;
        if more {
            sorted.truncate(limit);
        }
        let kvs = sorted.iter().map(|(key, pair)| shown(query, key, pair)).collect();
        RangeReply { revision, kvs, more, count }
    }
}

/// Whether `a` must stand before `b`; no if they are equal.
fn comes_before(query: &Range, a: &(Vec<u8>, Pair), b: &(Vec<u8>, Pair)) -> bool {
    let order = match query.sort_target {
        SortTarget::Key => a.0.cmp(&b.0),
        SortTarget::Version => a.1.version.cmp(&b.1.version),
        SortTarget::Create => a.1.created.cmp(&b.1.created),
        SortTarget::Mod => a.1.modified.cmp(&b.1.modified),
        SortTarget::Value => a.1.value.cmp(&b.1.value),
    };
    match query.sort_order {
        SortOrder::None | SortOrder::Ascend => order.is_lt(),
        SortOrder::Descend => order.is_gt(),
    }
}

fn shown(query: &Range, key: &[u8], pair: &Pair) -> Record {
    if !query.keys_only {
        return record(key, pair);
    }
    // etcd 3.7 answers from its index, which knows no lease; sorting by value makes it look at the pair itself.
    let lease = if query.sort_target == SortTarget::Value { pair.lease } else { 0 };
    Record::new(&KeyValue {
        key,
        value: b"",
        create_revision: Revision(pair.created),
        mod_revision: Revision(pair.modified),
        version: pair.version,
        lease: LeaseId(lease),
    })
}
