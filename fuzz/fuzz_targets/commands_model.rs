//! Any bytes as commands and more for the machine, beside the reference model.
#![no_main]

#[path = "../commands_model.rs"]
mod commands_model;
#[path = "../../tests/model/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod model;
#[path = "../../tests/model/pair.rs"]
mod pair;
#[path = "../steps.rs"]
mod steps;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    commands_model::commands_model(bytes);
});
