//! Golden scripts of auth: users, roles, what each refusal is, and who may do what.
//!
//! Keys are written as in the scripts of the key space: `a`, `a..c`, `a..`. A caller is `as=alice`, with the present
//! revision, or `as=alice@3`.

use super::*;
use crate::model::{Caller, Permission, PermissionKind, Role, User};
use crate::mvcc::testing::{Result, Words, run_scripts};

#[test]
fn scripts() {
    run_scripts("auth", Runner::default);
}

#[derive(Default)]
struct Runner {
    store: Store,
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _context: &goldenscript::Context) -> Result<String> {
        let mut words = Words::of(command);
        let store = &mut self.store;
        let line = match command.name.as_str() {
            "enable" => changed(store.enable()),
            "disable" => changed(Ok(store.disable())),
            "user_add" => {
                let name = words.word()?;
                let password = words.option("password").map(|password| password.into_bytes().into());
                changed(store.user_add(&name, password))
            }
            "user_delete" => changed(store.user_delete(&words.word()?)),
            "user_password" => {
                let name = words.word()?;
                changed(store.user_change_password(&name, words.option("hash").map(|hash| hash.into_bytes().into())))
            }
            "user_grant" => changed(store.user_grant_role(&words.word()?, &words.word()?)),
            "user_revoke" => changed(store.user_revoke_role(&words.word()?, &words.word()?)),
            "user_get" => shown(store.roles_of(&words.word()?).map(|roles| roles.join(" "))),
            "role_add" => changed(store.role_add(&words.word()?)),
            "role_delete" => changed(store.role_delete(&words.word()?)),
            "role_grant" => {
                let (role, kind) = (words.word()?, words.word()?);
                changed(store.role_grant_permission(&role, permission(&kind, &mut words)?))
            }
            "role_revoke" => {
                let role = words.word()?;
                let keys = words.keys()?;
                changed(store.role_revoke_permission(&role, &keys.start, &keys.range_end()))
            }
            "role_get" => shown(store.permissions_of(&words.word()?).map(|permissions| show_permissions(&permissions))),
            "state" => {
                let users: Vec<&str> = store.users().map(|user| user.name.as_str()).collect();
                let roles: Vec<&str> = store.roles().map(|role| role.name.as_str()).collect();
                format!(
                    "enabled={} revision={} users=[{}] roles=[{}]",
                    store.is_enabled(),
                    store.revision(),
                    users.join(" "),
                    roles.join(" ")
                )
            }
            "read" | "write" => {
                let access = if command.name == "read" { Access::Read } else { Access::Write };
                let keys = words.keys()?;
                let caller = caller(store, &mut words)?;
                allowed(store.check_range(caller.as_ref(), access, &keys.start, &keys.range_end()))
            }
            "rooted" => allowed(store.check_root(caller(store, &mut words)?.as_ref())),
            "authenticated" => allowed(store.check_authenticated(caller(store, &mut words)?.as_ref())),
            "unchanged" => allowed(store.check_unchanged(caller(store, &mut words)?.as_ref())),
            "may_see_user" => {
                let user = words.word()?;
                allowed(store.check_user_get(caller(store, &mut words)?.as_ref(), &user))
            }
            "may_see_role" => {
                let role = words.word()?;
                allowed(store.check_role_get(caller(store, &mut words)?.as_ref(), &role))
            }
            "authenticate" => allowed(store.check_authenticate(&words.word()?)),
            other => return Err(format!("no such command: {other}").into()),
        };
        words.end()?;
        Ok(line)
    }
}

fn caller(store: &Store, words: &mut Words) -> Result<Option<Caller>> {
    let Some(name) = words.option("as") else { return Ok(None) };
    Ok(Some(match name.split_once('@') {
        Some((name, revision)) => Caller { user: name.to_owned(), revision: revision.parse()? },
        None => Caller { user: name, revision: store.revision() },
    }))
}

fn permission(kind: &str, words: &mut Words) -> Result<Option<Permission>> {
    let kind = match kind {
        "none" => return Ok(None),
        "read" => PermissionKind::Read,
        "write" => PermissionKind::Write,
        "readwrite" => PermissionKind::ReadWrite,
        number => PermissionKind::from_number(number.parse()?),
    };
    let keys = words.keys()?;
    Ok(Some(Permission { kind, range_end: keys.range_end(), key: keys.start }))
}

fn changed(outcome: std::result::Result<Vec<Change>, Error>) -> String {
    match outcome {
        Ok(changes) if changes.is_empty() => "nothing to change".to_owned(),
        Ok(changes) => changes.iter().map(show_change).collect::<Vec<_>>().join("\n"),
        Err(error) => format!("error: {error}"),
    }
}

fn shown(outcome: std::result::Result<String, Error>) -> String {
    outcome.map_or_else(|error| format!("error: {error}"), |shown| format!("[{shown}]"))
}

fn allowed(outcome: std::result::Result<(), Error>) -> String {
    outcome.map_or_else(|error| format!("error: {error}"), |()| "allowed".to_owned())
}

fn show_change(change: &Change) -> String {
    match change {
        Change::PutUser(User { name, password, roles, no_password }) => {
            let password = if *no_password { "none".to_owned() } else { password.escape_ascii().to_string() };
            format!("put user {name} password={password} roles=[{}]", roles.join(" "))
        }
        Change::RemoveUser(name) => format!("remove user {name}"),
        Change::PutRole(Role { name, permissions }) => format!("put role {name} [{}]", show_permissions(permissions)),
        Change::RemoveRole(name) => format!("remove role {name}"),
        Change::Enabled(enabled) => format!("enabled={enabled}"),
        Change::Revision(revision) => format!("revision={revision}"),
        Change::EndTokens(Ended::Of(user)) => format!("end tokens of {user}"),
        Change::EndTokens(Ended::All) => "end all tokens".to_owned(),
    }
}

fn show_permissions(permissions: &[Permission]) -> String {
    let show = |Permission { kind, key, range_end }: &Permission| {
        let kind = match kind {
            PermissionKind::Read => "read".to_owned(),
            PermissionKind::Write => "write".to_owned(),
            PermissionKind::ReadWrite => "readwrite".to_owned(),
            PermissionKind::Unknown(number) => number.to_string(),
        };
        let key = key.escape_ascii();
        match range_end.as_ref() {
            [] => format!("{kind} {key}"),
            [0] => format!("{kind} {key}.."),
            end => format!("{kind} {key}..{}", end.escape_ascii()),
        }
    };
    permissions.iter().map(show).collect::<Vec<_>>().join(", ")
}
