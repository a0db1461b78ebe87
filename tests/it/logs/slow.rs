//! Requests that took long are told of, with what they asked for and where their time went.

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, Txn, TxnOp};

use super::Line;
use crate::harness::{Member, Program, Site};

const SECRET: &str = "what-nobody-may-read";

/// The same calls, in order.
async fn call(member: &Member) {
    let mut client = member.client().await;
    client.put("k1", SECRET, None).await.unwrap();
    client.put("k2", SECRET, None).await.unwrap();
    client.get("k", Some(GetOptions::new().with_prefix())).await.unwrap();
    let compare = vec![Compare::version("k1", CompareOp::Greater, 0), Compare::value("k2", CompareOp::Equal, SECRET)];
    let then = vec![TxnOp::put("k3", SECRET, None), TxnOp::get("k1", None)];
    client.txn(Txn::new().when(compare).and_then(then).or_else(vec![TxnOp::delete("k1", None)])).await.unwrap();
    client.delete("k", Some(DeleteOptions::new().with_prefix())).await.unwrap();
    client.lease_grant(60, None).await.unwrap();
    client.user_list().await.unwrap();
    client.put("none", "", Some(etcd_client::PutOptions::new().with_lease(99))).await.unwrap_err();
}

/// What a line says of a request: all but times, and who asked.
fn said(line: &Line) -> String {
    let fields = ["level", "response type", "request count", "request size", "response count", "response size"];
    let numbers: Vec<String> = fields.iter().map(|field| line.field(field).to_string()).collect();
    // Go chooses at random, when it is built, whether there are one or two blanks between fields.
    let content = line.text("request content").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{} {content}", numbers.join(" "))
}

/// What a program says of all of it at a site, where it leaves nothing behind.
async fn stats(program: &Program, site: &Site) -> Vec<String> {
    let mut member = Member::start(program, site.clone()).await;
    call(&member).await;
    member.process().terminate();
    member.process().wait();
    let lines = Line::read_all(&member.process().lines());
    std::fs::remove_dir_all(site.data_dir()).unwrap();
    let stats: Vec<&Line> = lines.iter().filter(|line| line.message() == "request stats").collect();
    let first = stats.iter().position(|line| line.text("request content").contains("k1")).unwrap();
    stats[first..].iter().map(|line| said(line)).collect()
}

/// At level debug every unary request is told of, as a real etcd tells of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_told_of_like_etcd() {
    let Some(etcd) = Program::etcd() else { return };
    let temp = tempfile::tempdir().unwrap();
    let flags = ["--log-level=debug", "--warning-unary-request-duration=1h"].map(str::to_owned);
    // One after the other at the same ports: ids are a part of each answer, and of its length.
    let site = Site::new(temp.path()).with_flags(flags);
    let (theirs, ours) = (stats(&etcd, &site).await, stats(&Program::lodemark(), &site).await);
    // etcd writes text of protobuf in two ways.
    let plain = |text: &String| text.replace('}', ">").replace('{', "<").replace(" >", ">");
    let (ours, theirs): (Vec<String>, Vec<String>) =
        (ours.iter().map(plain).collect(), theirs.iter().map(plain).collect());
    assert_eq!(ours, theirs);
}

/// A slow request is a warning, whatever the level; where a write spent its time is told as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_are_warnings_with_a_breakdown() {
    let temp = tempfile::tempdir().unwrap();
    let flags = ["--warning-unary-request-duration=1ns", "--warning-apply-duration=1ns"].map(str::to_owned);
    let mut member = Member::start(&Program::lodemark(), Site::new(temp.path()).with_flags(flags)).await;
    call(&member).await;
    // An answer that is long is read again as it is sent.
    let mut client = member.client().await;
    for key in ["long/1", "long/2", "long/3", "long/4"] {
        client.put(key, vec![b'v'; 200_000], None).await.unwrap();
    }
    client.get("long/", Some(GetOptions::new().with_prefix())).await.unwrap();
    member.process().terminate();
    member.process().wait();
    let texts = member.process().lines();
    assert!(texts.iter().all(|line| !line.contains(SECRET)), "{texts:#?}");
    let lines = Line::read_all(&texts);
    let of = |message: &str| -> Vec<&Line> { lines.iter().filter(|line| line.message().contains(message)).collect() };

    let stats = of("request stats");
    assert!(stats.len() > 5 && stats.iter().all(|line| line.text("level") == "warn"), "{stats:#?}");
    let applied = of("apply request took too long");
    let requests: Vec<&str> = applied.iter().map(|line| line.text("request")).collect();
    for expected in [
        r#"put:<key:"k1" value_size:20 >"#,
        r#"key:"long/" range_end:"long0""#,
        r#"delete_range:{key:"k" range_end:"l"}"#,
        "lease_grant:{TTL:60 ID:",
    ] {
        assert!(requests.iter().any(|request| request.starts_with(expected)), "{expected}: {requests:#?}");
    }
    let read = applied.iter().find(|line| line.text("prefix") == "read-only range ").unwrap();
    assert!(read.text("response").starts_with("range_response_count:"), "{read:?}");
    let refused = applied.iter().find(|line| line.text("request").contains("none")).unwrap();
    assert_eq!(refused.text("error"), "requested lease not found");
    assert_eq!(refused.text("expected-duration"), "1ns");

    let traces = of("] process raft request");
    let put = traces.iter().find(|line| line.text("detail").contains(r#"put:<key:"k1""#)).unwrap();
    let steps: Vec<&str> = put.field("steps").as_array().unwrap().iter().filter_map(|step| step.as_str()).collect();
    for (step, what) in steps.iter().zip(["wait for its turn", "write it to the log", "agree on it", "apply it"]) {
        assert!(step.starts_with("trace[") && step.contains(what) && step.contains("(duration: "), "{steps:?}");
    }
    assert_eq!((steps.len(), put.field("step_count").as_u64()), (4, Some(4)));
}
