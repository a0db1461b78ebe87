//! Who has registered in the service, in which order, and whom that makes the founders.
//!
//! ```text
//! /_etcd/registry/<token>/_config/size          3
//! /_etcd/registry/<token>/members/<member id>   m1=http://10.0.0.1:2380     created at revision 12
//! /_etcd/registry/<token>/members/<member id>   m2=http://10.0.0.2:2380     created at revision 11: comes before
//! ```
//!
//! The first so many by the revision that created their keys found the cluster; whoever comes later is one too many. The
//! order is the same for all of them, for it is that of the service.
//!
//! Source: etcd, `server/etcdserver/api/v3discovery`.

use std::collections::BTreeSet;

/// What the keys of all clusters begin with.
const ROOT: &str = "/_etcd/registry";
/// A cluster of more members is none.
const SIZE_MAX: usize = 10_000;

/// The keys of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    /// Says how many found it.
    pub(super) size: String,
    /// What those of members begin with; not with a `/` at its end, as in etcd.
    pub(super) members: String,
}

impl Keys {
    /// Those of the cluster with that token.
    pub(super) fn of(token: &str) -> Keys {
        Keys { size: joined(&[ROOT, token, "_config/size"]), members: joined(&[ROOT, token, "members"]) }
    }

    /// That of a member, by its id.
    pub(super) fn member(&self, id: &str) -> String {
        joined(&[&self.members, id])
    }
}

/// A path from the root, in which dots and empty parts count as in a file system. Source: Go, `path.Join`.
fn joined(parts: &[&str]) -> String {
    let mut path: Vec<&str> = Vec::new();
    for part in parts.iter().flat_map(|part| part.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    format!("/{}", path.join("/"))
}

/// Reads how many found the cluster; `None` if the value says nothing that can be. Source: Go, `strconv.ParseInt`.
pub(super) fn size(value: &[u8]) -> Option<usize> {
    // Rust reads a sign and digits, as Go does.
    let size: usize = std::str::from_utf8(value).ok()?.parse().ok()?;
    (1..=SIZE_MAX).contains(&size).then_some(size)
}

/// A key that is no registration. The texts are etcd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Oddity {
    /// It is another's.
    #[error("invalid peer registry key")]
    Key,
    /// It names no member: it is something else, or was deleted.
    #[error("invalid peer info returned from discovery service")]
    Value,
    /// It is known already.
    #[error("found duplicate peer from discovery service")]
    Duplicate,
}

/// Who has registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Registrations {
    /// By the revisions that created them.
    members: Vec<Registration>,
    keys: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Registration {
    key: String,
    /// `name=url,name=url`, unchecked.
    listed: String,
    created: i64,
}

impl Registrations {
    /// Enters what was read or seen.
    ///
    /// # Errors
    /// [`Oddity`]; nothing is entered.
    pub(super) fn enter(&mut self, keys: &Keys, key: &str, value: &str, created: i64) -> Result<(), Oddity> {
        if !key.starts_with(&keys.members) {
            return Err(Oddity::Key);
        }
        if !value.contains('=') {
            return Err(Oddity::Value);
        }
        if !self.keys.insert(key.to_owned()) {
            return Err(Oddity::Duplicate);
        }
        let place = self.members.partition_point(|member| member.created <= created);
        self.members.insert(place, Registration { key: key.to_owned(), listed: value.to_owned(), created });
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells whether `size` others are there before the one with that key.
    pub(super) fn are_full_without(&self, own_key: &str, size: usize) -> bool {
        self.len() >= size && !self.members[..size].iter().any(|member| member.key == own_key)
    }

    /// The first `size`, as `--initial-cluster` would have them.
    pub(super) fn initial_cluster(&self, size: usize) -> String {
        let listed: Vec<&str> = self.members.iter().take(size).map(|member| member.listed.as_str()).collect();
        listed.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths() {
        for (token, size, members) in [
            ("t", "/_etcd/registry/t/_config/size", "/_etcd/registry/t/members"),
            ("a/b/", "/_etcd/registry/a/b/_config/size", "/_etcd/registry/a/b/members"),
            ("../x", "/_etcd/x/_config/size", "/_etcd/x/members"),
            ("a//./b/../..", "/_etcd/registry/_config/size", "/_etcd/registry/members"),
            ("../../../..", "/_config/size", "/members"),
        ] {
            assert_eq!(Keys::of(token), Keys { size: size.to_owned(), members: members.to_owned() }, "{token}");
        }
        assert_eq!(Keys::of("t").member("8e9e"), "/_etcd/registry/t/members/8e9e");
    }

    /// What etcd 3.7.1 takes and refuses; a size that nobody could mean is refused by us alone.
    #[test]
    fn sizes_are_read_as_go_reads_numbers() {
        for (value, read) in [
            ("3", Some(3)),
            ("+3", Some(3)),
            ("03", Some(3)),
            ("0", None),
            ("-3", None),
            ("", None),
            (" 3", None),
            ("3\n", None),
            ("0x3", None),
            ("1_0", None),
            ("3.0", None),
            ("three", None),
            ("99999999999999999999", None),
            ("10001", None),
        ] {
            assert_eq!(size(value.as_bytes()), read, "{value:?}");
        }
        assert_eq!(size(b"\xff"), None);
    }

    #[test]
    fn members_come_in_the_order_in_which_they_registered() {
        let (keys, mut found) = (Keys::of("t"), Registrations::default());
        for (id, value, created, outcome) in [
            ("b", "b=http://b:1", 9, Ok(())),
            ("a", "a=http://a:1,a=http://a:2", 11, Ok(())),
            ("c", "c=http://c:1", 4, Ok(())),
            ("b", "b=http://other:1", 12, Err(Oddity::Duplicate)),
            ("d", "d", 3, Err(Oddity::Value)),
            ("d", "", 3, Err(Oddity::Value)),
        ] {
            assert_eq!(found.enter(&keys, &keys.member(id), value, created), outcome, "{id}");
        }
        assert_eq!(found.enter(&keys, "/_etcd/registry/t/other", "x=y", 1), Err(Oddity::Key));
        assert_eq!(found.len(), 3);
        assert_eq!(found.initial_cluster(3), "c=http://c:1,b=http://b:1,a=http://a:1,a=http://a:2");
        assert_eq!(found.initial_cluster(2), "c=http://c:1,b=http://b:1");
    }

    #[test]
    fn whoever_comes_too_late_finds_a_full_cluster() {
        let (keys, mut found) = (Keys::of("t"), Registrations::default());
        assert!(!found.are_full_without(&keys.member("a"), 1));
        for (id, created) in [("a", 1), ("b", 2), ("c", 3)] {
            found.enter(&keys, &keys.member(id), "x=y", created).unwrap();
        }
        for (id, size, is_full) in [
            ("a", 1, false),
            ("b", 1, true),
            ("b", 2, false),
            ("c", 2, true),
            ("c", 3, false),
            ("d", 3, true),
            ("d", 4, false),
        ] {
            assert_eq!(found.are_full_without(&keys.member(id), size), is_full, "{id} of {size}");
        }
    }
}
