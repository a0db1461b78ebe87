//! More writes at a time than a server takes.
//!
//! etcd refuses a write while apply is 5,000 entries behind the commit index, this server while 16,384 writes wait for
//! their answer. One load reaches both: a few txns that count many keys keep apply busy for seconds, and thousands of
//! small puts come in behind them. How long such a txn takes is measured first, so that a slow machine is not kept
//! longer than a fast one.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Client, Failure, in_time};
use super::wire::*;

const PUT: &str = "/etcdserverpb.KV/Put";
const TXN: &str = "/etcdserverpb.KV/Txn";
/// What a server says that has too much to do.
const REFUSAL: &str = "etcdserver: too many requests";

/// Keys to count, and how many of them one request writes: the most that a txn may have.
const KEYS_LEN: usize = 100_000;
const KEYS_LEN_OF_TXN: usize = 128;
/// How often a busy txn counts them; a put makes it a write.
const COUNTS_LEN: usize = 120;
/// For how long apply has something to do: much longer than the puts need to come in, less than a server's own timeout.
const BUSY_TIME: Duration = Duration::from_secs(4);
const BUSY_LEN_MAX: u128 = 64;
/// Puts of the first attempt; each further one has half as many more.
const PUTS_LEN: usize = 20_000;
const ATTEMPTS_LEN: usize = 4;
const CONNECTIONS_LEN: usize = 8;
/// Requests at a time, where they are not meant to be too many.
const CONCURRENCY: usize = 32;
/// How often a write is tried after an overload.
const WRITE_PERIOD: Duration = Duration::from_millis(100);

/// What a server answers that has too much to do; `None` if it took everything.
pub async fn refusal(endpoint: &str) -> Option<Failure> {
    let client = Client::new(endpoint);
    fill(&client).await;
    let begun = Instant::now();
    let _: Result<TxnResponse, _> = client.unary(TXN, busy()).await;
    let busy_len = (BUSY_TIME.as_millis() / begun.elapsed().as_millis().max(1)).clamp(1, BUSY_LEN_MAX);
    for attempt in 0..ATTEMPTS_LEN {
        let puts_len = PUTS_LEN + attempt * PUTS_LEN / 2;
        if let Some(failure) = attempt_of(endpoint, busy_len, puts_len).await {
            return Some(failure);
        }
    }
    None
}

/// Writes as soon as the server has worked off enough.
pub async fn write_after(endpoint: &str) -> Result<PutResponse, Failure> {
    let client = Client::new(endpoint);
    let mut pause = tokio::time::interval(WRITE_PERIOD);
    let written = async {
        loop {
            pause.tick().await;
            if let Ok(written) = client.unary(PUT, put_of("after".to_owned())).await {
                return written;
            }
        }
    };
    in_time(written).await
}

async fn fill(client: &Client) {
    let txns = (0..KEYS_LEN / KEYS_LEN_OF_TXN).map(|txn| {
        let put = |i| put_of(format!("count/{:06}", txn * KEYS_LEN_OF_TXN + i));
        let success = (0..KEYS_LEN_OF_TXN).map(|i| RequestOp { request: Some(Op::Put(put(i))) }).collect();
        let written = client.unary::<_, TxnResponse>(TXN, TxnRequest { success, ..TxnRequest::default() });
        async { assert!(written.await.is_ok(), "keys to count") }
    });
    stream::iter(txns).buffer_unordered(CONCURRENCY).collect::<()>().await;
}

/// Ends at the first refusal.
async fn attempt_of(endpoint: &str, busy_len: u128, puts_len: usize) -> Option<Failure> {
    let client = Client::new(endpoint);
    let mut calls = JoinSet::new();
    for _ in 0..busy_len {
        let client = client.clone();
        calls.spawn(async move { client.unary::<_, TxnResponse>(TXN, busy()).await.err() });
    }
    let clients: Vec<_> = (0..CONNECTIONS_LEN).map(|_| Client::new(endpoint)).collect();
    for i in 0..puts_len {
        let client = clients[i % CONNECTIONS_LEN].clone();
        calls.spawn(async move { client.unary::<_, PutResponse>(PUT, put_of(format!("load/{i}"))).await.err() });
    }
    while let Some(failed) = calls.join_next().await {
        let failed = failed.expect("calls do not panic");
        if let Some(failure) = failed.filter(|failure| failure.message == REFUSAL) {
            return Some(failure);
        }
    }
    None
}

/// A txn that takes its time.
fn busy() -> TxnRequest {
    let count =
        RangeRequest { key: "count/".into(), range_end: "count0".into(), count_only: true, ..RangeRequest::default() };
    let mut success = vec![RequestOp { request: Some(Op::Range(count)) }; COUNTS_LEN];
    success.push(RequestOp { request: Some(Op::Put(put_of("busy".to_owned()))) });
    TxnRequest { success, ..TxnRequest::default() }
}

fn put_of(key: String) -> PutRequest {
    PutRequest { key: key.into(), value: Bytes::from_static(b"v"), ..PutRequest::default() }
}
