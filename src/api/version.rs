//! The versions that clients are told.

pub use crate::model::{CLUSTER_VERSION, ETCD_VERSION, STORAGE_VERSION};
