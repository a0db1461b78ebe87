//! What a member speaks and hears that has no others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    AppendPipe, BoxFuture, BoxStream, Envelope, Handler, Method, PeerError, Refusal, SnapshotSource, Transport,
};
use crate::model::MemberId;

/// Reaches nobody, and knows nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Transport for Alone {
    fn set_addresses(&self, _addresses: BTreeMap<MemberId, Vec<String>>) {}

    fn call(&self, _: Envelope, _: Method, _: Bytes, _: Duration) -> BoxFuture<Result<Bytes, PeerError>> {
        nobody()
    }

    fn append(&self, _: Envelope) -> BoxFuture<Result<AppendPipe, PeerError>> {
        nobody()
    }

    fn snapshot(&self, _: Envelope, _: Bytes, _: Arc<dyn SnapshotSource>) -> BoxFuture<Result<Bytes, PeerError>> {
        nobody()
    }
}

fn nobody<T: Send + 'static>() -> BoxFuture<Result<T, PeerError>> {
    Box::pin(std::future::ready(Err(PeerError::Unreachable("this member is alone".into()))))
}

impl Handler for Alone {
    fn call(&self, envelope: Envelope, _: Method, _: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        stranger(envelope)
    }

    fn append(
        &self,
        envelope: Envelope,
        _: BoxStream<Result<Bytes, PeerError>>,
    ) -> Result<BoxStream<Result<Bytes, Refusal>>, Refusal> {
        Err(Refusal::Stranger(envelope.from))
    }

    fn snapshot(
        &self,
        envelope: Envelope,
        _: Bytes,
        _: BoxStream<Result<Bytes, PeerError>>,
    ) -> BoxFuture<Result<Bytes, Refusal>> {
        stranger(envelope)
    }
}

fn stranger<T: Send + 'static>(envelope: Envelope) -> BoxFuture<Result<T, Refusal>> {
    Box::pin(std::future::ready(Err(Refusal::Stranger(envelope.from))))
}
