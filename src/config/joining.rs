//! Joining a cluster: the checks that only a new member of a running cluster needs.
//!
//! Somebody has told the cluster of this member before (`member add`), so the cluster knows its id and its peer URLs. The
//! new member finds itself, and everybody else, in the list that the cluster gives by comparing peer URLs.
//!
//! Source: etcd, `ValidateClusterAndAssignIDs` in `server/etcdserver/api/membership/cluster.go`.

use super::Config;
use super::founding::FoundingError;
use super::initial_cluster::{Addresses, InitialCluster, is_same_place};
use super::url::Url;
use crate::model::{Member, MemberId};

/// Why the running cluster is not the one that `--initial-cluster` describes. The texts are etcd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoiningError {
    /// One of the two has members that the other has not.
    #[error("error validating peerURLs {found}: member count is unequal")]
    Count {
        /// The members of the running cluster.
        found: String,
    },
    /// A member of the running cluster is not in the list, or elsewhere.
    #[error("error validating peerURLs {found}: PeerURLs: no match found for existing member ({id}, [{}])", urls.join(" "))]
    NoMatch {
        /// The members of the running cluster.
        found: String,
        /// The member that is not in the list.
        id: MemberId,
        /// Where it is.
        urls: Vec<String>,
    },
}

impl Config {
    /// Checks the flags of a member that joins, and gives the list of members that it expects. Only for a data folder that
    /// is new.
    ///
    /// # Errors
    /// The first check that fails, in etcd's order. The advertised URLs are not compared: the cluster knows them already.
    pub fn joining(&self) -> Result<InitialCluster, FoundingError> {
        let cluster = self.listed_cluster()?;
        if cluster.has_duplicate_url() {
            return Err(FoundingError::DuplicateUrl { cluster: cluster.to_string() });
        }
        Ok(cluster)
    }
}

/// Finds the member that is listed as `name` among those of the running cluster, if the two lists agree.
///
/// # Errors
/// [`JoiningError`]; with more [`Addresses`] a [`JoiningError::NoMatch`] may go away.
pub fn find_own<'a>(
    listed: &InitialCluster,
    name: &str,
    running: &'a [Member],
    addresses: &Addresses,
) -> Result<Option<&'a Member>, JoiningError> {
    let found = || running.iter().map(describe).collect::<Vec<_>>().join(",");
    if listed.members().len() != running.len() {
        return Err(JoiningError::Count { found: found() });
    }
    let mut own = None;
    for member in running {
        // Of others a URL may be such that this version cannot read it; it is then at no place that is listed.
        let urls = urls_of(member).unwrap_or_default();
        let matching = listed.members().find(|(_, listed)| is_same_place(&urls, listed, addresses));
        match matching {
            Some((matching, _)) if matching == name => own = Some(member),
            Some(_) => {}
            None => {
                return Err(JoiningError::NoMatch { found: found(), id: member.id, urls: member.peer_urls.clone() });
            }
        }
    }
    Ok(own)
}

/// The peer URLs of a member.
///
/// # Errors
/// If one is no URL.
pub fn urls_of(member: &Member) -> Result<Vec<Url>, String> {
    member.peer_urls.iter().map(|url| Url::parse(url)).collect()
}

fn describe(member: &Member) -> String {
    let name = if member.name.is_empty() { member.id.to_string() } else { member.name.clone() };
    member.peer_urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::Invocation;
    use super::*;

    fn joining(arguments: &[&str]) -> Result<InitialCluster, FoundingError> {
        match Invocation::from_args(arguments.iter().map(std::ffi::OsString::from)).unwrap() {
            Invocation::Serve(config) => config.joining(),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn member(id: u64, name: &str, url: &str) -> Member {
        Member { id: MemberId(id), name: name.into(), peer_urls: vec![url.into()], ..Member::default() }
    }

    fn running() -> Vec<Member> {
        vec![member(1, "a", "http://a:1"), member(2, "b", "http://b:1"), member(3, "", "http://c:1")]
    }

    #[test]
    fn the_list_names_this_member_and_each_url_once() {
        let list = joining(&["--name=c", "--initial-cluster=a=http://a:1,c=http://c:1"]).unwrap();
        assert_eq!(list.to_string(), "a=http://a:1,c=http://c:1");
        // The cluster was told where this member is; what it advertises is not compared.
        joining(&["--initial-cluster=default=http://a:1", "--initial-advertise-peer-urls=http://b:1"]).unwrap();
        assert_eq!(
            joining(&["--name=x", "--initial-cluster=a=http://a:1"]),
            Err(FoundingError::NotListed { name: "x".into() })
        );
        let twice = joining(&["--name=a", "--initial-cluster=a=http://a:1,b=http://a:1"]).unwrap_err();
        assert_eq!(twice.to_string(), "initial cluster a=http://a:1,b=http://a:1 has duplicate url");
    }

    #[test]
    fn a_member_finds_itself_by_its_urls() {
        let listed = InitialCluster::parse("x=http://a:1,y=http://b:1,z=http://c:1").unwrap();
        let found = find_own(&listed, "z", &running(), &Addresses::new()).unwrap().map(|member| member.id);
        assert_eq!(found, Some(MemberId(3)));
    }

    #[test]
    fn lists_of_other_members_are_refused() {
        let none = Addresses::new();
        let find = |listed: &str, addresses: &Addresses| {
            let listed = InitialCluster::parse(listed).unwrap();
            find_own(&listed, "c", &running(), addresses)
                .map(|own| own.map(|member| member.id))
                .map_err(|e| e.to_string())
        };
        let error = find("a=http://a:1,c=http://c:1", &none).unwrap_err();
        assert_eq!(error, "error validating peerURLs a=http://a:1,b=http://b:1,3=http://c:1: member count is unequal");
        let elsewhere = "a=http://a:1,b=http://10.0.0.2:1,c=http://c:1";
        let error = find(elsewhere, &none).unwrap_err();
        assert!(error.ends_with("PeerURLs: no match found for existing member (2, [http://b:1])"), "{error}");
        let known = Addresses::from([("b".to_owned(), IpAddr::from([10, 0, 0, 2]))]);
        assert_eq!(find(elsewhere, &known), Ok(Some(MemberId(3))));
    }

    #[test]
    fn urls_that_cannot_be_read_match_nothing() {
        let listed = InitialCluster::parse("a=http://a:1").unwrap();
        let running = [member(7, "a", "carrier pigeon")];
        assert!(matches!(find_own(&listed, "a", &running, &Addresses::new()), Err(JoiningError::NoMatch { .. })));
    }
}
