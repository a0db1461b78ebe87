//! Bodies of the calls that `node` makes and answers, in plain values.

use bytes::Bytes;
use prost::Message;

use super::Refusal;
use crate::model::LeaseId;
use crate::proto::lodemarkpb as pb;

/// What became of a batch that a follower passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProposeAnswer {
    /// It is in the log, or was: the follower learns from its own apply what became of it.
    Proposed,
    /// The member that was asked does not lead: nothing was proposed.
    NotLeading,
    /// Too much waits already: nothing was proposed.
    Overloaded,
    /// The leader's disk has no space for it: nothing was proposed.
    NoSpace,
}

/// What is left of a lease, by its leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The member that was asked does not lead.
    NotLeading,
    /// There is no such lease.
    Gone,
    /// It lives.
    Lives {
        /// Seconds left, or after a renewal seconds granted anew.
        left: i64,
        /// Seconds granted.
        granted: i64,
        /// The attached keys, if they were asked for.
        keys: Vec<Bytes>,
    },
}

/// A question about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseQuestion {
    /// Which.
    pub id: LeaseId,
    /// Name its keys too.
    pub with_keys: bool,
}

impl ProposeAnswer {
    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let (not_leading, overloaded) = (self == ProposeAnswer::NotLeading, self == ProposeAnswer::Overloaded);
        bytes_of(&pb::ProposeResponse { not_leading, overloaded, no_space: self == ProposeAnswer::NoSpace })
    }

    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(bytes: Bytes) -> Result<ProposeAnswer, Refusal> {
        let pb::ProposeResponse { not_leading, overloaded, no_space } = read(bytes)?;
        Ok(match (not_leading, overloaded, no_space) {
            (true, _, _) => ProposeAnswer::NotLeading,
            (false, true, _) => ProposeAnswer::Overloaded,
            (false, false, true) => ProposeAnswer::NoSpace,
            (false, false, false) => ProposeAnswer::Proposed,
        })
    }
}

/// Writes the index up to which a reader must have applied; `None` if the member cannot tell.
#[must_use]
pub fn encode_read_index(index: Option<u64>) -> Bytes {
    bytes_of(&pb::ReadIndexResponse { index: index.unwrap_or(0) })
}

/// Reads it back.
///
/// # Errors
/// [`Refusal::Malformed`].
pub fn decode_read_index(bytes: Bytes) -> Result<Option<u64>, Refusal> {
    let pb::ReadIndexResponse { index } = read(bytes)?;
    Ok((index > 0).then_some(index))
}

impl LeaseQuestion {
    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> Bytes {
        bytes_of(&pb::LeaseRequest { id: self.id.0, with_keys: self.with_keys })
    }

    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(bytes: Bytes) -> Result<LeaseQuestion, Refusal> {
        let pb::LeaseRequest { id, with_keys } = read(bytes)?;
        Ok(LeaseQuestion { id: LeaseId(id), with_keys })
    }
}

impl LeaseAnswer {
    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> Bytes {
        bytes_of(&match self {
            LeaseAnswer::NotLeading => pb::LeaseResponse { not_leading: true, ..pb::LeaseResponse::default() },
            LeaseAnswer::Gone => pb::LeaseResponse { gone: true, ..pb::LeaseResponse::default() },
            LeaseAnswer::Lives { left, granted, keys } => {
                pb::LeaseResponse { not_leading: false, gone: false, left, granted, keys }
            }
        })
    }

    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(bytes: Bytes) -> Result<LeaseAnswer, Refusal> {
        let pb::LeaseResponse { not_leading, gone, left, granted, keys } = read(bytes)?;
        Ok(match (not_leading, gone) {
            (true, _) => LeaseAnswer::NotLeading,
            (false, true) => LeaseAnswer::Gone,
            (false, false) => LeaseAnswer::Lives { left, granted, keys },
        })
    }
}

fn read<M: Message + Default>(bytes: Bytes) -> Result<M, Refusal> {
    M::decode(bytes).map_err(Refusal::malformed)
}

fn bytes_of(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_reads_back() {
        for answer in
            [ProposeAnswer::Proposed, ProposeAnswer::NotLeading, ProposeAnswer::Overloaded, ProposeAnswer::NoSpace]
        {
            assert_eq!(ProposeAnswer::decode(answer.encode()), Ok(answer));
        }
        for index in [None, Some(1), Some(u64::MAX)] {
            assert_eq!(decode_read_index(encode_read_index(index)), Ok(index));
        }
        let question = LeaseQuestion { id: LeaseId(-5), with_keys: true };
        assert_eq!(LeaseQuestion::decode(question.encode()), Ok(question));
        let lives = LeaseAnswer::Lives { left: -1, granted: 7, keys: vec![Bytes::from_static(b"k")] };
        for answer in [LeaseAnswer::NotLeading, LeaseAnswer::Gone, lives] {
            assert_eq!(LeaseAnswer::decode(answer.clone().encode()), Ok(answer));
        }
        assert!(matches!(LeaseAnswer::decode(Bytes::from_static(&[0xff])), Err(Refusal::Malformed(_))));
    }
}
