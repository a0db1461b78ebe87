//! The network of a cluster of one: there is nobody to talk to.
//!
//! openraft asks for a network for every other member. A cluster of one has none, so these answers are never waited for;
//! they say what is true: no peer can be reached.

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use super::snapshot::SnapshotData;
use super::types::{Tc, Vote};

/// Makes the network of a cluster of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoPeers;

impl RaftNetworkFactory<Tc> for NoPeers {
    type Network = NoPeers;

    async fn new_client(&mut self, _target: u64, _node: &EmptyNode) -> NoPeers {
        NoPeers
    }
}

impl RaftNetworkV2<Tc> for NoPeers {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<Tc>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Tc>, RPCError<Tc>> {
        Err(unreachable().into())
    }

    async fn vote(&mut self, _rpc: VoteRequest<Tc>, _option: RPCOption) -> Result<VoteResponse<Tc>, RPCError<Tc>> {
        Err(unreachable().into())
    }

    async fn pre_vote(&mut self, _rpc: VoteRequest<Tc>, _option: RPCOption) -> Result<VoteResponse<Tc>, RPCError<Tc>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: openraft::alias::SnapshotOf<Tc, SnapshotData>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Tc>, StreamingError<Tc>> {
        Err(unreachable().into())
    }
}

fn unreachable() -> Unreachable<Tc> {
    Unreachable::from_string("this member is a cluster of its own")
}
