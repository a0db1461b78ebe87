//! What cannot be, told as etcd tells it: text and exit status.

use std::ffi::OsString;
use std::fs;

use super::{Founder, TOKEN, lines, member_key, programs, size_key};
use crate::harness::{Member, Program, Site, free_port};

/// The line that ends a member that the service has refused.
const BY_THE_SERVICE: &str = "failed to bootstrap; discovery token was already used";
/// The one that ends any other that has no cluster.
const OTHERWISE: &str = "discovery failed";
/// The one that ends a member whose flags do not fit together.
const BY_FLAGS: &str = "failed to verify flags";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_service_says_that_founds_no_cluster_ends_the_member() {
    let other = member_key("1");
    let size = size_key();
    for (keys, flags, line, text) in [
        (&[][..], &[][..], BY_THE_SERVICE, "failed to join discovery cluster (discovery: size key not found"),
        (&[(&size, "x")], &[], BY_THE_SERVICE, "failed to join discovery cluster (discovery: size key is bad"),
        (&[(&size, "0")], &[], BY_THE_SERVICE, "failed to join discovery cluster (discovery: size key is bad"),
        (&[(&size, "-1")], &[], BY_THE_SERVICE, "failed to join discovery cluster (discovery: size key is bad"),
        (
            &[(&size, "1"), (&other, "x=http://127.0.0.1:1")],
            &[],
            BY_THE_SERVICE,
            "failed to join discovery cluster (discovery: cluster is full)",
        ),
        (
            &[(&size, "2"), (&other, "x=nonsense")],
            &[],
            BY_THE_SERVICE,
            "failed to join discovery cluster (discovery: invalid peer URL)",
        ),
        (&[(&size, "2"), (&other, "x=OWN")], &[], OTHERWISE, "discovery cluster m0=OWN,x=OWN has duplicate url"),
        (
            &[(&size, "1")],
            &["--initial-cluster-state=existing"],
            OTHERWISE,
            "discovery URL should not be set when joining existing initial cluster",
        ),
        (
            &[(&size, "1")],
            &["--discovery-cert=c.pem"],
            BY_THE_SERVICE,
            "failed to join discovery cluster (KeyFile and CertFile must both be present[key: , cert: c.pem])",
        ),
        (
            &[(&size, "1")],
            &["--discovery-key=k.pem"],
            BY_THE_SERVICE,
            "failed to join discovery cluster (KeyFile and CertFile must both be present[key: k.pem, cert: ])",
        ),
        (&[(&size, "1")], &["--discovery-cacert=nowhere.pem"], BY_THE_SERVICE, "failed to join discovery cluster ("),
    ] {
        for program in programs() {
            let folder = tempfile::tempdir().unwrap();
            let service = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
            // With a scheme TLS is not spoken, but its files are looked at.
            let founder = Founder::new(0, service.endpoint().trim_start_matches("http://")).with(flags);
            let own = founder.peer_url();
            let mut client = service.client().await;
            for (key, value) in keys {
                client.put(key.as_str(), value.replace("OWN", &own), None).await.unwrap();
            }
            let (status, _, said) = founder.start(&program, folder.path()).output();
            assert_eq!(status, Some(1), "{text}: {said}");
            let said = lines(&said.lines().map(str::to_owned).collect::<Vec<_>>());
            let last = said.iter().rfind(|said| said["msg"] == line).unwrap_or_else(|| panic!("{text}: {said:#?}"));
            assert!(last["error"].as_str().unwrap().contains(&text.replace("OWN", &own)), "{text}: {last}");
            if line == BY_THE_SERVICE {
                assert_eq!(last["discovery-token"], TOKEN);
                assert_eq!(last["discovery-endpoints"].as_array().map(Vec::len), Some(1));
                let advice = "do not reuse discovery token; generate a new one to bootstrap a cluster";
                assert_eq!(said.last().unwrap()["msg"], advice);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_of_one_name_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let service = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
    let mut client = service.client().await;
    client.put(size_key(), "2", None).await.unwrap();
    client.put(member_key("1"), "m0=http://127.0.0.1:1", None).await.unwrap();
    // etcd panics here.
    let founder = Founder::new(0, &service.endpoint());
    let (status, _, said) = founder.start(&Program::lodemark(), folder.path()).output();
    let text = r#"discovery cluster has another member \"m0\", with m0=http://127.0.0.1:1; give each member a name of its own"#;
    assert!(status == Some(1) && said.contains(text), "{status:?}: {said}");
}

#[test]
fn flags_that_do_not_fit_are_refused_in_the_words_of_etcd() {
    let folder = tempfile::tempdir().unwrap();
    let many = "multiple discovery or bootstrap flags are set. Choose one of \\\"initial-cluster\\\", \
                \\\"discovery-endpoints\\\" or \\\"discovery-srv\\\"";
    for (flags, text) in [
        (&["--discovery-token=t"][..], "both --discovery-token and --discovery-endpoints must be set"),
        (&["--discovery-endpoints=127.0.0.1:1"], "both --discovery-token and --discovery-endpoints must be set"),
        (&["--discovery-endpoints="], "both --discovery-token and --discovery-endpoints must be set"),
        (&["--discovery-token=t", "--discovery-endpoints="], "--discovery-endpoints must not contain empty endpoints"),
        (
            &["--discovery-token=t", "--discovery-endpoints=127.0.0.1:1,"],
            "--discovery-endpoints must not contain empty endpoints",
        ),
        (&["--discovery-token=t", "--discovery-endpoints=127.0.0.1:1", "--initial-cluster=a=http://127.0.0.1:2"], many),
        (&["--discovery-token=t", "--discovery-endpoints=127.0.0.1:1", "--discovery-srv=example.com"], many),
    ] {
        for program in programs() {
            let (status, _, said) = program.start(flags.iter().map(OsString::from), folder.path()).output();
            assert!(status == Some(1) && said.contains(BY_FLAGS) && said.contains(text), "{flags:?}: {said}");
        }
    }
    for (flag, text) in [
        ("--discovery-dial-timeout=x", r#"invalid value "x" for flag -discovery-dial-timeout: parse error"#),
        (
            "--discovery-insecure-transport=x",
            r#"invalid boolean value "x" for -discovery-insecure-transport: parse error"#,
        ),
    ] {
        for program in programs() {
            let (status, _, said) = program.start([flag.into()], folder.path()).output();
            assert!(status == Some(2) && said.contains(text), "{flag}: {said}");
        }
    }
}

/// The block `client` is what etcd reads; its reference has the keys without it, and so they work here as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_names_the_service() {
    for (program, block) in programs()
        .into_iter()
        .map(|program| (program, "client:\n    endpoints"))
        .chain([(Program::lodemark(), "endpoints")])
    {
        let folder = tempfile::tempdir().unwrap();
        let service = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
        let [client, peer] = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
        let file = format!(
            "name: m0\ndata-dir: founder\nlisten-client-urls: {client}\nadvertise-client-urls: {client}\n\
             listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\n\
             discovery-config:\n  token: {TOKEN}\n  {block}: ['{}']\n",
            service.endpoint()
        );
        fs::write(folder.path().join("etcd.yml"), &file).unwrap();
        let (status, _, said) = program.start(["--config-file=etcd.yml".into()], folder.path()).output();
        assert!(status == Some(1) && said.contains("discovery: size key not found"), "{file}: {said}");
    }
}
