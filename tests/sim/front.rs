//! The front of a simulated member: requests of clients to the verbs of its node.

use lodemark::machine::Rejection;
use lodemark::model::{Command, KeyRange, Reply};
use lodemark::node::{Node, NodeError, Proposal};

use super::checks::history::{Outcome, Request};

/// Does what a client asks for.
pub async fn serve(node: Node, request: Request) -> Outcome {
    match &request {
        Request::Command(command) => match change(&node, command).await {
            Ok(reply) => Outcome::Changed(reply),
            Err(error) => refusal(error, Outcome::Unknown),
        },
        Request::Range(range) => match node.range_now(range) {
            Some(Ok(reply)) => Outcome::Read(reply),
            Some(Err(error)) => refusal(error, Outcome::NotDone),
            None => node.range(range).await.map_or_else(|error| refusal(error, Outcome::NotDone), Outcome::Read),
        },
        Request::KeepAlive(lease) => match node.lease_keep_alive(*lease).await {
            Ok((_, ttl)) => Outcome::KeptAlive(ttl),
            Err(error) => refusal(error, Outcome::Unknown),
        },
        Request::TimeToLive(lease) => match node.lease_time_to_live(*lease, false).await {
            Ok(remaining) => Outcome::Granted(remaining.map(|remaining| remaining.granted)),
            Err(error) => refusal(error, Outcome::NotDone),
        },
    }
}

async fn change(node: &Node, command: &Command) -> Result<Reply, NodeError> {
    match command {
        Command::Compact(compact) => node.compact(*compact).await.map(|revision| Reply::Compact { revision }),
        Command::LeaseGrant(grant) => node.lease_grant(grant.id, grant.ttl).await.map(Reply::LeaseGrant),
        Command::LeaseRevoke(revoke) => {
            node.lease_revoke(revoke.id).await.map(|revision| Reply::LeaseRevoke { revision })
        }
        _ => node.propose(Proposal::from(command)).await,
    }
}

/// `otherwise`: what it means if the reason says nothing of whether it was done.
fn refusal(error: NodeError, otherwise: Outcome) -> Outcome {
    match error {
        NodeError::Rejected(rejection) => Outcome::Rejected(rejection),
        NodeError::Compacted { requested, compacted } => {
            Outcome::Rejected(Rejection::Compacted { requested, compacted })
        }
        NodeError::FutureRevision { requested, current } => {
            Outcome::Rejected(Rejection::FutureRevision { requested, current })
        }
        NodeError::RequestTooLarge | NodeError::TooManyRequests | NodeError::NoSpace => Outcome::NotDone,
        _ => otherwise,
    }
}

/// Every key.
pub fn everything() -> KeyRange {
    KeyRange::prefix(bytes::Bytes::new())
}
