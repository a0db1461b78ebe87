//! The versions that clients and tools are told: those of the etcd whose behaviour this is.

use std::fmt;

/// The version of etcd that this server answers like.
pub const ETCD_VERSION: &str = "3.7.1";
/// The newest version that a cluster of this server agrees on.
pub const CLUSTER_VERSION: ClusterVersion = ClusterVersion { major: 3, minor: 7 };
/// The version of the storage, as etcd would name it.
pub const STORAGE_VERSION: &str = "3.7.0";

/// The version that all members of a cluster speak: as much of it as tells whether they understand each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterVersion {
    /// The first number.
    pub major: u64,
    /// The second.
    pub minor: u64,
}

impl ClusterVersion {
    /// Reads `MAJOR.MINOR`, or a whole semantic version, of which the rest is left out.
    ///
    /// Source: etcd, `server/etcdserver/version`, `convertToClusterVersion`.
    #[must_use]
    pub fn parse(text: &str) -> Option<ClusterVersion> {
        let (text, metadata) = cut(text, '+');
        let (numbers, before_release) = cut(text, '-');
        let are_identifiers = [metadata, before_release].into_iter().flatten().all(is_identifiers);
        let mut numbers = numbers.split('.').map(number);
        let (major, minor) = (numbers.next()??, numbers.next()??);
        let is_whole = match numbers.next() {
            None => metadata.is_none() && before_release.is_none(),
            Some(patch) => patch.is_some() && numbers.next().is_none(),
        };
        (is_whole && are_identifiers).then_some(ClusterVersion { major, minor })
    }

    /// The one before it of the same major version.
    #[must_use]
    pub fn before(self) -> Option<ClusterVersion> {
        Some(ClusterVersion { minor: self.minor.checked_sub(1)?, ..self })
    }

    /// `MAJOR.MINOR`.
    #[must_use]
    pub fn major_minor(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.major, self.minor)
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Go reads a number with 63 bits, and takes zeros before it.
fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && i64::try_from(*number).is_ok())
}

/// Nothing, or words between dots.
fn is_identifiers(text: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    text.is_empty() || text.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_etcd_reads_them() {
        let (major, minor) = (3, 6);
        for text in ["3.6", "3.6.0", "3.6.5", "03.006", "3.6.0-alpha", "3.6.0-rc.1+git.x-y", "3.6.0+", "3.6.0-"] {
            assert_eq!(ClusterVersion::parse(text), Some(ClusterVersion { major, minor }), "{text}");
        }
        let no_versions =
            ["", "3", "3.", ".6", "v3.6", "3.6.", "3.6.x", "3.6.0.1", "3.6-rc", "3.6+x", "3.6.0-a..b", "3.6.0-é"];
        for text in no_versions.into_iter().chain(["+3.6.0", "-3.6.0", "3.9223372036854775808", "3 .6", "3.6 "]) {
            assert_eq!(ClusterVersion::parse(text), None, "{text}");
        }
        assert_eq!(CLUSTER_VERSION.before().unwrap().to_string(), "3.6.0");
        assert_eq!(CLUSTER_VERSION.major_minor(), "3.7");
        assert_eq!(ClusterVersion { major: 4, minor: 0 }.before(), None);
    }
}
