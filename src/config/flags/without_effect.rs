//! Flags that are taken for etcd's sake and change nothing, and what is said when one is given.

use std::collections::BTreeSet;

use super::{Kind, all};

/// What is said of each. Those that are ignored as etcd ignores them (`Kind::Ignored`) are not here.
const WARNINGS: &[(&str, &str)] = &[
    ("max-snapshots", "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8."),
    (
        "v2-deprecation",
        "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input.",
    ),
    ("max-wals", "--max-wals has no effect: segments of the log go when nothing needs them"),
    (
        "backend-batch-interval",
        "--backend-batch-interval has no effect: what is acknowledged is in the log, whenever tables are written",
    ),
    (
        "backend-batch-limit",
        "--backend-batch-limit has no effect: what is acknowledged is in the log, whenever tables are written",
    ),
    ("backend-bbolt-freelist-type", "--backend-bbolt-freelist-type has no effect: there is no bbolt here"),
    ("raft-read-timeout", "--raft-read-timeout has no effect: how long members wait follows from --election-timeout"),
    ("raft-write-timeout", "--raft-write-timeout has no effect: how long members wait follows from --election-timeout"),
    (
        "downgrade-check-time",
        "--downgrade-check-time has no effect: a downgrade ends when all members run the earlier version, and no member of \
         Lodemark does; etcdctl downgrade cancel ends it",
    ),
];

/// What is to be said of the flags that were given.
pub(in crate::config) fn advice(given: &BTreeSet<&'static str>) -> impl Iterator<Item = String> {
    let warnings = WARNINGS.iter().filter(|(name, _)| given.contains(name)).map(|(_, text)| (*text).to_owned());
    let ignored = all().filter(|flag| matches!(flag.kind, Kind::Ignored) && given.contains(flag.name));
    warnings.chain(ignored.map(|flag| format!("--{} has no effect: etcd has given it up", flag.name)))
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    #[test]
    fn what_is_warned_of_is_a_flag() {
        assert!(WARNINGS.iter().all(|(name, text)| find(name).is_some() && text.starts_with(&format!("--{name} "))));
    }

    #[test]
    fn each_is_warned_of_once() {
        let said: Vec<String> = advice(&BTreeSet::from(["name", "max-wals", "vv"])).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[1].starts_with("--vv "), "{said:?}");
    }
}
