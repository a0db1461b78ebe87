//! Members that have lost their data: refused as what they were, and replaced by new ones.
//!
//! `LODEMARK_REPLACEMENTS=20` for the long run.

use super::load::Load;
use crate::harness::{Cluster, Program, number};

/// By default.
const REPLACEMENTS: u64 = 2;
/// Writes between two replacements.
const SOME_WRITES: usize = 50;

on_both_programs!(emptied_members_are_replaced_while_writes_go_on);

/// One member after the other loses its data, is removed and another is added. Nothing that was acknowledged is lost, though
/// in the end nobody is left who was there in the beginning.
async fn emptied_members_are_replaced_while_writes_go_on(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    cluster.client(0).await.put("first", "kept", None).await.unwrap();
    for _ in 0..number("LODEMARK_REPLACEMENTS", REPLACEMENTS) {
        // The oldest: also when it leads.
        let members = cluster.running();
        let (lost, through) = (members[0], members[1]);
        let id = cluster.view(lost).await.unwrap().id;
        cluster.kill(lost);
        cluster.empty(lost);
        cluster.wait_until_it_serves(through).await;
        let load = Load::start(members[1..].iter().map(|&member| cluster.endpoint(member)).collect());

        cluster.remove(through, id).await;
        let (added, _) = cluster.add(through, false).await;
        cluster.restart(added).await;
        load.acknowledges(SOME_WRITES).await;
        let written = load.end().await;
        assert_eq!(written.failures, Vec::<String>::new());
        let found = cluster.client(added).await.get("first", None).await.unwrap();
        assert_eq!(found.kvs()[0].value(), b"kept");
    }
}

/// It has forgotten whom it voted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_member_is_refused_as_what_it_was() {
    let mut cluster = Cluster::start(&Program::lodemark(), 3).await;
    cluster.kill(2);
    for (state, text) in
        [("new", "has already been bootstrapped"), ("existing", "was started before, but --data-dir is empty")]
    {
        cluster.empty(2);
        cluster.launch_with(2, &[&format!("--initial-cluster-state={state}")]);
        cluster.process(2).wait_for_line(text, 0);
        assert_eq!(cluster.ended(2).code(), Some(1));
    }
    super::all_write_and_read(&cluster, "of two").await;
}
