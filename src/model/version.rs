//! The versions that clients and tools are told: those of the etcd whose behaviour this is.

/// The version of etcd that this server answers like.
pub const ETCD_VERSION: &str = "3.7.1";
/// The version that the cluster has agreed on.
pub const CLUSTER_VERSION: &str = "3.7.0";
/// The version of the storage, as etcd would name it.
pub const STORAGE_VERSION: &str = "3.7.0";
