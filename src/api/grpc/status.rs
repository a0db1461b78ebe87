//! The one table from errors to gRPC codes and texts.
//!
//! Clients tell errors apart by their text, and some by their code to decide whether to try again: both are etcd's, to
//! the letter. Where the code that etcd sends differs from the one it documents, it is the one that is sent.
//!
//! Source: etcd, `api/v3rpc/rpctypes/error.go` and `server/etcdserver/api/v3rpc/util.go`.

use tonic::{Code, Status};

use crate::node::{AuthError, NodeError, Rejection};

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    code: Code,
    text: &'static str,
}

const fn row(code: Code, text: &'static str) -> Row {
    Row { code, text }
}

impl From<Row> for Status {
    fn from(Row { code, text }: Row) -> Status {
        Status::new(code, text)
    }
}

// What the front refuses by itself.

/// A request, an operation or a comparison names no key.
pub(crate) const EMPTY_KEY: Row = row(Code::InvalidArgument, "etcdserver: key is not provided");
/// The present value is to be kept, and another is given.
pub(crate) const VALUE_PROVIDED: Row = row(Code::InvalidArgument, "etcdserver: value is provided");
/// The present lease is to be kept, and another is given.
pub(crate) const LEASE_PROVIDED: Row = row(Code::InvalidArgument, "etcdserver: lease is provided");
/// A txn has more operations than is allowed at its depth.
pub(crate) const TOO_MANY_OPS: Row = row(Code::InvalidArgument, "etcdserver: too many operations in txn request");
/// A txn may write one key twice.
pub(crate) const DUPLICATE_KEY: Row = row(Code::InvalidArgument, "etcdserver: duplicate key given in txn request");
/// A sort order or target has no meaning.
pub(crate) const INVALID_SORT_OPTION: Row = row(Code::InvalidArgument, "etcdserver: invalid sort option");
/// A range in chunks comes in the order of keys.
pub(crate) const STREAM_IN_ORDER: Row = row(Code::Unimplemented, "RangeStream does not support custom sort orders");
/// A range in chunks has all its pairs.
pub(crate) const STREAM_WITH_FILTERS: Row = row(Code::Unimplemented, "RangeStream does not support revision filters");
/// Metadata that names the client's version is no text.
pub(crate) const INVALID_CLIENT_API_VERSION: Row = row(Code::InvalidArgument, "etcdserver: invalid client api version");
/// This member has no vote, and the call is not one that such a member answers.
pub(crate) const NOT_SUPPORTED_FOR_LEARNER: Row =
    row(Code::FailedPrecondition, "etcdserver: rpc not supported for learner");
/// An action that has no meaning.
pub(crate) const UNKNOWN_ACTION: Row = row(Code::Unknown, "etcdserver: unknown method");
/// A new member cannot be reached at such URLs.
pub(crate) const MEMBER_BAD_URLS: Row = row(Code::InvalidArgument, "etcdserver: given member URLs are invalid");
/// The client's time was over before the other member led.
pub(crate) const TRANSFER_TIMEOUT: Row =
    row(Code::Unknown, "etcdserver: request timed out, leader transfer took too long");
/// The health of a service that is not there.
pub(crate) const UNKNOWN_SERVICE: Row = row(Code::NotFound, "unknown service");

// What the node refuses, and the front now and then.

/// A key that must exist does not; also an operation of a txn that asks for nothing.
pub(crate) const KEY_NOT_FOUND: Row = row(Code::InvalidArgument, "etcdserver: key not found");
/// No leader is known.
pub(crate) const NO_LEADER: Row = row(Code::Unavailable, "etcdserver: no leader");
const COMPACTED: Row = row(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
const FUTURE_REVISION: Row = row(Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
const LEASE_NOT_FOUND: Row = row(Code::NotFound, "etcdserver: requested lease not found");
const LEASE_EXISTS: Row = row(Code::FailedPrecondition, "etcdserver: lease already exists");
const LEASE_TTL_TOO_LARGE: Row = row(Code::OutOfRange, "etcdserver: too large lease TTL");
const MEMBER_NOT_FOUND: Row = row(Code::NotFound, "etcdserver: member not found");
const MEMBER_EXISTS: Row = row(Code::FailedPrecondition, "etcdserver: member ID already exist");
const PEER_URL_EXISTS: Row = row(Code::FailedPrecondition, "etcdserver: Peer URLs already exists");
const MEMBER_NOT_LEARNER: Row = row(Code::FailedPrecondition, "etcdserver: can only promote a learner member");
const LEARNER_NOT_READY: Row =
    row(Code::FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader");
const TOO_MANY_LEARNERS: Row = row(Code::FailedPrecondition, "etcdserver: too many learner members in cluster");
/// Documented as `FailedPrecondition`.
const NOT_ENOUGH_STARTED: Row =
    row(Code::Unknown, "etcdserver: re-configuration failed due to not enough started members");
const UNHEALTHY: Row = row(Code::Unavailable, "etcdserver: unhealthy cluster");
const NOT_LEADER: Row = row(Code::FailedPrecondition, "etcdserver: not leader");
const BAD_TRANSFEREE: Row = row(Code::FailedPrecondition, "etcdserver: bad leader transferee");
/// A downgrade goes to what is no version.
pub(crate) const DOWNGRADE_VERSION: Row =
    row(Code::InvalidArgument, "etcdserver: wrong downgrade target version format");
const BAD_DOWNGRADE_TARGET: Row = row(Code::InvalidArgument, "etcdserver: invalid downgrade target version");
const DOWNGRADING: Row = row(Code::FailedPrecondition, "etcdserver: cluster has a downgrade job in progress");
const NO_DOWNGRADE: Row = row(Code::FailedPrecondition, "etcdserver: no inflight downgrade job");
const LEADER_CHANGED: Row = row(Code::Unavailable, "etcdserver: leader changed");
pub(crate) const TIMEOUT: Row = row(Code::Unavailable, "etcdserver: request timed out");
const TIMEOUT_LEADER_FAILED: Row =
    row(Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure");
const TIMEOUT_CONNECTION_LOST: Row =
    row(Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost");
/// etcd waits with its own deadline for Raft to take the command, and sends what that says.
const NOT_PROPOSED: Row = row(Code::DeadlineExceeded, "context deadline exceeded");
const REQUEST_TOO_LARGE: Row = row(Code::InvalidArgument, "etcdserver: request is too large");
/// Documented as `ResourceExhausted`.
pub(crate) const TOO_MANY_REQUESTS: Row = row(Code::Unknown, "etcdserver: too many requests");
const NO_SPACE: Row = row(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
const CORRUPT: Row = row(Code::DataLoss, "etcdserver: corrupt cluster");
/// The node is stopping.
pub(crate) const STOPPED: Row = row(Code::Unavailable, "etcdserver: server stopped");

/// What a client sees of an error of the node.
pub(crate) fn of(error: &NodeError) -> Status {
    let row = match error {
        NodeError::Rejected(rejection) => of_rejection(rejection),
        NodeError::Compacted { .. } => COMPACTED,
        NodeError::FutureRevision { .. } => FUTURE_REVISION,
        NodeError::NotEnoughStarted => NOT_ENOUGH_STARTED,
        NodeError::Unhealthy => UNHEALTHY,
        NodeError::LearnerNotReady => LEARNER_NOT_READY,
        NodeError::NotLeader => NOT_LEADER,
        NodeError::BadTransferee => BAD_TRANSFEREE,
        NodeError::BadDowngradeTarget => BAD_DOWNGRADE_TARGET,
        NodeError::Downgrading => DOWNGRADING,
        NodeError::NoDowngrade => NO_DOWNGRADE,
        NodeError::NoLeader => NO_LEADER,
        NodeError::LeaderChanged => LEADER_CHANGED,
        NodeError::Timeout => TIMEOUT,
        NodeError::TimeoutLeaderFailed => TIMEOUT_LEADER_FAILED,
        NodeError::TimeoutConnectionLost => TIMEOUT_CONNECTION_LOST,
        NodeError::NotProposed => NOT_PROPOSED,
        NodeError::RequestTooLarge => REQUEST_TOO_LARGE,
        NodeError::TooManyRequests => TOO_MANY_REQUESTS,
        NodeError::NoSpace => NO_SPACE,
        NodeError::Stopped => STOPPED,
        // As etcd sends what it has no row for.
        NodeError::Fault(text) => return Status::unknown(text.as_ref()),
    };
    row.into()
}

fn of_rejection(rejection: &Rejection) -> Row {
    match rejection {
        Rejection::KeyNotFound => KEY_NOT_FOUND,
        Rejection::LeaseNotFound => LEASE_NOT_FOUND,
        Rejection::LeaseExists => LEASE_EXISTS,
        Rejection::LeaseTtlTooLarge => LEASE_TTL_TOO_LARGE,
        Rejection::NoSpace => NO_SPACE,
        Rejection::Auth(error) => of_auth(*error),
        Rejection::Corrupt => CORRUPT,
        Rejection::Compacted { .. } => COMPACTED,
        Rejection::FutureRevision { .. } => FUTURE_REVISION,
        // What was removed is as if it had never been.
        Rejection::MemberNotFound | Rejection::MemberRemoved => MEMBER_NOT_FOUND,
        Rejection::MemberExists => MEMBER_EXISTS,
        Rejection::PeerUrlExists => PEER_URL_EXISTS,
        Rejection::MemberNotLearner => MEMBER_NOT_LEARNER,
        Rejection::TooManyLearners => TOO_MANY_LEARNERS,
    }
}

fn of_auth(error: AuthError) -> Row {
    use AuthError::*;
    match error {
        RootUserNotExist => row(Code::FailedPrecondition, "etcdserver: root user does not exist"),
        RootRoleNotExist => row(Code::FailedPrecondition, "etcdserver: root user does not have root role"),
        UserAlreadyExist => row(Code::FailedPrecondition, "etcdserver: user name already exists"),
        UserEmpty => row(Code::InvalidArgument, "etcdserver: user name is empty"),
        UserNotFound => row(Code::FailedPrecondition, "etcdserver: user name not found"),
        RoleAlreadyExist => row(Code::FailedPrecondition, "etcdserver: role name already exists"),
        RoleNotFound => row(Code::FailedPrecondition, "etcdserver: role name not found"),
        RoleEmpty => row(Code::InvalidArgument, "etcdserver: role name is empty"),
        AuthFailed => row(Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
        // Not among the errors that etcd's clients know: these two travel as they are.
        NoPasswordUser => row(Code::Unknown, "auth: authentication failed, password was given for no password user"),
        VerifyOnly => row(Code::Unknown, "auth: token signing attempted with verify-only key"),
        PermissionNotGiven => row(Code::InvalidArgument, "etcdserver: permission not given"),
        PermissionDenied => row(Code::PermissionDenied, "etcdserver: permission denied"),
        RoleNotGranted => row(Code::FailedPrecondition, "etcdserver: role is not granted to the user"),
        PermissionNotGranted => row(Code::FailedPrecondition, "etcdserver: permission is not granted to the role"),
        AuthNotEnabled => row(Code::FailedPrecondition, "etcdserver: authentication is not enabled"),
        InvalidAuthToken => row(Code::Unauthenticated, "etcdserver: invalid auth token"),
        InvalidAuthMgmt => row(Code::InvalidArgument, "etcdserver: invalid auth management"),
        OldRevision => row(Code::InvalidArgument, "etcdserver: revision of auth store is old"),
    }
}

/// The node answered something else than it was asked for: a bug, and no reason to stop.
pub(crate) fn mismatch(asked: &str) -> Status {
    Status::unknown(format!("{asked} was answered with something else"))
}

// What gRPC itself refuses, in the words of grpc-go.

/// A message longer than `max` bytes.
pub(crate) fn message_too_large(bytes: usize, max: usize) -> Status {
    Status::resource_exhausted(format!("grpc: received message larger than max ({bytes} vs. {max})"))
}

/// An answer longer than `max` bytes.
pub(crate) fn sent_too_large(bytes: usize, max: usize) -> Status {
    Status::resource_exhausted(format!("grpc: trying to send message larger than max ({bytes} vs. {max})"))
}

/// The client's own time for the call is over.
pub(crate) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

/// The message of a unary call cannot be read.
pub(crate) fn malformed(error: &prost::DecodeError) -> Status {
    Status::internal(format!("grpc: error unmarshalling request: {error}"))
}

/// Nothing answers to `path`, which should be `/service/method`.
pub(crate) fn unknown_service(path: &str) -> Status {
    Status::unimplemented(match service_and_method(path) {
        Some((service, _)) => format!("unknown service {service}"),
        None => format!("malformed method name: {path:?}"),
    })
}

/// The service is there, its method is not.
pub(crate) fn unknown_method(path: &str) -> Status {
    let (service, method) = service_and_method(path).unwrap_or((path, ""));
    Status::unimplemented(format!("unknown method {method} for service {service}"))
}

/// Takes a path apart: what stands before its last slash, and after. The first slash is none of them.
pub(crate) fn service_and_method(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/').unwrap_or(path).rsplit_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Revision;

    fn row_of(status: &Status) -> (Code, &str) {
        (status.code(), status.message())
    }

    #[test]
    fn every_error_of_the_node_has_its_row() {
        let (requested, compacted, current) = (Revision(1), Revision(2), Revision(3));
        let table = [
            (NodeError::Rejected(Rejection::KeyNotFound), Code::InvalidArgument, "etcdserver: key not found"),
            (NodeError::Rejected(Rejection::LeaseNotFound), Code::NotFound, "etcdserver: requested lease not found"),
            (NodeError::Rejected(Rejection::LeaseExists), Code::FailedPrecondition, "etcdserver: lease already exists"),
            (NodeError::Rejected(Rejection::LeaseTtlTooLarge), Code::OutOfRange, "etcdserver: too large lease TTL"),
            (
                NodeError::Rejected(Rejection::NoSpace),
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            (NodeError::Rejected(Rejection::Corrupt), Code::DataLoss, "etcdserver: corrupt cluster"),
            (
                NodeError::Rejected(Rejection::Compacted { requested, compacted }),
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                NodeError::Rejected(Rejection::FutureRevision { requested, current }),
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (
                NodeError::Compacted { requested, compacted },
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                NodeError::FutureRevision { requested, current },
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (NodeError::Rejected(Rejection::MemberNotFound), Code::NotFound, "etcdserver: member not found"),
            (NodeError::Rejected(Rejection::MemberRemoved), Code::NotFound, "etcdserver: member not found"),
            (
                NodeError::Rejected(Rejection::MemberExists),
                Code::FailedPrecondition,
                "etcdserver: member ID already exist",
            ),
            (
                NodeError::Rejected(Rejection::PeerUrlExists),
                Code::FailedPrecondition,
                "etcdserver: Peer URLs already exists",
            ),
            (
                NodeError::Rejected(Rejection::MemberNotLearner),
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member",
            ),
            (
                NodeError::Rejected(Rejection::TooManyLearners),
                Code::FailedPrecondition,
                "etcdserver: too many learner members in cluster",
            ),
            (
                NodeError::LearnerNotReady,
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
            (
                NodeError::NotEnoughStarted,
                Code::Unknown,
                "etcdserver: re-configuration failed due to not enough started members",
            ),
            (NodeError::Unhealthy, Code::Unavailable, "etcdserver: unhealthy cluster"),
            (NodeError::NotLeader, Code::FailedPrecondition, "etcdserver: not leader"),
            (NodeError::BadTransferee, Code::FailedPrecondition, "etcdserver: bad leader transferee"),
            (NodeError::BadDowngradeTarget, Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
            (NodeError::Downgrading, Code::FailedPrecondition, "etcdserver: cluster has a downgrade job in progress"),
            (NodeError::NoDowngrade, Code::FailedPrecondition, "etcdserver: no inflight downgrade job"),
            (NodeError::NoLeader, Code::Unavailable, "etcdserver: no leader"),
            (NodeError::LeaderChanged, Code::Unavailable, "etcdserver: leader changed"),
            (NodeError::Timeout, Code::Unavailable, "etcdserver: request timed out"),
            (NodeError::RequestTooLarge, Code::InvalidArgument, "etcdserver: request is too large"),
            (NodeError::TooManyRequests, Code::Unknown, "etcdserver: too many requests"),
            (NodeError::NoSpace, Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (NodeError::Stopped, Code::Unavailable, "etcdserver: server stopped"),
            (NodeError::Fault("checksum mismatch".into()), Code::Unknown, "checksum mismatch"),
        ];
        for (error, code, text) in table {
            assert_eq!(row_of(&of(&error)), (code, text), "{error:?}");
        }
    }

    #[test]
    fn every_refusal_of_auth_has_its_row() {
        use AuthError::*;
        let table = [
            (RootUserNotExist, Code::FailedPrecondition, "etcdserver: root user does not exist"),
            (RootRoleNotExist, Code::FailedPrecondition, "etcdserver: root user does not have root role"),
            (UserAlreadyExist, Code::FailedPrecondition, "etcdserver: user name already exists"),
            (UserEmpty, Code::InvalidArgument, "etcdserver: user name is empty"),
            (UserNotFound, Code::FailedPrecondition, "etcdserver: user name not found"),
            (RoleAlreadyExist, Code::FailedPrecondition, "etcdserver: role name already exists"),
            (RoleNotFound, Code::FailedPrecondition, "etcdserver: role name not found"),
            (RoleEmpty, Code::InvalidArgument, "etcdserver: role name is empty"),
            (AuthFailed, Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
            (NoPasswordUser, Code::Unknown, "auth: authentication failed, password was given for no password user"),
            (VerifyOnly, Code::Unknown, "auth: token signing attempted with verify-only key"),
            (PermissionNotGiven, Code::InvalidArgument, "etcdserver: permission not given"),
            (PermissionDenied, Code::PermissionDenied, "etcdserver: permission denied"),
            (RoleNotGranted, Code::FailedPrecondition, "etcdserver: role is not granted to the user"),
            (PermissionNotGranted, Code::FailedPrecondition, "etcdserver: permission is not granted to the role"),
            (AuthNotEnabled, Code::FailedPrecondition, "etcdserver: authentication is not enabled"),
            (InvalidAuthToken, Code::Unauthenticated, "etcdserver: invalid auth token"),
            (InvalidAuthMgmt, Code::InvalidArgument, "etcdserver: invalid auth management"),
            (OldRevision, Code::InvalidArgument, "etcdserver: revision of auth store is old"),
        ];
        for (error, code, text) in table {
            assert_eq!(row_of(&of(&NodeError::Rejected(Rejection::Auth(error)))), (code, text), "{error:?}");
        }
    }

    #[test]
    fn every_refusal_of_the_front_has_its_row() {
        let table = [
            (EMPTY_KEY, Code::InvalidArgument, "etcdserver: key is not provided"),
            (KEY_NOT_FOUND, Code::InvalidArgument, "etcdserver: key not found"),
            (VALUE_PROVIDED, Code::InvalidArgument, "etcdserver: value is provided"),
            (LEASE_PROVIDED, Code::InvalidArgument, "etcdserver: lease is provided"),
            (TOO_MANY_OPS, Code::InvalidArgument, "etcdserver: too many operations in txn request"),
            (DUPLICATE_KEY, Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
            (INVALID_SORT_OPTION, Code::InvalidArgument, "etcdserver: invalid sort option"),
            (STREAM_IN_ORDER, Code::Unimplemented, "RangeStream does not support custom sort orders"),
            (STREAM_WITH_FILTERS, Code::Unimplemented, "RangeStream does not support revision filters"),
            (INVALID_CLIENT_API_VERSION, Code::InvalidArgument, "etcdserver: invalid client api version"),
            (NOT_SUPPORTED_FOR_LEARNER, Code::FailedPrecondition, "etcdserver: rpc not supported for learner"),
            (NO_LEADER, Code::Unavailable, "etcdserver: no leader"),
            (STOPPED, Code::Unavailable, "etcdserver: server stopped"),
            (UNKNOWN_ACTION, Code::Unknown, "etcdserver: unknown method"),
            (MEMBER_BAD_URLS, Code::InvalidArgument, "etcdserver: given member URLs are invalid"),
            (TRANSFER_TIMEOUT, Code::Unknown, "etcdserver: request timed out, leader transfer took too long"),
            (DOWNGRADE_VERSION, Code::InvalidArgument, "etcdserver: wrong downgrade target version format"),
            (UNKNOWN_SERVICE, Code::NotFound, "unknown service"),
        ];
        for (row, code, text) in table {
            assert_eq!(row_of(&row.into()), (code, text));
        }
    }

    #[test]
    fn what_grpc_refuses_is_said_in_the_words_of_grpc_go() {
        assert_eq!(
            row_of(&message_too_large(9, 8)),
            (Code::ResourceExhausted, "grpc: received message larger than max (9 vs. 8)")
        );
        assert_eq!(
            row_of(&unknown_method("/etcdserverpb.KV/Nope")),
            (Code::Unimplemented, "unknown method Nope for service etcdserverpb.KV")
        );
        assert_eq!(row_of(&unknown_service("/a/b/c")), (Code::Unimplemented, "unknown service a/b"));
        assert_eq!(row_of(&unknown_service("//")), (Code::Unimplemented, "unknown service "));
        assert_eq!(row_of(&unknown_service("/")), (Code::Unimplemented, "malformed method name: \"/\""));
    }
}
