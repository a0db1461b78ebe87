//! Who belongs to the cluster.
//!
//! The table of members is the truth about them: Raft's own membership follows it. A member is taken in with the URLs at
//! which it will be found, names itself when it starts, may move, and is removed for ever: its id is kept, so that it can
//! never come back.
//!
//! The rules here are those that every member applies alike. What only the member that is asked can know, whether the
//! change would cost the quorum, is checked before the command is proposed (`node`).
//!
//! Source: etcd, `server/etcdserver/api/membership/cluster.go`, `ValidateConfigurationChange`.

use super::{Effects, Machine, MemberChange, Rejection, VersionChange};
use crate::model::{Member, MemberAdd, MemberAttributes, MemberId, MemberUpdate, Reply};
use crate::storage::TableWrite;

impl Machine {
    /// Tells whether the id was a member's and can never be again.
    #[must_use]
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    pub(super) fn member_set(&mut self, member: &Member, effects: &mut Effects) -> Reply {
        self.put_member(member.clone(), effects);
        self.done()
    }

    /// Each founding member proposes the same table; only the first one counts.
    pub(super) fn members_found(&mut self, members: &[Member], effects: &mut Effects) -> Reply {
        if self.members.is_empty() && self.removed.is_empty() {
            for member in members {
                self.put_member(member.clone(), effects);
            }
            effects.version = Some(VersionChange { from: None, to: self.cluster_version() });
        }
        self.done()
    }

    pub(super) fn member_add(&mut self, add: &MemberAdd, effects: &mut Effects) -> Result<Reply, Rejection> {
        let MemberAdd { member, learners_max } = add;
        self.check_not_removed(member.id)?;
        if self.members.contains_key(&member.id) {
            return Err(Rejection::MemberExists);
        }
        self.check_urls_free(member.id, &member.peer_urls)?;
        let learners = self.members.values().filter(|member| member.is_learner).count();
        if member.is_learner && learners >= *learners_max {
            return Err(Rejection::TooManyLearners);
        }
        self.put_member(member.clone(), effects);
        Ok(self.done())
    }

    pub(super) fn member_remove(&mut self, id: MemberId, effects: &mut Effects) -> Result<Reply, Rejection> {
        self.check_not_removed(id)?;
        self.find_member(id)?;
        self.drop_member(id, effects);
        Ok(self.done())
    }

    /// What an operator who has lost the quorum asks for.
    pub(super) fn members_reduce(&mut self, kept: MemberId, effects: &mut Effects) -> Reply {
        let others: Vec<MemberId> = self.members.keys().copied().filter(|&id| id != kept).collect();
        for id in others {
            self.drop_member(id, effects);
        }
        if let Some(member) = self.members.get(&kept).cloned() {
            // Alone without a vote it could not go on.
            self.put_member(Member { is_learner: false, ..member }, effects);
        }
        self.done()
    }

    fn drop_member(&mut self, id: MemberId, effects: &mut Effects) {
        let member = self.members.remove(&id);
        self.removed.insert(id);
        effects.writes.extend([TableWrite::RemoveMember(id), TableWrite::Removed(id)]);
        effects.members.extend(member.map(MemberChange::Removed));
    }

    /// The URLs are taken as they are, as etcd takes them: nobody can be locked out by it who was not before.
    pub(super) fn member_update(&mut self, update: &MemberUpdate, effects: &mut Effects) -> Result<Reply, Rejection> {
        let MemberUpdate { id, peer_urls } = update;
        let member = self.find_member(*id)?;
        self.check_urls_free(*id, peer_urls)?;
        self.put_member(Member { peer_urls: peer_urls.clone(), ..member }, effects);
        Ok(self.done())
    }

    pub(super) fn member_promote(&mut self, id: MemberId, effects: &mut Effects) -> Result<Reply, Rejection> {
        let member = self.find_member(id)?;
        if !member.is_learner {
            return Err(Rejection::MemberNotLearner);
        }
        self.put_member(Member { is_learner: false, ..member }, effects);
        Ok(self.done())
    }

    pub(super) fn member_attributes(
        &mut self,
        attributes: &MemberAttributes,
        effects: &mut Effects,
    ) -> Result<Reply, Rejection> {
        let MemberAttributes { id, name, client_urls } = attributes;
        let member = self.find_member(*id)?;
        self.put_member(Member { name: name.clone(), client_urls: client_urls.clone(), ..member }, effects);
        Ok(self.done())
    }

    fn find_member(&self, id: MemberId) -> Result<Member, Rejection> {
        self.check_not_removed(id)?;
        self.members.get(&id).cloned().ok_or(Rejection::MemberNotFound)
    }

    fn check_not_removed(&self, id: MemberId) -> Result<(), Rejection> {
        if self.is_removed(id) { Err(Rejection::MemberRemoved) } else { Ok(()) }
    }

    /// Refuses URLs at which another member is reached.
    fn check_urls_free(&self, id: MemberId, peer_urls: &[String]) -> Result<(), Rejection> {
        let mut others = self.members.values().filter(|member| member.id != id);
        let is_taken = others.any(|other| other.peer_urls.iter().any(|url| peer_urls.contains(url)));
        if is_taken { Err(Rejection::PeerUrlExists) } else { Ok(()) }
    }

    /// Writes a row, unless it says nothing new.
    fn put_member(&mut self, member: Member, effects: &mut Effects) {
        if self.members.get(&member.id) == Some(&member) {
            return;
        }
        effects.writes.push(TableWrite::Member(member.clone()));
        effects.members.push(MemberChange::of(self.members.get(&member.id), &member));
        self.members.insert(member.id, member);
    }

    fn done(&self) -> Reply {
        Reply::Done { revision: self.kv.revision() }
    }
}
