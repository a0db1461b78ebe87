//! Member verbs: who belongs to the cluster, and changes of that.
//!
//! A change is a command like any other. What apply refuses it refuses everywhere alike (`machine`); what depends on who
//! is asked, and when, is checked here before it is proposed, unless the operator has turned that off: whether enough
//! members have started, and whether enough of them are connected, for the cluster to live on after the change.
//!
//! Only the leader knows how far a learner has come, so a promotion goes to it.
//!
//! Source: etcd, `server/etcdserver/server.go`, `mayAddMember` and its neighbours.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use tokio::time::Instant;

use super::Node;
use super::error::NodeError;
use super::proposer::REQUEST_TIMEOUT;
use crate::env::unix_time;
use crate::machine::Rejection;
use crate::model::{Command, Member, MemberAdd, MemberId, MemberUpdate};
use crate::peer::member_calls::{PromoteAnswer, decode_promote, encode_promote};
use crate::peer::{Method, PeerError, Refusal};
use crate::raft::Proposal;

/// A member counts as healthy when it has been connected for so long. Source: etcd, `HealthInterval`.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);
/// How often a request that needs a leader looks for one.
const LEADER_POLL: Duration = Duration::from_millis(50);
/// How long an answered removal may wait until Raft has dropped the member too. The removal holds without that; a client
/// that counts on it, and stops the member at once, is better off.
const REMOVAL_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often it looks.
const REMOVAL_POLL: Duration = Duration::from_millis(20);
/// A learner is in sync when it has so many percent of the leader's log. Source: etcd, `readyPercentThreshold`.
const READY_PERCENT: u64 = 90;

/// The members of a cluster by id.
type Members = BTreeMap<MemberId, Member>;

impl Node {
    /// Takes a member in: a voter, or a learner, which gets the log but has no vote. `peer_urls` are checked by the
    /// caller. Gives the member, with a new id, and all members. Waits for a leader as long as it takes.
    ///
    /// # Errors
    /// - [`NodeError::NotEnoughStarted`], [`NodeError::Unhealthy`]: the cluster would be at risk; ask again later.
    /// - [`NodeError::Rejected`] if a URL is another member's, or there are too many learners.
    /// - As [`Node::propose`].
    pub async fn member_add(
        &self,
        mut peer_urls: Vec<String>,
        is_learner: bool,
    ) -> Result<(Member, Vec<Member>), NodeError> {
        peer_urls.sort();
        let id = new_member_id(&peer_urls, unix_time());
        let member = Member { id, peer_urls, is_learner, ..Member::default() };
        if self.strict_reconfig {
            self.look_at_members(|members, node| check_add(members, is_learner, &|id| node.is_healthy(id)))?;
        }
        let add = MemberAdd { member: member.clone(), learners_max: self.learners_max };
        self.change_members(Command::MemberAdd(add)).await?;
        Ok((member, self.members_now()))
    }

    /// Removes a member for ever; gives the others. The member itself may be asked. Waits for a leader as long as it
    /// takes, and a little until Raft has let the member go.
    ///
    /// # Errors
    /// - [`NodeError::NotEnoughStarted`], [`NodeError::Unhealthy`]: those who are left could not go on.
    /// - [`NodeError::Rejected`] if there is no such member.
    /// - As [`Node::propose`].
    pub async fn member_remove(&self, id: MemberId) -> Result<Vec<Member>, NodeError> {
        if self.strict_reconfig {
            self.look_at_members(|members, node| {
                check_remove(members, id, node.is_connected(id), &|id| node.is_healthy(id))
            })?;
        }
        self.change_members(Command::MemberRemove(id)).await?;
        let members = self.members_now();
        // This member ends as soon as it is not needed any more; its answer must be on its way before.
        if id != self.member {
            let gone = async {
                while self.consensus.is_in_group(id) {
                    tokio::time::sleep(REMOVAL_POLL).await;
                }
            };
            if tokio::time::timeout(REMOVAL_WAIT_MAX, gone).await.is_err() {
                tracing::warn!(%id, "the removed member is still in Raft's membership; it will be dropped");
            }
        }
        Ok(members)
    }

    /// Moves a member to other URLs, which are taken as they are; gives all members. Waits for a leader as long as it
    /// takes.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if there is no such member or a URL is another's; else as [`Node::propose`].
    pub async fn member_update(&self, id: MemberId, peer_urls: Vec<String>) -> Result<Vec<Member>, NodeError> {
        self.change_members(Command::MemberUpdate(MemberUpdate { id, peer_urls })).await?;
        Ok(self.members_now())
    }

    /// Gives a learner a vote, by way of the leader; gives all members.
    ///
    /// # Errors
    /// - [`NodeError::LearnerNotReady`], [`NodeError::NotEnoughStarted`]: ask again later.
    /// - [`NodeError::Rejected`] if there is no such member, or it has a vote.
    /// - [`NodeError::Timeout`] if nobody leads within the request timeout, or the leader's answer did not arrive.
    /// - As [`Node::propose`].
    pub async fn member_promote(&self, id: MemberId) -> Result<Vec<Member>, NodeError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            self.barrier.check_running()?;
            match self.promote_by_leader(id, deadline.saturating_duration_since(Instant::now())).await {
                Err(NodeError::NotLeader) if Instant::now() + LEADER_POLL < deadline => {
                    tokio::time::sleep(LEADER_POLL).await;
                }
                Err(NodeError::NotLeader) => return Err(NodeError::Timeout),
                result => return result,
            }
        }
    }

    /// Answers another member's request for a promotion, if this one leads.
    ///
    /// # Errors
    /// [`Refusal`] if the request cannot be read or the node has stopped.
    pub async fn answer_promote(&self, body: Bytes) -> Result<Bytes, Refusal> {
        let id = decode_promote(body)?;
        let answer = match self.promote_as_leader(id).await {
            Ok(members) => PromoteAnswer::Promoted(members),
            Err(NodeError::NotLeader) => PromoteAnswer::NotLeader,
            Err(NodeError::Rejected(Rejection::MemberNotFound | Rejection::MemberRemoved)) => {
                PromoteAnswer::MemberNotFound
            }
            Err(NodeError::Rejected(Rejection::MemberNotLearner)) => PromoteAnswer::MemberNotLearner,
            Err(NodeError::LearnerNotReady) => PromoteAnswer::LearnerNotReady,
            Err(NodeError::NotEnoughStarted) => PromoteAnswer::NotEnoughStarted,
            Err(NodeError::Timeout) => PromoteAnswer::Timeout,
            Err(NodeError::Stopped) => return Err(Refusal::Stopped("it is stopping".into())),
            Err(error) => PromoteAnswer::Failed(error.to_string()),
        };
        Ok(answer.encode())
    }

    /// One attempt. [`NodeError::NotLeader`] says that nothing was done.
    async fn promote_by_leader(&self, id: MemberId, within: Duration) -> Result<Vec<Member>, NodeError> {
        let leader = self.leadership.leader().ok_or(NodeError::NotLeader)?;
        if leader == self.member {
            return self.promote_as_leader(id).await;
        }
        let call = self.peers.ask(leader, Method::Promote, encode_promote(id), within);
        let body = match call.await {
            Ok(body) => body,
            // It surely has not seen the request, or not taken it.
            Err(PeerError::Unreachable(_) | PeerError::Refused(_)) => return Err(NodeError::NotLeader),
            Err(PeerError::Timeout | PeerError::Broken(_)) => return Err(NodeError::Timeout),
        };
        match PromoteAnswer::decode(body).map_err(|refusal| NodeError::Fault(refusal.to_string().into()))? {
            PromoteAnswer::Promoted(members) => Ok(members),
            PromoteAnswer::NotLeader => Err(NodeError::NotLeader),
            PromoteAnswer::MemberNotFound => Err(Rejection::MemberNotFound.into()),
            PromoteAnswer::MemberNotLearner => Err(Rejection::MemberNotLearner.into()),
            PromoteAnswer::LearnerNotReady => Err(NodeError::LearnerNotReady),
            PromoteAnswer::NotEnoughStarted => Err(NodeError::NotEnoughStarted),
            PromoteAnswer::Timeout => Err(NodeError::Timeout),
            PromoteAnswer::Failed(why) => Err(NodeError::Fault(why.into())),
        }
    }

    async fn promote_as_leader(&self, id: MemberId) -> Result<Vec<Member>, NodeError> {
        let promoted = self.try_promote(id).await;
        match &promoted {
            Ok(_) => self.metrics.server.promotions.inc(),
            // Whoever leads counts it.
            Err(NodeError::NotLeader) => {}
            Err(error) => self.metrics.server.promotion_failed(reason(error)),
        }
        promoted
    }

    async fn try_promote(&self, id: MemberId) -> Result<Vec<Member>, NodeError> {
        // Not before it has begun to lead: until then its table may be behind.
        if self.leadership.term().is_none() {
            return Err(NodeError::NotLeader);
        }
        let is_learner = self.look_at_members(|members, _| match members.get(&id) {
            Some(member) => Ok(member.is_learner),
            None => Err(Rejection::MemberNotFound.into()),
        })?;
        if is_learner {
            let matched = self.consensus.match_index(id).unwrap_or(0);
            if !is_in_sync(matched, self.consensus.status().last_log) {
                return Err(NodeError::LearnerNotReady);
            }
        }
        if self.strict_reconfig {
            self.look_at_members(|members, _| check_promote(members))?;
        }
        self.change_members(Command::MemberPromote(id)).await?;
        Ok(self.members_now())
    }

    /// Proposes a change. Unlike other requests it waits for a leader as long as its client does: so does etcd.
    async fn change_members(&self, command: Command) -> Result<(), NodeError> {
        while !self.has_leader() {
            self.barrier.check_running()?;
            tokio::time::sleep(LEADER_POLL).await;
        }
        self.propose(Proposal::from(&command)).await.map(|_| ())
    }

    fn members_now(&self) -> Vec<Member> {
        self.shared.machine.read().members.values().cloned().collect()
    }

    fn look_at_members<T>(&self, look: impl FnOnce(&Members, &Node) -> Result<T, NodeError>) -> Result<T, NodeError> {
        look(&self.shared.machine.read().members, self)
    }

    /// This member is connected to itself, and always was.
    fn is_healthy(&self, id: MemberId) -> bool {
        id == self.member || self.contacts.connected_for(id).is_some_and(|time| time >= HEALTHY_AFTER)
    }

    fn is_connected(&self, id: MemberId) -> bool {
        id == self.member || self.contacts.connected_for(id).is_some()
    }
}

/// The id of a member that is added: of its sorted URLs and the time, so that one that comes back is another.
///
/// Source: etcd, `server/etcdserver/api/membership/member.go`, `computeMemberID`.
fn new_member_id(sorted_urls: &[String], now: Duration) -> MemberId {
    let hash = sorted_urls.iter().fold(Sha1::new(), |hash, url| hash.chain_update(url));
    let digest: [u8; 20] = hash.chain_update(now.as_secs().to_string()).finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    MemberId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// Refuses a member that would leave the cluster without a quorum until it has started.
fn check_add(members: &Members, is_learner: bool, is_healthy: &dyn Fn(MemberId) -> bool) -> Result<(), NodeError> {
    let count = Voters::of(members, is_healthy);
    // One member may always become two: that is how a cluster grows, and how one that was lost is built anew.
    let is_alone = count.voters == 1;
    let needs_no_started = is_learner || (is_alone && count.started == 1);
    if !needs_no_started && count.started < quorum(count.voters + 1) {
        return Err(NodeError::NotEnoughStarted);
    }
    if !is_alone && count.healthy < quorum(count.voters + 1) {
        return Err(NodeError::Unhealthy);
    }
    Ok(())
}

/// Refuses to remove a voter without whom the others have no quorum. Learners do not count, and one that is down takes
/// nothing with it.
fn check_remove(
    members: &Members,
    id: MemberId,
    is_connected: bool,
    is_healthy: &dyn Fn(MemberId) -> bool,
) -> Result<(), NodeError> {
    if members.get(&id).is_some_and(|member| member.is_learner) {
        return Ok(());
    }
    let mut others = members.clone();
    others.remove(&id);
    let left = Voters::of(&others, is_healthy);
    if left.started < quorum(left.voters) {
        return Err(NodeError::NotEnoughStarted);
    }
    if !is_connected {
        return Ok(());
    }
    let before = Voters::of(members, is_healthy);
    // The one that goes counts as healthy, for it may be so a moment later.
    if before.healthy.saturating_sub(1) < before.voters.saturating_sub(1) / 2 + 1 {
        return Err(NodeError::Unhealthy);
    }
    Ok(())
}

/// Refuses a voter more if too few of the present ones have started. The learner has.
fn check_promote(members: &Members) -> Result<(), NodeError> {
    let count = Voters::of(members, &|_| true);
    if count.started + 1 < quorum(count.voters + 1) { Err(NodeError::NotEnoughStarted) } else { Ok(()) }
}

/// How many voters there are.
struct Voters {
    voters: usize,
    started: usize,
    healthy: usize,
}

impl Voters {
    fn of(members: &Members, is_healthy: &dyn Fn(MemberId) -> bool) -> Voters {
        let voters = || members.values().filter(|member| !member.is_learner);
        Voters {
            voters: voters().count(),
            started: voters().filter(|member| member.has_started()).count(),
            healthy: voters().filter(|member| is_healthy(member.id)).count(),
        }
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Why a learner was not made a voter, in a word or two: one of few.
fn reason(error: &NodeError) -> &'static str {
    match error {
        NodeError::LearnerNotReady => "learner not ready",
        NodeError::NotEnoughStarted => "not enough started members",
        NodeError::Rejected(Rejection::MemberNotLearner) => "not a learner",
        NodeError::Rejected(_) => "no such member",
        NodeError::Timeout | NodeError::TimeoutLeaderFailed | NodeError::TimeoutConnectionLost => "timed out",
        _ => "other",
    }
}

fn is_in_sync(matched: u64, last_log: u64) -> bool {
    u128::from(matched) * 100 >= u128::from(last_log) * u128::from(READY_PERCENT)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::env::{ManualClock, SeededRandom, SimDisk};
    use crate::model::{ClusterId, Revision};
    use crate::node::{Identity, NodeOptions};
    use crate::peer::member_calls::{HashKvAnswer, encode_hash_kv};

    /// Members 1, 2, 3 ...: `v` a voter that has started, `n` one that has not, `l` a learner.
    fn members(kinds: &str) -> Members {
        let member = |(id, kind): (u64, char)| {
            let name = if kind == 'n' { String::new() } else { format!("m{id}") };
            Member { id: MemberId(id), name, is_learner: kind == 'l', ..Member::default() }
        };
        (1..).zip(kinds.chars()).map(member).map(|member| (member.id, member)).collect()
    }

    fn healthy(ids: &[u64]) -> impl Fn(MemberId) -> bool {
        let ids = ids.to_vec();
        move |id| ids.contains(&id.0)
    }

    const OK: Result<(), NodeError> = Ok(());

    #[test]
    fn a_member_is_taken_in_only_if_a_quorum_of_more_is_started_and_healthy() {
        let add = |kinds, ids: &[u64]| check_add(&members(kinds), false, &healthy(ids));
        // One may become two, but two of which one has not started must not become three.
        assert_eq!(add("v", &[1]), OK);
        assert_eq!(add("vn", &[1]), Err(NodeError::NotEnoughStarted));
        assert_eq!(add("vv", &[1, 2]), OK);
        assert_eq!(add("vv", &[1]), Err(NodeError::Unhealthy));
        // Of four, three must be there: the new one is not.
        assert_eq!(add("vvv", &[1, 2, 3]), OK);
        assert_eq!(add("vvv", &[1, 2]), Err(NodeError::Unhealthy));
        assert_eq!(add("vvn", &[1, 2, 3]), Err(NodeError::NotEnoughStarted));
        assert_eq!(add("vvvvv", &[1, 2, 3, 4]), OK);
        assert_eq!(add("vvvvv", &[1, 2, 3]), Err(NodeError::Unhealthy));
        // Learners have no vote and do not count.
        assert_eq!(add("vl", &[1]), OK);
        assert_eq!(add("vvl", &[1, 3]), Err(NodeError::Unhealthy));
    }

    #[test]
    fn a_learner_needs_no_started_quorum_but_a_healthy_one() {
        let add = |kinds, ids: &[u64]| check_add(&members(kinds), true, &healthy(ids));
        assert_eq!(add("v", &[1]), OK);
        assert_eq!(add("vn", &[1, 2]), OK);
        assert_eq!(add("vn", &[1]), Err(NodeError::Unhealthy));
        assert_eq!(add("vvv", &[1, 2]), Err(NodeError::Unhealthy));
        assert_eq!(add("vvv", &[1, 2, 3]), OK);
    }

    #[test]
    fn a_voter_is_removed_only_if_the_others_can_go_on() {
        let remove = |kinds, id, is_connected, ids: &[u64]| {
            check_remove(&members(kinds), MemberId(id), is_connected, &healthy(ids))
        };
        // The last one cannot go.
        assert_eq!(remove("v", 1, true, &[1]), Err(NodeError::NotEnoughStarted));
        assert_eq!(remove("vv", 2, true, &[1, 2]), OK);
        // Connected, but not for long.
        assert_eq!(remove("vv", 2, true, &[1]), Err(NodeError::Unhealthy));
        assert_eq!(remove("vv", 2, false, &[1]), OK);
        assert_eq!(remove("vn", 1, true, &[1]), Err(NodeError::NotEnoughStarted));
        assert_eq!(remove("vn", 2, false, &[1]), OK);
        assert_eq!(remove("vvv", 3, true, &[1, 2, 3]), OK);
        assert_eq!(remove("vvv", 3, true, &[1, 3]), Err(NodeError::Unhealthy));
        assert_eq!(remove("vvv", 3, false, &[1, 2]), OK);
        assert_eq!(remove("vvvvv", 1, true, &[1, 2, 3, 4]), OK);
        assert_eq!(remove("vvvvv", 1, true, &[1, 2, 3]), Err(NodeError::Unhealthy));
        // A learner can always go; of an unknown one apply will say so.
        assert_eq!(remove("vnl", 3, true, &[1]), OK);
        assert_eq!(remove("v", 9, false, &[1]), OK);
        assert_eq!(remove("vn", 9, false, &[1]), Err(NodeError::NotEnoughStarted));
    }

    #[test]
    fn a_learner_is_promoted_only_if_a_quorum_with_it_has_started() {
        assert_eq!(check_promote(&members("vl")), OK);
        assert_eq!(check_promote(&members("vnl")), OK);
        assert_eq!(check_promote(&members("vnnl")), Err(NodeError::NotEnoughStarted));
        assert_eq!(check_promote(&members("vvnnl")), OK);
    }

    #[test]
    fn a_learner_is_in_sync_from_nine_tenths_of_the_log_on() {
        assert!(is_in_sync(9, 10) && is_in_sync(90, 100) && is_in_sync(0, 0) && is_in_sync(u64::MAX, u64::MAX));
        assert!(!is_in_sync(0, 1) && !is_in_sync(89, 100) && !is_in_sync(8, 9));
    }

    #[tokio::test]
    async fn other_members_are_answered_as_clients_are() {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(2) };
        let (disk, random) = (Arc::new(SimDisk::new()), Arc::new(SeededRandom::new(1)));
        let options = NodeOptions::new(disk, Arc::new(ManualClock::default()), random, identity);
        let options = NodeOptions { segment_bytes: 1 << 20, ..options };
        let node = Node::start(options.clone()).await.unwrap();
        node.ready(&options).await.unwrap();
        let promote = async |id| {
            let body = node.answer_promote(encode_promote(id)).await.unwrap();
            PromoteAnswer::decode(body).unwrap()
        };
        let (learner, _) = node.member_add(vec!["http://a:1".into()], true).await.unwrap();
        assert_eq!(promote(learner.id).await, PromoteAnswer::LearnerNotReady);
        assert_eq!(promote(MemberId(2)).await, PromoteAnswer::MemberNotLearner);
        node.member_remove(learner.id).await.unwrap();
        assert_eq!(promote(learner.id).await, PromoteAnswer::MemberNotFound);
        assert!(matches!(node.answer_promote("\u{7f}".into()).await, Err(Refusal::Malformed(_))));

        let hash_kv = async |at| {
            let body = node.answer_hash_kv(encode_hash_kv(Revision(at))).await.unwrap();
            HashKvAnswer::decode(body).unwrap()
        };
        let (at, compacted) = (Revision(1), Revision(-1));
        assert_eq!(hash_kv(0).await, HashKvAnswer::Hashed { hash: 1_084_519_789, at, compacted, revision: at });
        assert_eq!(hash_kv(2).await, HashKvAnswer::Future { requested: Revision(2), current: at });

        // This member has nobody to reach, and after its end it answers nobody.
        assert!(matches!(node.hash_kv_of(MemberId(9), at).await, Err(NodeError::Fault(_))));
        node.stop().await;
        assert_eq!(node.member_promote(learner.id).await, Err(NodeError::Stopped));
        assert!(matches!(node.answer_hash_kv(encode_hash_kv(at)).await, Err(Refusal::Stopped(_))));
    }

    #[test]
    fn ids_of_added_members_are_those_of_etcd() {
        // printf 'http://a:1http://b:21700000000' | sha1sum
        let urls = ["http://a:1".to_owned(), "http://b:2".to_owned()];
        let id = new_member_id(&urls, Duration::from_millis(1_700_000_000_999));
        assert_eq!(id.to_string(), "8fa6c5444a914e68");
        assert_ne!(new_member_id(&urls, Duration::from_secs(1_700_000_001)), id);
    }
}
