//! A member whose state is not that of the others: stopped, named, and not started again until it is told to.

use std::path::Path;
use std::sync::Arc;

use lodemark::env::RealDisk;
use lodemark::storage::{Meta, Storage};

use crate::harness::{Cluster, Program};

const CACHE_BYTES: usize = 1 << 20;

/// Makes the checkpoint of a member that is down say that an entry had other effects.
fn falsify(cluster: &Cluster, member: usize) {
    let disk = RealDisk::new(cluster.data_dir(member).join("member"));
    let storage = Storage::open(Arc::new(disk), Path::new("state.redb"), CACHE_BYTES).unwrap();
    let meta = storage.meta().unwrap();
    storage.commit(&[], &Meta { chain: meta.chain ^ 1, ..meta }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_differs_ends_is_named_and_is_replaced() {
    let mut cluster = Cluster::start(&Program::lodemark(), 3).await;
    let wrong = (cluster.leader().await + 1) % 3;
    let others: Vec<usize> = (0..3).filter(|&member| member != wrong).collect();
    let id = cluster.view(wrong).await.unwrap().id;
    cluster.client(wrong).await.put("key", "value", None).await.unwrap();
    assert!(cluster.terminate(wrong).success());
    falsify(&cluster, wrong);

    let differs = format!("member {id:x} differs from the majority");
    cluster.launch(wrong);
    cluster.process(wrong).wait_for_line(&differs, 0);
    assert_eq!(cluster.ended(wrong).code(), Some(1));
    for &member in &others {
        let said = cluster.process(member).wait_for_line("a member differs from the majority", 0);
        assert!(said.contains(&format!("{id:x}")), "{said}");
    }
    // What looks after processes starts it again.
    cluster.launch(wrong);
    cluster.process(wrong).wait_for_line(&differs, 0);
    assert_eq!(cluster.ended(wrong).code(), Some(1));

    // As its message says.
    cluster.empty(wrong);
    cluster.remove(others[0], id).await;
    let (added, _) = cluster.add(others[0], false).await;
    cluster.restart(added).await;
    super::all_write_and_read(&cluster, "of three again").await;
}
