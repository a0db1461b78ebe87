//! What members ask and tell each other about membership, the key space and the state, as bytes and back.
//!
//! The bodies of [`Method::Promote`](super::Method::Promote), [`Method::HashKv`](super::Method::HashKv) and
//! [`Method::Ping`](super::Method::Ping), whose answer is empty. An answer that refuses is an answer all the
//! same: whoever gets it knows that the request arrived.

use bytes::Bytes;
use prost::Message;

use super::Refusal;
use crate::model::{ChainMark, Member, MemberId, Revision};
use crate::proto::lodemarkpb as pb;

/// Marks that are read of one ping; the rest, which are older, is left out.
pub const PING_MARKS_MAX: usize = 64;

/// What a ping tells. A member of an older version sends an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ping {
    /// What the sender's chain is and was, newest first.
    pub marks: Vec<ChainMark>,
    /// The sender has found that its state is wrong, and stops.
    pub confession: Option<Confession>,
}

/// A member's state is not that of the majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confession {
    /// After which entry.
    pub index: u64,
    /// The member's chain there.
    pub own: u64,
    /// The majority's.
    pub right: u64,
}

/// What the leader says to a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromoteAnswer {
    /// The learner is a voter now; these are the members.
    Promoted(Vec<Member>),
    /// The addressee does not lead; it did nothing.
    NotLeader,
    /// There is no such member.
    MemberNotFound,
    /// It has a vote already.
    MemberNotLearner,
    /// It has not caught up.
    LearnerNotReady,
    /// Too few members have started.
    NotEnoughStarted,
    /// It may still come about.
    Timeout,
    /// Anything else, in words.
    Failed(String),
}

/// What a member says of its key space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKvAnswer {
    /// The hash.
    Hashed {
        /// The hash.
        hash: u32,
        /// The revision that it is of.
        at: Revision,
        /// The compacted revision.
        compacted: Revision,
        /// The store's revision.
        revision: Revision,
    },
    /// The revision is compacted.
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The lowest revision that can be read.
        compacted: Revision,
    },
    /// The revision is still to come.
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// Anything else, in words.
    Failed(String),
}

/// Asks for the promotion of a learner.
#[must_use]
pub fn encode_promote(id: MemberId) -> Bytes {
    pb::PromoteRequest { id: id.0 }.encode_to_vec().into()
}

/// Reads what [`encode_promote`] wrote.
///
/// # Errors
/// [`Refusal::Malformed`].
pub fn decode_promote(body: Bytes) -> Result<MemberId, Refusal> {
    Ok(MemberId(pb::PromoteRequest::decode(body).map_err(Refusal::malformed)?.id))
}

/// Asks for a hash.
#[must_use]
pub fn encode_hash_kv(at: Revision) -> Bytes {
    pb::HashKvRequest { revision: at.0 }.encode_to_vec().into()
}

/// Reads what [`encode_hash_kv`] wrote.
///
/// # Errors
/// [`Refusal::Malformed`].
pub fn decode_hash_kv(body: Bytes) -> Result<Revision, Refusal> {
    Ok(Revision(pb::HashKvRequest::decode(body).map_err(Refusal::malformed)?.revision))
}

impl Ping {
    /// Writes the ping.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mark = |ChainMark { index, chain }| pb::ChainMark { index, chain };
        let marks = self.marks.into_iter().map(mark).collect();
        let confession = self.confession.map(|Confession { index, own, right }| pb::Confession { index, own, right });
        pb::PingRequest { marks, confession }.encode_to_vec().into()
    }

    /// Reads what [`Ping::encode`] wrote.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(body: Bytes) -> Result<Ping, Refusal> {
        let pb::PingRequest { marks, confession } = pb::PingRequest::decode(body).map_err(Refusal::malformed)?;
        let mark = |pb::ChainMark { index, chain }| ChainMark { index, chain };
        let marks = marks.into_iter().take(PING_MARKS_MAX).map(mark).collect();
        let confession = confession.map(|pb::Confession { index, own, right }| Confession { index, own, right });
        Ok(Ping { marks, confession })
    }
}

impl PromoteAnswer {
    /// Writes the answer.
    #[must_use]
    pub fn encode(self) -> Bytes {
        use pb::promote_answer::Outcome;
        let (mut members, mut why) = (Vec::new(), String::new());
        let outcome = match self {
            PromoteAnswer::Promoted(after) => {
                members = after.into_iter().map(encode_member).collect();
                Outcome::Promoted
            }
            PromoteAnswer::NotLeader => Outcome::NotLeader,
            PromoteAnswer::MemberNotFound => Outcome::MemberNotFound,
            PromoteAnswer::MemberNotLearner => Outcome::MemberNotLearner,
            PromoteAnswer::LearnerNotReady => Outcome::LearnerNotReady,
            PromoteAnswer::NotEnoughStarted => Outcome::NotEnoughStarted,
            PromoteAnswer::Timeout => Outcome::Timeout,
            PromoteAnswer::Failed(text) => {
                why = text;
                Outcome::Failed
            }
        };
        pb::PromoteAnswer { outcome: outcome.into(), members, why }.encode_to_vec().into()
    }

    /// Reads what [`PromoteAnswer::encode`] wrote.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(body: Bytes) -> Result<PromoteAnswer, Refusal> {
        use pb::promote_answer::Outcome;
        let answer = pb::PromoteAnswer::decode(body).map_err(Refusal::malformed)?;
        Ok(match answer.outcome() {
            Outcome::Promoted => PromoteAnswer::Promoted(answer.members.into_iter().map(decode_member).collect()),
            Outcome::NotLeader => PromoteAnswer::NotLeader,
            Outcome::MemberNotFound => PromoteAnswer::MemberNotFound,
            Outcome::MemberNotLearner => PromoteAnswer::MemberNotLearner,
            Outcome::LearnerNotReady => PromoteAnswer::LearnerNotReady,
            Outcome::NotEnoughStarted => PromoteAnswer::NotEnoughStarted,
            Outcome::Timeout => PromoteAnswer::Timeout,
            Outcome::Failed => PromoteAnswer::Failed(answer.why),
        })
    }
}

impl HashKvAnswer {
    /// Writes the answer.
    #[must_use]
    pub fn encode(self) -> Bytes {
        use pb::hash_kv_answer::Outcome;
        let answer = match self {
            HashKvAnswer::Hashed { hash, at, compacted, revision } => pb::HashKvAnswer {
                outcome: Outcome::Hashed.into(),
                hash,
                at: at.0,
                compacted: compacted.0,
                revision: revision.0,
                why: String::new(),
            },
            HashKvAnswer::Compacted { requested, compacted } => pb::HashKvAnswer {
                outcome: Outcome::Compacted.into(),
                at: requested.0,
                compacted: compacted.0,
                ..pb::HashKvAnswer::default()
            },
            HashKvAnswer::Future { requested, current } => pb::HashKvAnswer {
                outcome: Outcome::Future.into(),
                at: requested.0,
                revision: current.0,
                ..pb::HashKvAnswer::default()
            },
            HashKvAnswer::Failed(why) => pb::HashKvAnswer { why, ..pb::HashKvAnswer::default() },
        };
        answer.encode_to_vec().into()
    }

    /// Reads what [`HashKvAnswer::encode`] wrote.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(body: Bytes) -> Result<HashKvAnswer, Refusal> {
        use pb::hash_kv_answer::Outcome;
        let answer = pb::HashKvAnswer::decode(body).map_err(Refusal::malformed)?;
        let (at, compacted, revision) = (Revision(answer.at), Revision(answer.compacted), Revision(answer.revision));
        Ok(match answer.outcome() {
            Outcome::Hashed => HashKvAnswer::Hashed { hash: answer.hash, at, compacted, revision },
            Outcome::Compacted => HashKvAnswer::Compacted { requested: at, compacted },
            Outcome::Future => HashKvAnswer::Future { requested: at, current: revision },
            Outcome::Failed => HashKvAnswer::Failed(answer.why),
        })
    }
}

fn encode_member(member: Member) -> pb::Member {
    let Member { id, name, peer_urls, client_urls, is_learner } = member;
    pb::Member { id: id.0, name, peer_urls, client_urls, is_learner }
}

fn decode_member(member: pb::Member) -> Member {
    let pb::Member { id, name, peer_urls, client_urls, is_learner } = member;
    Member { id: MemberId(id), name, peer_urls, client_urls, is_learner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_read_back() {
        assert_eq!(decode_promote(encode_promote(MemberId(u64::MAX))), Ok(MemberId(u64::MAX)));
        assert_eq!(decode_hash_kv(encode_hash_kv(Revision(-1))), Ok(Revision(-1)));
        let member = Member { id: MemberId(3), name: "n".into(), peer_urls: vec!["p".into()], ..Member::default() };
        let answers = [
            PromoteAnswer::Promoted(vec![member, Member::default()]),
            PromoteAnswer::NotLeader,
            PromoteAnswer::MemberNotFound,
            PromoteAnswer::MemberNotLearner,
            PromoteAnswer::LearnerNotReady,
            PromoteAnswer::NotEnoughStarted,
            PromoteAnswer::Timeout,
            PromoteAnswer::Failed("disk".into()),
        ];
        for answer in answers {
            assert_eq!(PromoteAnswer::decode(answer.clone().encode()), Ok(answer));
        }
        let mark = |index| ChainMark { index, chain: u64::MAX - index };
        let marks: Vec<ChainMark> = (0..100).map(mark).collect();
        let few = Ping { marks: marks[..3].to_vec(), ..Ping::default() };
        let last = Ping { confession: Some(Confession { index: 0, own: 0, right: u64::MAX }), ..few.clone() };
        for ping in [few, last, Ping::default()] {
            assert_eq!(Ping::decode(ping.clone().encode()), Ok(ping));
        }
        let kept = Ping { marks: marks[..PING_MARKS_MAX].to_vec(), ..Ping::default() };
        assert_eq!(Ping::decode(Ping { marks, ..Ping::default() }.encode()), Ok(kept), "no more is read");
        assert_eq!(Ping::decode(Bytes::new()), Ok(Ping::default()), "older members say nothing");
        let (at, compacted, revision) = (Revision(5), Revision(-1), Revision(9));
        let answers = [
            HashKvAnswer::Hashed { hash: u32::MAX, at, compacted, revision },
            HashKvAnswer::Compacted { requested: at, compacted: revision },
            HashKvAnswer::Future { requested: revision, current: at },
            HashKvAnswer::Failed("disk".into()),
        ];
        for answer in answers {
            assert_eq!(HashKvAnswer::decode(answer.clone().encode()), Ok(answer));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let bytes = || Bytes::from_static(b"\xff\xff");
        assert!(matches!(decode_promote(bytes()), Err(Refusal::Malformed(_))));
        assert!(matches!(decode_hash_kv(bytes()), Err(Refusal::Malformed(_))));
        assert!(matches!(Ping::decode(bytes()), Err(Refusal::Malformed(_))));
        assert!(matches!(PromoteAnswer::decode(bytes()), Err(Refusal::Malformed(_))));
        assert!(matches!(HashKvAnswer::decode(bytes()), Err(Refusal::Malformed(_))));
    }
}
