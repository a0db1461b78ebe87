//! Ranges in chunks, between processes: the server reads on when the client does, and keeps nothing for it.

use bytes::Bytes;
use etcd_client::{Client as EtcdClient, CompactionOptions, Txn, TxnOp};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use crate::differential::client::{Client, collect, next};
use crate::differential::wire::{RangeRequest, RangeStreamResponse};
use crate::harness::{Member, Options, Program, Server, Site, number};
use crate::memory;

const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";
/// Keys of the large answer, unless `LODEMARK_STREAM_KEYS` says otherwise.
const KEYS: u64 = 100_000;
const VALUE_BYTES: usize = 256;
/// How much memory may grow for clients that read the large answer.
const GROWTH_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Clients that open the large answer and read only its first chunk.
const IDLE_CLIENTS: usize = 5;
/// Clients that write at once.
const WRITERS: u64 = 8;
/// Puts of one txn.
const TXN_PUTS: usize = 128;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_overtaken_by_a_compaction() {
    not_reading_is_overtaken(Program::lodemark()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_overtaken_by_a_compaction_of_etcd_too() {
    if let Some(etcd) = Program::etcd() {
        not_reading_is_overtaken(etcd).await;
    }
}

/// Had the server read ahead, the answer would be whole.
async fn not_reading_is_overtaken(program: Program) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Member::start(&program, Site::new(folder.path())).await;
    let keys = 5_000;
    fill(&server.endpoint(), keys, 2_000).await;

    // The server can be ahead of this client by some bytes only, and by the chunk that it waits with.
    let client = Client::narrow(&server.endpoint());
    let mut stream = client.server_streaming::<_, RangeStreamResponse>(RANGE_STREAM, all()).await.expect("it begins");
    let first = next(&mut stream).await.expect("a chunk").range_response.expect("with pairs");
    assert_eq!((first.kvs.len(), first.header, first.count), (10, None, 0));

    let mut etcd = server.client().await;
    let revision = etcd.put("another", "", None).await.unwrap().header().unwrap().revision();
    etcd.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
    let failure = collect(stream).await.expect_err("what is left was compacted");
    assert_eq!(failure.code, Code::OutOfRange);
    assert_eq!(failure.message, "etcdserver: mvcc: required revision has been compacted");
    server.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_takes_little_memory_and_begins_at_once() {
    let mut server = Server::start(&Options::default());
    let keys = number("LODEMARK_STREAM_KEYS", KEYS);
    fill(&server.endpoint(), keys, VALUE_BYTES).await;
    let before = memory::settled(server.pid()).await;

    let (mut idle, mut times) = (Vec::new(), Vec::new());
    for _ in 0..IDLE_CLIENTS {
        let client = Client::narrow(&server.endpoint());
        let began = Instant::now();
        let mut stream = client.server_streaming::<_, RangeStreamResponse>(RANGE_STREAM, all()).await.unwrap();
        next(&mut stream).await.expect("a chunk");
        times.push(began.elapsed());
        idle.push(stream);
    }

    let client = Client::new(&server.endpoint());
    let mut stream = client.server_streaming::<_, RangeStreamResponse>(RANGE_STREAM, all()).await.unwrap();
    let (mut pairs, mut bytes, mut chunks, mut most) = (0, 0, 0, before);
    let whole = loop {
        let part = next(&mut stream).await.expect("a chunk").range_response.expect("with pairs");
        pairs += part.kvs.len() as u64;
        bytes += part.kvs.iter().map(|kv| kv.value.len() as u64).sum::<u64>();
        chunks += 1;
        most = most.max(memory::resident(server.pid()));
        if part.header.is_some() {
            break part;
        }
    };
    assert_eq!((pairs, whole.count, whole.more), (keys, keys.cast_signed(), false));
    let growth = most - before;
    println!("{keys} keys, {bytes} bytes of values in {chunks} chunks: memory grew by {growth} from {before} bytes");
    println!("first chunks after {times:?}");
    assert!(bytes > GROWTH_BYTES_MAX, "an answer that was held whole would show");
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
    drop(idle);
    server.terminate();
}

fn all() -> RangeRequest {
    let zero = Bytes::from_static(&[0]);
    RangeRequest { key: zero.clone(), range_end: zero, ..RangeRequest::default() }
}

/// Puts so many keys with values of so many bytes.
async fn fill(endpoint: &str, keys: u64, value_bytes: usize) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut client = EtcdClient::connect([endpoint], None).await.expect("etcd-client connects lazily");
        writers.spawn(async move {
            let value = "v".repeat(value_bytes);
            let mine: Vec<u64> = (writer..keys).step_by(WRITERS as usize).collect();
            for keys in mine.chunks(TXN_PUTS) {
                let puts: Vec<TxnOp> =
                    keys.iter().map(|key| TxnOp::put(format!("{key:08}"), value.as_str(), None)).collect();
                client.txn(Txn::new().and_then(puts)).await.expect("the txn is written");
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.expect("a writer ends well");
    }
}
