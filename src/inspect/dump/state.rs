//! `lodemark dump state`: the checkpoint.

use std::path::Path;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::super::error::Error;
use super::super::folder::StoppedFolder;
use super::super::opened::open_state;
use super::Values;
use super::keys::{self, Found};
use super::out::{Line, Out, Told};
use super::words::{alarm_line, lease, member_line, participants, permission, texts, value};
use crate::env::Disk;
use crate::machine::{Machine, Shared};
use crate::model::{Alarm, Revision};
use crate::mvcc::ReadError;
use crate::node::STATE_FILE;
use crate::raft::read_membership;
use crate::storage::{AuthRow, SmallTables, Storage};

/// Newest pairs that are in memory while the keys are hashed; others are read when they are needed.
const VALUES_BYTES_MAX: usize = 64 << 20;

/// What is printed beside what is always.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Keys that begin with this, so many of them at most.
    pub(super) keys: Option<(String, u64)>,
    pub(super) values: Values,
    /// The hash of all keys.
    pub(super) hash: bool,
}

/// Prints what the checkpoint holds.
pub(super) fn dump(folder: &StoppedFolder, wanted: &Wanted, out: &mut Out) -> Result<(), Error> {
    let in_folder = |source| Error::Io { path: folder.root.clone(), source };
    if !folder.disk.exists(Path::new(STATE_FILE)).map_err(in_folder)? {
        out.line(&Line::new("state").with("checkpoint", "none: everything is in the log"));
        return Ok(());
    }
    let storage = open_state(folder)?;
    out.line(&summary(&storage)?);
    out.line(&raft(folder, &storage)?);
    small(&storage.small_tables()?, out);
    if let Some((prefix, limit)) = &wanted.keys {
        let mut left = *limit;
        keys::each(&storage, prefix.as_bytes(), |key, found| {
            if left == 0 {
                out.line(&Line::new("more").with("limit", *limit));
                return Ok(false);
            }
            left -= 1;
            Ok::<_, Error>(out.line(&key_line(&storage, key, found, wanted.values)?))
        })?;
    }
    if wanted.hash {
        out.line(&hash(folder, storage)?);
    }
    Ok(())
}

/// The hash that members compare, of the newest revision.
fn hash(folder: &StoppedFolder, storage: Storage) -> Result<Line, Error> {
    let machine = Machine::load(&storage, VALUES_BYTES_MAX)?;
    let shared = Shared { machine: RwLock::new(machine), storage: ArcSwap::from_pointee(storage) };
    let hash = shared.hash_kv(Revision(0)).map_err(|error| match error {
        ReadError::Storage(error) => error.into(),
        error => Error::Io { path: folder.root.join(STATE_FILE), source: std::io::Error::other(error.to_string()) },
    })?;
    Ok(Line::new("hash")
        .with("hash", u64::from(hash.hash))
        .with("revision", hash.at.0)
        .with("compacted", hash.compacted.0))
}

fn summary(storage: &Storage) -> Result<Line, Error> {
    let (meta, identity) = (storage.meta()?, storage.identity()?);
    Ok(Line::new("state")
        .with_some("cluster", identity.map(|identity| Told::Id(identity.cluster.0)))
        .with_some("member", identity.map(|identity| Told::Id(identity.member.0)))
        .with("index", meta.applied.index)
        .with("term", meta.applied.term)
        .with("revision", meta.revision.0)
        .with("compacted", meta.compacted.0)
        .with("chain", Told::Id(meta.chain))
        .with("installed", storage.installed()?.index)
        .with("file_bytes", storage.file_bytes()?))
}

fn raft(folder: &StoppedFolder, storage: &Storage) -> Result<Line, Error> {
    let read = read_membership(&storage.meta()?.membership);
    let (since, who) = read.map_err(|source| Error::Log { path: folder.root.join(STATE_FILE), source })?;
    let (voters, learners) = participants(&who);
    Ok(Line::new("raft").with("since", since.index).with("voters", voters).with("learners", learners))
}

fn small(tables: &SmallTables, out: &mut Out) {
    let SmallTables { leases, members, removed, alarms, auth, downgrade } = tables;
    for member in members {
        out.line(&member_line("member", member));
    }
    for id in removed {
        out.line(&Line::new("removed-member").with("id", Told::Id(id.0)));
    }
    for row in leases {
        let line = Line::new("lease").with("id", lease(row.id)).with("ttl", row.ttl);
        let line = line.with_some("remaining", (row.remaining > 0).then_some(row.remaining));
        out.line(&line.with("granted_at", row.granted_at));
    }
    for (member, raised) in alarms {
        for kind in raised.iter() {
            out.line(&alarm_line("alarm", Alarm { member: *member, kind }));
        }
    }
    for (_, row) in auth {
        out.line(&match row {
            AuthRow::State { enabled, revision } => {
                Line::new("auth").with("enabled", *enabled).with("revision", *revision)
            }
            AuthRow::User(user) => Line::new("user")
                .with("name", user.name.clone())
                .with("roles", texts(&user.roles))
                .with("has_password", !user.no_password && !user.password.is_empty()),
            AuthRow::Role(role) => {
                let permissions: Vec<Told> = role.permissions.iter().map(permission).map(Told::Line).collect();
                Line::new("role").with("name", role.name.clone()).with("permissions", permissions)
            }
        });
    }
    if let Some(target) = downgrade {
        out.line(&Line::new("downgrade").with("to", target.to_string()));
    }
}

fn key_line(storage: &Storage, key: &[u8], found: Found, values: Values) -> Result<Line, Error> {
    let Found { at, created, version, lease: leased, value_bytes } = found;
    let line = Line::new("key")
        .with("key", key.to_vec())
        .with("create_revision", created.0)
        .with("mod_revision", at.main.0)
        .with("version", version)
        .with_some("lease", (!leased.is_none()).then(|| lease(leased)));
    Ok(match values {
        Values::Hidden => line.with("value_bytes", value_bytes),
        // It is not in memory: a window of keys may have large ones.
        Values::Shown => {
            let record = storage.record(at)?.ok_or_else(|| storage.missing(at))?;
            value(line, record.value(), values)
        }
    })
}
