//! The transport that members really use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::dial::Dialer;
use super::link::{self, Link};
use super::{append, call, snapshot};
use crate::model::MemberId;
use crate::net::Tls;
use crate::peer::{AppendPipe, BoxFuture, Envelope, Method, PeerError, SnapshotSource, Transport};

/// What an [`Http2Transport`] is made of.
#[derive(Debug, Clone)]
pub struct Http2Options {
    /// Where connections are driven: Raft's own runtime, whichever task sends something.
    pub runtime: Handle,
    /// For members whose URL is `https` or `unixs`.
    pub tls: Tls,
}

/// Reaches members by their peer URLs. Keeps one connection to each and opens another one for each snapshot, so that no
/// heartbeat waits behind one. Dropping it closes them.
#[derive(Debug)]
pub struct Http2Transport {
    runtime: Handle,
    dialer: Dialer,
    members: Mutex<BTreeMap<MemberId, Member>>,
}

#[derive(Debug)]
struct Member {
    urls: Arc<[String]>,
    link: Arc<Link>,
    _keeper: AbortOnDropHandle<()>,
}

impl Http2Transport {
    /// A transport that knows no addresses yet.
    #[must_use]
    pub fn new(options: Http2Options) -> Arc<Http2Transport> {
        let Http2Options { runtime, tls } = options;
        Arc::new(Http2Transport { runtime, dialer: Dialer { tls }, members: Mutex::default() })
    }

    fn link(&self, member: MemberId) -> Result<Arc<Link>, PeerError> {
        self.members.lock().get(&member).map(|member| member.link.clone()).ok_or_else(no_address)
    }

    fn urls(&self, member: MemberId) -> Result<Arc<[String]>, PeerError> {
        self.members.lock().get(&member).map(|member| member.urls.clone()).ok_or_else(no_address)
    }

    fn member(&self, id: MemberId, urls: Vec<String>) -> Member {
        let urls: Arc<[String]> = urls.into();
        let (link, keeper) = link::link(id, urls.clone(), self.dialer.clone());
        Member { urls, link, _keeper: AbortOnDropHandle::new(self.runtime.spawn(keeper.run())) }
    }
}

fn no_address() -> PeerError {
    PeerError::Unreachable("it has no known address".into())
}

impl Transport for Http2Transport {
    fn set_addresses(&self, addresses: BTreeMap<MemberId, Vec<String>>) {
        let mut members = self.members.lock();
        members.retain(|id, member| addresses.get(id).is_some_and(|urls| urls[..] == member.urls[..]));
        for (id, urls) in addresses {
            members.entry(id).or_insert_with(|| self.member(id, urls));
        }
    }

    fn call(
        &self,
        envelope: Envelope,
        method: Method,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let link = self.link(envelope.to);
        Box::pin(async move { call::call(&*link?, envelope, method, body, within).await })
    }

    fn append(&self, envelope: Envelope) -> BoxFuture<Result<AppendPipe, PeerError>> {
        let (link, runtime) = (self.link(envelope.to), self.runtime.clone());
        Box::pin(async move { append::open(&*link?, envelope, &runtime).await })
    }

    fn snapshot(
        &self,
        envelope: Envelope,
        head: Bytes,
        source: Arc<dyn SnapshotSource>,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let (urls, dialer, runtime) = (self.urls(envelope.to), self.dialer.clone(), self.runtime.clone());
        Box::pin(async move {
            let urls = urls?;
            // On its runtime, where the connection's own task runs too.
            let dialing = AbortOnDropHandle::new(runtime.spawn(async move { dialer.dial(&urls, 0).await }));
            let connection = match dialing.await {
                Ok(dialed) => dialed.map_err(PeerError::Unreachable)?,
                Err(error) => return Err(PeerError::Unreachable(error.to_string().into())),
            };
            snapshot::send(connection, envelope, head, source, &runtime).await
        })
    }
}
