//! Why auth refuses.

/// Why a change of users and roles, or a request, is refused: one for each error that etcd's clients know.
///
/// Source: etcd, `server/auth/store.go` and `api/v3rpc/rpctypes/error.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Auth cannot be enabled: there is no user `root`.
    #[error("root user does not exist")]
    RootUserNotExist,
    /// Auth cannot be enabled: the user `root` does not have the role `root`.
    #[error("root user does not have root role")]
    RootRoleNotExist,
    /// The user's name is taken.
    #[error("user name already exists")]
    UserAlreadyExist,
    /// A user without a name is to be made, or nobody asks for something.
    #[error("user name is empty")]
    UserEmpty,
    /// There is no such user.
    #[error("user name not found")]
    UserNotFound,
    /// The role's name is taken.
    #[error("role name already exists")]
    RoleAlreadyExist,
    /// There is no such role.
    #[error("role name not found")]
    RoleNotFound,
    /// A role without a name is to be made.
    #[error("role name is empty")]
    RoleEmpty,
    /// There is no such user, or the password is another.
    #[error("authentication failed, invalid user ID or password")]
    AuthFailed,
    /// The user has no password; or what was given as the hash of a new one is none.
    #[error("authentication failed, password was given for no password user")]
    NoPasswordUser,
    /// A permission is to be granted, and is missing.
    #[error("permission not given")]
    PermissionNotGiven,
    /// The caller may not do that.
    #[error("permission denied")]
    PermissionDenied,
    /// The user does not have the role.
    #[error("role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have the permission.
    #[error("permission is not granted to the role")]
    PermissionNotGranted,
    /// Auth is not enabled, so nobody need prove who they are.
    #[error("authentication is not enabled")]
    AuthNotEnabled,
    /// The token is not one of ours, or not any more.
    #[error("invalid auth token")]
    InvalidAuthToken,
    /// Tokens of others can be checked here, and none can be made.
    #[error("token signing attempted with verify-only key")]
    VerifyOnly,
    /// Users and roles that auth rests on cannot go while it is enabled; or the range of a permission is none.
    #[error("invalid auth management")]
    InvalidAuthMgmt,
    /// Users or roles have changed since the caller was established.
    #[error("revision of auth store is old")]
    OldRevision,
}
