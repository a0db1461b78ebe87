//! Clusters of real processes. Bodies that say nothing of Lodemark alone take the program that they run: a real etcd shows
//! that the test itself is right.

/// Runs bodies on this program, and on demand on a real etcd.
macro_rules! on_both_programs {
    ($($body:ident),* $(,)?) => {
        mod lodemark {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $body() {
                super::$body(&crate::harness::Program::lodemark()).await;
            })*
        }

        mod real_etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "checks the test itself on a real etcd"]
            async fn $body() {
                if let Some(etcd) = crate::harness::Program::etcd() {
                    super::$body(&etcd).await;
                }
            })*
        }
    };
}

mod bootstrap;
mod difference;
mod failover;
mod leaderless;
mod load;
mod membership;
mod replacement;
mod strangers;

use crate::harness::Cluster;

/// Writes through each member that runs, and reads what was written through each of the others.
async fn all_write_and_read(cluster: &Cluster, value: &str) {
    for writer in cluster.running() {
        let value = format!("{value} by {writer}");
        cluster.client(writer).await.put("key", value.as_str(), None).await.unwrap();
        for reader in cluster.running() {
            assert_eq!(read(cluster, reader, "key").await.as_deref(), Some(value.as_str()), "member {reader}");
        }
    }
}

/// The value of a key, as a member reads it linearizably.
async fn read(cluster: &Cluster, member: usize, key: &str) -> Option<String> {
    let answer = cluster.client(member).await.get(key, None).await.unwrap();
    answer.kvs().first().map(|kv| kv.value_str().unwrap().to_owned())
}
