//! Watching keys.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::error::Error;
use super::keys;
use crate::model::{Event, KeyRange, Revision};
use crate::node::{Node, WatchSpec, WatchStream, WatchUpdate};

/// A watch that is to begin, made by [`super::Store::watch`]. Awaited, it gives the [`Watch`]: what happens from then on is
/// not missed.
///
/// To know a range and then follow it, read it first and watch from the revision after the reply's:
///
/// ```
/// # use lodemark::embed::{EventKind, Server, prefix};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = Server::in_memory().start().await?;
/// # let store = server.store();
/// let list = store.range(prefix("/services/")).await?;
/// let mut watch = store.watch(prefix("/services/")).from(list.revision.next()).await?;
/// store.put("/services/web/1", "10.0.0.1:8080").await?;
/// let events = watch.next().await?;
/// assert_eq!((events[0].kind, events[0].key()), (EventKind::Put, &b"/services/web/1"[..]));
/// # server.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::EmptyRange`]; [`Error::Stopped`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited"]
pub struct WatchCall {
    node: Node,
    spec: WatchSpec,
}

/// A watch under way. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    stream: WatchStream,
    /// The first revision that was not told yet.
    next: Revision,
}

impl WatchCall {
    pub(super) fn new(node: Node, keys: KeyRange) -> WatchCall {
        WatchCall { node, spec: WatchSpec::of(keys, 0) }
    }

    /// Tells everything from that revision on, which may be past or still to come. Zero and below are "from now on".
    pub fn from(mut self, revision: Revision) -> WatchCall {
        self.spec.start_revision = revision.0.max(0);
        self
    }

    /// Tells each pair as it was before, too.
    pub fn with_prev(mut self) -> WatchCall {
        self.spec.prev_kv = true;
        self
    }

    /// Leaves deletions out.
    pub fn puts_only(mut self) -> WatchCall {
        self.spec.no_delete = true;
        self
    }

    /// Leaves puts out.
    pub fn deletes_only(mut self) -> WatchCall {
        self.spec.no_put = true;
        self
    }
}

impl IntoFuture for WatchCall {
    type Output = Result<Watch, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            keys::check(&self.spec.keys)?;
            let start = Revision(self.spec.start_revision);
            let stream = self.node.watch();
            stream.create(self.spec).await;
            match stream.next().await {
                Some(WatchUpdate::Created { revision, .. }) => {
                    let next = if start.0 > 0 { start } else { revision.next() };
                    Ok(Watch { stream, next })
                }
                Some(other) => Err(Error::Failed(format!("a watch began with {other:?}").into())),
                None => Err(Error::Stopped),
            }
        })
    }
}

impl Watch {
    /// What happened next: whole revisions, in order, at least one event. Waits until something does. Cancel safe.
    ///
    /// A watch that is not read keeps little in memory: it reads the history once it is asked again, and can be late but
    /// miss nothing.
    ///
    /// # Errors
    /// [`Error::Compacted`] if what comes next was compacted before it was told; [`Error::Stopped`] if the server stops. The
    /// watch has ended then.
    pub async fn next(&mut self) -> Result<Arc<[Event]>, Error> {
        loop {
            match self.stream.next().await {
                Some(WatchUpdate::Events { events, .. }) => {
                    self.next = events.last().map_or(self.next, |event| event.revision().next());
                    return Ok(events);
                }
                Some(WatchUpdate::Compacted { compacted, .. }) => {
                    return Err(Error::Compacted { requested: self.next, compacted });
                }
                // Nobody asks for these here.
                Some(WatchUpdate::Progress { .. } | WatchUpdate::Created { .. } | WatchUpdate::Refused { .. }) => {}
                Some(WatchUpdate::Canceled { .. }) | None => return Err(Error::Stopped),
            }
        }
    }
}
