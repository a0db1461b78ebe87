//! Which leases there are, and their keys.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::model::LeaseId;

/// One lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Granted time to live in seconds.
    pub ttl: i64,
    /// Seconds left when that was last stored; zero if it never was.
    pub remaining: i64,
    /// The log entry that granted it, which tells it from another lease of the same id; zero if that is not known.
    pub granted_at: u64,
}

/// The leases and the keys attached to them.
#[derive(Debug, Default)]
pub struct Lessor {
    leases: BTreeMap<LeaseId, Attached>,
}

#[derive(Debug)]
struct Attached {
    lease: Lease,
    keys: BTreeSet<Box<[u8]>>,
}

impl Lessor {
    /// The lease, if there is one.
    #[must_use]
    pub fn get(&self, id: LeaseId) -> Option<Lease> {
        Some(self.leases.get(&id)?.lease)
    }

    /// Makes a lease; `false` if the id is taken, and then nothing changes.
    pub fn grant(&mut self, id: LeaseId, lease: Lease) -> bool {
        if self.leases.contains_key(&id) {
            return false;
        }
        self.leases.insert(id, Attached { lease, keys: BTreeSet::new() });
        true
    }

    /// Stores what is left of a lease, in seconds, zero for all of its time; gives the lease. `None` if there is no such
    /// lease.
    pub fn set_remaining(&mut self, id: LeaseId, remaining: i64) -> Option<Lease> {
        let lease = &mut self.leases.get_mut(&id)?.lease;
        lease.remaining = remaining;
        Some(*lease)
    }

    /// Ends a lease; gives the keys that were attached, in ascending order. `None` if there is no such lease.
    pub fn end(&mut self, id: LeaseId) -> Option<Vec<Bytes>> {
        let attached = self.leases.remove(&id)?;
        Some(attached.keys.into_iter().map(Bytes::from).collect())
    }

    /// Attaches a key. A lease that does not exist attaches nothing: a key may outlive its lease's record in a
    /// checkpoint of another origin.
    pub fn attach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(attached) = self.leases.get_mut(&id) {
            attached.keys.insert(key.into());
        }
    }

    /// Detaches a key, if it is attached.
    pub fn detach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(attached) = self.leases.get_mut(&id) {
            attached.keys.remove(key);
        }
    }

    /// The attached keys in ascending order; none if there is no such lease.
    #[must_use]
    pub fn keys(&self, id: LeaseId) -> Vec<Bytes> {
        self.each_key(id).map(Bytes::copy_from_slice).collect()
    }

    /// The same as [`Lessor::keys`], borrowed.
    pub fn each_key(&self, id: LeaseId) -> impl Iterator<Item = &[u8]> {
        self.leases.get(&id).into_iter().flat_map(|attached| attached.keys.iter().map(AsRef::as_ref))
    }

    /// All leases, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (LeaseId, Lease)> + '_ {
        self.leases.iter().map(|(&id, attached)| (id, attached.lease))
    }

    /// How many leases there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Lease = Lease { ttl: 10, remaining: 0, granted_at: 7 };

    #[test]
    fn keys_end_with_their_lease_in_order() {
        let mut lessor = Lessor::default();
        assert!(lessor.grant(LeaseId(1), LEASE));
        assert!(!lessor.grant(LeaseId(1), LEASE));
        for key in [b"c", b"a", b"b"] {
            lessor.attach(LeaseId(1), key);
        }
        lessor.detach(LeaseId(1), b"b");
        assert_eq!(lessor.keys(LeaseId(1)), [&b"a"[..], b"c"]);
        assert_eq!(lessor.end(LeaseId(1)).unwrap(), [&b"a"[..], b"c"]);
        assert_eq!(lessor.end(LeaseId(1)), None);
        assert!(lessor.is_empty());
    }

    #[test]
    fn a_lease_that_is_not_there_attaches_nothing() {
        let mut lessor = Lessor::default();
        lessor.attach(LeaseId(7), b"k");
        assert!(lessor.keys(LeaseId(7)).is_empty());
    }
}
