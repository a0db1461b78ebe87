//! What a user may do: the permissions of all of its roles together.

use bytes::Bytes;

use super::Access;
use crate::model::{Permission, PermissionKind};

/// The union of permissions.
#[derive(Debug, Default)]
pub(super) struct Permitted {
    read: Spans,
    write: Spans,
}

/// Intervals of keys: ascending, and with keys between any two, so that a range that is covered is within one.
#[derive(Debug, Default)]
struct Spans(Vec<Span>);

/// The keys from one, inclusive, to another, exclusive; without an end all keys from the first on.
#[derive(Debug)]
struct Span {
    start: Bytes,
    end: Option<Bytes>,
}

impl Permitted {
    pub(super) fn union<'p>(permissions: impl Iterator<Item = &'p Permission> + Clone) -> Permitted {
        let of = |kinds: [PermissionKind; 2]| {
            Spans::union(
                permissions.clone().filter(|permission| kinds.contains(&permission.kind)).map(Span::of).collect(),
            )
        };
        Permitted {
            read: of([PermissionKind::Read, PermissionKind::ReadWrite]),
            write: of([PermissionKind::Write, PermissionKind::ReadWrite]),
        }
    }

    /// Whether a range, given as clients give it, is covered whole. One that ends before it begins is covered if its first
    /// key is.
    pub(super) fn covers(&self, access: Access, key: &[u8], range_end: &[u8]) -> bool {
        let spans = match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        };
        spans.cover(key, range_end)
    }
}

impl Spans {
    fn union(mut spans: Vec<Span>) -> Spans {
        spans.sort_by(|a, b| a.start.cmp(&b.start));
        let mut union: Vec<Span> = Vec::new();
        for span in spans {
            match union.last_mut() {
                Some(last) if last.reaches(&span.start) => last.extend_to(span.end),
                _ => union.push(span),
            }
        }
        Spans(union)
    }

    fn cover(&self, key: &[u8], range_end: &[u8]) -> bool {
        let begun = self.0.partition_point(|span| span.start <= key);
        let Some(span) = begun.checked_sub(1).and_then(|last| self.0.get(last)) else { return false };
        let Some(end) = &span.end else { return true };
        key < end
            && match range_end {
                [] => true,
                [0] => false,
                range_end => range_end <= end,
            }
    }
}

impl Span {
    fn of(permission: &Permission) -> Span {
        let start = permission.key.clone();
        let end = match permission.range_end.as_ref() {
            [] => Some([&start, &[0][..]].concat().into()),
            [0] => None,
            _ => Some(permission.range_end.clone()),
        };
        Span { start, end }
    }

    /// Whether there is no key between this span and one that starts at or behind this one's start.
    fn reaches(&self, start: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| end >= start)
    }

    fn extend_to(&mut self, end: Option<Bytes>) {
        match (&self.end, &end) {
            (Some(own), Some(other)) if own >= other => {}
            (None, _) => {}
            _ => self.end = end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(ranges: &[(&'static str, &'static str)]) -> Permitted {
        let permissions: Vec<Permission> = ranges
            .iter()
            .map(|(key, end)| Permission { kind: PermissionKind::Read, key: (*key).into(), range_end: (*end).into() })
            .collect();
        Permitted::union(permissions.iter())
    }

    fn covers(permitted: &Permitted, key: &str, range_end: &str) -> bool {
        permitted.covers(Access::Read, key.as_bytes(), range_end.as_bytes())
    }

    #[test]
    fn neighbours_join() {
        let permitted = permitted(&[("c", "e"), ("a", "c"), ("e", ""), ("e\0", "g"), ("x", "\0")]);
        assert!(covers(&permitted, "a", "g") && covers(&permitted, "b", "e\0") && covers(&permitted, "y", "\0"));
        assert!(!covers(&permitted, "a", "g\0") && !covers(&permitted, "f", "y") && !covers(&permitted, "a", "\0"));
        assert!(!permitted.covers(Access::Write, b"b", b""));
    }

    #[test]
    fn one_key_is_the_range_to_the_next_possible_one() {
        let permitted = permitted(&[("k", "")]);
        assert!(covers(&permitted, "k", "") && covers(&permitted, "k", "k\0"));
        assert!(!covers(&permitted, "k\0", "") && !covers(&permitted, "k", "k\0\0") && !covers(&permitted, "k", "\0"));
    }

    #[test]
    fn a_range_without_keys_needs_its_first() {
        let permitted = permitted(&[("c", "e")]);
        assert!(covers(&permitted, "d", "a") && covers(&permitted, "d", "d"));
        assert!(!covers(&permitted, "e", "d") && !covers(&permitted, "b", "a"));
    }

    #[test]
    fn what_has_no_end_swallows_what_follows() {
        let permitted = permitted(&[("a", "\0"), ("b", "c")]);
        assert!(covers(&permitted, "b", "\0") && !covers(&permitted, "", "\0"));
    }
}
