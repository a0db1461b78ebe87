//! Keys and values as bytes.
//!
//! Keys are big-endian so that byte order is number order; everything else is little-endian. Every value, `meta`'s too,
//! is sealed: the CRC32C over key and payload, then the payload. So a value that belongs to another key shows as well.

use bytes::Bytes;

use super::error::Damage;
use super::tables::{IdKey, RecordKey, SETTING_DOWNGRADE, Table};
use super::{AuthRow, Founding, Identity, LeaseRow, Row, TableSum};
use crate::model::{
    AlarmKind, Alarms, ClusterId, ClusterVersion, LeaseId, LogId, Member, MemberId, Permission, PermissionKind,
    Revision, Role, SubRevision, User,
};

const CRC_LEN: usize = 4;
const FOUNDING_NEW: u8 = 1;
const FOUNDING_JOIN: u8 = 2;
const AUTH_STATE: u8 = 1;
const AUTH_USER: u8 = 2;
const AUTH_ROLE: u8 = 3;

/// The key of a record. Revisions in the store are never negative; a negative bound stands before all of them.
pub(super) fn record_key(at: SubRevision) -> RecordKey {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&u64::try_from(at.main.0).unwrap_or(0).to_be_bytes());
    key[8..].copy_from_slice(&at.sub.to_be_bytes());
    key
}

/// The sub-revision of a record's key.
pub(super) fn sub_revision(key: &RecordKey) -> SubRevision {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *key;
    let main = u64::from_be_bytes([a, b, c, d, e, f, g, h]).cast_signed();
    SubRevision { main: Revision(main), sub: u32::from_be_bytes([i, j, k, l]) }
}

/// The key after `key` in order; `None` after the last.
pub(super) fn next_key<const N: usize>(mut key: [u8; N]) -> Option<[u8; N]> {
    for byte in key.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(key);
        }
    }
    None
}

/// Puts the sealed value of `key` into `out`, which is emptied first.
pub(super) fn seal(key: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&checksum(key, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// The payload of a sealed value.
pub(super) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], Damage> {
    let (crc, payload) = sealed.split_first_chunk::<CRC_LEN>().ok_or(Damage::Short)?;
    if u32::from_le_bytes(*crc) == checksum(key, payload) { Ok(payload) } else { Err(Damage::Checksum) }
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), payload)
}

/// A lease without its id: ttl and remaining seconds, and where it was granted unless that is not known.
pub(super) fn encode_lease(lease: &LeaseRow) -> Vec<u8> {
    let mut out = [lease.ttl.to_le_bytes(), lease.remaining.to_le_bytes()].concat();
    if lease.granted_at > 0 {
        out.extend_from_slice(&lease.granted_at.to_le_bytes());
    }
    out
}

/// Reads what [`encode_lease`] wrote.
pub(super) fn decode_lease(id: LeaseId, payload: &[u8]) -> Result<LeaseRow, Damage> {
    Cursor(payload).whole(|from| {
        let (ttl, remaining) = (from.i64()?, from.i64()?);
        let granted_at = if from.is_empty() { 0 } else { from.u64()? };
        Ok(LeaseRow { id, ttl, remaining, granted_at })
    })
}

/// A member without its id: flags, name, peer addresses, client addresses.
pub(super) fn encode_member(member: &Member) -> Vec<u8> {
    let mut out = vec![u8::from(member.is_learner)];
    put_text(&mut out, &member.name);
    for urls in [&member.peer_urls, &member.client_urls] {
        put_len(&mut out, urls.len());
        for url in urls {
            put_text(&mut out, url);
        }
    }
    out
}

/// Reads what [`encode_member`] wrote.
pub(super) fn decode_member(id: MemberId, payload: &[u8]) -> Result<Member, Damage> {
    Cursor(payload).whole(|from| {
        let is_learner = from.flag()?;
        let name = from.text()?;
        let peer_urls = from.texts()?;
        let client_urls = from.texts()?;
        Ok(Member { id, name, peer_urls, client_urls, is_learner })
    })
}

/// Which alarms a member has raised: a bit for each.
pub(super) fn encode_alarms(raised: Alarms) -> Vec<u8> {
    raised.iter().fold(vec![0], |mut bits, kind| {
        bits[0] |= alarm_bit(kind);
        bits
    })
}

/// Reads what [`encode_alarms`] wrote.
pub(super) fn decode_alarms(payload: &[u8]) -> Result<Alarms, Damage> {
    let bits = Cursor(payload).whole(Cursor::u8)?;
    let raised: Alarms = AlarmKind::ALL.into_iter().filter(|&kind| bits & alarm_bit(kind) != 0).collect();
    if encode_alarms(raised) == [bits] { Ok(raised) } else { Err(Damage::Undecodable("an alarm is unknown")) }
}

fn alarm_bit(kind: AlarmKind) -> u8 {
    match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}

/// What is stored of users and roles: a kind, then what belongs to it.
pub(super) fn encode_auth(row: &AuthRow) -> Vec<u8> {
    match row {
        AuthRow::State { enabled, revision } => {
            let mut out = vec![AUTH_STATE, u8::from(*enabled)];
            out.extend_from_slice(&revision.to_le_bytes());
            out
        }
        AuthRow::User(User { name, password, roles, no_password }) => {
            let mut out = vec![AUTH_USER, u8::from(*no_password)];
            put_text(&mut out, name);
            put_bytes(&mut out, password);
            put_len(&mut out, roles.len());
            roles.iter().for_each(|role| put_text(&mut out, role));
            out
        }
        AuthRow::Role(Role { name, permissions }) => {
            let mut out = vec![AUTH_ROLE];
            put_text(&mut out, name);
            put_len(&mut out, permissions.len());
            for Permission { kind, key, range_end } in permissions {
                out.extend_from_slice(&kind.number().to_le_bytes());
                put_bytes(&mut out, key);
                put_bytes(&mut out, range_end);
            }
            out
        }
    }
}

/// Reads what [`encode_auth`] wrote.
pub(super) fn decode_auth(payload: &[u8]) -> Result<AuthRow, Damage> {
    Cursor(payload).whole(|from| match from.u8()? {
        AUTH_STATE => Ok(AuthRow::State { enabled: from.flag()?, revision: from.u64()? }),
        AUTH_USER => {
            let (no_password, name, password) = (from.flag()?, from.text()?, owned(from.bytes()?));
            Ok(AuthRow::User(User { name, password, roles: from.texts()?, no_password }))
        }
        AUTH_ROLE => {
            let (name, count) = (from.text()?, from.u32()?);
            let permission = |_| {
                let kind = PermissionKind::from_number(from.u32()?.cast_signed());
                Ok(Permission { kind, key: owned(from.bytes()?), range_end: owned(from.bytes()?) })
            };
            Ok(AuthRow::Role(Role { name, permissions: (0..count).map(permission).collect::<Result<_, Damage>>()? }))
        }
        _ => Err(Damage::Undecodable("a kind of auth row is unknown")),
    })
}

/// A version of a cluster: its two numbers.
pub(super) fn encode_version(version: ClusterVersion) -> Vec<u8> {
    [version.major.to_le_bytes(), version.minor.to_le_bytes()].concat()
}

/// Reads what [`encode_version`] wrote.
pub(super) fn decode_version(payload: &[u8]) -> Result<ClusterVersion, Damage> {
    Cursor(payload).whole(|from| Ok(ClusterVersion { major: from.u64()?, minor: from.u64()? }))
}

/// A row of a small table.
pub(super) fn decode_row(table: Table, key: IdKey, payload: &[u8]) -> Result<Row, Damage> {
    let id = u64::from_be_bytes(key);
    match table {
        Table::Records => unreachable!("records are no rows"),
        Table::Leases => decode_lease(LeaseId(id.cast_signed()), payload).map(Row::Lease),
        Table::Members => decode_member(MemberId(id), payload).map(Row::Member),
        Table::Removed => decode_removed(payload).map(|()| Row::Removed(MemberId(id))),
        Table::Auth => decode_auth(payload).map(|row| Row::Auth(id, row)),
        Table::Settings if id == SETTING_DOWNGRADE => decode_version(payload).map(Row::Downgrade),
        Table::Settings => Err(Damage::Undecodable("a setting is unknown")),
        Table::Alarms => decode_alarms(payload).map(|raised| Row::Alarms(MemberId(id), raised)),
    }
}

/// A removed member: its key says all.
pub(super) fn decode_removed(payload: &[u8]) -> Result<(), Damage> {
    Cursor(payload).whole(|_| Ok(()))
}

/// Term and index of a log entry.
pub(super) fn encode_log_id(at: LogId) -> Vec<u8> {
    [at.term.to_le_bytes(), at.index.to_le_bytes()].concat()
}

/// Reads what [`encode_log_id`] wrote.
pub(super) fn decode_log_id(payload: &[u8]) -> Result<LogId, Damage> {
    Cursor(payload).whole(|from| Ok(LogId { term: from.u64()?, index: from.u64()? }))
}

/// Cluster and member.
pub(super) fn encode_identity(identity: Identity) -> Vec<u8> {
    [identity.cluster.0.to_le_bytes(), identity.member.0.to_le_bytes()].concat()
}

/// Reads what [`encode_identity`] wrote.
pub(super) fn decode_identity(payload: &[u8]) -> Result<Identity, Damage> {
    Cursor(payload).whole(|from| Ok(Identity { cluster: ClusterId(from.u64()?), member: MemberId(from.u64()?) }))
}

/// How the folder began, and the members of the cluster then: each its id, then its payload in the members table.
pub(super) fn encode_founding(founding: &Founding) -> Vec<u8> {
    let (kind, members) = match founding {
        Founding::New(members) => (FOUNDING_NEW, members),
        Founding::Join(members) => (FOUNDING_JOIN, members),
    };
    let mut out = vec![kind];
    put_len(&mut out, members.len());
    for member in members {
        out.extend_from_slice(&member.id.0.to_le_bytes());
        put_bytes(&mut out, &encode_member(member));
    }
    out
}

/// Reads what [`encode_founding`] wrote.
pub(super) fn decode_founding(payload: &[u8]) -> Result<Founding, Damage> {
    Cursor(payload).whole(|from| {
        let (kind, count) = (from.u8()?, from.u32()?);
        let member = |_| decode_member(MemberId(from.u64()?), from.bytes()?);
        let members = (0..count).map(member).collect::<Result<_, _>>()?;
        match kind {
            FOUNDING_NEW => Ok(Founding::New(members)),
            FOUNDING_JOIN => Ok(Founding::Join(members)),
            _ => Err(Damage::Undecodable("a way to begin is unknown")),
        }
    })
}

/// Count and hash of a table.
pub(super) fn encode_sum(sum: TableSum) -> Vec<u8> {
    let mut out = sum.count.to_le_bytes().to_vec();
    out.extend_from_slice(&sum.hash.to_le_bytes());
    out
}

/// Reads what [`encode_sum`] wrote.
pub(super) fn decode_sum(payload: &[u8]) -> Result<TableSum, Damage> {
    Cursor(payload).whole(|from| Ok(TableSum { count: from.u64()?, hash: from.u128()? }))
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    // Requests are far below 4 GiB, so this never saturates; if it did, decoding would fail.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

/// Appends bytes with their length before them.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Reads fields off the front of some bytes.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    /// Reads a value that must take all the bytes.
    pub(super) fn whole<R>(mut self, read: impl FnOnce(&mut Self) -> Result<R, Damage>) -> Result<R, Damage> {
        let value = read(&mut self)?;
        if self.is_empty() { Ok(value) } else { Err(Damage::Undecodable("bytes are left over")) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Damage::Short)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let len = usize::try_from(self.u32()?).map_err(|_| Damage::Short)?;
        let (field, rest) = self.0.split_at_checked(len).ok_or(Damage::Short)?;
        self.0 = rest;
        Ok(field)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Damage> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn flag(&mut self) -> Result<bool, Damage> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damage::Undecodable("a flag is unknown")),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Damage> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn u128(&mut self) -> Result<u128, Damage> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String, Damage> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Damage::Undecodable("a text is not UTF-8"))
    }

    fn texts(&mut self) -> Result<Vec<String>, Damage> {
        (0..self.u32()?).map(|_| self.text()).collect()
    }
}

/// Copies bytes out of a page.
pub(super) fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
