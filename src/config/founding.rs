//! Founding a cluster: the checks that only a new member needs, and the ids it gets.
//!
//! Ids are hashes of what all founding members are started with, so that they agree without having talked:
//!
//! ```text
//! member  = first 8 bytes of SHA-1(its peer URLs, sorted and joined | token)
//! cluster = first 8 bytes of SHA-1(the members' ids, sorted, 8 bytes each)
//! ```
//!
//! Numbers are big-endian. Source: etcd, `server/etcdserver/api/membership`.

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

use super::url::Url;
use super::{ClusterState, Config};
use crate::model::{ClusterId, MemberId};

/// What a new member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founding {
    /// The cluster that it founds.
    pub cluster: ClusterId,
    /// Itself.
    pub member: MemberId,
}

/// Why a new member cannot found its cluster. The first four texts are etcd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoundingError {
    /// A URL of the list cannot be read.
    #[error("error setting up initial cluster: {0}")]
    BadUrl(String),
    /// This member is not in the list.
    #[error("couldn't find local name {name:?} in the initial cluster configuration")]
    NotListed {
        /// This member.
        name: String,
    },
    /// Others would look for this member where it does not want to be.
    #[error("{has} has {missing} but missing from {other}")]
    Disagreement {
        /// The flag that has more.
        has: &'static str,
        /// What it has.
        missing: String,
        /// The flag that has less, with its value.
        other: String,
    },
    /// Two members at one place.
    #[error("initial cluster {cluster} has duplicate url")]
    DuplicateUrl {
        /// The list.
        cluster: String,
    },
    /// This version runs one member.
    #[error(
        "--initial-cluster names {members} members, and this version of Lodemark runs clusters of one: name only this \
         member in it"
    )]
    SeveralMembers {
        /// How many there are.
        members: usize,
    },
    /// This version cannot join.
    #[error(
        "--initial-cluster-state=existing joins a cluster, which this version of Lodemark cannot do yet; leave the flag \
         out to found one, or check --data-dir if this member is not new"
    )]
    CannotJoin,
}

impl Config {
    /// Checks the flags that found a cluster and gives its ids. Only for a data folder that is new: later these flags
    /// mean nothing, and the ids come from the folder.
    ///
    /// # Errors
    /// The first check that fails, etcd's in etcd's order.
    pub fn founding(&self) -> Result<Founding, FoundingError> {
        let members = parse(&self.initial_cluster).map_err(FoundingError::BadUrl)?;
        let Some(own) = members.get(&self.name) else {
            return Err(FoundingError::NotListed { name: self.name.clone() });
        };
        check_agreement(&self.name, own, &self.advertise_peer_urls)?;
        let distinct: BTreeSet<&str> = members.values().flatten().map(Url::as_str).collect();
        if distinct.len() < members.values().map(Vec::len).sum() {
            return Err(FoundingError::DuplicateUrl { cluster: join(&members) });
        }
        if self.initial_cluster_state == ClusterState::Existing {
            return Err(FoundingError::CannotJoin);
        }
        if members.len() > 1 {
            return Err(FoundingError::SeveralMembers { members: members.len() });
        }

        let mut ids: Vec<MemberId> =
            members.values().map(|urls| member_id(urls, &self.initial_cluster_token)).collect();
        ids.sort_unstable();
        let cluster = ids.iter().fold(Sha1::new(), |hash, id| hash.chain_update(id.0.to_be_bytes()));
        let member = member_id(own, &self.initial_cluster_token);
        Ok(Founding { cluster: ClusterId(first_eight(cluster)), member })
    }
}

/// Writes the list of a cluster that only `name` founds.
pub(super) fn cluster_of_one(name: &str, urls: &[Url]) -> String {
    urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
}

/// Reads `name=url,name=url`; a name may come several times. URLs are sorted.
fn parse(text: &str) -> Result<BTreeMap<String, Vec<Url>>, String> {
    let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, url) = part.split_once('=').unwrap_or((part, ""));
        members.entry(name.to_owned()).or_default().push(Url::parse(url)?);
    }
    for urls in members.values_mut() {
        urls.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    }
    Ok(members)
}

fn check_agreement(name: &str, listed: &[Url], advertised: &[Url]) -> Result<(), FoundingError> {
    const LISTED: &str = "--initial-cluster";
    const ADVERTISED: &str = "--initial-advertise-peer-urls";
    let without = |urls: &[Url], others: &[Url], prefix: &str| {
        let missing = urls.iter().filter(|url| !others.contains(url));
        missing.map(|url| format!("{prefix}{url}")).collect::<Vec<_>>().join(",")
    };
    let prefix = format!("{name}=");
    let missing = without(listed, advertised, &prefix);
    if !missing.is_empty() {
        let other = format!("{ADVERTISED}={}", without(advertised, &[], ""));
        return Err(FoundingError::Disagreement { has: LISTED, missing, other });
    }
    let missing = without(advertised, listed, "");
    if !missing.is_empty() {
        let other = format!("{LISTED}={}", without(listed, &[], &prefix));
        return Err(FoundingError::Disagreement { has: ADVERTISED, missing, other });
    }
    Ok(())
}

fn join(members: &BTreeMap<String, Vec<Url>>) -> String {
    members.iter().map(|(name, urls)| cluster_of_one(name, urls)).collect::<Vec<_>>().join(",")
}

fn member_id(sorted_urls: &[Url], token: &str) -> MemberId {
    let hash = sorted_urls.iter().fold(Sha1::new(), |hash, url| hash.chain_update(url.as_str()));
    MemberId(first_eight(hash.chain_update(token)))
}

fn first_eight(hash: Sha1) -> u64 {
    let digest: [u8; 20] = hash.finalize().into();
    u64::from_be_bytes(*digest.first_chunk().expect("a SHA-1 digest has 20 bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::Invocation;
    use super::*;

    fn founding(arguments: &[&str]) -> Result<Founding, FoundingError> {
        match Invocation::from_args(arguments.iter().map(std::ffi::OsString::from)).unwrap() {
            Invocation::Serve(config) => config.founding(),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    /// Expected ids are those that etcd 3.7.1 logged when it was started with the same flags.
    #[test]
    fn ids_are_those_that_etcd_gives() {
        for (arguments, member, cluster) in [
            (&[][..], 0x8e9e_05c5_2164_694d, 0xcdf8_1819_4e3a_8c32),
            (
                &[
                    "--initial-cluster=default=http://a.invalid:2380",
                    "--initial-advertise-peer-urls=http://a.invalid:2380",
                ],
                0xd2c2_3c8c_385f_85c6,
                0x6771_b606_2e4a_9173,
            ),
            (
                &[
                    "--initial-cluster=default=http://127.0.0.1:2381,default=http://127.0.0.1:2380",
                    "--initial-advertise-peer-urls=http://127.0.0.1:2380,http://127.0.0.1:2381",
                ],
                0x80e0_c9a4_47a0_659c,
                0x0fc3_a5f7_7660_399b,
            ),
        ] {
            let expected = Founding { cluster: ClusterId(cluster), member: MemberId(member) };
            assert_eq!(founding(arguments), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn flags_that_disagree_are_refused_in_the_words_of_etcd() {
        for (arguments, text) in [
            (
                &["--initial-advertise-peer-urls=http://127.0.0.1:2380"][..],
                "--initial-cluster has default=http://localhost:2380 but missing from \
                 --initial-advertise-peer-urls=http://127.0.0.1:2380",
            ),
            (
                &["--initial-advertise-peer-urls=http://localhost:2380,http://localhost:2381"],
                "--initial-advertise-peer-urls has http://localhost:2381 but missing from \
                 --initial-cluster=default=http://localhost:2380",
            ),
            (
                &["--initial-cluster=a=http://localhost:2380"],
                "couldn't find local name \"default\" in the initial cluster configuration",
            ),
            (&["--initial-cluster="], "couldn't find local name \"default\" in the initial cluster configuration"),
            (
                &["--initial-cluster=foo"],
                "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ",
            ),
            (
                &["--initial-cluster=default=http://localhost:2380,b=http://localhost:2380"],
                "initial cluster b=http://localhost:2380,default=http://localhost:2380 has duplicate url",
            ),
        ] {
            assert_eq!(founding(arguments).unwrap_err().to_string(), text, "{arguments:?}");
        }
    }

    #[test]
    fn several_members_and_joining_are_refused() {
        let error = founding(&["--initial-cluster=default=http://localhost:2380,b=http://localhost:2381"]).unwrap_err();
        assert_eq!(error, FoundingError::SeveralMembers { members: 2 });
        assert_eq!(founding(&["--initial-cluster-state=existing"]), Err(FoundingError::CannotJoin));
    }
}
