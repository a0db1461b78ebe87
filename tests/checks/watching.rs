//! Watches: every change once, in order, whole revisions at a time, over however many connections.
//!
//! The truth says which events there were; a watch must have been told exactly those of its keys, from the revision on
//! that it asked for. Whatever it is told moves one cursor, the next revision that it has not heard of: events must be
//! all there are from the cursor up to their last revision, a note of progress says that there are none up to its
//! revision, and "compacted" is true only if the cursor is below what was compacted. So nothing can be missing, come
//! twice, or be kept silent about.

use lodemark::model::{Event, EventKind, Revision};

use super::history::{Heard, History, Moment, Session, Watching};
use super::{Promise, Truth, Violation};

/// Checks all watches.
pub fn check(history: &History, truth: &Truth) -> Vec<Violation> {
    let changes = truth.model.changes_from(Revision(0));
    let (newest, compacted) = (truth.model.revision(), history.compaction_asked(Moment::MAX));
    let check_one = |watching| Check { history, changes: &changes, newest, compacted, watching }.run();
    let wrongs = history.watchings.iter().filter_map(|watching| check_one(watching).err());
    wrongs.map(|what| Violation::new(Promise::Watched, what)).collect()
}

struct Check<'h> {
    history: &'h History,
    changes: &'h [Event],
    newest: Revision,
    /// The highest revision that anybody asked to compact at.
    compacted: Option<Revision>,
    watching: &'h Watching,
}

impl Check<'_> {
    fn run(&self) -> Result<(), String> {
        // What the watch has heard of ends before this; `None` as long as it was not made.
        let mut cursor: Option<Revision> = None;
        for session in &self.watching.sessions {
            self.session(session, &mut cursor)
                .map_err(|what| format!("watch of {:?} on {:?}: {what}", self.watching.keys, session.server))?;
        }
        match (self.watching.must_reach, cursor) {
            (Some(end), None) => Err(format!("the watch of {:?} was never made, up to {end}", self.watching.keys)),
            (Some(end), Some(cursor)) => self.nothing_between(cursor, end, "was not told, and there was time enough"),
            (None, _) => Ok(()),
        }
    }

    fn session(&self, session: &Session, cursor: &mut Option<Revision>) -> Result<(), String> {
        let mut is_made = false;
        for (at, heard) in &session.heard {
            if let Heard::Created(revision) = heard {
                is_made = true;
                let start = if session.from == 0 { revision.next() } else { Revision(session.from) };
                // A resumed watch asks for what it has not heard of; whatever it asks for is what it must get.
                *cursor = Some(start);
                continue;
            }
            let Some(next) = cursor.as_mut().filter(|_| is_made) else {
                return Err(format!("it was told {heard:?} before it was made"));
            };
            match heard {
                Heard::Created(_) => {}
                Heard::Events(events) => {
                    let last = events.last().map_or(next.previous(), Event::revision);
                    self.compare(*next, last, events).map_err(|what| format!("{what}, at {at:?}"))?;
                    *next = last.next();
                }
                Heard::Progress(revision) => {
                    if *revision > self.newest {
                        return Err(format!("progress at {revision}, but the store has {} only", self.newest));
                    }
                    self.nothing_between(*next, *revision, "was not told before the note of progress")?;
                    *next = revision.next().max(*next);
                }
                Heard::Compacted(compacted) => {
                    let is_asked = self.history.compaction_asked(*at).is_some_and(|asked| *compacted <= asked);
                    if *next >= *compacted || !is_asked {
                        return Err(format!("it needs revision {next} and was told that {compacted} is compacted"));
                    }
                    // What lies between is lost, and it was told so.
                    *next = *compacted;
                }
            }
        }
        Ok(())
    }

    fn compare(&self, from: Revision, through: Revision, told: &[Event]) -> Result<(), String> {
        let mut promised = self.events(from, through);
        for event in told {
            let Some(expected) = promised.next() else {
                return Err(format!("it was told {event:?}, which is nothing from {from} on"));
            };
            if !self.is_same(event, expected) {
                return Err(format!("it was told {event:?} and not {expected:?}, from {from} on"));
            }
        }
        match promised.next() {
            Some(missing) => Err(format!("{missing:?} is missing, from {from} on")),
            None => Ok(()),
        }
    }

    fn is_same(&self, told: &Event, expected: &Event) -> bool {
        let prev = if self.watching.prev_kv { expected.prev.as_ref() } else { None };
        // The pair before may be compacted when the event is read from the history.
        let is_compacted = self.compacted.is_some_and(|compacted| expected.revision() <= compacted);
        let has_prev = told.prev.as_ref() == prev || (told.prev.is_none() && is_compacted);
        told.kind == expected.kind && told.record == expected.record && has_prev
    }

    fn nothing_between(&self, from: Revision, through: Revision, why: &str) -> Result<(), String> {
        match self.events(from, through).next() {
            Some(event) => Err(format!("{event:?} {why}: heard up to {}", from.previous())),
            None => Ok(()),
        }
    }

    /// What the watch must hear of, `through` inclusive.
    fn events(&self, from: Revision, through: Revision) -> impl Iterator<Item = &Event> {
        let first = self.changes.partition_point(|event| event.revision() < from);
        let span = self.changes[first..].iter().take_while(move |event| event.revision() <= through);
        span.filter(|event| {
            let is_wanted = match event.kind {
                EventKind::Put => !self.watching.no_put,
                EventKind::Delete => !self.watching.no_delete,
            };
            is_wanted && self.watching.keys.contains(event.key())
        })
    }
}

mod tests {
    use lodemark::model::{OpReply, Put, PutReply, Txn, TxnOp, TxnReply};

    use super::super::replay::explain;
    use super::super::samples::*;
    use super::*;

    /// Revisions 2 to 4: `a` is written, written again, deleted; 5 writes `b`.
    fn changes() -> [Event; 4] {
        [
            put_event("a", "1", 2, 2, 1, None),
            put_event("a", "2", 2, 3, 2, Some(("1", 2, 2, 1))),
            delete_event("a", 4, Some(("2", 2, 3, 2))),
            put_event("b", "3", 5, 5, 1, None),
        ]
    }

    fn judge(watching: Watching) -> Vec<Violation> {
        let mut history = history([
            put("a", "1", 2, (0, 10)),
            put("a", "2", 3, (10, 20)),
            delete("a", 1, 4, (20, 30)),
            put("b", "3", 5, (30, 40)),
            compact(3, 5, (40, 50)),
        ]);
        let truth = explain(&history).unwrap();
        history.watchings.push(watching);
        check(&history, &truth)
    }

    fn heard(heard: Vec<Heard>) -> Watching {
        watching(heard.into_iter().map(|heard| (60, heard)).collect())
    }

    fn is_right(what: Vec<Heard>) -> bool {
        judge(heard(what)).is_empty()
    }

    #[test]
    fn everything_once_and_in_order_is_right_however_it_is_cut() {
        let [a, b, c, d] = changes();
        assert!(is_right(vec![created(1), events(vec![a.clone(), b.clone(), c.clone()]), events(vec![d.clone()])]));
        assert!(is_right(vec![created(3), events(vec![c.clone()]), Heard::Progress(Revision(4)), events(vec![d])]));
        assert!(is_right(vec![created(1), events(vec![a]), events(vec![b, c])]), "the end may be outstanding");
    }

    #[test]
    fn a_gap_a_repetition_and_a_wrong_order_are_rejected() {
        let [a, b, c, d] = changes();
        assert!(!is_right(vec![created(1), events(vec![b.clone()])]), "the first is missing");
        assert!(!is_right(vec![created(1), events(vec![a.clone(), c.clone()])]), "one in the middle");
        assert!(!is_right(vec![created(1), events(vec![a.clone()]), events(vec![a.clone()])]), "twice");
        assert!(!is_right(vec![created(1), events(vec![b.clone(), a.clone()])]));
        assert!(!is_right(vec![created(3), events(vec![b.clone(), c])]), "before it began");
        assert!(!is_right(vec![events(vec![d])]), "before it was made");
    }

    #[test]
    fn a_wrong_pair_or_pair_before_is_rejected() {
        let [a, b, ..] = changes();
        let wrong = put_event("a", "x", 2, 2, 1, None);
        assert!(!is_right(vec![created(1), events(vec![wrong])]));
        let wrong = put_event("a", "2", 2, 3, 2, Some(("x", 2, 2, 1)));
        assert!(!is_right(vec![created(1), events(vec![a, wrong])]));
        // Revision 3 is compacted: what was before it may be gone. Nothing excuses the one of revision 4.
        assert!(is_right(vec![created(2), events(vec![put_event("a", "2", 2, 3, 2, None)])]));
        assert!(!is_right(vec![created(2), events(vec![b, delete_event("a", 4, None)])]));
    }

    #[test]
    fn a_note_of_progress_is_a_promise() {
        let [a, ..] = changes();
        assert!(!is_right(vec![created(1), events(vec![a.clone()]), Heard::Progress(Revision(3))]));
        assert!(!is_right(vec![created(5), Heard::Progress(Revision(6))]), "there is no revision 6");
        assert!(is_right(vec![created(1), events(vec![a]), Heard::Progress(Revision(2))]));
    }

    #[test]
    fn compacted_is_told_only_if_it_is_true() {
        let told = |compacted| Heard::Compacted(Revision(compacted));
        assert!(is_right(vec![created(1), told(3)]));
        assert!(!is_right(vec![created(2), told(3)]), "revision 3 can be read");
        assert!(!is_right(vec![created(1), told(4)]), "nobody compacted at 4");
    }

    #[test]
    fn a_watch_goes_on_over_a_new_connection() {
        let [a, b, c, d] = changes();
        let resumed = |second: Vec<Event>| {
            let mut both = heard(vec![created(1), events(vec![a.clone(), b.clone()])]);
            let heard = vec![(ms(70), created(5)), (ms(71), events(second))];
            both.sessions.push(Session { from: 4, heard, ..both.sessions[0].clone() });
            both
        };
        assert_eq!(judge(resumed(vec![c.clone(), d.clone()])), []);
        assert_ne!(judge(resumed(vec![d.clone()])), [], "what came between the two is missing");
        assert_ne!(judge(resumed(vec![b.clone(), c, d])), [], "the last one came again");
    }

    #[test]
    fn silence_is_rejected_when_there_was_time_enough() {
        let [a, b, c, d] = changes();
        let mut silent = heard(vec![created(1), events(vec![a, b, c])]);
        assert_eq!(judge(silent.clone()), []);
        silent.must_reach = Some(Revision(5));
        assert_ne!(judge(silent.clone()), []);
        silent.sessions[0].heard.push((ms(99), events(vec![d])));
        assert_eq!(judge(silent), []);
    }

    #[test]
    fn half_a_revision_is_rejected() {
        let write = |key: &str| TxnOp::Put(Put { key: key.to_owned().into(), value: "1".into(), ..Put::default() });
        let both = Txn { success: vec![write("a"), write("b")], ..Txn::default() };
        let done = OpReply::Put(PutReply { revision: Revision(2), prev: None });
        let reply = TxnReply { revision: Revision(2), succeeded: true, responses: vec![done.clone(), done] };
        let mut history = history([txn(both, reply, (0, 10))]);
        let truth = explain(&history).unwrap();
        let (a, b) = (put_event("a", "1", 2, 2, 1, None), put_event("b", "1", 2, 2, 1, None));
        history.watchings = vec![heard(vec![created(1), events(vec![a.clone(), b.clone()])])];
        assert_eq!(check(&history, &truth), []);
        history.watchings = vec![heard(vec![created(1), events(vec![a]), events(vec![b])])];
        assert_ne!(check(&history, &truth), []);
    }
}
