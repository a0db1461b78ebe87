//! Compaction.

use super::tally::Step;
use super::{Effects, Machine, Rejection};
use crate::model::{Compact, Reply};
use crate::mvcc::ReadError;

impl Machine {
    /// Only the logical part: physical removal differs per member and is no command.
    pub(super) fn compact(&mut self, compact: &Compact, effects: &mut Effects) -> Result<Reply, Rejection> {
        match self.kv.compact(compact.revision) {
            Ok(()) => {
                effects.compacted = Some(compact.revision);
                // etcd reads a key for the revision of its answer.
                effects.tally.add(Step { ranges: 1, ..Step::default() });
                Ok(Reply::Compact { revision: self.kv.revision() })
            }
            Err(ReadError::Compacted { requested, compacted }) => Err(Rejection::Compacted { requested, compacted }),
            Err(ReadError::Future { requested, current }) => Err(Rejection::FutureRevision { requested, current }),
            Err(ReadError::Storage(_)) => unreachable!("a logical compaction reads nothing"),
        }
    }
}
