//! Who can be reached, and who reaches us.
//!
//! Members ping each other all the time, whoever leads. A member counts as connected while both directions work: it was
//! heard of, and it answered, within the patience. A member that can send but hears of nobody is as good as cut off, and
//! knows it from this.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::env::{Clock, Tick};
use crate::model::MemberId;

/// When other members were last heard of.
#[derive(Debug)]
pub(super) struct Contacts {
    clock: Arc<dyn Clock>,
    /// Who was not heard of for so long is not connected.
    patience: Duration,
    others: Mutex<BTreeMap<MemberId, Contact>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Contact {
    /// It sent something.
    heard: Option<Tick>,
    /// It answered something.
    answered: Option<Tick>,
    /// Since when both are never older than the patience.
    since: Option<Tick>,
}

impl Contacts {
    pub(super) fn new(clock: Arc<dyn Clock>, patience: Duration) -> Arc<Contacts> {
        Arc::new(Contacts { clock, patience, others: Mutex::default() })
    }

    /// `from` sent something.
    pub(super) fn heard(&self, from: MemberId) {
        self.update(from, |contact, now| contact.heard = Some(now));
    }

    /// `from` answered something.
    pub(super) fn answered(&self, from: MemberId) {
        self.update(from, |contact, now| contact.answered = Some(now));
    }

    /// How long `member` has been connected without a gap; `None` if it is not now.
    pub(super) fn connected_for(&self, member: MemberId) -> Option<Duration> {
        let now = self.clock.now();
        let contact = self.others.lock().get(&member).copied().unwrap_or_default();
        if !contact.is_fresh(now, self.patience) {
            return None;
        }
        contact.since.map(|since| now.since(since))
    }

    /// Whether `member` sent something within the patience.
    pub(super) fn hears(&self, member: MemberId) -> bool {
        let heard = self.others.lock().get(&member).and_then(|contact| contact.heard);
        heard.is_some_and(|heard| self.clock.now().since(heard) <= self.patience)
    }

    /// Forgets all but `members`.
    pub(super) fn retain(&self, members: &[MemberId]) {
        self.others.lock().retain(|id, _| members.contains(id));
    }

    fn update(&self, member: MemberId, change: impl FnOnce(&mut Contact, Tick)) {
        let now = self.clock.now();
        let mut others = self.others.lock();
        let contact = others.entry(member).or_default();
        if !contact.is_fresh(now, self.patience) {
            contact.since = None;
        }
        change(contact, now);
        if contact.since.is_none() && contact.is_fresh(now, self.patience) {
            contact.since = Some(now);
        }
    }
}

impl Contact {
    fn is_fresh(&self, now: Tick, patience: Duration) -> bool {
        let is_recent = |at: Option<Tick>| at.is_some_and(|at| now.since(at) <= patience);
        is_recent(self.heard) && is_recent(self.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::ManualClock;

    const PATIENCE: Duration = Duration::from_secs(1);
    const STEP: Duration = Duration::from_millis(600);

    #[test]
    fn both_directions_must_work_and_a_gap_begins_anew() {
        let clock = Arc::new(ManualClock::default());
        let contacts = Contacts::new(clock.clone(), PATIENCE);
        let other = MemberId(2);
        contacts.heard(other);
        assert_eq!((contacts.connected_for(other), contacts.hears(other)), (None, true));
        contacts.answered(other);
        assert_eq!(contacts.connected_for(other), Some(Duration::ZERO));
        clock.advance(STEP);
        contacts.heard(other);
        contacts.answered(other);
        assert_eq!(contacts.connected_for(other), Some(STEP));

        // It sends on, and answers nothing.
        clock.advance(STEP);
        contacts.heard(other);
        clock.advance(STEP);
        assert_eq!((contacts.connected_for(other), contacts.hears(other)), (None, true));
        contacts.answered(other);
        assert_eq!(contacts.connected_for(other), Some(Duration::ZERO), "counted from the end of the gap");
        contacts.retain(&[]);
        assert_eq!((contacts.connected_for(other), contacts.hears(other)), (None, false));
    }
}
