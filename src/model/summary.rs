//! What a request asks for, in one line for the log: keys, but never values, passwords or tokens.
//!
//! Source: etcd, `api/etcdserverpb/raft_internal_stringer.go`, whose layout this is.

use std::fmt::{self, Display, Formatter};

use super::{
    AuthChange, Command, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, LeaseId, Put, Range, RangeEnd,
    SortOrder, SortTarget, Txn, TxnOp,
};

/// Characters of a line at most: a txn may have thousands of keys.
const CHARS_MAX: usize = 4096;

impl Command {
    /// What it asks for, without what must not be told.
    #[must_use]
    pub fn summary(&self) -> String {
        cut(match self {
            Command::Put(put) => format!("put:<{}>", Shown(put)),
            Command::DeleteRange(delete) => format!("delete_range:{{{}}}", Shown(delete)),
            Command::Txn(txn) => format!("txn:<{}>", Shown(txn)),
            Command::Compact(compact) => format!("compaction:{{revision:{}}}", compact.revision.0),
            Command::LeaseGrant(grant) => format!("lease_grant:{{TTL:{} ID:{}}}", grant.ttl, grant.id.0),
            Command::LeaseRevoke(revoke) => format!("lease_revoke:{{ID:{}}}", revoke.id.0),
            Command::LeaseExpire(expire) => format!("lease_expire:{{leases:{}}}", expire.ids.len()),
            Command::LeaseCheckpoint(checkpoint) => {
                format!("lease_checkpoint:{{leases:{}}}", checkpoint.remaining.len())
            }
            Command::Alarm(_) => "alarm:{}".to_owned(),
            Command::Downgrade(_) => "downgrade_info_set:{}".to_owned(),
            Command::Auth(change) => format!("{}:{{}}", auth_name(change)),
            Command::Authenticate(given) => format!("authenticate:{{name:{:?}}}", given.user),
            Command::MemberSet(_) | Command::MembersFound(_) | Command::MemberAdd(_) | Command::MembersReduce(_) => {
                "cluster_member_set:{}".to_owned()
            }
            Command::MemberRemove(id) => format!("cluster_member_remove:{{ID:{id}}}"),
            Command::MemberUpdate(update) => format!("cluster_member_update:{{ID:{}}}", update.id),
            Command::MemberPromote(id) => format!("cluster_member_promote:{{ID:{id}}}"),
            Command::MemberAttributes(attributes) => {
                format!("cluster_member_attr_set:{{member_ID:{} name:{:?}}}", attributes.id, attributes.name)
            }
        })
    }
}

impl Put {
    /// What it asks for, without the value.
    #[must_use]
    pub fn summary(&self) -> String {
        cut(Shown(self).to_string())
    }
}

impl DeleteRange {
    /// What it asks for.
    #[must_use]
    pub fn summary(&self) -> String {
        cut(Shown(self).to_string())
    }
}

impl Range {
    /// What it asks for.
    #[must_use]
    pub fn summary(&self) -> String {
        cut(Shown(self).to_string())
    }
}

impl Txn {
    /// What it asks for, without values.
    #[must_use]
    pub fn summary(&self) -> String {
        cut(Shown(self).to_string())
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(CHARS_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn auth_name(change: &AuthChange) -> &'static str {
    match change {
        AuthChange::Enable => "auth_enable",
        AuthChange::Disable => "auth_disable",
        AuthChange::UserAdd { .. } => "auth_user_add",
        AuthChange::UserDelete { .. } => "auth_user_delete",
        AuthChange::UserChangePassword { .. } => "auth_user_change_password",
        AuthChange::UserGrantRole { .. } => "auth_user_grant_role",
        AuthChange::UserRevokeRole { .. } => "auth_user_revoke_role",
        AuthChange::RoleAdd { .. } => "auth_role_add",
        AuthChange::RoleDelete { .. } => "auth_role_delete",
        AuthChange::RoleGrantPermission { .. } => "auth_role_grant_permission",
        AuthChange::RoleRevokePermission { .. } => "auth_role_revoke_permission",
    }
}

/// A part of a request as it is shown.
struct Shown<'a, T>(&'a T);

/// Bytes between quotation marks.
struct Quoted<'a>(&'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for part in self.0.split(|&byte| byte == b'\'').enumerate() {
            match part {
                (0, part) => write!(f, "{}", part.escape_ascii())?,
                (_, part) => write!(f, "'{}", part.escape_ascii())?,
            }
        }
        f.write_str("\"")
    }
}

impl Display for Shown<'_, KeyRange> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let KeyRange { start, end } = self.0;
        write!(f, "key:{}", Quoted(start))?;
        match end {
            RangeEnd::Single => Ok(()),
            RangeEnd::Before(end) => write!(f, " range_end:{}", Quoted(end)),
            RangeEnd::Unbounded => write!(f, " range_end:{}", Quoted(&[0])),
        }
    }
}

impl Display for Shown<'_, Put> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Put { key, value, lease, prev_kv, ignore_value, ignore_lease } = self.0;
        write!(f, "key:{} ", Quoted(key))?;
        if !value.is_empty() {
            write!(f, "value_size:{} ", value.len())?;
        }
        if *lease != LeaseId::NONE {
            write!(f, "lease:{} ", lease.0)?;
        }
        for (flag, name) in [(prev_kv, "prev_kv"), (ignore_value, "ignore_value"), (ignore_lease, "ignore_lease")] {
            if *flag {
                write!(f, "{name}:true ")?;
            }
        }
        Ok(())
    }
}

impl Display for Shown<'_, DeleteRange> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let DeleteRange { keys, prev_kv } = self.0;
        write!(f, "{}{}", Shown(keys), if *prev_kv { " prev_kv:true" } else { "" })
    }
}

impl Display for Shown<'_, Range> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let range = self.0;
        write!(f, "{}", Shown(&range.keys))?;
        for (name, number) in [("limit", range.limit), ("revision", range.revision)] {
            if number != 0 {
                write!(f, " {name}:{number}")?;
            }
        }
        match range.sort_order {
            SortOrder::None => {}
            SortOrder::Ascend => f.write_str(" sort_order:ASCEND")?,
            SortOrder::Descend => f.write_str(" sort_order:DESCEND")?,
        }
        match range.sort_target {
            SortTarget::Key => {}
            SortTarget::Version => f.write_str(" sort_target:VERSION")?,
            SortTarget::Create => f.write_str(" sort_target:CREATE")?,
            SortTarget::Mod => f.write_str(" sort_target:MOD")?,
            SortTarget::Value => f.write_str(" sort_target:VALUE")?,
        }
        for (name, flag) in
            [("serializable", range.serializable), ("keys_only", range.keys_only), ("count_only", range.count_only)]
        {
            if flag {
                write!(f, " {name}:true")?;
            }
        }
        for (name, number) in [
            ("min_mod_revision", range.min_mod_revision),
            ("max_mod_revision", range.max_mod_revision),
            ("min_create_revision", range.min_create_revision),
            ("max_create_revision", range.max_create_revision),
        ] {
            if number != 0 {
                write!(f, " {name}:{number}")?;
            }
        }
        Ok(())
    }
}

impl Display for Shown<'_, Txn> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Txn { compare, success, failure } = self.0;
        f.write_str("compare:<")?;
        all(f, compare)?;
        f.write_str("> success:<")?;
        all(f, success)?;
        f.write_str("> failure:<")?;
        all(f, failure)?;
        f.write_str(">")
    }
}

/// Parts with blanks between them.
fn all<'a, T>(f: &mut Formatter<'_>, parts: &'a [T]) -> fmt::Result
where
    Shown<'a, T>: Display,
{
    for (place, part) in parts.iter().enumerate() {
        write!(f, "{}{}", if place == 0 { "" } else { " " }, Shown(part))?;
    }
    Ok(())
}

impl Display for Shown<'_, TxnOp> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            TxnOp::Range(range) => write!(f, "request_range:{{{}}}", Shown(range)),
            TxnOp::Put(put) => write!(f, "request_put:<{}>", Shown(put)),
            TxnOp::DeleteRange(delete) => write!(f, "request_delete_range:{{{}}}", Shown(delete)),
            TxnOp::Txn(txn) => write!(f, "request_txn:<{}>", Shown(txn)),
        }
    }
}

impl Display for Shown<'_, Compare> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Compare { keys, result, target } = self.0;
        // What a message leaves out since it is the default is left out here.
        match result {
            CompareResult::Equal => {}
            CompareResult::Greater => f.write_str("result:GREATER ")?,
            CompareResult::Less => f.write_str("result:LESS ")?,
            CompareResult::NotEqual => f.write_str("result:NOT_EQUAL ")?,
            CompareResult::Unknown => f.write_str("result:UNKNOWN ")?,
        }
        match target {
            CompareTarget::Version(_) => {}
            CompareTarget::Create(_) => f.write_str("target:CREATE ")?,
            CompareTarget::Mod(_) => f.write_str("target:MOD ")?,
            CompareTarget::Value(_) => f.write_str("target:VALUE ")?,
            CompareTarget::Lease(_) => f.write_str("target:LEASE ")?,
            CompareTarget::Unknown => f.write_str("target:UNKNOWN ")?,
        }
        write!(f, "{} ", Shown(keys))?;
        match target {
            CompareTarget::Version(number) => write!(f, "version:{number}"),
            CompareTarget::Create(number) => write!(f, "create_revision:{number}"),
            CompareTarget::Mod(number) => write!(f, "mod_revision:{number}"),
            CompareTarget::Value(value) => write!(f, "value_size:{}", value.len()),
            CompareTarget::Lease(lease) => write!(f, "lease:{lease}"),
            CompareTarget::Unknown => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: &'static str) -> Put {
        Put { key: "it's\n".into(), value: value.into(), lease: LeaseId(7), prev_kv: true, ..Put::default() }
    }

    #[test]
    fn values_are_never_told_but_their_sizes() {
        let keys = KeyRange::prefix("a\"b".into());
        let compare = |target| Compare { keys: keys.clone(), result: CompareResult::NotEqual, target };
        let txn = Txn {
            compare: vec![compare(CompareTarget::Value("SECRET".into())), compare(CompareTarget::Mod(4))],
            success: vec![TxnOp::Put(put("SECRET")), TxnOp::Range(Range { limit: 3, ..Range::of(keys.clone()) })],
            failure: vec![TxnOp::Txn(Txn { success: vec![TxnOp::Put(put("SECRET"))], ..Txn::default() })],
        };
        let text = Command::Txn(txn).summary();
        assert!(!text.contains("SECRET"), "{text}");
        let put = r#"request_put:<key:"it's\n" value_size:6 lease:7 prev_kv:true >"#;
        let range = r#"key:"a\"b" range_end:"a\"c""#;
        assert_eq!(
            text,
            format!(
                "txn:<compare:<result:NOT_EQUAL target:VALUE {range} value_size:6 result:NOT_EQUAL target:MOD {range} \
                 mod_revision:4> success:<{put} request_range:{{{range} limit:3}}> \
                 failure:<request_txn:<compare:<> success:<{put}> failure:<>>>>"
            )
        );
    }

    #[test]
    fn long_requests_are_cut() {
        let put = Put { key: vec![b'k'; 100_000].into(), ..Put::default() };
        let text = put.summary();
        assert!(text.ends_with("kkk...") && text.len() == CHARS_MAX + 3, "{}", text.len());
    }
}
