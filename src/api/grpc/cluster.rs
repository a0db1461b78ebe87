//! Cluster: who is in it.
