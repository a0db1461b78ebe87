//! Our snapshots read back, and what is not one is refused.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::bolt::{self, WriteError, Writer};
use crate::env::{Disk, File, MemoryDisk};
use crate::model::{
    Alarm, AlarmKind, CLUSTER_VERSION, ClusterVersion, KeyValue, LeaseId, LogId, Member, MemberId, Permission,
    PermissionKind, Record, Revision, Role, SubRevision, User,
};
use crate::storage::{AuthRow, LeaseRow};

fn file_of(bytes: &[u8]) -> Arc<dyn File> {
    let file = MemoryDisk::new().create(Path::new("file")).unwrap();
    file.write_all_at(0, bytes).unwrap();
    Arc::from(file)
}

fn put(at: i64, key: &[u8], version: i64) -> (SubRevision, Record) {
    let pair = KeyValue {
        key,
        value: b"value",
        create_revision: Revision(at + 1 - version),
        mod_revision: Revision(at),
        version,
        lease: LeaseId(7),
    };
    (SubRevision::first(Revision(at)), Record::new(&pair))
}

fn delete(at: i64, key: &[u8]) -> (SubRevision, Record) {
    (SubRevision::first(Revision(at)), Record::tombstone(key, Revision(at)))
}

fn contents() -> Contents {
    let lease = |id| LeaseRow { id: LeaseId(id), ttl: 60, remaining: id.max(0), granted_at: 0 };
    let member = |id, is_learner| Member { id: MemberId(id), is_learner, ..Member::default() };
    Contents {
        applied: LogId { term: 3, index: 99 },
        compacted: Revision(3),
        leases: vec![lease(-5), lease(7)],
        members: vec![member(1, false), member(2, true)],
        removed: vec![MemberId(9)],
        alarms: Vec::new(),
        downgrade: None,
        auth: Vec::new(),
    }
}

fn snapshot(contents: &Contents, records: &[(SubRevision, Record)]) -> Vec<u8> {
    let give = |each: &mut dyn FnMut(SubRevision, &Record) -> Result<(), WriteError>| {
        records.iter().try_for_each(|(at, record)| each(*at, record))
    };
    sealed(|writer| contents.fill(&give, writer))
}

fn sealed(fill: impl Fn(&mut Writer<'_>) -> Result<(), WriteError>) -> Vec<u8> {
    let layout = bolt::plan(bolt::PAGE_BYTES, &fill).unwrap();
    let mut out = Summing::new(Vec::new());
    bolt::write(layout, &mut out, &fill).unwrap();
    let (mut bytes, digest) = out.finish();
    bytes.extend_from_slice(&digest.0);
    bytes
}

fn opened(bytes: &[u8], check: DigestCheck) -> Result<SnapshotFile, Error> {
    SnapshotFile::open(file_of(bytes), check, &mut |_| ())
}

fn required(bytes: &[u8]) -> Result<SnapshotFile, Error> {
    opened(bytes, DigestCheck::Required)
}

#[test]
fn a_snapshot_reads_back() {
    let records = [put(2, b"a", 1), put(4, b"b", 1), put(5, b"b", 2), delete(6, b"a")];
    let contents = contents();
    let snapshot = required(&snapshot(&contents, &records)).unwrap();
    let mut found = Vec::new();
    let read = snapshot.each_record::<Error>(&mut |at, record| {
        found.push((at, record.unwrap()));
        Ok(())
    });
    read.unwrap();
    assert_eq!(found, records);
    let revisions = snapshot.revisions(true).unwrap();
    assert_eq!((revisions.newest, revisions.compacted), (Revision(6), Revision(3)));
    let mut leases = snapshot.leases().unwrap();
    leases.sort_by_key(|lease| lease.id);
    assert_eq!(leases, contents.leases);
    assert!(snapshot.alarms().unwrap().is_empty() && snapshot.auth().unwrap().is_empty());
    let status = snapshot.status(&mut |_| ()).unwrap();
    assert_eq!((status.revision, status.keys, status.version.as_str()), (6, 1, "3.7.0"));
    assert_eq!(status.bytes % 512, 0);
}

#[test]
fn a_digest_that_is_wrong_or_missing_is_refused() {
    let good = snapshot(&contents(), &[put(4, b"a", 1)]);
    for at in [0, good.len() / 2, good.len() - 33, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let error = required(&bytes).unwrap_err();
        assert!(error.to_string().starts_with("expected sha256 "), "{error}");
    }
    assert!(matches!(required(&good[..good.len() - 32]), Err(Error::NoDigest)));
    assert!(matches!(required(&good[..good.len() - 4096]), Err(Error::Digest { .. })));
    opened(&good[..good.len() - 32], DigestCheck::Skipped).unwrap();
    opened(&good, DigestCheck::Skipped).unwrap();
    let cut = opened(&good[..good.len() - 32 - 512], DigestCheck::Skipped).unwrap_err();
    assert!(cut.to_string().contains("is cut short"), "{cut}");
    assert!(required(b"").is_err() && opened(b"", DigestCheck::Skipped).is_err());
}

#[test]
fn newer_versions_are_refused_and_older_ones_read() {
    let of_version = |version: Option<&str>| {
        sealed(|writer| {
            writer.bucket("key")?;
            writer.bucket("meta")?;
            version.map_or(Ok(()), |version| writer.row(b"storageVersion", version.as_bytes()))
        })
    };
    for version in [None, Some("3.6.0"), Some("3.7.9")] {
        required(&of_version(version)).unwrap();
    }
    for version in ["3.8.0", "4.0.0", "x"] {
        assert!(matches!(required(&of_version(Some(version))), Err(Error::Newer { .. })), "{version}");
    }
}

#[test]
fn a_history_with_holes_is_refused_unless_it_is_given_up() {
    let put_sub = |at: i64, sub| (SubRevision { sub, ..put(at, b"a", 1).0 }, put(at, b"a", 1).1);
    // Behind the compacted revision, which is 3.
    for records in [
        vec![put(5, b"a", 1)],
        vec![put(4, b"a", 1), put(6, b"b", 1)],
        vec![put_sub(4, 1)],
        vec![put_sub(4, 0), put_sub(4, 2)],
        vec![put(2, b"a", 1), put(5, b"b", 1)],
    ] {
        let snapshot = required(&snapshot(&contents(), &records)).unwrap();
        assert!(matches!(snapshot.revisions(true), Err(Error::Gap { .. })), "{records:?}");
        snapshot.revisions(false).unwrap();
    }
    for records in [vec![], vec![put(1, b"a", 1)], vec![put(2, b"a", 1), put_sub(4, 0), put_sub(4, 1), put(5, b"b", 1)]]
    {
        required(&snapshot(&contents(), &records)).unwrap().revisions(true).unwrap();
    }
}

#[test]
fn rows_without_meaning_are_refused() {
    let good = put(4, b"a", 1).1;
    let key = crate::model::RecordKey::new(SubRevision::first(Revision(4)), false);
    let other = put(5, b"a", 1).1;
    let born_later = Record::new(&KeyValue { create_revision: Revision(9), ..good.pair() });
    for (key, value) in [
        (&b"no revision"[..], good.as_bytes()),
        (key.as_bytes(), b"no pair"),
        (key.as_bytes(), other.as_bytes()),
        (key.as_bytes(), born_later.as_bytes()),
        (key.as_bytes(), good.bare().as_bytes()),
    ] {
        let bytes = sealed(|writer| {
            writer.bucket("key")?;
            writer.row(key, value)?;
            writer.bucket("meta")
        });
        let snapshot = required(&bytes).unwrap();
        assert!(matches!(snapshot.revisions(false), Err(Error::Row { .. })), "{}", key.escape_ascii());
    }
    for (key, value) in [(&b"short"[..], &b"\x08\x07\x10\x3c"[..]), (b"\0\0\0\0\0\0\0\x08", b"\x08\x07\x10\x3c")] {
        let bytes = sealed(|writer| {
            writer.bucket("lease")?;
            writer.row(key, value)?;
            writer.bucket("meta")
        });
        assert!(matches!(required(&bytes).unwrap().leases(), Err(Error::Row { .. })));
    }
}

fn auth() -> Vec<AuthRow> {
    let user = |name: &str, password: &'static [u8], roles: &[&str]| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        User { name: name.into(), password: password.into(), roles, no_password: password.is_empty() }
    };
    let permission = |kind, key: &'static [u8], range_end: &'static [u8]| Permission {
        kind,
        key: key.into(),
        range_end: range_end.into(),
    };
    let permissions = vec![
        permission(PermissionKind::Write, b"\0", b"\0"),
        permission(PermissionKind::ReadWrite, b"a", b""),
        permission(PermissionKind::Read, b"a", b"b"),
        permission(PermissionKind::Unknown(9), b"\xff", b""),
    ];
    vec![
        AuthRow::State { enabled: true, revision: 12 },
        AuthRow::User(user("nobody", b"", &[])),
        AuthRow::User(user("root", b"$2a$10$hash", &["r", "root"])),
        AuthRow::Role(Role { name: "r".into(), permissions }),
        AuthRow::Role(Role { name: "root".into(), permissions: Vec::new() }),
    ]
}

#[test]
fn users_roles_and_alarms_read_back() {
    let alarm = |member, kind| Alarm { member: MemberId(member), kind };
    let raised = [alarm(0, AlarmKind::Corrupt), alarm(7, AlarmKind::NoSpace), alarm(7, AlarmKind::Corrupt)];
    let contents = Contents { alarms: raised.to_vec(), auth: auth(), ..contents() };
    let snapshot = required(&snapshot(&contents, &[])).unwrap();
    let (numbers, rows): (Vec<_>, Vec<_>) = snapshot.auth().unwrap().into_iter().unzip();
    assert_eq!((numbers, rows), (vec![0, 1, 2, 3, 4], auth()));
    let found = snapshot.alarms().unwrap().into_iter();
    let found = found.flat_map(|(member, raised)| raised.iter().map(move |kind| Alarm { member, kind }));
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    let mut expected = raised.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn users_and_roles_that_no_client_could_name_are_refused() {
    let of = |name: &'static str, key: &'static [u8], value: &'static [u8]| {
        let bytes = sealed(|writer| {
            writer.bucket(name)?;
            writer.row(key, value)?;
            writer.bucket("meta")
        });
        required(&bytes).unwrap().auth()
    };
    // As etcd writes them: the name, a password, a role, options.
    let read = of("authUsers", b"u", b"\x0a\x01u\x12\x01p\x1a\x01r\x22\x00").unwrap();
    let user = User { name: "u".into(), password: "p".into(), roles: vec!["r".into()], no_password: false };
    assert_eq!(read, [(1, AuthRow::User(user))]);
    for (bucket, key, value, text) in [
        ("authUsers", &b"\xff"[..], &b"\x0a\x01\xff"[..], "bucket authUsers, row \\xff: the name is not UTF-8 text"),
        ("authRoles", b"r\xff", b"\x0a\x02r\xff", "bucket authRoles, row r\\xff: the name is not UTF-8 text"),
        ("authUsers", b"u", b"\x0a\x01u\x1a\x01\xff", "its value has no meaning"),
        ("authUsers", b"u", b"\x0a\x01v", "its value has no meaning"),
        ("authRoles", b"r", b"\xff", "its value has no meaning"),
        ("auth", b"authEnabled", b"\x02", "its value has no meaning"),
        ("auth", b"authRevision", b"\x02", "its value has no meaning"),
        ("auth", b"authRevision", &[0xff; 8], "there is no room for revisions above it"),
    ] {
        let error = of(bucket, key, value).unwrap_err();
        assert!(matches!(error, Error::Row { .. }) && error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_downgrade_that_was_under_way_reads_back_if_it_is_one_of_this_version() {
    let target = CLUSTER_VERSION.before();
    let other = ClusterVersion { major: 3, minor: 4 };
    for (written, read) in [(None, None), (target, target), (Some(other), None)] {
        let bytes = snapshot(&Contents { downgrade: written, ..contents() }, &[]);
        assert_eq!(required(&bytes).unwrap().downgrade().unwrap(), read);
    }
    let bytes = sealed(|writer| {
        writer.bucket("cluster")?;
        writer.row(b"downgrade", b"{")?;
        writer.bucket("meta")
    });
    assert!(matches!(required(&bytes).unwrap().downgrade(), Err(Error::Row { .. })));
}
