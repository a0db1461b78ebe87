//! What a put and a get cost through a whole node in this process: how much of it is waiting for the disk, and how well
//! concurrent puts share one sync?

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lodemark::env::{RealDisk, SystemClock, SystemRandom};
use lodemark::model::{ClusterId, Command, KeyRange, LeaseId, MemberId, Put, Range};
use lodemark::node::{Identity, Node, NodeOptions, Proposal};
use tokio::runtime::Runtime;

fn options(dir: &std::path::Path) -> NodeOptions {
    let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
    NodeOptions::new(Arc::new(RealDisk::new(dir)), Arc::new(SystemClock::new()), Arc::new(SystemRandom), identity)
}

fn put(key: u64) -> Proposal {
    let put = Put {
        key: Bytes::from(format!("/services/web/{key:016}")),
        value: Bytes::from_static(&[b'v'; 256]),
        lease: LeaseId::NONE,
        ..Put::default()
    };
    Proposal::from(&Command::Put(put))
}

fn get(key: u64) -> Range {
    Range::of(KeyRange::single(Bytes::from(format!("/services/web/{key:016}"))))
}

fn end_to_end(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let options = options(dir.path());
    let node = runtime.block_on(async {
        let node = Node::start(options.clone()).await.expect("the node starts");
        node.ready(&options).await.expect("the node leads");
        node
    });

    let mut group = criterion.benchmark_group("put");
    for concurrent in [1u64, 64, 512] {
        group.throughput(Throughput::Elements(concurrent));
        group.bench_function(BenchmarkId::from_parameter(concurrent), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let puts = (0..concurrent).map(|key| node.propose(put(key)));
                for outcome in futures_util::future::join_all(puts).await {
                    outcome.expect("a put succeeds");
                }
            });
        });
    }
    group.finish();

    criterion.bench_function("get", |bencher| {
        bencher.to_async(&runtime).iter(|| async { node.range(&get(1)).await.expect("a get succeeds") });
    });
    runtime.block_on(node.stop());
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
