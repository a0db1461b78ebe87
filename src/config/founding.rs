//! Founding a cluster: the checks that only a founding member needs, and the ids that all get.
//!
//! Ids are hashes of what all founding members are started with, so that they agree without having talked:
//!
//! ```text
//! member  = first 8 bytes of SHA-1(its peer URLs, sorted and joined | token)
//! cluster = first 8 bytes of SHA-1(the members' ids, sorted, 8 bytes each)
//! ```
//!
//! Numbers are big-endian. Source: etcd, `server/etcdserver/api/membership`.

use sha1::{Digest, Sha1};

use super::Config;
use super::initial_cluster::{Addresses, InitialCluster, is_same_place};
use super::url::Url;
use crate::model::{ClusterId, Member, MemberId};

/// The cluster that a new member founds, alone or with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The cluster.
    pub cluster: ClusterId,
    /// This member.
    pub member: MemberId,
    /// All founding members, this one too, by id: the same list on each of them. They have names, and no client URLs yet.
    pub members: Vec<Member>,
}

/// Why a new member cannot found or join a cluster, as far as its flags tell. The texts are etcd's.
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
    /// Two members whose URLs, written one after the other, are the same text.
    #[error("member exists with identical ID {id}; change the URLs of one of them")]
    DuplicateId {
        /// The id.
        id: MemberId,
    },
}

impl Config {
    /// Checks the flags that found a cluster and gives its members and ids. Only for a data folder that is new: later these
    /// flags mean nothing, and the ids come from the folder.
    ///
    /// # Errors
    /// The first check that fails, in etcd's order. With more `addresses` a [`FoundingError::Disagreement`] may go away.
    pub fn founding(&self, addresses: &Addresses) -> Result<Founding, FoundingError> {
        let cluster = self.listed_cluster()?;
        let own = cluster.urls_of(&self.name).unwrap_or_default();
        check_agreement(&self.name, own, &self.advertise_peer_urls, addresses)?;
        if cluster.has_duplicate_url() {
            return Err(FoundingError::DuplicateUrl { cluster: cluster.to_string() });
        }

        let mut members: Vec<Member> = cluster
            .members()
            .map(|(name, urls)| Member {
                id: member_id(urls, &self.initial_cluster_token),
                name: name.to_owned(),
                peer_urls: urls.iter().map(Url::to_string).collect(),
                client_urls: Vec::new(),
                is_learner: false,
            })
            .collect();
        members.sort_unstable_by_key(|member| member.id);
        if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(FoundingError::DuplicateId { id: pair[0].id });
        }
        let member = member_id(own, &self.initial_cluster_token);
        Ok(Founding { cluster: cluster_id(&members), member, members })
    }

    /// The URLs that [`Config::founding`] compares.
    #[must_use]
    pub fn compared_urls(&self) -> Vec<Url> {
        let listed = self.listed_cluster().unwrap_or_default();
        listed.urls_of(&self.name).unwrap_or_default().iter().chain(&self.advertise_peer_urls).cloned().collect()
    }

    /// The list of members, which this member is in.
    pub(super) fn listed_cluster(&self) -> Result<InitialCluster, FoundingError> {
        let cluster = InitialCluster::parse(&self.initial_cluster).map_err(FoundingError::BadUrl)?;
        match cluster.urls_of(&self.name) {
            Some(_) => Ok(cluster),
            None => Err(FoundingError::NotListed { name: self.name.clone() }),
        }
    }
}

fn check_agreement(name: &str, listed: &[Url], advertised: &[Url], addresses: &Addresses) -> Result<(), FoundingError> {
    const LISTED: &str = "--initial-cluster";
    const ADVERTISED: &str = "--initial-advertise-peer-urls";
    if is_same_place(listed, advertised, addresses) {
        return Ok(());
    }
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
    if missing.is_empty() {
        // One of them has a URL twice, which is told next.
        return Ok(());
    }
    let other = format!("{LISTED}={}", without(listed, &[], &prefix));
    Err(FoundingError::Disagreement { has: ADVERTISED, missing, other })
}

fn member_id(sorted_urls: &[Url], token: &str) -> MemberId {
    let hash = sorted_urls.iter().fold(Sha1::new(), |hash, url| hash.chain_update(url.as_str()));
    MemberId(first_eight(hash.chain_update(token)))
}

/// The cluster of members that are sorted by id.
fn cluster_id(members: &[Member]) -> ClusterId {
    ClusterId(first_eight(
        members.iter().fold(Sha1::new(), |hash, member| hash.chain_update(member.id.0.to_be_bytes())),
    ))
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
            Invocation::Serve(config) => config.founding(&Addresses::new()),
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
            let founding = founding(arguments).unwrap();
            assert_eq!((founding.cluster, founding.member), (ClusterId(cluster), MemberId(member)), "{arguments:?}");
            assert_eq!(founding.members.iter().map(|member| member.id).collect::<Vec<_>>(), [MemberId(member)]);
        }
    }

    /// As above; each of the three logged the ids of all.
    #[test]
    fn several_members_get_the_ids_that_etcd_gives_and_the_same_on_each() {
        let list = "--initial-cluster=\
                    n1=http://127.0.0.1:23811,n2=http://127.0.0.1:23821,n3=http://127.0.0.1:23831";
        let member = |id: u64, name: &str, url: &str| Member {
            id: MemberId(id),
            name: name.into(),
            peer_urls: vec![url.into()],
            ..Member::default()
        };
        let (n1, n2, n3) = ("http://127.0.0.1:23811", "http://127.0.0.1:23821", "http://127.0.0.1:23831");
        let with_token = vec![
            member(0x2f47_df6d_4fdf_da24, "n3", n3),
            member(0x710a_7906_b60e_0340, "n1", n1),
            member(0x945b_db73_32bc_af99, "n2", n2),
        ];
        for (name, url) in [("n1", n1), ("n2", n2), ("n3", n3)] {
            let (name_flag, url_flag) = (format!("--name={name}"), format!("--initial-advertise-peer-urls={url}"));
            let founding = founding(&[&name_flag, &url_flag, list, "--initial-cluster-token=tok"]).unwrap();
            assert_eq!((founding.cluster, &founding.members), (ClusterId(0xc647_2525_fd23_001a), &with_token));
            let own = founding.members.iter().find(|member| member.name == name).unwrap();
            assert_eq!(founding.member, own.id);
        }
        let founding = founding(&["--name=n1", "--initial-advertise-peer-urls=http://127.0.0.1:23811", list]).unwrap();
        assert_eq!(founding.cluster, ClusterId(0x6451_b2d1_93b0_4a03));
        let ids: Vec<u64> = founding.members.iter().map(|member| member.id.0).collect();
        assert_eq!(ids, [0x0d88_12d7_cd4d_463e, 0x410c_ad88_d6a9_3916, 0xbc17_f762_796b_e62c]);
    }

    #[test]
    fn urls_that_differ_in_text_may_be_the_same_place() {
        let arguments =
            ["--initial-cluster=default=http://a.example:1", "--initial-advertise-peer-urls=http://10.0.0.1:1"];
        assert!(matches!(founding(&arguments), Err(FoundingError::Disagreement { .. })));
        let Ok(Invocation::Serve(config)) = Invocation::from_args(arguments.map(std::ffi::OsString::from)) else {
            panic!("they are fine");
        };
        assert_eq!(crate::config::host_names(&config.compared_urls()), ["a.example".to_owned()].into());
        let found = |address| config.founding(&Addresses::from([("a.example".to_owned(), address)]));
        assert!(found([10, 0, 0, 1].into()).is_ok());
        assert!(found([10, 0, 0, 2].into()).is_err());
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
            (
                &["--initial-cluster=default=http://localhost:2380,default=http://localhost:2380"],
                "initial cluster default=http://localhost:2380,default=http://localhost:2380 has duplicate url",
            ),
        ] {
            assert_eq!(founding(arguments).unwrap_err().to_string(), text, "{arguments:?}");
        }
    }
}
