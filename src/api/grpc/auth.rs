//! Auth: users and roles, and tokens for passwords.
//!
//! Source: etcd, `server/etcdserver/api/v3rpc/auth.go` and `v3_server.go`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tonic::{Request, Response, Status};

use super::access::Credentials;
use super::{Api, encode, status};
use crate::model::{AuthChange, PasswordHash, Permission, Revision};
use crate::node::Session;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::auth_server::Auth;

/// The service.
#[derive(Debug, Clone)]
pub(super) struct AuthService(pub(super) Api);

impl AuthService {
    async fn session<T>(&self, request: &Request<T>) -> Result<Session, Status> {
        Credentials::of_request(request).session(&self.0.node).await
    }

    /// Makes a change; gives the header of its answer.
    async fn change(&self, session: &Session, change: AuthChange) -> Result<Option<pb::ResponseHeader>, Status> {
        let revision = session.change_auth(change).await.map_err(|error| status::of(&error))?;
        Ok(Some(encode::header(self.0.node.header(), revision)))
    }

    async fn hash(&self, password: String) -> Result<PasswordHash, Status> {
        let hash = self.0.node.hash_password(password).await.map_err(|error| status::of(&error))?;
        hash.map_err(|error| Status::unknown(error.to_string()))
    }

    fn header(&self, revision: Revision) -> Option<pb::ResponseHeader> {
        Some(encode::header(self.0.node.header(), revision))
    }

    /// The header of what was read.
    fn present(&self) -> Option<pb::ResponseHeader> {
        self.header(self.0.node.revision())
    }
}

/// Writes a method that makes one change of its request. A macro, since each has types of its own and little else.
macro_rules! change {
    ($self:ident, $request:ident, $response:ident, $pattern:pat => $change:expr) => {{
        let session = $self.session(&$request).await?;
        let $pattern = $request.into_inner();
        let header = $self.change(&session, $change).await?;
        Ok(Response::new(pb::$response { header }))
    }};
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        change!(self, request, AuthEnableResponse, _ => AuthChange::Enable)
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        change!(self, request, AuthDisableResponse, _ => AuthChange::Disable)
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let session = self.session(&request).await?;
        let (enabled, auth_revision) = session.auth_status().await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::AuthStatusResponse { header: self.present(), enabled, auth_revision }))
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        let given = self.0.node.authenticate(&name, &password).await;
        let (token, revision) = given.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::AuthenticateResponse { header: self.header(revision), token }))
    }

    /// A hash that the client sends counts for nothing.
    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        // A password that cannot be hashed is told before anybody is asked who asks.
        let pb::AuthUserAddRequest { password, options, .. } = request.get_ref();
        let has_none = options.as_ref().is_some_and(|options| options.no_password);
        let password = if has_none { None } else { Some(self.hash(password.clone()).await?) };
        let session = self.session(&request).await?;
        let name = request.into_inner().name;
        let header = self.change(&session, AuthChange::UserAdd { name, password }).await?;
        Ok(Response::new(pb::AuthUserAddResponse { header }))
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let session = self.session(&request).await?;
        let name = request.into_inner().name;
        let roles = session.user_get(&name).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::AuthUserGetResponse { header: self.present(), roles }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let users = self.session(&request).await?.user_list().await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::AuthUserListResponse { header: self.present(), users }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        change!(self, request, AuthUserDeleteResponse,
            pb::AuthUserDeleteRequest { name } => AuthChange::UserDelete { name })
    }

    /// Without a password the hash counts that the client sends.
    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        // As in `user_add`.
        let pb::AuthUserChangePasswordRequest { password, hashed_password, .. } = request.get_ref();
        let password = if password.is_empty() {
            BASE64.decode(hashed_password).ok().map(|hash| PasswordHash(hash.into()))
        } else {
            Some(self.hash(password.clone()).await?)
        };
        let session = self.session(&request).await?;
        let name = request.into_inner().name;
        let header = self.change(&session, AuthChange::UserChangePassword { name, password }).await?;
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        change!(self, request, AuthUserGrantRoleResponse,
            pb::AuthUserGrantRoleRequest { user, role } => AuthChange::UserGrantRole { user, role })
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        change!(self, request, AuthUserRevokeRoleResponse,
            pb::AuthUserRevokeRoleRequest { name, role } => AuthChange::UserRevokeRole { user: name, role })
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        change!(self, request, AuthRoleAddResponse, pb::AuthRoleAddRequest { name } => AuthChange::RoleAdd { name })
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let session = self.session(&request).await?;
        let role = request.into_inner().role;
        let permissions = session.role_get(&role).await.map_err(|error| status::of(&error))?;
        let perm = permissions.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::AuthRoleGetResponse { header: self.present(), perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let roles = self.session(&request).await?.role_list().await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::AuthRoleListResponse { header: self.present(), roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        change!(self, request, AuthRoleDeleteResponse,
            pb::AuthRoleDeleteRequest { role } => AuthChange::RoleDelete { name: role })
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        change!(self, request, AuthRoleGrantPermissionResponse,
        pb::AuthRoleGrantPermissionRequest { name, perm } => AuthChange::RoleGrantPermission {
            role: name,
            permission: perm.map(Permission::from),
        })
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        change!(self, request, AuthRoleRevokePermissionResponse,
            pb::AuthRoleRevokePermissionRequest { role, key, range_end } =>
                AuthChange::RoleRevokePermission { role, key, range_end })
    }
}
