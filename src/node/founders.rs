//! Whom the folder began with: the members until the replicated table names any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::options::{Founding, NodeOptions};
use crate::machine::Machine;
use crate::model::{Command, Member, MemberId};
use crate::storage::{self, Storage};

/// Those who found the cluster, or were there when this member joined it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Founders {
    members: Arc<[Member]>,
    /// This member founds the cluster with them, as opposed to joining it.
    pub(super) may_found: bool,
}

impl Founders {
    /// As the folder says, which must be claimed. A folder of version 0.1 is that of a member alone.
    ///
    /// # Errors
    /// If the checkpoint cannot be read.
    pub(super) fn of(options: &NodeOptions, storage: &Storage) -> Result<Founders, storage::Error> {
        let alone = || Member {
            id: options.member,
            name: options.name.clone(),
            peer_urls: options.peer_urls.clone(),
            ..Member::default()
        };
        let (may_found, members) = match storage.founding()? {
            Some(Founding::New(members)) if !members.is_empty() => (true, members),
            Some(Founding::New(_)) | None => (true, vec![alone()]),
            Some(Founding::Join(members)) => (false, members),
        };
        Ok(Founders { members: members.into(), may_found })
    }

    /// Who votes first.
    pub(super) fn voters(&self) -> BTreeSet<MemberId> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// Whether this member founds the cluster by itself.
    pub(super) fn are_alone(&self) -> bool {
        self.may_found && self.members.len() == 1
    }

    /// Puts them into the table.
    pub(super) fn command(&self) -> Command {
        Command::MembersFound(self.members.to_vec())
    }

    /// The members: those of the table, or these before it has any.
    pub(super) fn or_table(&self, machine: &Machine) -> Vec<Member> {
        match machine.members.is_empty() {
            true => self.members.to_vec(),
            false => machine.members.values().cloned().collect(),
        }
    }

    /// Where the members are, besides `own`: nobody connects to itself.
    pub(super) fn addresses(&self, machine: &Machine, own: MemberId) -> BTreeMap<MemberId, Vec<String>> {
        let others = self.or_table(machine).into_iter().filter(|member| member.id != own);
        others.map(|member| (member.id, member.peer_urls)).collect()
    }
}
