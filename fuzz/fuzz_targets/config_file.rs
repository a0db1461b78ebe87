//! Any bytes as a configuration file.
#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each target is one of them")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    bodies::config_file(bytes);
});
