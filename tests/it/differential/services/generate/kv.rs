//! Keys, leases and watches.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::codec::base64;
use super::*;

/// Few enough that answers which are sorted by something else than the key have one order (`compare::STABLE_LEN_MAX`).
const KEYS: [&[u8]; 9] = [b"a", b"a/", b"a/1", b"a/2", b"a/3", b"b", b"b/1", b"b/2", b"c"];
const VALUES: [&[u8]; 5] = [b"", b"1", b"2", b"10", b"\xff\0"];
/// Ids of leases that the sequence chooses. Only these are attached to keys: the ids that servers choose would be in what
/// HashKV hashes.
pub(super) const LEASES: [i64; 5] = [1, 2, 3, -7, 0x7fff_ffff_ffff];
/// No lease ever has this id.
const UNKNOWN_LEASE: i64 = 404_404;
/// No lease expires within a run.
const TTLS: [i64; 3] = [36_000, 3_600_000, 9_000_000_000];

impl Generator {
    pub(super) fn kv_call(&mut self) -> Call {
        match self.below(330) {
            0..90 => {
                let range = self.range();
                self.call(&RANGE, range)
            }
            90..105 => {
                let mut range = self.range();
                // Without an order etcd sorts each chunk by itself, and may lose pairs (docs/compatibility.md).
                if range["sort_order"] == "NONE" {
                    range["sort_target"] = json!("KEY");
                }
                self.call(&RANGE_STREAM, range)
            }
            105..215 => {
                let put = self.put(true);
                self.call(&PUT, put)
            }
            215..245 => {
                let delete = self.delete_range();
                self.call(&DELETE_RANGE, delete)
            }
            245..320 => {
                let txn = self.txn();
                self.call(&TXN, txn)
            }
            _ => self.compact(),
        }
    }

    pub(super) fn lease_call(&mut self) -> Call {
        match self.below(10) {
            0..3 => {
                let ttl = if self.one_in(12) { self.pick(&[9_000_000_001, i64::MAX]) } else { self.pick(&TTLS) };
                let id = if self.one_in(6) { 0 } else { self.pick(&LEASES) };
                let request = if id == 0 { json!({"TTL": ttl}) } else { json!({"TTL": ttl, "ID": id}) };
                self.call(&GRANT, request)
            }
            3 => {
                let id = self.lease();
                self.call(&REVOKE, json!({"ID": id}))
            }
            4..7 => {
                let (id, keys) = (self.lease(), self.one_in(2));
                self.call(&TIME_TO_LIVE, json!({"ID": id, "keys": keys}))
            }
            7..9 => {
                let requests = (0..=self.below(2)).map(|_| json!({"ID": self.lease()})).collect();
                Call { requests, ..self.call(&KEEP_ALIVE, json!({})) }
            }
            _ => self.call(&LIST_LEASES, json!({})),
        }
    }

    pub(super) fn watch_call(&mut self) -> Call {
        let (key, range_end) = self.range_of_keys();
        let start = if self.one_in(3) { self.some_revision() } else { 0 };
        let watch_id = self.pick(&[0, 0, 1, -3]);
        let filters = if self.one_in(4) { json!(["NODELETE"]) } else { json!([]) };
        let create = json!({
            "key": base64(key), "range_end": base64(range_end), "start_revision": start, "watch_id": watch_id,
            "prev_kv": self.one_in(2), "fragment": self.one_in(4), "progress_notify": self.one_in(4),
            "filters": filters,
        });
        Call { until: Until::First, ..self.call(&WATCH, json!({"create_request": create})) }
    }

    pub(super) fn learn_of_keys(&mut self, call: &Call, before: i64) {
        if call.is(&TXN) && self.revision > before && call.request().to_string().contains("request_delete_range") {
            self.fragile.insert(self.revision);
        }
        if call.is(&COMPACT) {
            self.compacted = self.compacted.max(call.request()["revision"].as_i64().unwrap_or(0));
        }
    }

    fn key(&mut self) -> Bytes {
        if self.one_in(60) { Bytes::new() } else { Bytes::from_static(self.pick(&KEYS)) }
    }

    fn range_of_keys(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        let end = match self.below(10) {
            0..4 => Bytes::new(),
            4..8 => prefix_end(&key),
            8 => Bytes::from_static(b"\0"),
            _ => self.key(),
        };
        // Who may see a range that ends before it begins depends on a tree in etcd (docs/compatibility.md).
        let is_reversed = !end.is_empty() && end != b"\0"[..] && end <= key;
        let end = if is_reversed && self.auth_is_on { Bytes::new() } else { end };
        (key, end)
    }

    /// A lease of either kind; now and then none.
    fn lease(&mut self) -> Value {
        match self.below(12) {
            0 => json!(UNKNOWN_LEASE),
            1 => json!(0),
            2..4 if !self.named_leases.is_empty() => {
                let at = self.random.random_range(0..self.named_leases.len());
                json!(self.named_leases[at])
            }
            _ => json!(self.pick(&LEASES)),
        }
    }

    /// A revision to read at or to compact to; mostly one that can be read.
    fn some_revision(&mut self) -> i64 {
        let (first, last) = (self.compacted.max(1), self.revision.max(1));
        match self.below(20) {
            0 => self.compacted - 1,
            1 => self.compacted,
            2 => last + 1,
            3 => self.pick(&[-1, i64::MIN, i64::MAX]),
            _ => self.random.random_range(first.min(last)..=last),
        }
    }

    fn range(&mut self) -> Value {
        let (key, range_end) = self.range_of_keys();
        let mut range = json!({"key": base64(&key), "range_end": base64(&range_end)});
        if self.one_in(3) {
            range["revision"] = json!(self.some_revision());
        }
        if self.one_in(4) {
            range["limit"] = json!(self.pick(&[1, 2, 5, -1]));
        }
        if self.one_in(4) {
            range["sort_order"] = json!(self.pick(&["NONE", "ASCEND", "DESCEND"]));
            // From-key ranges have the keys of locks too, and then ties.
            let targets: &[&str] = match range_end.as_ref() {
                b"\0" => &["KEY"],
                _ => &["KEY", "VERSION", "CREATE", "MOD", "VALUE"],
            };
            range["sort_target"] = json!(self.pick(targets));
        }
        if self.one_in(60) {
            range["sort_order"] = json!(self.pick(&[3, -1]));
        }
        for flag in ["serializable", "keys_only", "count_only"] {
            range[flag] = json!(self.one_in(8));
        }
        if self.one_in(12) {
            range["min_mod_revision"] = json!(self.some_revision());
        }
        range
    }

    /// `may_ignore`: nothing deletes the key before.
    fn put(&mut self, may_ignore: bool) -> Value {
        let value = match self.below(300) {
            0 => vec![b'v'; 1_600_000].into(),
            1 => vec![b'v'; 2_200_000].into(),
            _ => Bytes::from_static(self.pick(&VALUES)),
        };
        let mut put = json!({"key": base64(self.key()), "value": base64(value), "prev_kv": self.one_in(3)});
        if self.one_in(3) {
            put["lease"] = if self.one_in(20) { json!(UNKNOWN_LEASE) } else { json!(self.pick(&LEASES)) };
        }
        if may_ignore && self.one_in(10) {
            let (ignored, given) = self.pick(&[("ignore_value", "value"), ("ignore_lease", "lease")]);
            put[ignored] = json!(true);
            if !self.one_in(4) {
                put.as_object_mut().expect("it was made so").remove(given);
            }
        }
        put
    }

    fn delete_range(&mut self) -> Value {
        let key = self.key();
        // From-key ranges would have the keys of locks, which the generator keeps account of.
        let range_end = if self.one_in(4) { prefix_end(&key) } else { Bytes::new() };
        json!({"key": base64(key), "range_end": base64(range_end), "prev_kv": self.one_in(3)})
    }

    fn txn(&mut self) -> Value {
        if self.one_in(60) {
            let op = json!({"request_range": {"key": "YQ=="}});
            return json!({"success": vec![op; 129]});
        }
        let (deletes, depth) = (self.one_in(3), self.below(3));
        self.txn_of(depth, deletes)
    }

    fn txn_of(&mut self, depth: u64, deletes: bool) -> Value {
        let compares: Vec<Value> = (0..self.below(3)).map(|_| self.compare()).collect();
        let only_reads = self.one_in(4);
        let ops = |generator: &mut Generator, len: u64| -> Vec<Value> {
            (0..len).map(|_| generator.op(depth, deletes, only_reads)).collect()
        };
        let (successes, failures) = (self.below(4), self.below(3));
        let (success, failure) = (ops(self, successes), ops(self, failures));
        json!({"compare": compares, "success": success, "failure": failure})
    }

    fn op(&mut self, depth: u64, deletes: bool, only_reads: bool) -> Value {
        match self.below(20) {
            _ if only_reads => json!({"request_range": self.range()}),
            0..5 => json!({"request_range": self.range()}),
            5..9 if deletes => json!({"request_delete_range": self.delete_range()}),
            9..13 if depth > 0 => json!({"request_txn": self.txn_of(depth - 1, deletes)}),
            13 if self.one_in(10) => json!({}),
            _ => json!({"request_put": self.put(!deletes)}),
        }
    }

    fn compare(&mut self) -> Value {
        let (key, range_end) = self.range_of_keys();
        let result = self.pick(&["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]);
        let (target, field, operand) = match self.below(5) {
            0 => ("VERSION", "version", json!(self.pick(&[0, 1, 2]))),
            1 => ("CREATE", "create_revision", json!(self.pick(&[0, self.revision]))),
            2 => ("MOD", "mod_revision", json!(self.pick(&[0, self.revision]))),
            3 => ("VALUE", "value", base64(self.pick(&VALUES))),
            _ => ("LEASE", "lease", json!(self.pick(&[0, 1, 2]))),
        };
        let range_end = if self.one_in(4) { range_end } else { Bytes::new() };
        let mut compare =
            json!({"result": result, "target": target, "key": base64(key), "range_end": base64(range_end)});
        compare[field] = operand;
        compare
    }

    fn compact(&mut self) -> Call {
        let revision = if self.one_in(2) { self.some_revision() } else { self.revision - 20 };
        if self.fragile.contains(&revision) {
            let range = self.range();
            return self.call(&RANGE, range);
        }
        let physical = !self.one_in(8);
        self.call(&COMPACT, json!({"revision": revision, "physical": physical}))
    }
}
