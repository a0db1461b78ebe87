//! The versions that clients are told.

pub use crate::model::{ETCD_VERSION, STORAGE_VERSION};
