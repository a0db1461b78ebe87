//! A lease as etcd stores it. Source: etcd, `server/lease/leasepb/lease.proto`.

use prost::Message;

/// A lease as etcd stores it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StoredLease {
    /// Its id.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Its granted time to live in seconds.
    #[prost(int64, tag = "2")]
    pub ttl: i64,
    /// What was left of it when that was last stored, in seconds; zero if never.
    #[prost(int64, tag = "3")]
    pub remaining: i64,
}

impl StoredLease {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads one; `None` if the bytes are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<StoredLease> {
        StoredLease::decode(bytes).ok()
    }
}
