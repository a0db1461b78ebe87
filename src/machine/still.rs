//! One moment of the whole machine, to be copied out of it while it goes on.

use std::sync::Arc;

use super::Shared;
use crate::lease::Lease;
use crate::model::{Alarm, ClusterVersion, LeaseId, LogId, Member, MemberId, Record, Revision, SubRevision};
use crate::mvcc::{Copying, ReadError};
use crate::storage::{AuthRow, Storage};

/// What the machine held at one moment. The key space is read when it is asked for; nothing of it is freed as long as this
/// lives. The rest is small and was copied.
#[derive(Debug)]
pub struct Still {
    /// The last entry that was applied.
    pub applied: LogId,
    /// The leases, by id.
    pub leases: Vec<(LeaseId, Lease)>,
    /// The members, by id.
    pub members: Vec<Member>,
    /// The ids that were removed for ever, in order.
    pub removed: Vec<MemberId>,
    /// The alarms that are raised, by member.
    pub alarms: Vec<Alarm>,
    /// Where a downgrade goes that is under way.
    pub downgrade: Option<ClusterVersion>,
    /// Users, roles, and what holds for all of them; nothing as long as nobody has made any.
    pub auth: Vec<AuthRow>,
    kv: Copying,
    storage: Arc<Storage>,
}

impl Shared {
    /// Takes the present moment.
    #[must_use]
    pub fn still(&self) -> Still {
        let machine = self.machine.read();
        Still {
            applied: machine.applied(),
            leases: machine.lessor.iter().collect(),
            members: machine.members.values().cloned().collect(),
            removed: machine.removed.iter().copied().collect(),
            alarms: machine.alarms().collect(),
            downgrade: machine.downgrade(),
            auth: machine.auth_rows().map(|(_, row)| row).collect(),
            kv: machine.kv.begin_copy(),
            // Swapped only under the machine's lock.
            storage: self.storage.load_full(),
        }
    }
}

impl Still {
    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.kv.revision()
    }

    /// The compacted revision.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.kv.compacted()
    }

    /// Gives every change that is not compacted, in order; `shared` is where this was taken.
    ///
    /// # Errors
    /// As [`Copying::walk`].
    pub fn each_record<E: From<ReadError>>(
        &self,
        shared: &Shared,
        each: &mut dyn FnMut(SubRevision, &Record) -> Result<(), E>,
    ) -> Result<(), E> {
        self.kv.walk(shared, &self.storage, each)
    }
}
