//! The programs in `examples/` do what they say. They run here as they are, beside each other, on a server in memory.

use std::sync::mpsc;
use std::time::Duration;

use lodemark::embed::{ManualClock, Server, Store, prefix};
use tokio::time::timeout;

#[path = "../../examples/discovery.rs"]
#[allow(dead_code, reason = "its main reads arguments")]
mod discovery;
#[path = "../../examples/election.rs"]
#[allow(dead_code, reason = "as above")]
mod election;
#[path = "../../examples/embed.rs"]
#[allow(dead_code, reason = "as above")]
mod embed;
#[path = "../../examples/test_server.rs"]
mod test_server;

/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The TTL of an instance is 5 s.
const MOST_OF_THE_TTL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn discovery_tells_who_is_there_and_who_has_gone() {
    let clock = ManualClock::new();
    let server = Server::in_memory().client_addr("127.0.0.1:0").clock(&clock).start().await.unwrap();
    let (endpoint, store) = (&server.endpoints()[0], server.store());
    let (told_tx, told_rx) = mpsc::channel();
    let tell = |instances: Vec<&str>| told_tx.send(instances.join(" ")).unwrap();
    let mut stays = Box::pin(discovery::follow("web", "10.0.0.1:8080", endpoint, tell));
    let mut goes = Box::pin(discovery::follow("web", "10.0.0.2:8080", endpoint, |_| ()));

    let both_are_known = async {
        while !told_rx.try_iter().any(|told| told.contains("10.0.0.1:8080") && told.contains("10.0.0.2:8080")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = &mut stays => panic!("{outcome:?}"),
        outcome = &mut goes => panic!("{outcome:?}"),
        known = timeout(PATIENCE, both_are_known) => known.expect("the first hears of the second"),
    }

    // From now on only the first one renews its lease.
    drop(goes);
    let one_is_left = async {
        while !told_rx.try_iter().any(|told| told == "10.0.0.1:8080") {
            if time_left(&store, "10.0.0.1:8080").await > MOST_OF_THE_TTL {
                clock.advance(MOST_OF_THE_TTL).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = &mut stays => panic!("{outcome:?}"),
        left = timeout(PATIENCE, one_is_left) => left.expect("the first hears that the second has gone"),
    }
    drop(stays);
    server.stop().await.unwrap();
}

/// What is left of the lease of an instance.
async fn time_left(store: &Store, address: &str) -> Duration {
    let instances = store.range(prefix("/services/web/")).await.unwrap().kvs;
    let instance = instances.iter().find(|instance| instance.value() == address.as_bytes()).expect("it is registered");
    store.time_to_live(instance.lease()).await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn election_has_one_leader_at_a_time_and_passes_on() {
    let server = Server::in_memory().client_addr("127.0.0.1:0").start().await.unwrap();
    let endpoint = &server.endpoints()[0];
    let (told_tx, told_rx) = mpsc::channel();
    let worker = |name| {
        let told_tx = told_tx.clone();
        election::run("job", name, endpoint, move |line| told_tx.send((name, line)).unwrap())
    };
    let both = async { tokio::join!(worker("one"), worker("two")) };
    let (one, two) = timeout(PATIENCE, both).await.expect("both have had their turn");
    one.unwrap();
    two.unwrap();

    let told: Vec<(&str, String)> = told_rx.try_iter().filter(|(_, line)| !line.contains("runs for")).collect();
    let [first, last] = [told.first(), told.last()].map(|told| told.unwrap().0);
    assert_ne!(first, last);
    let tokens: Vec<i64> = told.iter().filter_map(|(_, line)| line.rsplit_once(" token ")?.1.parse().ok()).collect();
    let [token, later] = tokens[..] else { panic!("each leader has one: {told:?}") };
    assert!(token < later, "it grows from leader to leader: {told:?}");
    let lines: Vec<String> = told.iter().map(|(_, line)| line.clone()).collect();
    assert_eq!(lines, [turn_of(first, token), turn_of(last, later)].concat());
    server.stop().await.unwrap();
}

/// What a worker tells from the moment that it leads.
fn turn_of(name: &str, token: i64) -> Vec<String> {
    let mut told = vec![format!("{name} leads job with the fencing token {token}")];
    told.extend((1..=5).map(|round| format!("round {round} by {name}")));
    told.push(format!("{name} hands over"));
    told
}

#[tokio::test]
async fn embed_keeps_its_folder_from_start_to_start() {
    let temp = tempfile::tempdir().unwrap();
    for start in ["start number 1", "start number 2"] {
        let (told_tx, told_rx) = mpsc::channel();
        timeout(PATIENCE, embed::run(temp.path(), |line| told_tx.send(line).unwrap())).await.unwrap().unwrap();
        let told: Vec<String> = told_rx.try_iter().collect();
        assert!(told[0].starts_with("etcdctl --endpoints http://127.0.0.1:"), "{told:?}");
        assert_eq!(told[1..], [start, "settings/color is blue"]);
    }
}

#[test]
fn test_server_passes() {
    test_server::main().unwrap();
}
