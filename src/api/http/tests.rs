//! Statuses, headers and bodies, as curl sees them from etcd 3.7.1.

use std::sync::Arc;

use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::env::{ManualClock, SeededRandom, SimDisk};
use crate::model::{Alarm, AlarmChange, AlarmKind, ClusterId, MemberId};
use crate::node::{Identity, NodeOptions};

async fn node() -> Node {
    let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
    let (disk, clock, random) =
        (Arc::new(SimDisk::new()), Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
    let options = NodeOptions {
        name: "http".into(),
        peer_urls: vec![],
        client_urls: vec![],
        segment_bytes: 32 * 1024,
        ..NodeOptions::new(disk, clock, random, identity)
    };
    let node = Node::start(options.clone()).await.unwrap();
    node.ready(&options).await.unwrap();
    node
}

/// Status, headers (without those that every answer has, checked here) and body.
async fn ask(node: &Node, method: &str, path: &str) -> (u16, Vec<(String, String)>, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let access =
        Arc::new(Access { gateway: false, hosts: Listed::All, origins: Listed::All, profiling: Profiling::Off });
    let response = router(node.clone(), access, None).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let mut headers = response.headers().clone();
    for (name, value) in [
        ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-headers", "accept, content-type, authorization"),
    ] {
        assert_eq!(headers.remove(name).unwrap(), value, "{method} {path}");
    }
    headers.remove("content-length");
    let mut headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

fn text(body: &str) -> (Vec<(String, String)>, String) {
    let nosniff = ("x-content-type-options".into(), "nosniff".into());
    (vec![("content-type".into(), "text/plain; charset=utf-8".into()), nosniff], body.to_owned())
}

#[tokio::test]
async fn every_path_answers_as_etcd_does() {
    let node = node().await;
    let get = async |path: &str| ask(&node, "GET", path).await;
    let version = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    let json = vec![("content-type".to_owned(), "application/json".to_owned())];
    assert_eq!(get("/version").await, (200, json, version.to_owned()));

    let healthy = r#"{"health":"true","reason":""}"#;
    let plain = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
    for path in ["/health", "/health?serializable=true&exclude=NOSPACE", "/health?serializable=banana&exclude=FOO"] {
        assert_eq!(get(path).await, (200, plain.clone(), healthy.to_owned()), "{path}");
    }

    for (path, status, body) in [
        ("/livez", 200, "ok\n"),
        ("/livez?verbose", 200, "[+]serializable_read ok\nok\n"),
        (
            "/readyz?verbose=1",
            200,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n",
        ),
        (
            "/readyz?exclude=foo&exclude=data_corruption&exclude=non_learner&verbose",
            200,
            "[+]serializable_read ok\n[+]linearizable_read ok\nok\n",
        ),
        ("/readyz/linearizable_read?verbose", 200, "[+]linearizable_read ok\nok\n"),
        ("/readyz/foo", 404, "404 page not found\n"),
        ("/livez/data_corruption", 404, "404 page not found\n"),
        ("/livez/", 404, "404 page not found\n"),
        ("/", 404, "404 page not found\n"),
        ("/version/", 404, "404 page not found\n"),
    ] {
        let (headers, body) = text(body);
        assert_eq!(get(path).await, (status, headers, body), "{path}");
    }
    node.stop().await;
}

#[tokio::test]
async fn whoever_asks_for_metrics_alone_gets_probes_beside_them_and_no_more() {
    let node = node().await;
    for (path, status) in [
        ("/metrics", 200),
        ("/health", 200),
        ("/livez", 200),
        ("/readyz/non_learner", 200),
        ("/version", 404),
        ("/debug/vars", 404),
    ] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = metrics_router(node.clone()).oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
    node.stop().await;
}

#[tokio::test]
async fn alarms_are_told_unless_they_are_left_out() {
    let node = node().await;
    let get = async |path: &str| {
        let (status, _, body) = ask(&node, "GET", path).await;
        (status, body)
    };
    let unhealthy = |why: &str| (503, format!("{{\"health\":\"false\",\"reason\":\"{why}\"}}\n"));
    let healthy = (200, r#"{"health":"true","reason":""}"#.to_owned());
    let raise = |kind| AlarmChange::Raise(Alarm { member: MemberId(1), kind });
    node.change_alarm(raise(AlarmKind::NoSpace)).await.unwrap();
    for path in ["/health", "/health?serializable=true", "/health?exclude=CORRUPT"] {
        assert_eq!(get(path).await, unhealthy("ALARM NOSPACE"), "{path}");
    }
    assert_eq!(get("/health?exclude=NOSPACE").await, healthy);
    assert_eq!(get("/readyz").await, (200, "ok\n".to_owned()));

    node.change_alarm(raise(AlarmKind::Corrupt)).await.unwrap();
    assert_eq!(get("/health?exclude=NOSPACE").await, unhealthy("ALARM CORRUPT"));
    assert_eq!(get("/health?exclude=NOSPACE&exclude=CORRUPT").await, healthy);
    assert_eq!(get("/livez").await.0, 200);
    let failed = "[-]data_corruption failed: alarm activated: CORRUPT\n";
    assert_eq!(get("/readyz/data_corruption").await, (503, format!("{failed}\n")));
    let metrics = get("/metrics").await.1;
    for line in [
        "etcd_debugging_server_alarms{alarm_type=\"NOSPACE\",server_id=\"1\"} 1\n",
        "etcd_debugging_server_alarms{alarm_type=\"CORRUPT\",server_id=\"1\"} 1\n",
        "etcd_server_health_success 2\n",
        "etcd_server_health_failures 4\n",
        "etcd_server_healthcheck{name=\"data_corruption\",type=\"readyz\"} 0\n",
        "etcd_server_healthchecks_total{name=\"data_corruption\",status=\"success\",type=\"readyz\"} 1\n",
        "etcd_server_healthchecks_total{name=\"data_corruption\",status=\"error\",type=\"readyz\"} 1\n",
        "etcd_server_has_leader 1\n",
        "etcd_server_version{server_version=\"3.7.1\"} 1\n",
        "etcd_cluster_version{cluster_version=\"3.7\"} 1\n",
        "etcd_debugging_mvcc_current_revision 1\n",
        "# TYPE process_resident_memory_bytes gauge\n",
    ] {
        assert!(metrics.contains(line), "{line} is missing:\n{metrics}");
    }
    node.stop().await;
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_work() {
    let node = node().await;
    for path in ["/version", "/health", "/livez", "/readyz", "/readyz/non_learner"] {
        for method in ["POST", "PUT", "DELETE", "HEAD"] {
            let (mut headers, mut body) = text("Method Not Allowed\n");
            headers.insert(0, ("allow".into(), "GET".into()));
            if method == "HEAD" {
                // Some layers cut the body of HEAD, hyper does in any case.
                body = ask(&node, method, path).await.2;
            }
            assert_eq!(ask(&node, method, path).await, (405, headers, body), "{method} {path}");
        }
    }
    for path in ["/version", "/nowhere"] {
        assert_eq!(ask(&node, "OPTIONS", path).await, (200, vec![], String::new()), "{path}");
    }
    assert_eq!(ask(&node, "DELETE", "/nowhere").await.0, 404);
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_has_stopped_is_not_healthy() {
    let node = node().await;
    node.stop().await;
    let (status, headers, body) = ask(&node, "GET", "/health").await;
    assert_eq!((status, headers), (503, text("").0));
    assert!(body.starts_with(r#"{"health":"false","reason":""#) && body.ends_with("\"}\n"), "{body}");
    let (status, _, body) = ask(&node, "GET", "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("[-]linearizable_read failed: ") && body.contains("[+]data_corruption ok\n"), "{body}");
    assert!(body.ends_with("\n\n"), "{body}");
}
