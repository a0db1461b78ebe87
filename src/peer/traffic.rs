//! What goes to other members and comes from them, counted by member.
//!
//! Only members count: whoever else knocks could otherwise make as many names as it likes.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::RwLock;

use super::{AppendPipe, BoxFuture, Envelope, Method, PeerError, SnapshotSource, Transport};
use crate::metrics::{Metrics, PeerMetrics, Stopwatch};
use crate::model::MemberId;

/// The counters of all other members.
#[derive(Debug)]
pub struct Traffic {
    own: MemberId,
    metrics: Arc<Metrics>,
    others: RwLock<BTreeMap<MemberId, Arc<PeerMetrics>>>,
}

impl Traffic {
    /// Of a member that knows no other yet.
    #[must_use]
    pub fn new(own: MemberId, metrics: Arc<Metrics>) -> Arc<Traffic> {
        Arc::new(Traffic { own, metrics, others: RwLock::default() })
    }

    /// The counters of `member`; `None` if it is no other member.
    #[must_use]
    pub fn of(&self, member: MemberId) -> Option<Arc<PeerMetrics>> {
        self.others.read().get(&member).cloned()
    }

    /// These are the members from now on.
    fn set_members<'m>(&self, members: impl Iterator<Item = &'m MemberId>) {
        let (own, network) = (self.own.to_string(), &self.metrics.network);
        let mut others = self.others.write();
        let mut before = std::mem::take(&mut *others);
        for &member in members.filter(|&&member| member != self.own) {
            let make = || Arc::new(network.peer(&own, &member.to_string()));
            others.insert(member, before.remove(&member).unwrap_or_else(make));
        }
        for gone in before.into_keys() {
            network.forget(&own, &gone.to_string());
        }
    }
}

/// A transport that counts.
pub struct Metered {
    inner: Arc<dyn Transport>,
    traffic: Arc<Traffic>,
}

impl Metered {
    /// Counts what goes through `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Transport>, traffic: Arc<Traffic>) -> Metered {
        Metered { inner, traffic }
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(out)
    }
}

impl Transport for Metered {
    fn set_addresses(&self, addresses: BTreeMap<MemberId, Vec<String>>) {
        self.traffic.set_members(addresses.keys());
        self.inner.set_addresses(addresses);
    }

    fn call(
        &self,
        envelope: Envelope,
        method: Method,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let Some(counters) = self.traffic.of(envelope.to) else {
            return self.inner.call(envelope, method, body, within);
        };
        let (watch, sent, metrics) = (Stopwatch::start(), body.len(), self.traffic.metrics.clone());
        let call = self.inner.call(envelope, method, body, within);
        Box::pin(async move {
            let answer = call.await;
            settle(&counters, sent, &answer);
            match (method, &answer) {
                (Method::Ping, Ok(_)) => counters.ponged(watch.elapsed()),
                (Method::Heartbeat, Err(_)) => metrics.server.heartbeat_failures.inc(),
                _ => {}
            }
            answer
        })
    }

    /// Whoever sends requests into the pipe counts them.
    fn append(&self, envelope: Envelope) -> BoxFuture<Result<AppendPipe, PeerError>> {
        let open = self.inner.append(envelope);
        let Some(counters) = self.traffic.of(envelope.to) else { return open };
        Box::pin(async move {
            let AppendPipe { requests, answers } = open.await.inspect_err(|_| counters.send_failed())?;
            let answers = answers.inspect(move |answer| settle(&counters, 0, answer));
            Ok(AppendPipe { requests, answers: Box::pin(answers) })
        })
    }

    fn snapshot(
        &self,
        envelope: Envelope,
        head: Bytes,
        source: Arc<dyn SnapshotSource>,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let Some(counters) = self.traffic.of(envelope.to) else {
            return self.inner.snapshot(envelope, head, source);
        };
        let (watch, under_way, sent) = (Stopwatch::start(), counters.sending_snapshot(), head.len());
        let source = Arc::new(Counted { source, counters: counters.clone() });
        let sending = self.inner.snapshot(envelope, head, source);
        Box::pin(async move {
            let answer = sending.await;
            settle(&counters, sent, &answer);
            if answer.is_ok() {
                under_way.arrived(watch.elapsed());
            }
            answer
        })
    }
}

/// A request of so many bytes has come to its end. One that was refused was answered.
fn settle(counters: &PeerMetrics, sent: usize, answer: &Result<Bytes, PeerError>) {
    match answer {
        Ok(answer) => {
            counters.sent(sent);
            counters.received(answer.len());
            counters.answered();
        }
        Err(PeerError::Refused(_)) => {
            counters.sent(sent);
            counters.answered();
        }
        Err(PeerError::Unreachable(_) | PeerError::Timeout | PeerError::Broken(_)) => counters.send_failed(),
    }
}

/// A snapshot whose bytes are counted as they go out.
struct Counted {
    source: Arc<dyn SnapshotSource>,
    counters: Arc<PeerMetrics>,
}

impl SnapshotSource for Counted {
    fn write_to(&self, offset: u64, out: &mut dyn io::Write) -> io::Result<()> {
        self.source.write_to(offset, &mut CountedOut { out, counters: &self.counters })
    }
}

struct CountedOut<'a> {
    out: &'a mut dyn io::Write,
    counters: &'a PeerMetrics,
}

impl io::Write for CountedOut<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.out.write(data)?;
        self.counters.sent(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterId;
    use crate::peer::Alone;

    #[tokio::test]
    async fn members_count_and_nobody_else() {
        let metrics = Arc::new(Metrics::default());
        let (own, other) = (MemberId(1), MemberId(0xb));
        let traffic = Traffic::new(own, metrics.clone());
        let transport = Metered::new(Arc::new(Alone), traffic.clone());
        let call = |to| {
            let envelope = Envelope { cluster: ClusterId(1), from: own, to };
            transport.call(envelope, Method::Ping, Bytes::from_static(b"ping"), Duration::from_secs(1))
        };
        let addresses = |members: &[MemberId]| members.iter().map(|&member| (member, Vec::new())).collect();
        transport.set_addresses(addresses(&[own, other]));
        call(other).await.unwrap_err();
        call(MemberId(7)).await.unwrap_err();
        let text = metrics.ask().text();
        assert!(text.contains("etcd_network_peer_sent_failures_total{To=\"b\"} 1\n"), "{text}");
        assert!(text.contains("etcd_network_active_peers{Local=\"1\",Remote=\"b\"} 0\n"), "{text}");
        assert!(!text.contains("To=\"7\"") && !text.contains("To=\"1\""), "{text}");

        transport.set_addresses(addresses(&[own]));
        assert!(!metrics.ask().text().contains("To=\"b\""));
        assert!(traffic.of(other).is_none());
    }
}
