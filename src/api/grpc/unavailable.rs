//! RPCs that are not there yet, and say so: users and roles.
//!
//! Two calls have an answer without them. Whether authentication is on: it is not. And a token for a name: clients with
//! a name and password ask for one first, and go on without it when they hear that authentication is not enabled.

use tonic::{Request, Response, Status};

use super::{Api, encode, status};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::auth_server::Auth;

/// Counts the changes of users and roles, the first state being 1.
const AUTH_REVISION_FRESH: u64 = 1;

/// The service.
#[derive(Debug, Clone)]
pub(super) struct AuthService(pub(super) Api);

/// Writes the service with each of the methods listed as one that is not there. A macro, since each has types of its own
/// and nothing else.
macro_rules! auth_without {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl Auth for AuthService {
            async fn auth_status(
                &self,
                _: Request<pb::AuthStatusRequest>,
            ) -> Result<Response<pb::AuthStatusResponse>, Status> {
                let node = &self.0.node;
                let header = Some(encode::header(node.header(), node.revision()));
                let auth_revision = AUTH_REVISION_FRESH;
                Ok(Response::new(pb::AuthStatusResponse { header, enabled: false, auth_revision }))
            }

            async fn authenticate(
                &self,
                _: Request<pb::AuthenticateRequest>,
            ) -> Result<Response<pb::AuthenticateResponse>, Status> {
                Err(status::AUTH_NOT_ENABLED.into())
            }

            $(
                async fn $method(&self, _: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                    Err(status::not_yet("users and roles"))
                }
            )*
        }
    };
}

auth_without! {
    auth_enable(AuthEnableRequest) -> AuthEnableResponse;
    auth_disable(AuthDisableRequest) -> AuthDisableResponse;
    user_add(AuthUserAddRequest) -> AuthUserAddResponse;
    user_get(AuthUserGetRequest) -> AuthUserGetResponse;
    user_list(AuthUserListRequest) -> AuthUserListResponse;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse;
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
    role_list(AuthRoleListRequest) -> AuthRoleListResponse;
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse;
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse;
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::started;

    #[tokio::test]
    async fn authentication_is_off() {
        let auth = AuthService(started().await);
        let found = auth.auth_status(Request::new(pb::AuthStatusRequest {})).await.unwrap().into_inner();
        assert_eq!((found.enabled, found.auth_revision, found.header.unwrap().revision), (false, 1, 1));
        let status = auth.authenticate(Request::new(pb::AuthenticateRequest::default())).await.unwrap_err();
        let text = "etcdserver: authentication is not enabled";
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, text));
        let status = auth.user_list(Request::new(pb::AuthUserListRequest {})).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        auth.0.node.stop().await;
    }
}
