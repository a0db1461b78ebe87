//! Users, roles, passwords and tokens.

use serde_json::{Value, json};

use super::super::super::compare::STABLE_LEN_MAX;
use super::super::codec::base64;
use super::*;

pub(super) const USERS: [&str; 4] = ["root", "ann", "bob", "cy"];
pub(super) const ROLES: [&str; 4] = ["root", "r1", "r2", "r3"];
const PASSWORDS: [&str; 4] = ["p", "another", "", "with\u{0}nothing"];
/// Longer than what bcrypt looks at.
const TOO_LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012";
/// Permissions of one role: etcd's order of those with one key is free beyond so many (`compare::STABLE_LEN_MAX`), and with
/// it which of them the next grant finds.
const GRANTS_LEN_MAX: u64 = STABLE_LEN_MAX as u64 - 1;
/// How often a step of founding is left out, so that what rests on it is refused.
const LEFT_OUT_ONE_IN: u64 = 12;

impl Generator {
    pub(super) fn auth_call(&mut self) -> Call {
        match self.below(54) {
            0..4 => self.call(&AUTH_STATUS, json!({})),
            4..6 => self.call(&AUTH_ENABLE, json!({})),
            6 => self.call(&AUTH_DISABLE, json!({})),
            7..13 => {
                let user = self.user();
                self.authenticate(&user)
            }
            13..17 => self.user_add(),
            17..20 => {
                let user = self.user();
                self.call(&USER_GET, json!({"name": user}))
            }
            20 => self.call(&USER_LIST, json!({})),
            21..23 => {
                let user = self.user();
                self.call(&USER_DELETE, json!({"name": user}))
            }
            23..26 => self.change_password(),
            26..30 => {
                let (user, role) = (self.user(), self.role());
                self.call(&USER_GRANT_ROLE, json!({"user": user, "role": role}))
            }
            30..32 => {
                let (user, role) = (self.user(), self.role());
                self.call(&USER_REVOKE_ROLE, json!({"name": user, "role": role}))
            }
            32..35 => {
                let role = if self.one_in(8) { String::new() } else { self.role() };
                self.call(&ROLE_ADD, json!({"name": role}))
            }
            35..39 => {
                let role = self.role();
                self.call(&ROLE_GET, json!({"role": role}))
            }
            39 => self.call(&ROLE_LIST, json!({})),
            40 => {
                let role = self.role();
                self.call(&ROLE_DELETE, json!({"role": role}))
            }
            41..50 => {
                let (role, permission) = (self.role(), self.permission());
                let request =
                    if self.one_in(12) { json!({"name": role}) } else { json!({"name": role, "perm": permission}) };
                self.call(&ROLE_GRANT_PERMISSION, request)
            }
            _ => {
                let (role, permission) = (self.role(), self.permission());
                let (key, range_end) = (&permission["key"], &permission["range_end"]);
                self.call(&ROLE_REVOKE_PERMISSION, json!({"role": role, "key": key, "range_end": range_end}))
            }
        }
    }

    /// Queues what makes auth useful, and enables it; some of it may be there, and some is left out.
    pub(super) fn found_users(&mut self) -> Step {
        let permission = |kind: &str, key: &[u8], end: &[u8]| json!({"permType": kind, "key": base64(key), "range_end": base64(end)});
        let steps: [(&'static Rpc, Value); 17] = [
            (&USER_ADD, json!({"name": "root", "password": "p"})),
            (&USER_GRANT_ROLE, json!({"user": "root", "role": "root"})),
            (&USER_ADD, json!({"name": "ann", "password": "p"})),
            (&USER_ADD, json!({"name": "bob", "password": "p"})),
            (&USER_ADD, json!({"name": "cy", "options": {"no_password": true}})),
            (&ROLE_ADD, json!({"name": "r1"})),
            (&ROLE_ADD, json!({"name": "r2"})),
            (&ROLE_ADD, json!({"name": "r3"})),
            (&ROLE_GRANT_PERMISSION, json!({"name": "r1", "perm": permission("READWRITE", b"a", b"b")})),
            (&ROLE_GRANT_PERMISSION, json!({"name": "r2", "perm": permission("READ", b"\0", b"\0")})),
            (&ROLE_GRANT_PERMISSION, json!({"name": "r2", "perm": permission("WRITE", b"b", b"")})),
            (&ROLE_GRANT_PERMISSION, json!({"name": "r3", "perm": permission("READWRITE", b"m/", b"n0")})),
            (&USER_GRANT_ROLE, json!({"user": "ann", "role": "r1"})),
            (&USER_GRANT_ROLE, json!({"user": "ann", "role": "r3"})),
            (&USER_GRANT_ROLE, json!({"user": "bob", "role": "r2"})),
            (&AUTH_ENABLE, json!({})),
            (&AUTH_STATUS, json!({})),
        ];
        if self.one_in(3) {
            // Without the one who may do everything.
            let steps: [(&'static Rpc, Value); 4] = [
                (&USER_DELETE, json!({"name": "root"})),
                (&AUTH_ENABLE, json!({})),
                (&USER_ADD, json!({"name": "root", "password": "p"})),
                (&AUTH_ENABLE, json!({})),
            ];
            for (rpc, request) in steps {
                let call = self.call(rpc, request);
                self.queue(call);
            }
        }
        for (rpc, request) in steps {
            if !self.one_in(LEFT_OUT_ONE_IN) {
                let call = self.call(rpc, request);
                self.queue(call);
            }
        }
        for user in ["root", "ann", "bob", "cy"] {
            let call = self.authenticate(user);
            self.queue(call);
        }
        self.queued.pop_front().expect("the last ones are always there")
    }

    /// Mostly with the right password, if the user has one by now.
    pub(super) fn authenticate(&mut self, user: &str) -> Call {
        let known = self.passwords.get(user).cloned().unwrap_or_else(|| "p".to_owned());
        let password = if user != "root" && self.one_in(6) { self.pick(&PASSWORDS).to_owned() } else { known };
        let caller = if self.one_in(4) { self.caller() } else { Caller::Nobody };
        Call { caller, metadata: &[], ..self.call(&AUTHENTICATE, json!({"name": user, "password": password})) }
    }

    pub(super) fn learn_of_users(&mut self, call: &Call) {
        let (request, name) = (call.request(), call.request()["name"].as_str().unwrap_or_default().to_owned());
        if call.is(&AUTHENTICATE) {
            let token = format!("@token{}", self.tokens_made);
            self.tokens_made += 1;
            self.tokens.push_back(token.clone());
            if self.tokens.len() > TOKENS_LEN_MAX {
                self.tokens.pop_front();
            }
            self.good.insert(name, token);
            return;
        }
        if call.is(&AUTH_ENABLE) {
            self.auth_is_on = true;
            return;
        }
        let changes: [&Rpc; 10] = [
            &AUTH_DISABLE,
            &USER_ADD,
            &USER_DELETE,
            &USER_CHANGE_PASSWORD,
            &USER_GRANT_ROLE,
            &USER_REVOKE_ROLE,
            &ROLE_ADD,
            &ROLE_DELETE,
            &ROLE_GRANT_PERMISSION,
            &ROLE_REVOKE_PERMISSION,
        ];
        if !changes.iter().any(|change| call.is(change)) {
            return;
        }
        // Signed tokens are of a revision of users and roles.
        if self.tokens_are == Tokens::Signed {
            self.good.clear();
        }
        if call.is(&AUTH_DISABLE) {
            self.auth_is_on = false;
            self.good.clear();
        }
        if call.is(&USER_ADD) || call.is(&USER_CHANGE_PASSWORD) {
            let password = request["password"].as_str().unwrap_or_default().to_owned();
            self.passwords.insert(name.clone(), password);
        }
        if call.is(&USER_DELETE) {
            self.passwords.remove(&name);
        }
        if call.is(&ROLE_DELETE) {
            self.grants.remove(request["role"].as_str().unwrap_or_default());
        }
        if call.is(&ROLE_GRANT_PERMISSION) {
            self.learn_of_grant(&name);
        }
        if call.is(&USER_DELETE) || call.is(&USER_CHANGE_PASSWORD) {
            self.good.remove(&name);
        }
    }

    /// A role that may have many permissions by now is made anew. Those of `root` are told to nobody.
    fn learn_of_grant(&mut self, role: &str) {
        let grants = self.grants.entry(role.to_owned()).or_default();
        *grants += 1;
        if *grants < GRANTS_LEN_MAX || role == "root" {
            return;
        }
        for (rpc, request) in [(&ROLE_DELETE, json!({"role": role})), (&ROLE_ADD, json!({"name": role}))] {
            self.plan_log_in();
            let call = self.as_root(rpc, request);
            self.queue(call);
        }
    }

    fn user_add(&mut self) -> Call {
        let user = self.user();
        let password = if self.one_in(12) { TOO_LONG } else { self.pick(&PASSWORDS) };
        let request = match self.below(6) {
            _ if user == "root" => json!({"name": user, "password": "p"}),
            0 => json!({"name": user, "options": {"no_password": true}}),
            1 => json!({"name": user, "password": password, "hashedPassword": "bm8gaGFzaA=="}),
            2 => json!({"name": user, "password": password, "options": {}}),
            _ => json!({"name": user, "password": password}),
        };
        self.call(&USER_ADD, request)
    }

    fn change_password(&mut self) -> Call {
        let user = self.user();
        let password = if self.one_in(8) { TOO_LONG } else { self.pick(&PASSWORDS) };
        let request = match self.below(6) {
            _ if user == "root" => json!({"name": user, "password": self.pick(&["p", "another"])}),
            0 => json!({"name": user, "hashedPassword": "no base64!"}),
            1 => json!({"name": user, "hashedPassword": "bm8gaGFzaA=="}),
            _ => json!({"name": user, "password": password}),
        };
        self.call(&USER_CHANGE_PASSWORD, request)
    }

    fn user(&mut self) -> String {
        let user = if self.one_in(15) { self.pick(&["", "nobody"]) } else { self.pick(&USERS) };
        user.to_owned()
    }

    fn role(&mut self) -> String {
        let role = if self.one_in(10) { self.pick(&["", "none"]) } else { self.pick(&ROLES) };
        role.to_owned()
    }

    fn permission(&mut self) -> Value {
        let kind = self.pick(&["READ", "WRITE", "READWRITE", "READWRITE"]);
        let ranges: [(&[u8], &[u8]); 13] = [
            (b"a", b"b"),
            (b"a", b""),
            (b"a/", b"a0"),
            (b"a/1", b"a/3"),
            (b"a/2", b"c"),
            (b"b", b""),
            (b"b", b"\0"),
            (b"\0", b"\0"),
            (b"m/", b"n0"),
            (b"n/", b"n0"),
            (b"b", b"a"),
            (b"b", b"b"),
            (b"", b"b"),
        ];
        let (key, end) = self.pick(&ranges);
        json!({"permType": kind, "key": base64(key), "range_end": base64(end)})
    }
}
