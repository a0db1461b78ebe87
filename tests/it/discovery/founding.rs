//! What comes of it: the same keys in the service, the same members, the same ids.

use std::collections::BTreeMap;
use std::fs;

use super::{Founder, READY, TOKEN, WAITING, lines, member_key, programs, registered, size_key};
use crate::harness::{Member, Program, Site};

/// All that can be seen of a cluster that was founded.
#[derive(Debug, PartialEq)]
struct Outcome {
    registered: Vec<(String, String)>,
    cluster_id: u64,
    /// Name and peer URLs by id.
    members: BTreeMap<u64, (String, Vec<String>)>,
}

async fn founded(service: &Program, founders: &[Founder], program: &Program, site: Site) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let service = Member::start(service, site).await;
    let mut client = service.client().await;
    client.put(size_key(), founders.len().to_string(), None).await.unwrap();
    let mut processes: Vec<_> = founders.iter().map(|founder| founder.start(program, folder.path())).collect();
    processes.iter().for_each(|process| drop(process.wait_for_line(READY, 0)));
    let list = founders[0].client().await.member_list().await.unwrap();
    let members = list.members().iter();
    let outcome = Outcome {
        registered: registered(&mut client).await,
        cluster_id: list.header().unwrap().cluster_id(),
        members: members.map(|member| (member.id(), (member.name().to_owned(), member.peer_urls().to_vec()))).collect(),
    };
    processes.iter_mut().for_each(|process| process.kill());
    service.terminate();
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_find_each_other_in_either_service_and_become_the_same_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let mut first: Option<Outcome> = None;
    // Ports are the same throughout: ids come of them.
    let ports = Site::new(folder.path());
    let founders: Vec<Founder> = (0..3).map(|number| Founder::new(number, &ports.endpoint())).collect();
    for (number, service) in programs().iter().enumerate() {
        for program in programs() {
            let site = ports.clone().in_folder(&folder.path().join(format!("{number}-{}", program.is_lodemark())));
            let outcome = founded(service, &founders, &program, site).await;
            let names: Vec<&str> = outcome.members.values().map(|(name, _)| name.as_str()).collect();
            assert!(
                names.len() == 3 && founders.iter().all(|founder| names.contains(&founder.name.as_str())),
                "{names:?}"
            );
            let keys: Vec<String> = outcome.members.keys().map(|id| member_key(&format!("{id:x}"))).collect();
            let written: Vec<&String> = outcome.registered.iter().map(|(key, _)| key).collect();
            assert!(keys.iter().chain([&size_key()]).all(|key| written.contains(&key)), "{written:?}");
            assert_eq!(
                &outcome,
                first.get_or_insert_with(|| Outcome {
                    members: outcome.members.clone(),
                    registered: outcome.registered.clone(),
                    ..outcome
                })
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_is_one_too_many_and_an_emptied_one_does_not_begin_anew() {
    let folder = tempfile::tempdir().unwrap();
    let service = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
    service.client().await.put(size_key(), "3", None).await.unwrap();
    let founders: Vec<Founder> = (0..4).map(|number| Founder::new(number, &service.endpoint())).collect();
    let start = |founder: &Founder| founder.start(&Program::lodemark(), folder.path());
    let mut processes: Vec<_> = founders[..3].iter().map(start).collect();
    processes.iter().for_each(|process| drop(process.wait_for_line(READY, 0)));

    for program in programs() {
        let (status, _, said) = founders[3].start(&program, folder.path()).output();
        assert!(status == Some(1) && said.contains("discovery: cluster is full"), "{status:?}: {said}");
        fs::remove_dir_all(founders[3].data_dir(folder.path())).unwrap();
    }

    processes[1].kill();
    fs::remove_dir_all(founders[1].data_dir(folder.path())).unwrap();
    let (status, _, said) = start(&founders[1]).output();
    assert!(status == Some(1) && said.contains("has already been bootstrapped"), "{status:?}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_data_does_not_ask_the_service() {
    let folder = tempfile::tempdir().unwrap();
    for program in programs() {
        let site =
            Site::new(folder.path()).in_folder(&folder.path().join(format!("service-{}", program.is_lodemark())));
        let service = Member::start(&Program::lodemark(), site).await;
        service.client().await.put(size_key(), "1", None).await.unwrap();
        let founder = Founder { name: format!("m{}", program.is_lodemark()), ..Founder::new(0, &service.endpoint()) };
        let process = founder.start(&program, folder.path());
        process.wait_for_line(READY, 0);
        process.terminate();
        drop(process);
        service.terminate();
        let process = founder.start(&program, folder.path());
        let ignored = process.wait_for_line("discovery token is ignored since cluster already initialized", 0);
        let ignored: serde_json::Value = serde_json::from_str(&ignored).unwrap();
        let wal_dir = founder.data_dir(folder.path()).join("member/wal");
        assert_eq!((&ignored["level"], &ignored["wal-dir"]), (&"warn".into(), &wal_dir.to_str().unwrap().into()));
        process.wait_for_line(READY, 0);
    }
}

/// Who waits, meets odd keys, and finds everybody, says the same as etcd, line by line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_on_the_way_is_what_etcd_says() {
    let folder = tempfile::tempdir().unwrap();
    let ports = Site::new(folder.path());
    let founder = Founder::new(0, &ports.endpoint());
    let mut told: Vec<Vec<(String, String)>> = Vec::new();
    for program in programs() {
        let site = ports.clone().in_folder(&folder.path().join(format!("service-{}", program.is_lodemark())));
        let data = folder.path().join(format!("data-{}", program.is_lodemark()));
        fs::create_dir(&data).unwrap();
        let service = Member::start(&Program::lodemark(), site).await;
        let mut client = service.client().await;
        for (key, value) in [
            (size_key(), "3"),
            (member_key("1"), "x=http://127.0.0.1:1"),
            (member_key("2"), "nonsense"),
            // What etcd takes for a member's key.
            (format!("/_etcd/registry/{TOKEN}/memberships"), " y=http://127.0.0.1:2\n"),
        ] {
            client.put(key, value, None).await.unwrap();
        }
        client.delete(format!("/_etcd/registry/{TOKEN}/memberships"), None).await.unwrap();
        let process = founder.start(&program, &data);
        process.wait_for_line(WAITING, 0);
        client.put(member_key("1"), "x=http://127.0.0.1:3", None).await.unwrap();
        client.delete(member_key("2"), None).await.unwrap();
        client.put(format!("/_etcd/registry/{TOKEN}/memberships"), " y=http://127.0.0.1:2\n", None).await.unwrap();
        process.wait_for_line("discovery joined cluster successfully", 0);
        let said = lines(&process.lines());
        let about = said
            .iter()
            .filter(|line| line.get("discovery-token").is_some() && line["msg"] != "starting an etcd server");
        told.push(
            about
                .map(|line| {
                    let mut fields = line.as_object().unwrap().clone();
                    ["ts", "caller"].iter().for_each(|field| drop(fields.remove(*field)));
                    let message = fields.remove("msg").unwrap().to_string();
                    (message, serde_json::Value::Object(fields).to_string())
                })
                .collect(),
        );
        drop(process);
        service.terminate();
    }
    assert!(told[0].len() >= 12, "{:#?}", told[0]);
    if let [ours, theirs] = &told[..] {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn the_first_line_tells_of_discovery_what_that_of_etcd_tells() {
    let flags = [
        "--discovery-dial-timeout=3s",
        "--discovery-request-timeout=1m",
        "--discovery-keepalive-time=11s",
        "--discovery-keepalive-timeout=90ms",
        "--discovery-insecure-transport=false",
        "--discovery-insecure-skip-tls-verify",
        "--discovery-user=ann",
        "--discovery-password=what-opens-it",
        // So that it ends.
        "--discovery-cert=c.pem",
        "--discovery-cacert=ca.pem",
    ];
    let founder = Founder::new(0, "127.0.0.1:2,127.0.0.1:1").with(&flags);
    let mut told = Vec::new();
    for program in programs() {
        let folder = tempfile::tempdir().unwrap();
        let process = founder.start(&program, folder.path());
        let line = process.wait_for_line("starting an etcd server", 0);
        assert!(!line.contains("what-opens-it"), "{line}");
        let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        line.retain(|field, _| field.starts_with("discovery-") || field.starts_with("initial-cluster"));
        told.push(line);
    }
    assert!(told[0].len() >= 12, "{told:?}");
    assert!(told.iter().all(|line| *line == told[0]), "{told:#?}");
}
