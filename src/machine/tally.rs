//! How much was done to keys, as etcd counts it.
//!
//! Source: etcd, `server/storage/mvcc/metrics_txn.go` for what counts, `server/etcdserver/txn` for what is asked.

/// What was done, one request after another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Puts.
    pub puts: u64,
    /// Deletions: each of a range, whatever was in it.
    pub deletes: u64,
    /// Ranges: those that were asked for, conditions of txns, and looks at what was there before a change.
    pub ranges: u64,
    /// Steps that were more than one of these.
    pub txns: u64,
    /// Bytes of keys and values that were put.
    pub put_bytes: u64,
}

/// One step of a request: looks at one state, or changes it once.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) puts: u64,
    pub(super) deletes: u64,
    pub(super) ranges: u64,
    pub(super) put_bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, Step { puts, deletes, ranges, put_bytes }: Step) {
        self.puts += puts;
        self.deletes += deletes;
        self.ranges += ranges;
        self.put_bytes += put_bytes;
        self.txns += u64::from(puts + deletes + ranges > 1);
    }
}
