//! Auth against its reference model: random users, roles and permissions, which change all the time, and random requests by
//! random callers. Every answer must be the same, and what a change says is to be written must make the same store again.
//!
//! A failure prints the smallest steps that show it, and the seed: `SEED=n` runs that. `LODEMARK_AUTH_REQUESTS=n` asks so
//! often, from a fresh seed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use lodemark::auth::{Access, Change, Error, LeaseCall, Store};
use lodemark::lease::{Lease, Lessor};
use lodemark::model::{Caller, Command, LeaseId, Permission, PermissionKind, Role, User};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use crate::generate::{command, keys};
use crate::harness::number;
use crate::model::auth::{AuthModel, Manage};
use crate::pair::KEYS;

const REQUESTS: u64 = 20_000;
const STEPS_MAX: usize = 80;
/// About so many of the steps ask for something.
const REQUESTS_A_CASE: u64 = 20;

const USERS: &[&str] = &["root", "a", "b", "nobody", ""];
const ROLES: &[&str] = &["root", "r", "s", "t", ""];

#[derive(Debug, Clone)]
enum Step {
    Manage(Manage),
    Ask(Who, Command),
    AskLease(Who, LeaseId, bool),
    Look(Who, String, String),
    /// The store is made again from what was written.
    Load,
}

/// Nobody, or a user as of so many revisions ago; one that is negative is still to come.
type Who = Option<(String, i64)>;

#[test]
fn auth_does_what_the_model_promises() {
    let long = std::env::var("LODEMARK_AUTH_REQUESTS").is_ok();
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) if long => RandomState::new().hash_one(0),
        Err(_) => 1,
    };
    let cases = number("LODEMARK_AUTH_REQUESTS", REQUESTS).div_ceil(REQUESTS_A_CASE);
    let mut runner = TestRunner::new(Config {
        cases: u32::try_from(cases).expect("so many can be counted"),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    });
    let (allowed, denied) = (Cell::new(0u64), Cell::new(0u64));
    let outcome = runner.run(&vec(step(), 1..STEPS_MAX), |steps| {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.take(step));
        allowed.set(allowed.get() + pair.allowed);
        denied.set(denied.get() + pair.denied);
        Ok(())
    });
    match outcome {
        Ok(()) => println!("{} requests were allowed, {} refused, as the model says", allowed.get(), denied.get()),
        Err(TestError::Fail(why, steps)) => panic!("SEED={seed} fails: {why}\nsmallest steps: {steps:#?}"),
        Err(TestError::Abort(why)) => panic!("SEED={seed} was given up: {why}"),
    }
    assert!(allowed.get() > 0 && denied.get() > 0, "both were met");
}

/// The store with what it has written, and the model beside it.
struct Pair {
    store: Store,
    lessor: Lessor,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    model: AuthModel,
    allowed: u64,
    denied: u64,
}

impl Pair {
    /// Auth is enabled, and the leases 1 and 2 have keys.
    fn new() -> Pair {
        let mut pair = Pair {
            store: Store::new(),
            lessor: Lessor::default(),
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            model: AuthModel::default(),
            allowed: 0,
            denied: 0,
        };
        for (lease, keys) in [(1, &KEYS[..2]), (2, &KEYS[3..4])] {
            pair.lessor.grant(LeaseId(lease), Lease { ttl: 60, remaining: 0, granted_at: 1 });
            keys.iter().for_each(|key| pair.lessor.attach(LeaseId(lease), key));
            pair.model.leases.insert(lease, keys.iter().map(|key| key.to_vec()).collect());
        }
        let (root, user) = ("root".to_owned(), |name: &str| Manage::UserAdd { name: name.into(), no_password: false });
        for asked in [
            user("root"),
            Manage::UserGrant { name: root.clone(), role: root },
            Manage::Enable,
            user("a"),
            user("b"),
            Manage::RoleAdd("r".to_owned()),
            Manage::RoleAdd("s".to_owned()),
            Manage::UserGrant { name: "a".to_owned(), role: "r".to_owned() },
        ] {
            pair.take(&Step::Manage(asked));
        }
        pair
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Manage(asked) => {
                let changes = manage(&mut self.store, asked);
                assert_eq!(
                    changes.as_ref().map(|changes| !changes.is_empty()),
                    self.model.manage(asked).as_ref().copied()
                );
                changes.into_iter().flatten().for_each(|change| self.write(change));
                self.compare_rows();
            }
            Step::Ask(who, command) => {
                let caller = self.caller(who);
                let said = self.store.check(caller.as_ref(), command, |lease| self.lessor.each_key(lease));
                self.compare(said, self.model.judge(caller.as_ref(), command));
            }
            Step::AskLease(who, id, keep) => {
                let caller = self.caller(who);
                let (call, access) = match keep {
                    true => (LeaseCall::KeepAlive(*id), Access::Write),
                    false => (LeaseCall::TimeToLive { id: *id, keys: true }, Access::Read),
                };
                let said = self.store.check(caller.as_ref(), &call, |lease| self.lessor.each_key(lease));
                let expected = match caller.as_ref() {
                    _ if !self.model.enabled => Ok(()),
                    None => Err(Error::UserEmpty),
                    caller => self.model.keys_of(caller, access, id.0),
                };
                self.compare(said, expected);
            }
            Step::Look(who, user, role) => {
                let caller = self.caller(who);
                let name = caller.as_ref().map_or("", |caller| &caller.user);
                let root = if self.model.enabled { self.model.root(caller.as_ref()) } else { Ok(()) };
                let own = self.model.users.get(name).is_some_and(|roles| roles.contains(role));
                let said = self.store.check_user_get(caller.as_ref(), user);
                self.compare(said, if name == user { Ok(()) } else { root });
                let said = self.store.check_role_get(caller.as_ref(), role);
                self.compare(said, if own { Ok(()) } else { root });
            }
            Step::Load => {
                let (users, roles) = (self.users.values().cloned(), self.roles.values().cloned());
                self.store = Store::load(self.store.is_enabled(), self.store.revision(), users, roles);
            }
        }
    }

    fn caller(&self, who: &Who) -> Option<Caller> {
        let (user, ago) = who.clone()?;
        Some(Caller { user, revision: self.model.revision().saturating_add_signed(-ago) })
    }

    fn compare(&mut self, said: Result<(), Error>, expected: Result<(), Error>) {
        assert_eq!(said, expected);
        *(if said.is_ok() { &mut self.allowed } else { &mut self.denied }) += 1;
    }

    fn write(&mut self, change: Change) {
        match change {
            Change::PutUser(user) => drop(self.users.insert(user.name.clone(), user)),
            Change::RemoveUser(name) => drop(self.users.remove(&name).expect("only who is there is removed")),
            Change::PutRole(role) => drop(self.roles.insert(role.name.clone(), role)),
            Change::RemoveRole(name) => drop(self.roles.remove(&name).expect("only what is there is removed")),
            Change::Enabled(enabled) => assert_eq!(enabled, self.store.is_enabled()),
            Change::Revision(revision) => assert_eq!(revision, self.store.revision()),
            Change::EndTokens(_) => {}
        }
    }

    fn compare_rows(&self) {
        assert!(self.store.users().eq(self.users.values()) && self.store.roles().eq(self.roles.values()));
        assert_eq!((self.store.is_enabled(), self.store.revision()), (self.model.enabled, self.model.revision()));
        let of_user = |user: &User| (user.name.clone(), user.roles.iter().cloned().collect());
        assert!(self.store.users().map(of_user).eq(self.model.users.clone()));
        let of_role = |role: &Role| (role.name.clone(), role.permissions.clone());
        assert!(self.store.roles().map(of_role).eq(self.model.roles.clone()));
    }
}

fn manage(store: &mut Store, asked: &Manage) -> Result<Vec<Change>, Error> {
    let hash = || Bytes::from_static(b"hash");
    match asked {
        Manage::Enable => store.enable(),
        Manage::Disable => Ok(store.disable()),
        Manage::UserAdd { name, no_password } => store.user_add(name, (!no_password).then(hash)),
        Manage::UserDelete(name) => store.user_delete(name),
        Manage::UserPassword { name, readable } => store.user_change_password(name, readable.then(hash)),
        Manage::UserGrant { name, role } => store.user_grant_role(name, role),
        Manage::UserRevoke { name, role } => store.user_revoke_role(name, role),
        Manage::RoleAdd(name) => store.role_add(name),
        Manage::RoleDelete(name) => store.role_delete(name),
        Manage::RoleGrant { role, permission } => store.role_grant_permission(role, permission.clone()),
        Manage::RoleRevoke { role, permission: Permission { key, range_end, .. } } => {
            store.role_revoke_permission(role, key, range_end)
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let lease = (0..4i64).prop_map(LeaseId);
    prop_oneof![
        10 => manage_step().prop_map(Step::Manage),
        8 => (who(), command()).prop_map(|(who, command)| Step::Ask(who, command)),
        1 => (who(), lease, any::<bool>()).prop_map(|(who, lease, keep)| Step::AskLease(who, lease, keep)),
        1 => (who(), user(), role()).prop_map(|(who, user, role)| Step::Look(who, user, role)),
        1 => Just(Step::Load),
    ]
}

fn manage_step() -> impl Strategy<Value = Manage> {
    let given = proptest::option::weighted(0.95, permission());
    prop_oneof![
        2 => Just(Manage::Enable),
        1 => Just(Manage::Disable),
        4 => (user(), any::<bool>()).prop_map(|(name, no_password)| Manage::UserAdd { name, no_password }),
        1 => user().prop_map(Manage::UserDelete),
        1 => (user(), any::<bool>()).prop_map(|(name, readable)| Manage::UserPassword { name, readable }),
        8 => (user(), role()).prop_map(|(name, role)| Manage::UserGrant { name, role }),
        2 => (user(), role()).prop_map(|(name, role)| Manage::UserRevoke { name, role }),
        4 => role().prop_map(Manage::RoleAdd),
        1 => role().prop_map(Manage::RoleDelete),
        16 => (role(), given).prop_map(|(role, permission)| Manage::RoleGrant { role, permission }),
        2 => (role(), permission()).prop_map(|(role, permission)| Manage::RoleRevoke { role, permission }),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    let ago = prop_oneof![12 => Just(0), 1 => Just(1), 1 => Just(-1), 1 => Just(i64::MAX)];
    proptest::option::weighted(0.95, (select(&["a", "a", "b", "root", "nobody", ""][..]), ago))
        .prop_map(|who| who.map(|(name, ago)| (name.to_owned(), ago)))
}

fn permission() -> impl Strategy<Value = Permission> {
    let kind = select(&[0, 1, 2, 2, 7][..]).prop_map(PermissionKind::from_number);
    let empty = prop_oneof![30 => Just(false), 1 => Just(true)];
    (kind, keys(), empty).prop_map(|(kind, keys, empty)| Permission {
        kind,
        range_end: keys.range_end(),
        key: if empty { Bytes::new() } else { keys.start },
    })
}

fn user() -> impl Strategy<Value = String> {
    select(USERS).prop_map(str::to_owned)
}

fn role() -> impl Strategy<Value = String> {
    select(ROLES).prop_map(str::to_owned)
}
