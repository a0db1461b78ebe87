//! The tables of the file, by name and number.
//!
//! | table | number | key | payload |
//! | --- | --- | --- | --- |
//! | `records` | 1 | revision, sub-revision: 8 + 4 bytes, big-endian | the record's bytes |
//! | `leases` | 2 | lease id: 8 bytes, big-endian | ttl and remaining seconds, log index of the grant |
//! | `members` | 3 | member id: 8 bytes, big-endian | names and addresses |
//! | `removed` | 4 | member id: 8 bytes, big-endian | nothing: the key says that it was removed |
//! | `alarms` | 5 | member id: 8 bytes, big-endian | which alarms it has raised |
//! | `auth` | 6 | number: 8 bytes, big-endian | 0: whether auth is enabled, and its revision; else what that revision made |
//! | `settings` | 7 | number: 8 bytes, big-endian | 0: the version that a downgrade goes to |
//!
//! The number stands for the table in hashes and snapshot streams and is never used again for another. The `meta` table
//! has text keys and no sum: each value is known by name, and a missing one is noticed.
//!
//! All but `records` are small: they are read at once and have keys of one form.
//!
//! `removed` came with format 2, `alarms`, `auth` and `settings` with format 3. A file or stream in which they are empty has neither the tables
//! nor their sums and is of an earlier format, as if there were no such tables.

use std::fmt;

use redb::TableDefinition;

use super::codec;

pub(super) type RecordKey = [u8; 12];
pub(super) type IdKey = [u8; 8];

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const RECORDS: TableDefinition<'_, &RecordKey, &[u8]> = TableDefinition::new("records");

/// The row of `settings` that tells where a downgrade goes.
pub(super) const SETTING_DOWNGRADE: u64 = 0;

/// A table of data, as opposed to `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Every change of every key that is not compacted.
    Records,
    /// The leases that live.
    Leases,
    /// What members tell of themselves.
    Members,
    /// The ids that were members' and can never be again.
    Removed,
    /// The alarms that are raised.
    Alarms,
    /// Users and roles.
    Auth,
    /// What holds for the cluster.
    Settings,
}

impl Table {
    /// All tables, by number, which is also their order in a snapshot stream.
    pub(super) const ALL: [Table; 7] =
        [Table::Records, Table::Leases, Table::Members, Table::Removed, Table::Alarms, Table::Auth, Table::Settings];

    /// The small ones, in the same order.
    pub(super) fn small() -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(|&table| table != Table::Records)
    }

    /// Its number in hashes and streams.
    pub(super) fn number(self) -> u8 {
        match self {
            Table::Records => 1,
            Table::Leases => 2,
            Table::Members => 3,
            Table::Removed => 4,
            Table::Alarms => 5,
            Table::Auth => 6,
            Table::Settings => 7,
        }
    }

    /// The first format that has it.
    pub(super) fn since(self) -> u32 {
        match self {
            Table::Records | Table::Leases | Table::Members => 1,
            Table::Removed => 2,
            Table::Alarms | Table::Auth | Table::Settings => 3,
        }
    }

    /// The tables that a file or stream of `format` has, by number.
    pub(super) fn of_format(format: u32) -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(move |table| table.since() <= format)
    }

    /// The table of a number.
    pub(super) fn of_number(number: u8) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.number() == number)
    }

    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::Records => "records",
            Table::Leases => "leases",
            Table::Members => "members",
            Table::Removed => "removed",
            Table::Alarms => "alarms",
            Table::Auth => "auth",
            Table::Settings => "settings",
        }
    }

    /// A small one as redb knows it.
    pub(super) fn rows(self) -> TableDefinition<'static, &'static IdKey, &'static [u8]> {
        debug_assert!(self != Table::Records, "records have keys of their own");
        TableDefinition::new(self.name())
    }

    /// The `meta` key of its sum.
    pub(super) fn sum_key(self) -> &'static str {
        match self {
            Table::Records => "sum.records",
            Table::Leases => "sum.leases",
            Table::Members => "sum.members",
            Table::Removed => "sum.removed",
            Table::Alarms => "sum.alarms",
            Table::Auth => "sum.auth",
            Table::Settings => "sum.settings",
        }
    }

    /// Its place in [`Table::ALL`].
    pub(super) fn index(self) -> usize {
        usize::from(self.number() - 1)
    }

    /// A key as a person would write it.
    pub(super) fn name_key(self, key: &[u8]) -> String {
        match (self, key.try_into(), key.try_into()) {
            (Table::Records, Ok(key), _) => codec::sub_revision(key).to_string(),
            (
                Table::Leases | Table::Members | Table::Removed | Table::Alarms | Table::Auth | Table::Settings,
                _,
                Ok(key),
            ) => format!("{:x}", u64::from_be_bytes(key)),
            _ => key.escape_ascii().to_string(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
