//! Any bytes as the pages of one.
#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each target is one of them")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    bodies::etcd_pages(bytes);
});
