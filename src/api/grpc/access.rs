//! What each call asks of whoever makes it, while auth is enabled: the one place where that is declared.
//!
//! Calls are an enum made of the services in `proto/`, so a call without a row here does not compile. What a row asks for is
//! checked at the door, before the call is looked at; a call that reads or writes keys says more of itself, and then asks the
//! [`Session`] it gets, or leaves it to apply.
//!
//! Source: etcd, `server/etcdserver/api/v3rpc/maintenance.go` (`authMaintenanceServer`) and `v3_server.go`.

use std::sync::Arc;

use http::{Extensions, HeaderMap};
use tonic::Status;

use super::status;
use crate::net::SecurePeer;
use crate::node::{Node, Session};

include!(concat!(env!("OUT_DIR"), "/rpcs.rs"));

/// What a call asks for before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: not even a token that is none matters.
    Open,
    /// To be somebody.
    Somebody,
    /// To have the role `root`.
    Root,
    /// It depends on the request: the service asks.
    ByRequest,
}

/// What a call asks for.
pub(super) fn of(rpc: Rpc) -> Access {
    match rpc {
        Rpc::HealthCheck | Rpc::HealthList | Rpc::HealthWatch | Rpc::AuthAuthenticate => Access::Open,
        Rpc::MaintenanceStatus => Access::Somebody,
        Rpc::KvCompact
        | Rpc::ClusterMemberRemove
        | Rpc::ClusterMemberUpdate
        | Rpc::ClusterMemberPromote
        | Rpc::MaintenanceDefragment
        | Rpc::MaintenanceHash
        | Rpc::MaintenanceHashKv
        | Rpc::MaintenanceSnapshot
        | Rpc::MaintenanceMoveLeader
        | Rpc::MaintenanceDowngrade => Access::Root,
        // Keys, and the leases that they are attached to.
        Rpc::KvRange
        | Rpc::KvRangeStream
        | Rpc::KvPut
        | Rpc::KvDeleteRange
        | Rpc::KvTxn
        | Rpc::WatchWatch
        | Rpc::LeaseLeaseGrant
        | Rpc::LeaseLeaseRevoke
        | Rpc::LeaseLeaseKeepAlive
        | Rpc::LeaseLeaseTimeToLive
        | Rpc::LeaseLeaseLeases
        | Rpc::LockLock
        | Rpc::LockUnlock
        | Rpc::ElectionCampaign
        | Rpc::ElectionProclaim
        | Rpc::ElectionLeader
        | Rpc::ElectionObserve
        | Rpc::ElectionResign => Access::ByRequest,
        // Root, once the URLs were found to be some.
        Rpc::ClusterMemberAdd => Access::ByRequest,
        // Somebody, once the barrier was passed.
        Rpc::ClusterMemberList => Access::ByRequest,
        // Somebody to list them, root to change them.
        Rpc::MaintenanceAlarm => Access::ByRequest,
        // Apply asks, or the read; some may know of themselves, and all whether auth is enabled.
        Rpc::AuthAuthEnable
        | Rpc::AuthAuthDisable
        | Rpc::AuthAuthStatus
        | Rpc::AuthUserAdd
        | Rpc::AuthUserGet
        | Rpc::AuthUserList
        | Rpc::AuthUserDelete
        | Rpc::AuthUserChangePassword
        | Rpc::AuthUserGrantRole
        | Rpc::AuthUserRevokeRole
        | Rpc::AuthRoleAdd
        | Rpc::AuthRoleGet
        | Rpc::AuthRoleList
        | Rpc::AuthRoleDelete
        | Rpc::AuthRoleGrantPermission
        | Rpc::AuthRoleRevokePermission => Access::ByRequest,
    }
}

/// What a request shows of who makes it.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    token: Option<Box<str>>,
    /// The name in a verified certificate.
    certified: Option<Arc<str>>,
}

/// Where a token stands; the first that is there counts.
const TOKEN: [&str; 2] = ["token", "authorization"];
/// Before a token, perhaps.
const BEARER: &str = "Bearer ";
/// The gateway sends it along: its own certificate says nothing of the caller.
const GATEWAY: &str = "grpcgateway-accept";

impl Credentials {
    /// Reads them off a request.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Credentials {
        let token = TOKEN.iter().find_map(|name| headers.get(*name));
        let token = token.map(|value| {
            // What is no text is no token; it must not pass for none.
            let text = value.to_str().unwrap_or("\u{fffd}");
            Box::from(text.strip_prefix(BEARER).unwrap_or(text))
        });
        let is_of_gateway = headers.contains_key(GATEWAY);
        let peer = extensions.get::<SecurePeer>().filter(|_| !is_of_gateway);
        Credentials { token, certified: peer.and_then(|peer| peer.common_name.clone()) }
    }

    /// Those of a request of a service.
    pub(super) fn of_request<T>(request: &tonic::Request<T>) -> Credentials {
        Credentials::of(request.metadata().as_ref(), request.extensions())
    }

    /// The node for whoever shows them.
    ///
    /// # Errors
    /// The token is none.
    pub(super) async fn session(&self, node: &Node) -> Result<Session, Status> {
        let session = node.session(self.token.as_deref(), self.certified.as_deref()).await;
        session.map_err(|error| status::of(&error))
    }

    /// As [`Credentials::session`], if that is done at once.
    pub(super) fn session_now(&self, node: &Node) -> Option<Result<Session, Status>> {
        let session = node.session_now(self.token.as_deref(), self.certified.as_deref())?;
        Some(session.map_err(|error| status::of(&error)))
    }
}

/// Asks what a call asks for at the door.
///
/// # Errors
/// The refusal.
pub(super) async fn admit(node: &Node, rpc: Rpc, credentials: &Credentials) -> Result<(), Status> {
    let checked = match of(rpc) {
        Access::Open | Access::ByRequest => return Ok(()),
        Access::Somebody => credentials.session(node).await?.check_authenticated(),
        Access::Root => credentials.session(node).await?.check_root(),
    };
    checked.map_err(|error| status::of(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_asks_for_what_etcd_asks_for() {
        let at_the_door = [
            ("/etcdserverpb.Auth/Authenticate", Access::Open),
            ("/grpc.health.v1.Health/Check", Access::Open),
            ("/grpc.health.v1.Health/List", Access::Open),
            ("/grpc.health.v1.Health/Watch", Access::Open),
            ("/etcdserverpb.Maintenance/Status", Access::Somebody),
            ("/etcdserverpb.KV/Compact", Access::Root),
            ("/etcdserverpb.Cluster/MemberRemove", Access::Root),
            ("/etcdserverpb.Cluster/MemberUpdate", Access::Root),
            ("/etcdserverpb.Cluster/MemberPromote", Access::Root),
            ("/etcdserverpb.Maintenance/Defragment", Access::Root),
            ("/etcdserverpb.Maintenance/Hash", Access::Root),
            ("/etcdserverpb.Maintenance/HashKV", Access::Root),
            ("/etcdserverpb.Maintenance/Snapshot", Access::Root),
            ("/etcdserverpb.Maintenance/MoveLeader", Access::Root),
            ("/etcdserverpb.Maintenance/Downgrade", Access::Root),
        ];
        for (path, access) in at_the_door {
            assert_eq!(Rpc::of(path).map(of), Some(access), "{path}");
        }
        let by_request = [
            ("etcdserverpb.KV", &["Range", "RangeStream", "Put", "DeleteRange", "Txn"][..]),
            ("etcdserverpb.Watch", &["Watch"]),
            ("etcdserverpb.Lease", &["LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"]),
            ("v3lockpb.Lock", &["Lock", "Unlock"]),
            ("v3electionpb.Election", &["Campaign", "Proclaim", "Leader", "Observe", "Resign"]),
            ("etcdserverpb.Cluster", &["MemberAdd", "MemberList"]),
            ("etcdserverpb.Maintenance", &["Alarm"]),
            ("etcdserverpb.Auth", &["AuthEnable", "AuthDisable", "AuthStatus", "UserAdd", "UserGet", "UserList"]),
            ("etcdserverpb.Auth", &["UserDelete", "UserChangePassword", "UserGrantRole", "UserRevokeRole", "RoleAdd"]),
            ("etcdserverpb.Auth", &["RoleGet", "RoleList", "RoleDelete", "RoleGrantPermission"]),
            ("etcdserverpb.Auth", &["RoleRevokePermission"]),
        ];
        for (service, methods) in by_request {
            for method in methods {
                let path = format!("/{service}/{method}");
                assert_eq!(Rpc::of(&path).map(of), Some(Access::ByRequest), "{path}");
            }
        }
        assert!(Rpc::of("/etcdserverpb.KV/Fly").is_none());
    }

    fn token(headers: &[(&'static str, &[u8])]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        Credentials::of(&map, &Extensions::new()).token.map(String::from)
    }

    #[test]
    fn a_token_stands_in_one_of_two_places() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[("token", b"t")]), some("t"));
        assert_eq!(token(&[("authorization", b"a")]), some("a"));
        assert_eq!(token(&[("authorization", b"a"), ("token", b"t")]), some("t"));
        assert_eq!(token(&[("token", b"first"), ("token", b"second")]), some("first"));
        assert_eq!(token(&[("authorization", b"Bearer a")]), some("a"));
        assert_eq!(token(&[("token", b"Bearer t")]), some("t"));
        // Only as it is written, and once.
        assert_eq!(token(&[("authorization", b"bearer a")]), some("bearer a"));
        assert_eq!(token(&[("authorization", b"Bearer Bearer a")]), some("Bearer a"));
        // None that is empty or no text is no caller, not nobody.
        assert_eq!(token(&[("token", b"")]), some(""));
        assert_eq!(token(&[("token", b""), ("authorization", b"a")]), some(""));
        assert_eq!(token(&[("token", b"\xff")]), some("\u{fffd}"));
    }

    #[test]
    fn a_certificate_counts_unless_the_gateway_calls() {
        let mut extensions = Extensions::new();
        extensions.insert(SecurePeer { common_name: Some("alice".into()) });
        let mut headers = HeaderMap::new();
        assert_eq!(Credentials::of(&headers, &extensions).certified.as_deref(), Some("alice"));
        headers.insert(GATEWAY, http::HeaderValue::from_static("*/*"));
        assert_eq!(Credentials::of(&headers, &extensions).certified, None);
    }
}
