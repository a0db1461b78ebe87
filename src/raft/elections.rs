//! Elections, in the words of etcd's Raft: operators look for them.
//!
//! openraft shows where it stands, not each step: what lasts only a moment may be passed over. Lines have the logger `raft`.
//!
//! Source: etcd-io/raft, `raft.go` and `node.go`.

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftServerMetrics;

use super::Consensus;
use super::types::Tc;
use crate::model::MemberId;

/// The logger of the lines.
const TARGET: &str = "raft";

/// Where this member stands, as far as lines tell of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Standing {
    role: Option<&'static str>,
    term: u64,
    leader: Option<MemberId>,
}

impl Standing {
    fn of(metrics: &RaftServerMetrics<Tc>) -> Standing {
        let role = match metrics.state {
            ServerState::Leader => Some("leader"),
            ServerState::Candidate => Some("candidate"),
            ServerState::Follower | ServerState::Learner => Some("follower"),
            ServerState::Shutdown => None,
        };
        Standing { role, term: metrics.vote.leader_id.term, leader: metrics.current_leader.map(MemberId) }
    }

    /// What there is to say after `before`.
    fn lines(self, member: MemberId, before: Standing) -> Vec<String> {
        let Standing { role, term, leader } = self;
        let mut lines = Vec::new();
        if let Some(role) = role
            && (Some(role), term) != (before.role, before.term)
        {
            lines.push(format!("{member} became {role} at term {term}"));
        }
        match (before.leader, leader) {
            (None, Some(leader)) => {
                lines.push(format!("raft.node: {member} elected leader {leader} at term {term}"));
            }
            (Some(last), Some(leader)) if last != leader => {
                lines.push(format!("raft.node: {member} changed leader from {last} to {leader} at term {term}"));
            }
            (Some(last), None) => lines.push(format!("raft.node: {member} lost leader {last} at term {term}")),
            (Some(_), Some(_)) | (None, None) => {}
        }
        lines
    }
}

impl Consensus {
    /// Logs every change of term, role and leader, until Raft ends.
    pub async fn tell_of_elections(self, member: MemberId) {
        let mut metrics = self.server_metrics.clone();
        let mut before = Standing::default();
        loop {
            // Taken before the wait: what is borrowed may not be held over it.
            let now = Standing::of(&metrics.borrow_watched());
            for line in now.lines(member, before) {
                tracing::info!(target: TARGET, "{line}");
            }
            before = now;
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_in_the_words_of_etcd() {
        let (own, other) = (MemberId(10), MemberId(11));
        let stand = |role, term, leader| Standing { role: Some(role), term, leader };
        let steps = [
            (stand("follower", 0, None), &["a became follower at term 0"][..]),
            (stand("candidate", 1, None), &["a became candidate at term 1"]),
            (stand("leader", 1, Some(own)), &["a became leader at term 1", "raft.node: a elected leader a at term 1"]),
            (stand("leader", 1, Some(own)), &[]),
            (
                stand("follower", 2, Some(other)),
                &["a became follower at term 2", "raft.node: a changed leader from a to b at term 2"],
            ),
            (stand("follower", 2, None), &["raft.node: a lost leader b at term 2"]),
            (Standing { role: None, term: 2, leader: None }, &[]),
        ];
        let mut before = Standing::default();
        for (now, lines) in steps {
            assert_eq!(now.lines(own, before), lines, "{now:?}");
            before = now;
        }
    }
}
