//! The list of members, as one member writes it on its peer port and another reads it before it joins.
//!
//! Body and cluster header are etcd's, so that tools read them. The version header is ours: members of etcd and of
//! Lodemark cannot form one cluster, and a member that joins the wrong kind would never hear from a leader, while it
//! counted for the quorum of the others.
//!
//! Source: etcd, `server/etcdserver/api/etcdhttp/peer.go` and `membership.Member`.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer;
use crate::model::{ClusterId, Member, MemberId};

/// The cluster's id, in hexadecimal digits.
const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
/// The version of the program; etcd does not send it.
const LODEMARK_VERSION: HeaderName = HeaderName::from_static("x-lodemark-version");

/// Who is in a cluster, as one of its members knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberList {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its members.
    pub members: Vec<Member>,
    /// The version of the program that answered; `None` if it is an etcd.
    pub lodemark_version: Option<String>,
}

/// Why an answer is no list of members.
#[derive(Debug, thiserror::Error)]
pub enum MemberListError {
    /// The header with the cluster's id is missing, or is no number.
    #[error("the header {CLUSTER_ID} is {found:?}")]
    Cluster {
        /// What it is; empty if it is missing.
        found: String,
    },
    /// The body is something else.
    #[error("the body is no list of members: {0}")]
    Body(#[from] serde_json::Error),
}

impl MemberList {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`MemberListError`].
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<MemberList, MemberListError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let members: Vec<JsonMember> = serde_json::from_slice(body)?;
        let cluster = text(CLUSTER_ID).unwrap_or_default();
        let id =
            u64::from_str_radix(cluster, 16).map_err(|_| MemberListError::Cluster { found: cluster.to_owned() })?;
        Ok(MemberList {
            cluster: ClusterId(id),
            members: members.into_iter().map(Member::from).collect(),
            lodemark_version: text(LODEMARK_VERSION).map(str::to_owned),
        })
    }

    /// The answer. Members are sorted by their peer URLs.
    pub(super) fn into_response(self) -> Response {
        let mut members: Vec<JsonMember> = self.members.into_iter().map(JsonMember::from).collect();
        members.sort_by(|a, b| a.peer_urls.cmp(&b.peer_urls));
        let mut body = serde_json::to_string(&members).expect("texts and numbers have a JSON form");
        body.push('\n');
        let mut response = answer(StatusCode::OK, "application/json", body);
        put_cluster_id(&mut response, self.cluster);
        let headers = response.headers_mut();
        if let Some(version) = self.lodemark_version.as_deref().map(HeaderValue::from_str).and_then(Result::ok) {
            headers.insert(LODEMARK_VERSION, version);
        }
        response
    }
}

/// Says which cluster answers.
pub(super) fn put_cluster_id(response: &mut Response, cluster: ClusterId) {
    let cluster = HeaderValue::from_str(&cluster.to_string()).expect("hexadecimal digits are legal");
    response.headers_mut().insert(CLUSTER_ID, cluster);
}

/// A member as etcd's peers write it. One that has not started yet has no name, unless it is a founder, and no client
/// URLs.
#[derive(Serialize, Deserialize)]
struct JsonMember {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default, skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
}

impl From<Member> for JsonMember {
    fn from(member: Member) -> JsonMember {
        let Member { id, name, peer_urls, client_urls, is_learner } = member;
        JsonMember { id: id.0, peer_urls, is_learner, name, client_urls }
    }
}

impl From<JsonMember> for Member {
    fn from(member: JsonMember) -> Member {
        let JsonMember { id, peer_urls, is_learner, name, client_urls } = member;
        Member { id: MemberId(id), name, peer_urls, client_urls, is_learner }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn member(id: u64, name: &str, peer: &str, clients: &[&str], is_learner: bool) -> Member {
        Member {
            id: MemberId(id),
            name: name.into(),
            peer_urls: vec![peer.into()],
            client_urls: clients.iter().copied().map(str::to_owned).collect(),
            is_learner,
        }
    }

    /// What a real etcd 3.7.1 answered after `member add --learner`.
    const OF_ETCD: &str = r#"[{"id":975050037397374526,"peerURLs":["http://127.0.0.1:23811"],"name":"r1","clientURLs":["http://127.0.0.1:23801"]},{"id":3132853613882792354,"peerURLs":["http://127.0.0.1:23841"],"isLearner":true},{"id":4687312115414415638,"peerURLs":["http://127.0.0.1:23821"],"name":"r2"}]"#;

    fn list_of_etcd() -> Vec<Member> {
        vec![
            member(975_050_037_397_374_526, "r1", "http://127.0.0.1:23811", &["http://127.0.0.1:23801"], false),
            member(3_132_853_613_882_792_354, "", "http://127.0.0.1:23841", &[], true),
            member(4_687_312_115_414_415_638, "r2", "http://127.0.0.1:23821", &[], false),
        ]
    }

    #[test]
    fn the_list_of_an_etcd_is_read_and_told_apart() {
        let headers = HeaderMap::from_iter([(CLUSTER_ID, HeaderValue::from_static("6451b2d193b04a03"))]);
        let list = MemberList::read(&headers, OF_ETCD.as_bytes()).unwrap();
        let cluster = ClusterId(0x6451_b2d1_93b0_4a03);
        assert_eq!(list, MemberList { cluster, members: list_of_etcd(), lodemark_version: None });
    }

    #[tokio::test]
    async fn what_is_written_has_the_form_of_etcd_and_reads_back() {
        let list =
            MemberList { cluster: ClusterId(0xabc), members: list_of_etcd(), lodemark_version: Some("1.2.3".into()) };
        let (head, body) = list.clone().into_response().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let read = MemberList::read(&head.headers, &body).unwrap();
        assert_eq!((read.cluster, read.lodemark_version), (list.cluster, list.lodemark_version));
        let urls: Vec<&str> = read.members.iter().map(|member| member.peer_urls[0].as_str()).collect();
        assert!(urls.is_sorted(), "{urls:?}");
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        let mut expected = value(OF_ETCD.as_bytes());
        expected.as_array_mut().unwrap().swap(1, 2);
        assert_eq!(value(&body), expected);
    }

    #[test]
    fn other_answers_are_refused() {
        let with = |cluster: &'static str| HeaderMap::from_iter([(CLUSTER_ID, HeaderValue::from_static(cluster))]);
        for body in ["", "{}", "404 page not found\n", r#"[{"id":-1,"peerURLs":[]}]"#, r#"[{"peerURLs":[]}]"#] {
            assert!(matches!(MemberList::read(&with("1"), body.as_bytes()), Err(MemberListError::Body(_))), "{body}");
        }
        for headers in [HeaderMap::new(), with(""), with("xyz"), with("11111111111111111")] {
            let read = MemberList::read(&headers, b"[]");
            assert!(matches!(read, Err(MemberListError::Cluster { .. })), "{headers:?}");
        }
        assert_eq!(MemberList::read(&with("1"), b"[]").unwrap().members, []);
    }
}
