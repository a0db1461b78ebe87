//! What the cluster knows of its members.

use super::{Effects, Machine};
use crate::model::{Member, Reply};
use crate::storage::TableWrite;

impl Machine {
    pub(super) fn member_set(&mut self, member: &Member, effects: &mut Effects) -> Reply {
        self.members.insert(member.id, member.clone());
        effects.writes.push(TableWrite::Member(member.clone()));
        Reply::Done { revision: self.kv.revision() }
    }
}
