//! Members without a leader, and clients that want one.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, GetOptions};
use tokio::time::timeout;

use crate::harness::{Cluster, Program};

/// Longer than anything here takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two calls until they are refused.
const ASK_AGAIN: Duration = Duration::from_millis(50);

on_both_programs!(whoever_asks_for_a_leader_hears_that_there_is_none);

fn says_no_leader(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message() == "etcdserver: no leader")
}

/// With `hasleader` among its metadata a stream ends and a call is refused; without it both wait, or need no leader.
async fn whoever_asks_for_a_leader_hears_that_there_is_none(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    let options = ConnectOptions::new().with_require_leader(true);
    let mut asking = Client::connect([cluster.endpoint(0)], Some(options)).await.unwrap();
    let mut patient = cluster.client(0).await;
    patient.put("key", "before", None).await.unwrap();
    let mut told = asking.watch("key", None).await.unwrap();
    let mut waiting = patient.watch("key", None).await.unwrap();
    for watch in [&mut told, &mut waiting] {
        let created = timeout(PATIENCE, watch.message()).await.expect("it is made").unwrap();
        assert!(created.is_some_and(|message| message.created()));
    }

    cluster.kill(1);
    cluster.kill(2);
    let serializable = || Some(GetOptions::new().with_serializable());
    let refused = async {
        loop {
            match asking.get("key", serializable()).await {
                Err(error) if says_no_leader(&error) => return,
                Ok(_) | Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    };
    timeout(PATIENCE, refused).await.expect("a call is refused");
    assert_eq!(patient.get("key", serializable()).await.unwrap().count(), 1);
    let end = timeout(PATIENCE, told.message()).await.expect("the stream ends");
    assert!(end.as_ref().is_err_and(says_no_leader), "{end:?}");

    cluster.launch(1);
    cluster.wait_until_it_serves(1).await;
    cluster.client(1).await.put("key", "after", None).await.unwrap();
    let event = timeout(PATIENCE, waiting.message()).await.expect("it is told").unwrap().expect("it goes on");
    assert_eq!(event.events().len(), 1);
}
