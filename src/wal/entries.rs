//! Entries by index: where each is, and the newest ones themselves.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::LogEntry;
use super::format::INDEX_MAX;
use super::segment::SegmentFile;
use crate::env::DAMAGE_REMEDY;

/// The readers' side of the log.
#[derive(Debug)]
pub(super) struct Entries {
    state: Mutex<State>,
    synced: Condvar,
    cache_bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    slots: Slots,
    synced: u64,
    /// Truncations that are not written yet: what is synced meanwhile counts only up to them.
    truncations: VecDeque<u64>,
    has_ended: bool,
}

/// Entries one after another, each in memory or on disk or both.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// The index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Slots before this one are not in memory any more.
    cached_from: usize,
    cached_bytes: usize,
}

#[derive(Debug)]
struct Slot {
    term: u64,
    len: u32,
    crc: u32,
    place: Option<Place>,
    payload: Option<Bytes>,
}

/// Where the payload of an entry is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Arc<SegmentFile>,
    pub(super) offset: u64,
}

impl Place {
    /// Reads the payload of an entry, which has a length and a checksum.
    fn read(&self, index: u64, len: u32, crc: u32) -> io::Result<Bytes> {
        let (file, offset) = (self.file.path.display(), self.offset);
        let damaged = |why| {
            let what = format!("{file} is damaged at byte {offset}: log entry {index} {why}; {DAMAGE_REMEDY}");
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let mut payload = vec![0; len as usize];
        match self.file.read_exact_at(offset, &mut payload) {
            Ok(()) if crc32c::crc32c(&payload) == crc => Ok(payload.into()),
            Ok(()) => Err(damaged("does not have its checksum")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged("is cut short")),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("cannot read log entry {index} in {file} at byte {offset}: {error}"),
            )),
        }
    }
}

impl Entries {
    /// What recovery found; all of it is durable.
    pub(super) fn new(cache_bytes_max: usize, found: Slots, purged: u64) -> Entries {
        let synced = found.last_index().unwrap_or(purged);
        let state = State { slots: found, synced, ..State::default() };
        Entries { state: Mutex::new(state), synced: Condvar::new(), cache_bytes_max }
    }

    pub(super) fn append(&self, entries: &[LogEntry]) -> io::Result<()> {
        let mut state = self.state.lock();
        // Checked before any is taken: an error leaves the log as it was.
        let mut end = state.slots.end();
        for entry in entries {
            if end.is_some_and(|end| entry.index != end) || !(1..=INDEX_MAX).contains(&entry.index) {
                let last = state.slots.last_index().unwrap_or(0);
                let what = format!("log entry {} does not follow {last}", entry.index);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            end = Some(entry.index + 1);
        }
        for entry in entries {
            state.slots.push(entry, None);
        }
        Ok(())
    }

    /// Notes where an entry was written. One that was truncated meanwhile, or replaced, is passed over.
    pub(super) fn place(&self, entry: &LogEntry, place: Place) {
        let mut state = self.state.lock();
        let Some(slot) = state.slots.slot_mut(entry.index) else { return };
        let is_same = slot.payload.as_ref().is_some_and(|payload| payload.as_ptr() == entry.payload.as_ptr());
        if slot.place.is_none() && is_same {
            slot.place = Some(place);
        }
    }

    /// Entries up to `index` are durable; frees what need not stay in memory.
    pub(super) fn set_synced(&self, index: u64) {
        let mut state = self.state.lock();
        let truncated = state.truncations.iter().min().copied().unwrap_or(u64::MAX);
        state.synced = index.min(truncated);
        state.slots.evict(self.cache_bytes_max);
        drop(state);
        self.synced.notify_all();
    }

    pub(super) fn truncate_after(&self, index: u64) {
        let mut state = self.state.lock();
        state.slots.truncate_after(index);
        state.synced = state.synced.min(index);
        state.truncations.push_back(index);
    }

    /// The oldest truncation is part of a batch now.
    pub(super) fn wrote_truncation(&self) {
        self.state.lock().truncations.pop_front();
    }

    pub(super) fn purge(&self, through: u64) {
        let mut state = self.state.lock();
        state.slots.purge(through);
        if state.slots.is_empty() {
            state.synced = state.synced.max(through);
            drop(state);
            self.synced.notify_all();
        }
    }

    pub(super) fn read(&self, from: u64, until: u64, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        /// An entry, or where it is.
        enum Wanted {
            Cached(LogEntry),
            Placed { index: u64, term: u64, len: u32, crc: u32, place: Place },
        }
        let wanted: Vec<Wanted> = {
            let state = self.state.lock();
            let Some(start) = state.slots.slot_of(from) else { return Ok(Vec::new()) };
            let mut bytes = 0usize;
            let mut wanted = Vec::new();
            for (index, slot) in (from..until).zip(state.slots.slots.range(start..)) {
                bytes = bytes.saturating_add(slot.len as usize);
                if !wanted.is_empty() && bytes > bytes_max {
                    break;
                }
                let &Slot { term, len, crc, .. } = slot;
                wanted.push(match (&slot.payload, &slot.place) {
                    (Some(payload), _) => Wanted::Cached(LogEntry { index, term, payload: payload.clone() }),
                    (None, Some(place)) => Wanted::Placed { index, term, len, crc, place: place.clone() },
                    (None, None) => return Err(io::Error::other(format!("log entry {index} is nowhere"))),
                });
            }
            wanted
        };
        let load = |wanted| match wanted {
            Wanted::Cached(entry) => Ok(entry),
            Wanted::Placed { index, term, len, crc, place } => {
                Ok(LogEntry { index, term, payload: place.read(index, len, crc)? })
            }
        };
        wanted.into_iter().map(load).collect()
    }

    pub(super) fn first_index(&self) -> Option<u64> {
        self.state.lock().slots.first_index()
    }

    pub(super) fn last(&self) -> Option<(u64, u64)> {
        let state = self.state.lock();
        Some((state.slots.last_index()?, state.slots.slots.back()?.term))
    }

    /// Bytes of payloads that are in memory.
    #[cfg(test)]
    pub(super) fn cached_bytes(&self) -> usize {
        self.state.lock().slots.cached_bytes
    }

    pub(super) fn synced_index(&self) -> u64 {
        self.state.lock().synced
    }

    pub(super) fn wait_synced(&self, index: u64) -> bool {
        let mut state = self.state.lock();
        while state.synced < index && !state.has_ended {
            self.synced.wait(&mut state);
        }
        state.synced >= index
    }

    /// Whether [`Entries::wait_synced`] would return at once.
    pub(super) fn is_settled(&self, index: u64) -> bool {
        let state = self.state.lock();
        state.synced >= index || state.has_ended
    }

    /// Nothing will be synced any more.
    pub(super) fn end(&self) {
        self.state.lock().has_ended = true;
        self.synced.notify_all();
    }
}

impl Slots {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn first_index(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.first)
    }

    pub(super) fn last_index(&self) -> Option<u64> {
        Some(self.end()? - 1)
    }

    /// The index that comes next; any may if there is none yet.
    pub(super) fn end(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.first + self.slots.len() as u64)
    }

    fn slot_of(&self, index: u64) -> Option<usize> {
        let i = usize::try_from(index.checked_sub(self.first)?).ok()?;
        (i < self.slots.len()).then_some(i)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let i = self.slot_of(index)?;
        self.slots.get_mut(i)
    }

    /// Adds an entry, which must follow.
    pub(super) fn push(&mut self, entry: &LogEntry, place: Option<Place>) {
        debug_assert!(self.end().is_none_or(|end| end == entry.index), "the caller has checked the order");
        if self.is_empty() {
            self.first = entry.index;
        }
        let payload = entry.payload.clone();
        self.cached_bytes += payload.len();
        self.slots.push_back(Slot {
            term: entry.term,
            len: payload.len() as u32,
            crc: crc32c::crc32c(&payload),
            place,
            payload: Some(payload),
        });
    }

    pub(super) fn truncate_after(&mut self, index: u64) {
        while self.last_index().is_some_and(|last| last > index) {
            if let Some(slot) = self.slots.pop_back() {
                self.cached_bytes -= slot.payload.map_or(0, |payload| payload.len());
            }
        }
        self.cached_from = self.cached_from.min(self.slots.len());
    }

    pub(super) fn purge(&mut self, through: u64) {
        while self.first_index().is_some_and(|first| first <= through) {
            if let Some(slot) = self.slots.pop_front() {
                self.cached_bytes -= slot.payload.map_or(0, |payload| payload.len());
            }
            self.cached_from = self.cached_from.saturating_sub(1);
            self.first += 1;
        }
    }

    /// Lets the oldest entries that are on disk go from memory until the rest fits.
    pub(super) fn evict(&mut self, bytes_max: usize) {
        while self.cached_bytes > bytes_max {
            let Some(slot) = self.slots.get_mut(self.cached_from) else { break };
            if slot.place.is_none() {
                break;
            }
            self.cached_bytes -= slot.payload.take().map_or(0, |payload| payload.len());
            self.cached_from += 1;
        }
    }
}
