//! The clock on the wall jumps, by hours and years, forward and back, in members that run: leases, watches and elections do
//! not care. Only what people read tells it.
//!
//! `libfaketime` stands between a member and its system: the calendar is moved by what a file says, and the clock that only
//! goes forward is left alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Client, EventType, PutOptions, WatchOptions};
use tokio::time::{Instant, sleep};

use crate::harness::{Cluster, Place, Program, free_port, skip};

/// Where the calendar is moved to, from the true time, in seconds: a minute, an hour and a day ahead, a day behind, years of
/// both, and back to the truth.
const JUMPS: [i64; 9] = [60, 3_600, 86_400, -86_400, 315_360_000, -315_360_000, -3_600, 7_200, 0];
/// Between two jumps.
const PAUSE: Duration = Duration::from_millis(500);
const SHORT_TTL: i64 = 2;
const KEPT_TTL: i64 = 3;
const LONG_TTL: i64 = 600;
/// How much later than its time a lease may end on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(3);
/// How long all of it may take.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The library; on Debian it is in a folder of the architecture.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let places = folders.chain([PathBuf::from("/usr/lib")]).map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|path| path.exists())
}

/// Members whose calendars are moved by files in `dir`, one for each.
fn places(library: &Path, dir: &Path) -> Vec<Place> {
    let place = |member| {
        let file = moved(dir, member, 0);
        let wrapper = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        Place {
            program: Program::lodemark().under(wrapper),
            host: "127.0.0.1".to_owned(),
            client_port: free_port(),
            peer_port: free_port(),
            peer_scheme: "http",
            data_dir: None,
        }
    };
    (0..3).map(place).collect()
}

/// Moves the calendar of a member; gives the file that says so.
fn moved(dir: &Path, member: usize, seconds: i64) -> PathBuf {
    let (file, unfinished) = (dir.join(format!("{member}")), dir.join(format!("{member}.new")));
    fs::write(&unfinished, format!("{seconds:+}\n")).unwrap();
    fs::rename(unfinished, &file).unwrap();
    file
}

/// The years in which a member wrote lines.
fn years(lines: &[String]) -> Vec<i64> {
    let year = |line: &String| serde_json::from_str::<serde_json::Value>(line).ok()?["ts"].as_str()?[..4].parse().ok();
    let mut years: Vec<i64> = lines.iter().filter_map(year).collect();
    years.sort_unstable();
    years.dedup();
    years
}

/// A lease, and a key under it.
async fn grant(client: &Client, ttl: i64, key: &str) -> i64 {
    let mut client = client.clone();
    let lease = client.lease_grant(ttl, None).await.unwrap().id();
    client.put(key, "x", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    lease
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_watches_and_elections_have_another_clock_than_the_wall() {
    let Some(library) = library() else { return skip("there is no libfaketime (the package faketime)") };
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::placed(places(&library, dir.path()), &[]);
    (0..3).for_each(|member| cluster.launch(member));
    for member in 0..3 {
        cluster.wait_until_it_serves(member).await;
    }
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let led = cluster.view(leader).await.unwrap();
    let mut client = cluster.client(leader).await;
    let mut watch = cluster.client(follower).await.watch("w/", Some(WatchOptions::new().with_prefix())).await.unwrap();

    let ends = JUMPS.len();
    let watching = tokio::spawn(async move {
        let (mut ended, mut puts) = (BTreeMap::new(), 0);
        while ended.len() < ends {
            let answer = watch.message().await.unwrap().expect("the watch goes on");
            for event in answer.events() {
                match event.event_type() {
                    EventType::Put => puts += 1,
                    EventType::Delete => {
                        let key = event.kv().unwrap().key_str().unwrap().to_owned();
                        assert_eq!(ended.insert(key, Instant::now()), None, "it ends once");
                    }
                }
            }
        }
        (ended, puts)
    });

    let (long, begun) = (grant(&client, LONG_TTL, "long").await, Instant::now());
    let kept = grant(&client, KEPT_TTL, "w/kept").await;
    let (mut keeper, mut answers) = client.lease_keep_alive(kept).await.unwrap();
    let mut granted = BTreeMap::new();
    for (round, seconds) in JUMPS.into_iter().enumerate() {
        // All of them differ.
        for member in 0..3 {
            moved(dir.path(), member, seconds * i64::try_from(member + 1).unwrap());
        }
        let (key, now) = (format!("w/{round}"), Instant::now());
        grant(&client, SHORT_TTL, &key).await;
        granted.insert(key, now);
        sleep(PAUSE).await;
        keeper.keep_alive().await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().ttl(), KEPT_TTL);
        let left = client.lease_time_to_live(long, None).await.unwrap().ttl();
        let passed = i64::try_from(begun.elapsed().as_secs()).unwrap();
        assert!((LONG_TTL - passed - 2..=LONG_TTL - passed).contains(&left), "{left} s after {passed} s");
    }
    while !watching.is_finished() {
        assert!(begun.elapsed() < WAIT_MAX, "leases end");
        keeper.keep_alive().await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().ttl(), KEPT_TTL);
        sleep(PAUSE).await;
    }
    let (ended, puts) = watching.await.unwrap();
    let ttl = Duration::from_secs(SHORT_TTL.unsigned_abs());
    for (key, granted) in granted {
        let lived = ended[&key].duration_since(granted);
        assert!(lived >= ttl && lived < ttl + LATE_MAX, "{key}: {lived:?}");
    }
    assert_eq!(puts, ends + 1, "those, and the one that is kept");
    assert_eq!(client.get("w/kept", None).await.unwrap().count(), 1);

    let view = cluster.view(leader).await.unwrap();
    assert_eq!((view.leader, view.term), (led.leader, led.term), "nobody else took the lead");
    for member in 0..3 {
        moved(dir.path(), member, *JUMPS.iter().max().unwrap());
        assert!(cluster.terminate(member).success());
    }
    let years = years(&cluster.lines());
    assert!(
        years.last() >= years.first().map(|year| year + 9).as_ref(),
        "what people read tells that it jumped: {years:?}"
    );
}
