//! How long a connection may say nothing.

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::*;
use crate::api::grpc::testing::started;
use crate::api::http::{Access, Listed, Profiling};

/// A request's head may come a little later than its first bytes are looked at.
const TOLERANCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn whoever_does_not_go_on_is_let_go_of() {
    let api = started().await;
    let node = api.node.clone();
    let access = Access { gateway: false, hosts: Listed::All, origins: Listed::All, profiling: Profiling::Off };
    let mut tasks = JoinSet::new();
    let shared = share(Traffic::GrpcAndHttp, api, &Front::new(access, 16), &mut tasks).await;

    tokio::time::pause();
    for (said, time) in [
        ("", FIRST_BYTES_TIMEOUT),
        ("P", FIRST_BYTES_TIMEOUT),
        ("PRI * HTTP/2.0\r\n", http2::PREFACE_TIMEOUT),
        ("GET /health HTTP/1.1\r\nX-Unfinished: ", http1::HEAD_TIMEOUT),
    ] {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(said.as_bytes()).await.unwrap();
        let begun = Instant::now();
        converse(near, shared.clone(), shared.lobby.enter()).await;
        let taken = begun.elapsed();
        assert!(taken >= time && taken < time + TOLERANCE, "{said:?}: {taken:?}");
    }
    tokio::time::resume();
    node.stop().await;
}
