//! How long clients get no answer when the leader dies, or hands over.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::figures::Figure;
use crate::harness::Cluster;
use crate::writers::{Habit, Writers};
use crate::{MEMBERS, Side};

/// Little patience, so that gaps are the cluster's; a write takes far less while somebody leads.
const HABIT: Habit = Habit { pace: Duration::ZERO, patience: Duration::from_millis(250) };
/// How long the load is watched before it is interrupted, and how long after all writers go on.
const AROUND: Duration = Duration::from_secs(2);
/// A writer goes on when it has so many acknowledgements.
const GOING_ON: usize = 20;

/// The leader ends by SIGKILL.
pub async fn failover(side: &Side) -> Vec<Figure> {
    interrupted(side, async |cluster, leader| cluster.kill(leader)).await
}

/// The leader is told to hand over to another.
pub async fn transfer(side: &Side) -> Vec<Figure> {
    interrupted(side, async |cluster, leader| {
        let target = cluster.view((leader + 1) % MEMBERS).await.expect("a follower answers").id;
        let moved = cluster.client(leader).await.move_leader(target).await;
        moved.expect("the leader hands over");
    })
    .await
}

/// The longest gaps in a load of writers before and after `event`, which is told who leads.
async fn interrupted(side: &Side, event: impl AsyncFn(&mut Cluster, usize)) -> Vec<Figure> {
    let mut cluster = Cluster::start_with(&side.program, MEMBERS, side.flags).await;
    let writers = Writers::start(&cluster.endpoints(), HABIT);
    writers.all_go_on(GOING_ON).await;
    let watched = Instant::now();
    sleep(AROUND).await;

    let leader = cluster.leader().await;
    let interrupted = Instant::now();
    event(&mut cluster, leader).await;
    writers.all_go_on(GOING_ON).await;
    sleep(AROUND).await;
    assert_ne!(cluster.leader().await, leader, "another leads");

    let of_each: Vec<Vec<Instant>> =
        writers.end().await.iter().map(|acks| acks.iter().map(|ack| ack.at).collect()).collect();
    let mut of_all = of_each.concat();
    of_all.sort_unstable();
    let before = |ack| watched < ack && ack <= interrupted;
    let after = |ack| interrupted < ack;
    let of_clients = |is_counted: &dyn Fn(Instant) -> bool| {
        of_each.iter().map(|acks| longest_gap(acks, is_counted)).max().unwrap_or_default()
    };
    vec![
        Figure::ms("longest gap that a client saw, ms", of_clients(&after)),
        Figure::ms("longest time without an answer to any, ms", longest_gap(&of_all, &after)),
        Figure::ms("longest gap that a client saw before, ms", of_clients(&before)),
    ]
}

/// The longest time between two acknowledgements that follow each other, of those whose second is counted.
fn longest_gap(acks: &[Instant], is_counted: &dyn Fn(Instant) -> bool) -> Duration {
    let counted = acks.windows(2).filter(|pair| is_counted(pair[1]));
    counted.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}
