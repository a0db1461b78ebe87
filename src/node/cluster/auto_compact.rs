//! History that goes by itself, in a cluster: the leader's business.

use super::*;
use crate::env::ManualClock;
use crate::model::{Retention, Revision};
use crate::node::auto_compact::{AutoCompactor, Parts};

/// A compactor of one member beside those that run there, which have nothing to do.
fn compactor(node: &Node, clock: &Arc<ManualClock>) -> AutoCompactor {
    let (leadership, proposer) = (node.leadership.clone(), node.proposer.clone());
    let parts = Parts { clock: clock.clone(), shared: node.shared.clone(), leadership, proposer };
    AutoCompactor::new(Retention::Revisions(2), parts)
}

fn compacted(node: &Node) -> Revision {
    node.shared.machine.read().kv.compacted()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_look_and_the_leader_compacts() {
    let mut cluster = Cluster::start(3).await;
    let clock = Arc::new(ManualClock::default());
    for n in 0..5 {
        cluster.node(0).propose(put("key", &n.to_string())).await.unwrap();
    }
    let newest = cluster.node(0).revision();
    until("all have it", || cluster.nodes.iter().flatten().all(|node| node.revision() == newest)).await;
    let leader = cluster.leader().await;
    let mut followers: Vec<AutoCompactor> =
        (0..3).filter(|&index| index != leader).map(|index| compactor(cluster.node(index), &clock)).collect();
    let mut leading = compactor(cluster.node(leader), &clock);
    for follower in &mut followers {
        follower.look().await;
    }
    assert_eq!(compacted(cluster.node(leader)), Revision::NEVER_COMPACTED);
    leading.look().await;
    let expected = Revision(newest.0 - 2);
    assert_eq!(compacted(cluster.node(leader)), expected);

    // Whoever leads next goes on.
    cluster.stop(leader).await;
    let next = cluster.leader().await;
    cluster.node(next).propose(put("key", "more")).await.unwrap();
    for follower in &mut followers {
        follower.look().await;
    }
    assert_eq!(compacted(cluster.node(next)), Revision(cluster.node(next).revision().0 - 2));
    assert!(compacted(cluster.node(next)) > expected);
    cluster.stop_all().await;
}
