//! The integration tests: one binary, since each one links everything again.

#![allow(clippy::unwrap_used, reason = "what helps a test may fail as the test itself may")]

mod auth;
mod auth_calls;
mod auto_compaction;
mod calls;
mod client_tls;
mod clients;
mod cluster;
mod commands;
mod compatibility;
mod completion;
mod configuration;
mod contrib;
mod crash;
mod damage;
mod decoders;
mod differential;
mod discovery;
mod downgrade;
mod etcd_client;
mod etcdctl;
mod examples;
mod full_disk;
mod gateway;
mod generate;
#[path = "../harness/mod.rs"]
mod harness;
mod keepalive;
mod kill;
mod ledger;
mod life_cycle;
mod limits;
mod listeners;
mod logs;
mod machine;
mod memory;
mod memory_budget;
mod metrics;
#[path = "../model/mod.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod model;
mod operators;
#[path = "../model/pair.rs"]
mod pair;
mod peer_tls;
mod powercut;
mod process;
mod protoc_stand_in;
mod range_stream;
mod readme;
mod reference;
mod slow_readers;
mod snapshot;
mod srv_records;
#[path = "../../fuzz/steps.rs"]
mod steps;
mod strace;
mod tidy;
mod tls;
mod wall_clock;
mod wire;
