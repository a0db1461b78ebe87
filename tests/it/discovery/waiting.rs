//! Members that have to wait: for the others, for the service, and for both.

use std::time::Duration;

use etcd_client::CompactionOptions;
use rustix::process::Signal;
use tokio::time::Instant;

use super::{Founder, READY, WAITING, registered, size_key};
use crate::harness::{Member, Program, Site};

/// How long an end may take, on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(10);
const RETRY: &str = "retry connecting to discovery service";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_others_ends_at_a_signal_and_waits_on_when_it_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let service = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
    let mut client = service.client().await;
    client.put(size_key(), "2", None).await.unwrap();
    let [first, second] = [0, 1].map(|number| Founder::new(number, &service.endpoint()));
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = first.start(&Program::lodemark(), folder.path());
        process.wait_for_line(WAITING, 0);
        let since = Instant::now();
        process.signal(signal);
        assert_eq!(process.wait().code(), Some(0));
        assert!(since.elapsed() < AT_ONCE);
    }
    let waits = first.start(&Program::lodemark(), folder.path());
    waits.wait_for_line(WAITING, 0);
    assert_eq!(registered(&mut client).await.len(), 2);
    let comes = second.start(&Program::lodemark(), folder.path());
    waits.wait_for_line(READY, 0);
    comes.wait_for_line(READY, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_at_first_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(folder.path());
    let founder = Founder::new(0, &site.endpoint()).with(&["--discovery-request-timeout=300ms"]);
    let mut gives_up = founder.start(&Program::lodemark(), folder.path());
    let retry: serde_json::Value = serde_json::from_str(&gives_up.wait_for_line(RETRY, 0)).unwrap();
    assert_eq!((&retry["reason"], &retry["backoff"]), (&"cluster status check".into(), &"2s".into()));
    let since = Instant::now();
    gives_up.terminate();
    assert_eq!(gives_up.wait().code(), Some(0));
    assert!(since.elapsed() < AT_ONCE);

    let waits = founder.start(&Program::lodemark(), folder.path());
    let retry: serde_json::Value = serde_json::from_str(&waits.wait_for_line(RETRY, 1)).unwrap();
    assert_eq!(retry["backoff"], "4s");
    let service = Member::start(&Program::lodemark(), site).await;
    service.client().await.put(size_key(), "1", None).await.unwrap();
    waits.wait_for_line(READY, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_breaks_is_begun_again_and_misses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let service = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
    service.client().await.put(size_key(), "3", None).await.unwrap();
    let nowhere = "127.0.0.1:1";
    let [first, second, third] =
        [0, 1, 2].map(|number| Founder::new(number, &format!("{nowhere},{}", service.endpoint())));
    let start = |founder: &Founder| founder.start(&Program::lodemark(), folder.path());
    let waits = start(&first);
    waits.wait_for_line(WAITING, 0);

    // The service goes and comes back.
    let site = service.kill();
    waits.wait_for_line("watching again", 0);
    let service = Member::start(&Program::lodemark(), site).await;
    let comes = start(&second);
    comes.wait_for_line(WAITING, 0);
    waits.wait_for_line(&second.registered(), 0);

    // What the first would have been told next is compacted before it asks.
    waits.signal(Signal::STOP);
    let site = service.kill();
    let service = Member::start(&Program::lodemark(), site).await;
    let last = start(&third);
    last.wait_for_line("register member itself successfully", 0);
    let mut client = service.client().await;
    let revision = client.put("other", "", None).await.unwrap().header().unwrap().revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
    waits.signal(Signal::CONT);
    for process in [&waits, &comes, &last] {
        process.wait_for_line(READY, 0);
    }
}
