//! Alarms: what members have raised, and what stops writes for it.

use std::fmt;

use super::MemberId;

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// The data is as large as the quota allows: nothing that makes it grow is taken.
    NoSpace,
    /// Members that should be equal are not: nothing is changed any more.
    Corrupt,
}

/// Its name, as clients and tools know it.
impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        })
    }
}

impl AlarmKind {
    /// All there are.
    pub const ALL: [AlarmKind; 2] = [AlarmKind::NoSpace, AlarmKind::Corrupt];
}

/// One alarm that a member has raised, or that was raised for it. Any number may stand for the member, also zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// Whose.
    pub member: MemberId,
    /// What about.
    pub kind: AlarmKind,
}

/// What is to be done about an [`Alarm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmChange {
    /// It is raised; once more changes nothing.
    Raise(Alarm),
    /// It is over. One that was not raised changes nothing.
    Lower(Alarm),
}

/// The kinds of alarm that one member has raised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alarms {
    no_space: bool,
    corrupt: bool,
}

impl Alarms {
    /// Whether one of this kind is raised.
    #[must_use]
    pub fn has(&self, kind: AlarmKind) -> bool {
        match kind {
            AlarmKind::NoSpace => self.no_space,
            AlarmKind::Corrupt => self.corrupt,
        }
    }

    /// Raises or lowers one; tells whether that changes anything.
    pub fn set(&mut self, kind: AlarmKind, raised: bool) -> bool {
        let flag = match kind {
            AlarmKind::NoSpace => &mut self.no_space,
            AlarmKind::Corrupt => &mut self.corrupt,
        };
        std::mem::replace(flag, raised) != raised
    }

    /// Those that are raised.
    pub fn iter(self) -> impl Iterator<Item = AlarmKind> {
        AlarmKind::ALL.into_iter().filter(move |&kind| self.has(kind))
    }

    /// None is raised.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Alarms::default()
    }
}

impl FromIterator<AlarmKind> for Alarms {
    fn from_iter<I: IntoIterator<Item = AlarmKind>>(kinds: I) -> Alarms {
        kinds.into_iter().fold(Alarms::default(), |mut alarms, kind| {
            alarms.set(kind, true);
            alarms
        })
    }
}
