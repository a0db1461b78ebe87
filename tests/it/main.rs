//! The integration tests: one binary, since each one links everything again.

#![allow(clippy::unwrap_used, reason = "what helps a test may fail as the test itself may")]

mod crash;
mod decoders;
mod generate;
mod harness;
mod machine;
mod model;
mod process;
mod protoc_stand_in;
mod tidy;
mod wire;
