//! The messages and calls of etcd's services, written a second time, as text.
//!
//! As in [`wire`](super::super::wire), the server's own messages are not used: a wrong field number there would be wrong on
//! both ends and go unseen. Here a message is a JSON value, as the gateway takes and gives it, and this text says how it
//! looks on the wire of gRPC (`codec`).
//!
//! ```text
//! LeaderKey: name bytes 1, key bytes 2, rev int64 3, lease int64 4      a message; `name*` is a list
//! = SortOrder: NONE ASCEND DESCEND                                      an enum, from 0 on
//! ```

use std::collections::HashMap;
use std::sync::LazyLock;

const TEXT: &str = "
Header: cluster_id uint64 1, member_id uint64 2, revision int64 3, raft_term uint64 4
OnlyHeader: header Header 1
Nothing:

KeyValue: key bytes 1, create_revision int64 2, mod_revision int64 3, version int64 4, value bytes 5, lease int64 6
= EventType: PUT DELETE
Event: type EventType 1, kv KeyValue 2, prev_kv KeyValue 3

= SortOrder: NONE ASCEND DESCEND
= SortTarget: KEY VERSION CREATE MOD VALUE
RangeRequest: key bytes 1, range_end bytes 2, limit int64 3, revision int64 4, sort_order SortOrder 5, sort_target SortTarget 6, serializable bool 7, keys_only bool 8, count_only bool 9, min_mod_revision int64 10, max_mod_revision int64 11, min_create_revision int64 12, max_create_revision int64 13
RangeResponse: header Header 1, kvs* KeyValue 2, more bool 3, count int64 4
RangeStreamResponse: range_response RangeResponse 1
PutRequest: key bytes 1, value bytes 2, lease int64 3, prev_kv bool 4, ignore_value bool 5, ignore_lease bool 6
PutResponse: header Header 1, prev_kv KeyValue 2
DeleteRangeRequest: key bytes 1, range_end bytes 2, prev_kv bool 3
DeleteRangeResponse: header Header 1, deleted int64 2, prev_kvs* KeyValue 3
RequestOp: request_range RangeRequest 1, request_put PutRequest 2, request_delete_range DeleteRangeRequest 3, request_txn TxnRequest 4
ResponseOp: response_range RangeResponse 1, response_put PutResponse 2, response_delete_range DeleteRangeResponse 3, response_txn TxnResponse 4
= CompareResult: EQUAL GREATER LESS NOT_EQUAL
= CompareTarget: VERSION CREATE MOD VALUE LEASE
Compare: result CompareResult 1, target CompareTarget 2, key bytes 3, version int64 4, create_revision int64 5, mod_revision int64 6, value bytes 7, lease int64 8, range_end bytes 64
TxnRequest: compare* Compare 1, success* RequestOp 2, failure* RequestOp 3
TxnResponse: header Header 1, succeeded bool 2, responses* ResponseOp 3
CompactionRequest: revision int64 1, physical bool 2

= FilterType: NOPUT NODELETE
WatchCreateRequest: key bytes 1, range_end bytes 2, start_revision int64 3, progress_notify bool 4, filters* FilterType 5, prev_kv bool 6, watch_id int64 7, fragment bool 8
WatchRequest: create_request WatchCreateRequest 1
WatchResponse: header Header 1, watch_id int64 2, created bool 3, canceled bool 4, compact_revision int64 5, cancel_reason string 6, fragment bool 7, events* Event 11

LeaseGrantRequest: TTL int64 1, ID int64 2
LeaseGrantResponse: header Header 1, ID int64 2, TTL int64 3, error string 4
LeaseRequest: ID int64 1
LeaseKeepAliveResponse: header Header 1, ID int64 2, TTL int64 3
LeaseTimeToLiveRequest: ID int64 1, keys bool 2
LeaseTimeToLiveResponse: header Header 1, ID int64 2, TTL int64 3, grantedTTL int64 4, keys* bytes 5
LeaseStatus: ID int64 1
LeaseLeasesResponse: header Header 1, leases* LeaseStatus 2

Member: ID uint64 1, name string 2, peerURLs* string 3, clientURLs* string 4, isLearner bool 5
MemberAddRequest: peerURLs* string 1, isLearner bool 2
MemberAddResponse: header Header 1, member Member 2, members* Member 3
MemberRequest: ID uint64 1
MemberUpdateRequest: ID uint64 1, peerURLs* string 2
MemberListRequest: linearizable bool 1
MembersResponse: header Header 1, members* Member 2

= AlarmAction: GET ACTIVATE DEACTIVATE
= AlarmType: NONE NOSPACE CORRUPT
AlarmRequest: action AlarmAction 1, memberID uint64 2, alarm AlarmType 3
AlarmMember: memberID uint64 1, alarm AlarmType 2
AlarmResponse: header Header 1, alarms* AlarmMember 2
DowngradeInfo: enabled bool 1, targetVersion string 2
StatusResponse: header Header 1, version string 2, dbSize int64 3, leader uint64 4, raftIndex uint64 5, raftTerm uint64 6, raftAppliedIndex uint64 7, errors* string 8, dbSizeInUse int64 9, isLearner bool 10, storageVersion string 11, dbSizeQuota int64 12, downgradeInfo DowngradeInfo 13
HashResponse: header Header 1, hash uint32 2
HashKVRequest: revision int64 1
HashKVResponse: header Header 1, hash uint32 2, compact_revision int64 3, hash_revision int64 4
SnapshotResponse: header Header 1, remaining_bytes uint64 2, blob bytes 3, version string 4
MoveLeaderRequest: targetID uint64 1
= DowngradeAction: VALIDATE ENABLE CANCEL
DowngradeRequest: action DowngradeAction 1, version string 2
DowngradeResponse: header Header 1, version string 2

AuthStatusResponse: header Header 1, enabled bool 2, authRevision uint64 3
AuthenticateRequest: name string 1, password string 2
AuthenticateResponse: header Header 1, token string 2
UserAddOptions: no_password bool 1
UserAddRequest: name string 1, password string 2, options UserAddOptions 3, hashedPassword string 4
NameRequest: name string 1
UserGetResponse: header Header 1, roles* string 2
UserListResponse: header Header 1, users* string 2
UserChangePasswordRequest: name string 1, password string 2, hashedPassword string 3
UserGrantRoleRequest: user string 1, role string 2
UserRevokeRoleRequest: name string 1, role string 2
RoleRequest: role string 1
= PermissionType: READ WRITE READWRITE
Permission: permType PermissionType 1, key bytes 2, range_end bytes 3
RoleGetResponse: header Header 1, perm* Permission 2
RoleListResponse: header Header 1, roles* string 2
RoleGrantPermissionRequest: name string 1, perm Permission 2
RoleRevokePermissionRequest: role string 1, key bytes 2, range_end bytes 3

LockRequest: name bytes 1, lease int64 2
LockResponse: header Header 1, key bytes 2
UnlockRequest: key bytes 1
LeaderKey: name bytes 1, key bytes 2, rev int64 3, lease int64 4
CampaignRequest: name bytes 1, lease int64 2, value bytes 3
CampaignResponse: header Header 1, leader LeaderKey 2
ProclaimRequest: leader LeaderKey 1, value bytes 2
ResignRequest: leader LeaderKey 1
LeaderRequest: name bytes 1
LeaderResponse: header Header 1, kv KeyValue 2

HealthRequest: service string 1
= ServingStatus: UNKNOWN SERVING NOT_SERVING SERVICE_UNKNOWN
HealthResponse: status ServingStatus 1
";

/// A call: its path for gRPC, that of the gateway if it has one, and its two messages.
#[derive(Debug)]
pub struct Rpc {
    pub path: &'static str,
    /// Empty if there is none.
    pub gateway: &'static str,
    pub request: &'static str,
    pub answer: &'static str,
}

macro_rules! rpcs {
    ($($name:ident: $path:literal $gateway:literal $request:literal $answer:literal,)*) => {
        $(pub static $name: Rpc = Rpc {
            path: $path,
            gateway: $gateway,
            request: $request,
            answer: $answer,
        };)*
        /// All of them.
        pub static ALL: &[&Rpc] = &[$(&$name),*];
    };
}

rpcs! {
    RANGE: "/etcdserverpb.KV/Range" "/v3/kv/range" "RangeRequest" "RangeResponse",
    RANGE_STREAM: "/etcdserverpb.KV/RangeStream" "" "RangeRequest" "RangeStreamResponse",
    PUT: "/etcdserverpb.KV/Put" "/v3/kv/put" "PutRequest" "PutResponse",
    DELETE_RANGE: "/etcdserverpb.KV/DeleteRange" "/v3/kv/deleterange" "DeleteRangeRequest" "DeleteRangeResponse",
    TXN: "/etcdserverpb.KV/Txn" "/v3/kv/txn" "TxnRequest" "TxnResponse",
    COMPACT: "/etcdserverpb.KV/Compact" "/v3/kv/compaction" "CompactionRequest" "OnlyHeader",
    WATCH: "/etcdserverpb.Watch/Watch" "/v3/watch" "WatchRequest" "WatchResponse",
    GRANT: "/etcdserverpb.Lease/LeaseGrant" "/v3/lease/grant" "LeaseGrantRequest" "LeaseGrantResponse",
    REVOKE: "/etcdserverpb.Lease/LeaseRevoke" "/v3/lease/revoke" "LeaseRequest" "OnlyHeader",
    KEEP_ALIVE: "/etcdserverpb.Lease/LeaseKeepAlive" "/v3/lease/keepalive" "LeaseRequest" "LeaseKeepAliveResponse",
    TIME_TO_LIVE: "/etcdserverpb.Lease/LeaseTimeToLive" "/v3/kv/lease/timetolive" "LeaseTimeToLiveRequest" "LeaseTimeToLiveResponse",
    LIST_LEASES: "/etcdserverpb.Lease/LeaseLeases" "/v3/lease/leases" "Nothing" "LeaseLeasesResponse",
    MEMBER_ADD: "/etcdserverpb.Cluster/MemberAdd" "/v3/cluster/member/add" "MemberAddRequest" "MemberAddResponse",
    MEMBER_REMOVE: "/etcdserverpb.Cluster/MemberRemove" "/v3/cluster/member/remove" "MemberRequest" "MembersResponse",
    MEMBER_UPDATE: "/etcdserverpb.Cluster/MemberUpdate" "/v3/cluster/member/update" "MemberUpdateRequest" "MembersResponse",
    MEMBER_LIST: "/etcdserverpb.Cluster/MemberList" "/v3/cluster/member/list" "MemberListRequest" "MembersResponse",
    MEMBER_PROMOTE: "/etcdserverpb.Cluster/MemberPromote" "/v3/cluster/member/promote" "MemberRequest" "MembersResponse",
    ALARM: "/etcdserverpb.Maintenance/Alarm" "/v3/maintenance/alarm" "AlarmRequest" "AlarmResponse",
    STATUS: "/etcdserverpb.Maintenance/Status" "/v3/maintenance/status" "Nothing" "StatusResponse",
    DEFRAGMENT: "/etcdserverpb.Maintenance/Defragment" "/v3/maintenance/defragment" "Nothing" "OnlyHeader",
    HASH: "/etcdserverpb.Maintenance/Hash" "/v3/maintenance/hash" "Nothing" "HashResponse",
    HASH_KV: "/etcdserverpb.Maintenance/HashKV" "/v3/maintenance/hashkv" "HashKVRequest" "HashKVResponse",
    SNAPSHOT: "/etcdserverpb.Maintenance/Snapshot" "/v3/maintenance/snapshot" "Nothing" "SnapshotResponse",
    MOVE_LEADER: "/etcdserverpb.Maintenance/MoveLeader" "/v3/maintenance/transfer-leadership" "MoveLeaderRequest" "OnlyHeader",
    DOWNGRADE: "/etcdserverpb.Maintenance/Downgrade" "/v3/maintenance/downgrade" "DowngradeRequest" "DowngradeResponse",
    AUTH_ENABLE: "/etcdserverpb.Auth/AuthEnable" "/v3/auth/enable" "Nothing" "OnlyHeader",
    AUTH_DISABLE: "/etcdserverpb.Auth/AuthDisable" "/v3/auth/disable" "Nothing" "OnlyHeader",
    AUTH_STATUS: "/etcdserverpb.Auth/AuthStatus" "/v3/auth/status" "Nothing" "AuthStatusResponse",
    AUTHENTICATE: "/etcdserverpb.Auth/Authenticate" "/v3/auth/authenticate" "AuthenticateRequest" "AuthenticateResponse",
    USER_ADD: "/etcdserverpb.Auth/UserAdd" "/v3/auth/user/add" "UserAddRequest" "OnlyHeader",
    USER_GET: "/etcdserverpb.Auth/UserGet" "/v3/auth/user/get" "NameRequest" "UserGetResponse",
    USER_LIST: "/etcdserverpb.Auth/UserList" "/v3/auth/user/list" "Nothing" "UserListResponse",
    USER_DELETE: "/etcdserverpb.Auth/UserDelete" "/v3/auth/user/delete" "NameRequest" "OnlyHeader",
    USER_CHANGE_PASSWORD: "/etcdserverpb.Auth/UserChangePassword" "/v3/auth/user/changepw" "UserChangePasswordRequest" "OnlyHeader",
    USER_GRANT_ROLE: "/etcdserverpb.Auth/UserGrantRole" "/v3/auth/user/grant" "UserGrantRoleRequest" "OnlyHeader",
    USER_REVOKE_ROLE: "/etcdserverpb.Auth/UserRevokeRole" "/v3/auth/user/revoke" "UserRevokeRoleRequest" "OnlyHeader",
    ROLE_ADD: "/etcdserverpb.Auth/RoleAdd" "/v3/auth/role/add" "NameRequest" "OnlyHeader",
    ROLE_GET: "/etcdserverpb.Auth/RoleGet" "/v3/auth/role/get" "RoleRequest" "RoleGetResponse",
    ROLE_LIST: "/etcdserverpb.Auth/RoleList" "/v3/auth/role/list" "Nothing" "RoleListResponse",
    ROLE_DELETE: "/etcdserverpb.Auth/RoleDelete" "/v3/auth/role/delete" "RoleRequest" "OnlyHeader",
    ROLE_GRANT_PERMISSION: "/etcdserverpb.Auth/RoleGrantPermission" "/v3/auth/role/grant" "RoleGrantPermissionRequest" "OnlyHeader",
    ROLE_REVOKE_PERMISSION: "/etcdserverpb.Auth/RoleRevokePermission" "/v3/auth/role/revoke" "RoleRevokePermissionRequest" "OnlyHeader",
    LOCK: "/v3lockpb.Lock/Lock" "/v3/lock/lock" "LockRequest" "LockResponse",
    UNLOCK: "/v3lockpb.Lock/Unlock" "/v3/lock/unlock" "UnlockRequest" "OnlyHeader",
    CAMPAIGN: "/v3electionpb.Election/Campaign" "/v3/election/campaign" "CampaignRequest" "CampaignResponse",
    PROCLAIM: "/v3electionpb.Election/Proclaim" "/v3/election/proclaim" "ProclaimRequest" "OnlyHeader",
    LEADER: "/v3electionpb.Election/Leader" "/v3/election/leader" "LeaderRequest" "LeaderResponse",
    OBSERVE: "/v3electionpb.Election/Observe" "/v3/election/observe" "LeaderRequest" "LeaderResponse",
    RESIGN: "/v3electionpb.Election/Resign" "/v3/election/resign" "ResignRequest" "OnlyHeader",
    HEALTH: "/grpc.health.v1.Health/Check" "" "HealthRequest" "HealthResponse",
}

impl Rpc {
    /// Its name, without that of the service.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bytes,
    String,
    Bool,
    /// 64 bits, which JSON writes as text.
    Int64,
    Uint64,
    Uint32,
    Enum(&'static str),
    Message(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub number: u32,
    pub kind: Kind,
    pub is_list: bool,
}

/// The text, read.
pub struct Schema {
    messages: HashMap<&'static str, Vec<Field>>,
    enums: HashMap<&'static str, Vec<&'static str>>,
}

impl Schema {
    pub fn get() -> &'static Schema {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::read);
        &SCHEMA
    }

    pub fn fields(&self, message: &str) -> &[Field] {
        self.messages.get(message).unwrap_or_else(|| panic!("no message {message}"))
    }

    pub fn values(&self, name: &str) -> &[&'static str] {
        &self.enums[name]
    }

    fn read() -> Schema {
        let lines = || TEXT.lines().filter_map(|line| line.split_once(':')).map(|(name, rest)| (name, rest.trim()));
        let enums = lines().filter_map(|(name, rest)| Some((name.strip_prefix("= ")?, rest.split(' ').collect())));
        let mut schema = Schema { enums: enums.collect(), messages: HashMap::new() };
        for (name, rest) in lines().filter(|(name, _)| !name.starts_with('=')) {
            let fields = rest.split(", ").filter(|field| !field.is_empty()).map(|field| schema.field(field));
            let fields = fields.collect();
            schema.messages.insert(name, fields);
        }
        schema
    }

    fn field(&self, text: &'static str) -> Field {
        let [name, kind, number] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("a field: {text}") };
        let kind = match kind {
            "bytes" => Kind::Bytes,
            "string" => Kind::String,
            "bool" => Kind::Bool,
            "int64" => Kind::Int64,
            "uint64" => Kind::Uint64,
            "uint32" => Kind::Uint32,
            name if self.enums.contains_key(name) => Kind::Enum(name),
            name => Kind::Message(name),
        };
        let number = number.parse().unwrap_or_else(|_| panic!("a number: {text}"));
        Field { name: name.trim_end_matches('*'), number, kind, is_list: name.ends_with('*') }
    }
}
