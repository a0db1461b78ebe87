//! Log lines about refused members: once in a while for each, not for each message.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::MemberId;
use crate::peer::{Envelope, Refusal};

/// How long the same is not said again.
const SILENCE: Duration = Duration::from_secs(60);
/// Senders that are remembered; beyond it nothing is said until older ones are forgotten.
const SENDERS_MAX: usize = 256;

/// Remembers what was said of whom.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    said: Mutex<Vec<(Subject, Instant)>>,
}

/// A sender, as far as it says who it is, and the kind of its refusal.
type Subject = (Option<MemberId>, Discriminant<Refusal>);

impl RefusalLog {
    /// Tells of a refusal, in etcd's words where it has some.
    pub(super) fn tell(&self, remote: &str, envelope: Option<Envelope>, refusal: &Refusal) {
        // It says nothing about the sender, and comes up at every stop, or is told by whoever watches the disk.
        if matches!(refusal, Refusal::Stopped(_) | Refusal::NoSpace) || !self.is_due(envelope, refusal) {
            return;
        }
        let message = match refusal {
            Refusal::WrongCluster { .. } => "request cluster ID mismatch",
            Refusal::WrongMember { .. } => "request sent was ignored (it is for another member)",
            Refusal::Stranger(_) => "failed to find remote peer in cluster",
            Refusal::Removed(_) => "rejected stream from remote peer because it was removed",
            Refusal::Malformed(_) | Refusal::Stopped(_) | Refusal::NoSpace => "refused a request of a remote peer",
        };
        let (cluster, from) = match envelope {
            Some(envelope) => (envelope.cluster.to_string(), envelope.from.to_string()),
            None => Default::default(),
        };
        tracing::warn!(
            "remote-addr" = remote,
            "remote-peer-id" = from,
            "remote-peer-cluster-id" = cluster,
            error = %refusal,
            "{message}"
        );
    }

    fn is_due(&self, envelope: Option<Envelope>, refusal: &Refusal) -> bool {
        let subject = (envelope.map(|envelope| envelope.from), discriminant(refusal));
        let now = Instant::now();
        let mut said = self.said.lock();
        said.retain(|(_, at)| now.duration_since(*at) < SILENCE);
        if said.len() >= SENDERS_MAX || said.iter().any(|(other, _)| *other == subject) {
            return false;
        }
        said.push((subject, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterId;

    #[tokio::test(start_paused = true)]
    async fn the_same_of_the_same_sender_is_said_once_a_minute() {
        let log = RefusalLog::default();
        let of = |from| Some(Envelope { cluster: ClusterId(1), from: MemberId(from), to: MemberId(1) });
        let stranger = Refusal::Stranger(MemberId(2));
        assert!(log.is_due(of(2), &stranger));
        assert!(!log.is_due(of(2), &stranger));
        assert!(log.is_due(of(3), &stranger) && log.is_due(None, &stranger));
        assert!(log.is_due(of(2), &Refusal::Removed(MemberId(2))));
        tokio::time::advance(SILENCE).await;
        assert!(log.is_due(of(2), &stranger));

        for sender in 0..2 * SENDERS_MAX as u64 {
            log.is_due(of(sender), &stranger);
        }
        assert_eq!(log.said.lock().len(), SENDERS_MAX);
    }
}
