//! Clusters begin: all members at once, or one after the other.

use super::all_write_and_read;
use crate::harness::{Cluster, Program};

/// What a member says once it serves clients.
const READY: &str = "ready to serve client requests";

on_both_programs!(three_that_start_together_serve, five_that_start_together_serve, three_that_start_in_turn_serve);

async fn three_that_start_together_serve(program: &Program) {
    all_write_and_read(&Cluster::start(program, 3).await, "of three").await;
}

async fn five_that_start_together_serve(program: &Program) {
    all_write_and_read(&Cluster::start(program, 5).await, "of five").await;
}

/// The first waits for the second, for as long as that takes; the third comes to a cluster that serves.
async fn three_that_start_in_turn_serve(program: &Program) {
    let mut cluster = Cluster::planned(program, 3, &[]);
    cluster.launch(0);
    // Nobody votes for it, and it goes on asking.
    cluster.process(0).wait_for_line("starting local member", 0);
    cluster.launch(1);
    assert!(!cluster.process(0).lines().iter().any(|line| line.contains(READY)), "one of three is no quorum");
    for member in [0, 1] {
        cluster.wait_until_it_serves(member).await;
    }
    all_write_and_read(&cluster, "of two").await;
    cluster.restart(2).await;
    all_write_and_read(&cluster, "of three").await;
}
