//! Commands in words. Passwords, their hashes and the letters of tokens are not among them.

use super::Values;
use super::out::{Line, Told};
use crate::model::{
    Alarm, AlarmChange, AuthChange, Authenticate, Command, Compare, CompareResult, CompareTarget, KeyRange, LeaseId,
    Member, MemberId, Permission, PermissionKind, Put, Range, Request, Txn, TxnOp,
};
use crate::raft::Participants;

/// A command, and who asked for it.
pub(super) fn request(request: &Request, values: Values) -> Line {
    let line = command(&request.command, values);
    match &request.caller {
        Some(caller) => line.with("user", caller.user.clone()).with("auth_revision", caller.revision),
        None => line,
    }
}

fn command(command: &Command, values: Values) -> Line {
    match command {
        Command::Put(put) => put_line(put, values),
        Command::DeleteRange(delete) => keys(Line::new("delete"), &delete.keys),
        Command::Txn(txn) => txn_line(txn, values),
        Command::Compact(compact) => {
            Line::new("compact").with("revision", compact.revision.0).with("physical", compact.physical)
        }
        Command::LeaseGrant(grant) => Line::new("lease-grant").with("lease", lease(grant.id)).with("ttl", grant.ttl),
        Command::LeaseRevoke(revoke) => Line::new("lease-revoke").with("lease", lease(revoke.id)),
        Command::LeaseExpire(expire) => Line::new("lease-expire")
            .with("leases", expire.ids.iter().copied().map(lease).collect::<Vec<_>>())
            .with("seen_in_term", expire.term)
            .with("as_of", expire.as_of),
        Command::LeaseCheckpoint(checkpoint) => {
            let left = |&(id, seconds): &(LeaseId, i64)| {
                Told::Line(Line::new("left").with("lease", lease(id)).with("seconds", seconds))
            };
            Line::new("lease-checkpoint")
                .with("remaining", checkpoint.remaining.iter().map(left).collect::<Vec<_>>())
                .with("seen_in_term", checkpoint.term)
                .with("as_of", checkpoint.as_of)
        }
        Command::Alarm(AlarmChange::Raise(alarm)) => alarm_line("alarm-raise", *alarm),
        Command::Alarm(AlarmChange::Lower(alarm)) => alarm_line("alarm-lower", *alarm),
        Command::Downgrade(Some(target)) => Line::new("downgrade").with("to", target.to_string()),
        Command::Downgrade(None) => Line::new("downgrade-cancel"),
        Command::Auth(change) => auth(change),
        Command::Authenticate(Authenticate { user, .. }) => Line::new("authenticate").with("name", user.clone()),
        Command::MemberSet(member) => member_line("member-set", member),
        Command::MembersFound(members) => {
            let members: Vec<Told> = members.iter().map(|found| Told::Line(member_line("member", found))).collect();
            Line::new("members-found").with("members", members)
        }
        Command::MemberAdd(add) => member_line("member-add", &add.member),
        Command::MemberRemove(id) => Line::new("member-remove").with("id", member(*id)),
        Command::MemberUpdate(update) => {
            Line::new("member-update").with("id", member(update.id)).with("peer_urls", texts(&update.peer_urls))
        }
        Command::MemberPromote(id) => Line::new("member-promote").with("id", member(*id)),
        Command::MembersReduce(id) => Line::new("members-reduce").with("to", member(*id)),
        Command::MemberAttributes(told) => Line::new("member-attributes")
            .with("id", member(told.id))
            .with("name", told.name.clone())
            .with("client_urls", texts(&told.client_urls)),
    }
}

fn put_line(put: &Put, values: Values) -> Line {
    let line = Line::new("put").with("key", put.key.to_vec());
    let line = if put.ignore_value { line.with("keeps_value", true) } else { value(line, &put.value, values) };
    match (put.ignore_lease, put.lease.is_none()) {
        (true, _) => line.with("keeps_lease", true),
        (false, true) => line,
        (false, false) => line.with("lease", lease(put.lease)),
    }
}

fn txn_line(txn: &Txn, values: Values) -> Line {
    let ops = |ops: &[TxnOp]| ops.iter().map(|op| Told::Line(operation(op, values))).collect::<Vec<_>>();
    let compares: Vec<Told> = txn.compare.iter().map(|compare| Told::Line(compare_line(compare, values))).collect();
    Line::new("txn").with("if", compares).with("then", ops(&txn.success)).with("else", ops(&txn.failure))
}

fn operation(op: &TxnOp, values: Values) -> Line {
    match op {
        TxnOp::Range(Range { keys: range, revision, .. }) => {
            keys(Line::new("range"), range).with_some("revision", (*revision != 0).then_some(*revision))
        }
        TxnOp::Put(put) => put_line(put, values),
        TxnOp::DeleteRange(delete) => keys(Line::new("delete"), &delete.keys),
        TxnOp::Txn(txn) => txn_line(txn, values),
    }
}

fn compare_line(compare: &Compare, values: Values) -> Line {
    let result = match compare.result {
        CompareResult::Equal => "=",
        CompareResult::Greater => ">",
        CompareResult::Less => "<",
        CompareResult::NotEqual => "!=",
        CompareResult::Unknown => "?",
    };
    let line = keys(Line::new("compare"), &compare.keys);
    let number = |target: &'static str, number: i64| {
        line.clone().with("target", target).with("result", result).with("operand", number)
    };
    match &compare.target {
        CompareTarget::Version(operand) => number("version", *operand),
        CompareTarget::Create(operand) => number("create_revision", *operand),
        CompareTarget::Mod(operand) => number("mod_revision", *operand),
        CompareTarget::Lease(operand) => number("lease", *operand),
        CompareTarget::Value(operand) => value(line.with("target", "value").with("result", result), operand, values),
        CompareTarget::Unknown => line.with("target", "unknown"),
    }
}

fn auth(change: &AuthChange) -> Line {
    match change {
        AuthChange::Enable => Line::new("auth-enable"),
        AuthChange::Disable => Line::new("auth-disable"),
        AuthChange::UserAdd { name, password } => {
            Line::new("user-add").with("name", name.clone()).with("has_password", password.is_some())
        }
        AuthChange::UserDelete { name } => Line::new("user-delete").with("name", name.clone()),
        AuthChange::UserChangePassword { name, .. } => Line::new("user-passwd").with("name", name.clone()),
        AuthChange::UserGrantRole { user, role } => {
            Line::new("user-grant-role").with("name", user.clone()).with("role", role.clone())
        }
        AuthChange::UserRevokeRole { user, role } => {
            Line::new("user-revoke-role").with("name", user.clone()).with("role", role.clone())
        }
        AuthChange::RoleAdd { name } => Line::new("role-add").with("name", name.clone()),
        AuthChange::RoleDelete { name } => Line::new("role-delete").with("name", name.clone()),
        AuthChange::RoleGrantPermission { role, permission: granted } => Line::new("role-grant-permission")
            .with("name", role.clone())
            .with_some("permission", granted.as_ref().map(permission)),
        AuthChange::RoleRevokePermission { role, key, range_end } => Line::new("role-revoke-permission")
            .with("name", role.clone())
            .with("key", key.to_vec())
            .with_some("end", (!range_end.is_empty()).then(|| range_end.to_vec())),
    }
}

/// What a role permits.
pub(super) fn permission(permission: &Permission) -> Line {
    let kind = match permission.kind {
        PermissionKind::Read => "read",
        PermissionKind::Write => "write",
        PermissionKind::ReadWrite => "readwrite",
        PermissionKind::Unknown(_) => "unknown",
    };
    let range_end = (!permission.range_end.is_empty()).then(|| permission.range_end.to_vec());
    Line::new("permission").with("kind", kind).with("key", permission.key.to_vec()).with_some("end", range_end)
}

/// A member.
pub(super) fn member_line(what: &'static str, found: &Member) -> Line {
    Line::new(what)
        .with("id", member(found.id))
        .with("name", found.name.clone())
        .with("peer_urls", texts(&found.peer_urls))
        .with("client_urls", texts(&found.client_urls))
        .with("learner", found.is_learner)
}

/// Who votes (two lists while that changes), and who only listens.
pub(super) fn participants(who: &Participants) -> (Vec<Told>, Vec<Told>) {
    let ids = |ids: &std::collections::BTreeSet<MemberId>| ids.iter().copied().map(member).collect::<Vec<_>>();
    (who.voters.iter().map(|voters| Told::List(ids(voters))).collect(), ids(&who.learners))
}

/// A value, or how long it is.
pub(super) fn value(line: Line, value: &[u8], values: Values) -> Line {
    match values {
        Values::Shown => line.with("value", value.to_vec()),
        Values::Hidden => line.with("value_bytes", value.len()),
    }
}

pub(super) fn alarm_line(what: &'static str, Alarm { member: whose, kind }: Alarm) -> Line {
    Line::new(what).with("member", member(whose)).with("alarm", Told::Word(kind.to_string()))
}

/// A lease's id, as etcdctl writes it.
pub(super) fn lease(id: LeaseId) -> Told {
    Told::Id(id.0.cast_unsigned())
}

fn member(id: MemberId) -> Told {
    Told::Id(id.0)
}

fn keys(line: Line, range: &KeyRange) -> Line {
    let end = range.range_end();
    line.with("key", range.start.to_vec()).with_some("end", (!end.is_empty()).then(|| end.to_vec()))
}

/// Several texts.
pub(super) fn texts(texts: &[String]) -> Vec<Told> {
    texts.iter().cloned().map(Told::Text).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::PasswordHash;

    #[test]
    fn secrets_are_not_among_the_words() {
        let secret = PasswordHash(Bytes::from_static(b"$2a$10$secret"));
        let put =
            Put { key: Bytes::from_static(b"key"), value: Bytes::from_static(b"$2a$10$secret"), ..Put::default() };
        for asked in [
            Command::Auth(AuthChange::UserAdd { name: "ann".into(), password: Some(secret.clone()) }),
            Command::Auth(AuthChange::UserChangePassword { name: "ann".into(), password: Some(secret) }),
            Command::Authenticate(Authenticate { user: "ann".into(), prefix: "$2a$10$secret".into() }),
            Command::Put(put.clone()),
            Command::Txn(Txn { success: vec![TxnOp::Put(put.clone())], ..Txn::default() }),
        ] {
            let told = format!("{:?}", command(&asked, Values::Hidden));
            assert!(!told.contains("secret") && !told.contains(&format!("{:?}", b"$2a$10$secret")), "{told}");
        }
        let shown = command(&Command::Put(put), Values::Shown);
        assert_eq!(shown.fields[1], ("value", Told::Bytes(b"$2a$10$secret".to_vec())));
    }
}
