//! Writes: propose, and wait for what apply says.

use std::sync::Arc;

use super::Node;
use super::completion::Completions;
use super::error::{NodeError, Outcome};
use crate::machine::Rejection;
use crate::model::{Command, Compact, Revision};
use crate::raft::Proposal;

impl Node {
    /// Has a command ordered, made durable on a quorum, and applied; gives what apply says. Takes at most the request
    /// timeout of 7 s. Dropping the future does not undo the command.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if it was applied and refused, [`NodeError::RequestTooLarge`],
    /// [`NodeError::TooManyRequests`] and [`NodeError::NoSpace`] if it was not proposed. After [`NodeError::Timeout`] or [`NodeError::Stopped`] it
    /// may have taken effect or not.
    pub async fn propose(&self, proposal: Proposal) -> Outcome {
        self.proposer.propose(proposal).await
    }

    /// As [`Node::propose`], but the outcome goes to `completions` under `token`.
    pub fn propose_into(&self, proposal: Proposal, completions: &Arc<Completions>, token: u64) {
        self.proposer.propose_into(proposal, completions, token);
    }

    /// Forgets superseded history below a revision; gives the store's revision. With `physical`, answers when the space
    /// is free, also if the revision was compacted before.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if the revision is compacted already or still to come; else as [`Node::propose`].
    pub async fn compact(&self, compact: Compact) -> Result<Revision, NodeError> {
        let outcome = self.propose(Proposal::from(&Command::Compact(compact))).await;
        let waits = matches!(outcome, Ok(_) | Err(NodeError::Rejected(Rejection::Compacted { .. })));
        if compact.physical && waits {
            self.compactor.caught_up().await.map_err(NodeError::Fault)?;
        }
        outcome.map(|reply| reply.revision())
    }
}
