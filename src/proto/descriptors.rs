//! What etcd's messages, fields and calls are called, for a front that speaks of them by name: JSON.
//!
//! `build.rs` writes the descriptors of `proto/etcd` down before it makes Rust of them, with the names of the contract.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/etcd_descriptors.bin"));

/// All of etcd's messages and services.
pub fn descriptors() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(BYTES).expect("the descriptors that the build wrote can be read"));
    &POOL
}
