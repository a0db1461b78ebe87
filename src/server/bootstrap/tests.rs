//! Members that answer as they are told stand for the others.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Invocation;
use crate::model::ClusterId;
use crate::net::Tls;
use crate::server::inquiry::{Connector, InquiryError};

/// Of a member without a certificate.
fn connector() -> Connector {
    Connector { tls: Tls::without_certificate(None).unwrap() }
}

/// A member that gives the same answers to everybody. It ends with this value.
struct Fake {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a fake member says.
#[derive(Clone)]
struct Answers {
    cluster: Option<&'static str>,
    members: Vec<Member>,
    version: &'static str,
    is_lodemark: bool,
}

impl Answers {
    /// Those of a member of cluster `abc`.
    fn of(members: Vec<Member>) -> Answers {
        Answers { cluster: Some("abc"), members, version: "3.7.0", is_lodemark: true }
    }
}

impl Fake {
    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn start((listener, address): (TcpListener, SocketAddr), answers: Answers) -> Fake {
        let task = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let len = socket.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..len]).into_owned();
                socket.write_all(answers.to(&request).as_bytes()).await.unwrap();
            }
        });
        Fake { address, task }
    }

    /// Takes connections and never says anything.
    fn silent((listener, address): (TcpListener, SocketAddr)) -> Fake {
        let task = tokio::spawn(async move {
            let mut sockets = Vec::new();
            loop {
                sockets.push(listener.accept().await.unwrap());
            }
        });
        Fake { address, task }
    }
}

impl Answers {
    fn to(&self, request: &str) -> String {
        let (headers, body) = if request.starts_with("GET /members HTTP/1.1\r\n") {
            let members: Vec<serde_json::Value> = self
                .members
                .iter()
                .map(|member| {
                    serde_json::json!({
                        "id": member.id.0, "peerURLs": member.peer_urls, "name": member.name,
                        "clientURLs": member.client_urls, "isLearner": member.is_learner,
                    })
                })
                .collect();
            let cluster = self.cluster.map(|id| format!("X-Etcd-Cluster-Id: {id}\r\n")).unwrap_or_default();
            let version = if self.is_lodemark { "X-Lodemark-Version: 9\r\n" } else { "" };
            (cluster + version, serde_json::Value::from(members).to_string())
        } else if request.starts_with("GET /version HTTP/1.1\r\n") {
            let version = serde_json::json!({"etcdserver": "3.7.1", "etcdcluster": self.version, "storage": "3.7.0"});
            (String::new(), version.to_string())
        } else {
            return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
        };
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
    }
}

/// Where nobody listens.
async fn nowhere() -> SocketAddr {
    Fake::listen().await.1
}

const OWN: &str = "http://127.0.0.1:1";

fn member(id: u64, name: &str, peer: &str) -> Member {
    let client_urls = if name.is_empty() { Vec::new() } else { vec!["http://127.0.0.1:2".into()] };
    Member { id: MemberId(id), name: name.into(), peer_urls: vec![peer.into()], client_urls, is_learner: false }
}

/// Begins as the member `own` at [`OWN`] with the others at `others`.
async fn begin_beside(others: &[(&str, SocketAddr)], flags: &[&str]) -> Result<Beginning, BootstrapError> {
    let others = others.iter().map(|(name, address)| format!(",{name}=http://{address}"));
    let cluster = format!("--initial-cluster=own={OWN}{}", others.collect::<String>());
    let own = format!("--initial-advertise-peer-urls={OWN}");
    let arguments = ["--name=own", &cluster, &own].into_iter().chain(flags.iter().copied());
    match Invocation::from_args(arguments.map(std::ffi::OsString::from)).unwrap() {
        Invocation::Serve(config) => begin(&config, &connector()).await,
        other => panic!("{other:?}"),
    }
}

const JOIN: &[&str] = &["--initial-cluster-state=existing"];

/// The ids that founders get.
async fn founded(others: &[(&str, SocketAddr)]) -> Beginning {
    begin_beside(others, &[]).await.unwrap()
}

#[tokio::test]
async fn a_founder_goes_on_when_nobody_answers() {
    let (a, b) = (nowhere().await, Fake::silent(Fake::listen().await));
    let beginning = founded(&[("a", a), ("b", b.address)]).await;
    let Founding::New(members) = &beginning.founding else { panic!("{beginning:?}") };
    let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "own"]);
    assert!(members.iter().any(|member| member.id == beginning.identity.member && member.name == "own"));
}

#[tokio::test]
async fn a_founder_that_has_been_started_before_is_refused_and_one_that_was_not_goes_on() {
    let silent = Fake::silent(Fake::listen().await);
    let bound = Fake::listen().await;
    let others = [("a", bound.1), ("b", silent.address)];
    let beginning = founded(&others).await;
    let id = beginning.identity.member;

    // Somebody says so, while others are silent.
    let told = Answers::of(vec![member(id.0, "own", OWN), member(7, "a", "http://a:1")]);
    let fake = Fake::start(bound, told);
    let error = begin_beside(&others, &[]).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("member {id} has already been bootstrapped")), "{error}");
    assert!(error.to_string().contains(&format!("etcdctl member remove {id}")), "{error}");
    drop(fake);

    // Founders know each other's names before they are started.
    let listed = Member { client_urls: Vec::new(), ..member(id.0, "own", OWN) };
    let bound = Fake::listen().await;
    let others = [("a", bound.1)];
    let _fake = Fake::start(bound, Answers::of(vec![listed]));
    begin_beside(&others, &[]).await.unwrap();
}

#[tokio::test]
async fn a_member_joins_as_whom_the_running_cluster_says() {
    let bound = Fake::listen().await;
    let url = format!("http://{}", bound.1);
    let (gone, others) = (nowhere().await, ["a", "b"]);
    let gone_url = format!("http://{gone}");
    let learner = Member { is_learner: true, ..member(3, "", OWN) };
    let members = vec![member(1, "other name", &url), member(2, "b", &gone_url), learner];
    let addresses = [(others[0], bound.1), (others[1], gone)];
    let _fake = Fake::start(bound, Answers::of(members.clone()));
    let beginning = begin_beside(&addresses, JOIN).await.unwrap();
    let identity = Identity { cluster: ClusterId(0xabc), member: MemberId(3) };
    assert_eq!(beginning, Beginning { identity, founding: Founding::Join(members), name_of_certificates: None });
}

/// Tries to join beside one fake member at `bound`, which answers `answers`.
async fn join_refused(bound: (TcpListener, SocketAddr), answers: Answers, flags: &[&str]) -> String {
    let fake = Fake::start(bound, answers);
    let error = begin_beside(&[("a", fake.address)], &[JOIN, flags].concat()).await.unwrap_err();
    error.to_string()
}

#[tokio::test]
async fn a_member_that_does_not_fit_does_not_join() {
    type Change = fn(&mut Answers);
    let cases: [(Change, &[&str], &str); 9] = [
        (|answers| drop(answers.members.pop()), &[], ": member count is unequal"),
        (
            |answers| answers.members[0].peer_urls = vec!["http://127.0.0.1:3".into()],
            &[],
            ": PeerURLs: no match found for existing member (1, [http://127.0.0.1:3])",
        ),
        (|answers| answers.members.clear(), &[], "failed to get raft cluster member(s) from the given URLs"),
        (|answers| answers.cluster = None, &[], "could not retrieve cluster information from the given URLs"),
        (|answers| answers.version = "3.8.0", &[], "incompatible with current running cluster"),
        (|answers| answers.version = "2.3.0", &[], "incompatible with current running cluster"),
        (|answers| answers.version = "not_decided", &[], "incompatible with current running cluster"),
        (
            |answers| answers.members[1].is_learner = true,
            &["--max-learners=0"],
            "membership: too many learner members in cluster",
        ),
        (|answers| answers.is_lodemark = false, &[], "run etcd: Lodemark cannot be a member of their cluster"),
    ];
    for (change, flags, text) in cases {
        let bound = Fake::listen().await;
        let mut answers = Answers::of(vec![member(1, "a", &format!("http://{}", bound.1)), member(2, "", OWN)]);
        change(&mut answers);
        let error = join_refused(bound, answers, flags).await;
        assert!(error.contains(text), "{text:?}: {error}");
    }
}

#[tokio::test]
async fn a_member_that_has_lost_its_data_does_not_join_as_the_same() {
    for founder in [true, false] {
        let bound = Fake::listen().await;
        let mut own = member(0x2f, "before", OWN);
        if founder {
            own.client_urls.clear();
        }
        let answers = Answers::of(vec![member(1, "a", &format!("http://{}", bound.1)), own]);
        let error = join_refused(bound, answers, &[]).await;
        let told = "member 2f of the running cluster has the name \"before\", so it was started before";
        assert!(error.starts_with(told) && error.contains("etcdctl member remove 2f"), "{error}");
    }
}

#[tokio::test]
async fn without_anybody_to_join_the_error_says_so() {
    let error = begin_beside(&[("a", nowhere().await)], JOIN).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"
    );
    let error = begin_beside(&[], JOIN).await.unwrap_err().to_string();
    assert!(error.contains("--initial-cluster names no other member"), "{error}");
}

#[tokio::test]
async fn answers_of_another_kind_are_errors() {
    async fn ask(answer: &'static [u8]) -> InquiryError {
        let (listener, address) = Fake::listen().await;
        let task = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(answer).await;
        });
        let url = Url::parse(&format!("http://{address}")).unwrap();
        let error = inquiry::members(&connector(), &url, JOINER_WAIT).await.unwrap_err();
        task.abort();
        error
    }
    assert!(matches!(ask(b"").await, InquiryError::Http(_)));
    assert!(matches!(ask(b"\x15\x03\x01\0\x02\x02\x16").await, InquiryError::Http(_)));
    assert!(matches!(ask(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await, InquiryError::Status(_)));
    assert!(matches!(ask(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[").await, InquiryError::Body(_)));
    // Longer than anything that is read.
    let endless = [&b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"[..], &vec![b' '; 2_000_000]].concat();
    assert!(matches!(ask(endless.leak()).await, InquiryError::Body(_)));
    assert!(matches!(ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").await, InquiryError::MemberList(_)));

    let url = Url::parse("https://127.0.0.1:1").unwrap();
    let nobody = inquiry::members(&connector(), &url, JOINER_WAIT).await;
    assert!(matches!(nobody, Err(InquiryError::Connect(_))), "{nobody:?}");
    let silent = Fake::silent(Fake::listen().await);
    let url = Url::parse(&format!("http://{}", silent.address)).unwrap();
    let short = Duration::from_millis(50);
    assert!(matches!(inquiry::cluster_version(&connector(), &url, short).await, Err(InquiryError::Timeout(_))));
}
