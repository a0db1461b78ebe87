//! The integration tests: one binary, since each one links everything again.

#![allow(clippy::unwrap_used, reason = "what helps a test may fail as the test itself may")]

mod crash;
mod decoders;
mod differential;
mod etcd_client;
mod etcdctl;
mod generate;
mod harness;
mod kill;
mod ledger;
mod machine;
mod model;
mod powercut;
mod process;
mod protoc_stand_in;
mod reference;
mod strace;
mod tidy;
mod wire;
