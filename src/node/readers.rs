//! Those who wait for a round of the read barrier.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::completion::{Completions, Wakes};
use super::error::NodeError;

/// Readers that may wait for the next round; more are refused at once.
const WAITING_MAX: usize = 64 * 1024;

/// Whoever waits for a round.
#[derive(Debug)]
pub(super) enum Reader {
    /// A task, which then waits for apply itself, and looks at the time itself.
    Task(oneshot::Sender<Result<u64, NodeError>>),
    /// A connection that reads under this token, up to this moment.
    Connection(Arc<Completions>, u64, Instant),
}

impl Reader {
    /// Nobody waits for it any more.
    fn has_gone(&self) -> bool {
        matches!(self, Reader::Task(tx) if tx.is_closed())
    }

    /// Its time is over, or it has gone.
    fn is_late(&self, now: Instant) -> bool {
        self.has_gone() || matches!(self, Reader::Connection(_, _, deadline) if *deadline <= now)
    }

    /// A connection is only noted in `wakes`.
    pub(super) fn refuse(self, error: &NodeError, wakes: &Wakes) {
        match self {
            // A receiver that is gone has given up waiting.
            Reader::Task(tx) => drop(tx.send(Err(error.clone()))),
            Reader::Connection(completions, token, _) => wakes.let_read(completions, token, Err(error.clone())),
        }
    }
}

/// The readers of the round that runs, and of the next one.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: Vec<Reader>,
    present: Vec<Reader>,
    /// So many are worth being told of besides the first: as many as the round that runs has.
    crowd: usize,
    /// There will be no more rounds.
    is_over: bool,
}

impl Waiting {
    /// Takes a reader in for the next round. Tells whether it is the first, or makes as many as there were in the last
    /// round.
    ///
    /// # Errors
    /// [`NodeError::TooManyRequests`] if there is no room, [`NodeError::Stopped`] if there will be no round; with the
    /// reader.
    pub(super) fn join(&mut self, reader: Reader) -> Result<bool, (NodeError, Reader)> {
        if self.is_over {
            return Err((NodeError::Stopped, reader));
        }
        if self.next.len() >= WAITING_MAX {
            self.next.retain(|reader| !reader.has_gone());
            if self.next.len() >= WAITING_MAX {
                return Err((NodeError::TooManyRequests, reader));
            }
        }
        self.next.push(reader);
        Ok(self.next.len() == 1 || self.next.len() == self.crowd)
    }

    /// Whether fewer wait than the last round was for.
    pub(super) fn is_less_than_before(&self) -> bool {
        self.next.len() < self.crowd
    }

    /// A round begins: gives how many it is for.
    pub(super) fn begin(&mut self) -> usize {
        self.present = std::mem::take(&mut self.next);
        self.crowd = self.present.len();
        self.crowd
    }

    /// Takes out who is late.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<Reader> {
        let mut late: Vec<Reader> = self.present.extract_if(.., |reader| reader.is_late(now)).collect();
        late.extend(self.next.extract_if(.., |reader| reader.is_late(now)));
        late
    }

    /// The round ends: gives those it was for.
    pub(super) fn end(&mut self) -> Vec<Reader> {
        std::mem::take(&mut self.present)
    }

    /// There will be no more rounds: gives everybody who waits.
    pub(super) fn end_all(&mut self) -> Vec<Reader> {
        self.is_over = true;
        let mut all = self.end();
        all.append(&mut self.next);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connection(token: u64, deadline: Instant) -> Reader {
        Reader::Connection(Completions::new(), token, deadline)
    }

    fn tokens(readers: &[Reader]) -> Vec<u64> {
        let token = |reader: &Reader| match reader {
            Reader::Task(_) => u64::MAX,
            Reader::Connection(_, token, _) => *token,
        };
        readers.iter().map(token).collect()
    }

    #[test]
    fn who_comes_during_a_round_waits_for_the_next() {
        let (mut waiting, later) = (Waiting::default(), Instant::now() + Duration::from_secs(1));
        assert!(waiting.join(connection(1, later)).unwrap());
        assert_eq!(waiting.begin(), 1);
        assert!(waiting.join(connection(2, later)).unwrap());
        assert_eq!(tokens(&waiting.end()), [1]);
        assert_eq!(waiting.begin(), 1);
        waiting.join(connection(3, later)).unwrap();
        assert_eq!(tokens(&waiting.end_all()), [2, 3]);
        let (error, refused) = waiting.join(connection(4, later)).unwrap_err();
        assert_eq!((error, tokens(&[refused])), (NodeError::Stopped, vec![4]));
    }

    #[test]
    fn the_first_and_the_one_that_makes_a_crowd_again_are_told_of() {
        let (mut waiting, later) = (Waiting::default(), Instant::now() + Duration::from_secs(1));
        let join = |waiting: &mut Waiting| waiting.join(connection(1, later)).unwrap();
        assert_eq!([join(&mut waiting), join(&mut waiting), join(&mut waiting)], [true, false, false]);
        assert_eq!(waiting.begin(), 3);
        assert_eq!([join(&mut waiting), join(&mut waiting)], [true, false]);
        assert!(waiting.is_less_than_before());
        assert_eq!([join(&mut waiting), join(&mut waiting)], [true, false]);
        assert!(!waiting.is_less_than_before());
    }

    #[test]
    fn who_is_late_is_taken_out_of_both_rounds() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        let (tx, rx) = oneshot::channel();
        waiting.join(connection(1, now)).unwrap();
        waiting.join(connection(2, later)).unwrap();
        waiting.join(Reader::Task(tx)).unwrap();
        waiting.begin();
        waiting.join(connection(3, now)).unwrap();
        assert_eq!(tokens(&waiting.take_late(now)), [1, 3]);
        drop(rx);
        assert_eq!(tokens(&waiting.take_late(now)), [u64::MAX]);
        assert_eq!(tokens(&waiting.end()), [2]);
    }

    #[test]
    fn room_is_bounded_and_those_who_went_make_some() {
        let (mut waiting, later) = (Waiting::default(), Instant::now() + Duration::from_secs(1));
        let (tx, rx) = oneshot::channel();
        waiting.join(Reader::Task(tx)).unwrap();
        for token in 1..WAITING_MAX as u64 {
            waiting.join(connection(token, later)).unwrap();
        }
        assert_eq!(waiting.join(connection(0, later)).unwrap_err().0, NodeError::TooManyRequests);
        drop(rx);
        waiting.join(connection(0, later)).unwrap();
    }
}
