//! How long a new member of a cluster with 1 GiB takes until it has everything, and what that costs those who write.

use std::time::Duration;

use etcd_client::GetOptions;
use tokio::time::{Instant, sleep, timeout};

use crate::figures::{Figure, quantile, sorted};
use crate::generator::Generator;
use crate::harness::{Cluster, number};
use crate::writers::{Ack, Habit, Writers};
use crate::{MEMBERS, Side};

/// By default: 1 GiB of values.
const KEYS: u64 = 262_144;
const VALUE_BYTES: u64 = 4096;
/// For what the members do by themselves after filling.
const SETTLE: Duration = Duration::from_secs(5);
/// Together they write 500 times a second, and no more if answers are late.
const HABIT: Habit = Habit { pace: Duration::from_millis(24), patience: Duration::from_secs(10) };
/// How long the writers are watched before the member is added.
const BEFORE: Duration = Duration::from_secs(10);
/// Between two looks at the new member.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// A learner joins. It has everything when it reads, by itself, the revision that the cluster had before it was added.
pub async fn join(side: &Side, generator: &Generator) -> Vec<Figure> {
    let mut cluster = Cluster::start_with(&side.program, MEMBERS, side.flags).await;
    let keys = number("KEYS", KEYS);
    fill(&cluster, generator, keys).await;
    sleep(SETTLE).await;
    rustix::fs::sync();
    let writers = Writers::start(&cluster.endpoints(), HABIT);
    writers.all_go_on(1).await;
    let watched = Instant::now();
    sleep(BEFORE).await;

    let leader = cluster.leader().await;
    let newest = cluster.client(leader).await.get("any", None).await.expect("the leader answers");
    let revision = newest.header().expect("every answer has one").revision();
    let asked = Instant::now();
    let (joining, _) = cluster.add(leader, true).await;
    cluster.launch(joining);
    while own_revision(&cluster, joining).await.is_none_or(|own| own < revision) {
        assert!(cluster.process(joining).is_running(), "the new member ends");
        sleep(LOOK_AGAIN).await;
    }
    let full = Instant::now();
    writers.all_go_on(1).await;
    let acks = writers.end().await.concat();

    let everything = GetOptions::new().with_all_keys().with_count_only().with_serializable();
    let found = cluster.client(joining).await.get("", Some(everything)).await.expect("the new member reads");
    assert!(found.count() as u64 >= keys, "the new member has {} keys", found.count());
    vec![
        Figure { what: "join, s", value: (full - asked).as_secs_f64() },
        Figure::ms("writers before: p99, ms", p99(&acks, watched, asked)),
        Figure::ms("writers meanwhile: p99, ms", p99(&acks, asked, full)),
    ]
}

async fn fill(cluster: &Cluster, generator: &Generator, keys: u64) {
    let value = format!("--val-size={VALUE_BYTES}");
    let (space, total) = (format!("--key-space-size={keys}"), format!("--total={keys}"));
    let load = ["put", "--sequential-keys", "--key-size=32", &value, &space, &total];
    generator.run(cluster, &[0, 1, 2], &load).await;
}

/// What a member reads without asking others; `None` if it does not answer.
async fn own_revision(cluster: &Cluster, member: usize) -> Option<i64> {
    // A new client each time: one that was refused waits long before it tries again.
    let mut client = cluster.client(member).await;
    let own = GetOptions::new().with_serializable();
    let answer = timeout(LOOK_MAX, client.get("any", Some(own))).await.ok()?.ok()?;
    Some(answer.header()?.revision())
}

/// The 99th percentile of the time from when a write was due to its acknowledgement, for those that were due in between.
fn p99(acks: &[Ack], from: Instant, to: Instant) -> Duration {
    let counted = acks.iter().filter(|ack| from <= ack.due && ack.due < to);
    let latencies = sorted(counted.map(|ack| (ack.at - ack.due).as_secs_f64()));
    Duration::try_from_secs_f64(quantile(&latencies, 0.99)).expect("some writes were due")
}
