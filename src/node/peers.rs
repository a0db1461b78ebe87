//! This member's questions to others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::contacts::Contacts;
use crate::model::{ClusterId, MemberId};
use crate::peer::{Envelope, Method, PeerError, Transport};

/// The way to other members.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    cluster: ClusterId,
    member: MemberId,
    transport: Arc<dyn Transport>,
    contacts: Arc<Contacts>,
}

impl Peers {
    pub(super) fn new(
        (cluster, member): (ClusterId, MemberId),
        transport: Arc<dyn Transport>,
        contacts: Arc<Contacts>,
    ) -> Peers {
        Peers { cluster, member, transport, contacts }
    }

    /// Asks `to`, and notes that it answered.
    ///
    /// # Errors
    /// [`PeerError`]: only after `Unreachable`, or a refusal that says so, nothing was done.
    pub(super) async fn ask(
        &self,
        to: MemberId,
        method: Method,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, PeerError> {
        let envelope = Envelope { cluster: self.cluster, from: self.member, to };
        let answer = self.transport.call(envelope, method, body, within).await;
        if answer.is_ok() {
            self.contacts.answered(to);
        }
        answer
    }

    pub(super) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }
}
