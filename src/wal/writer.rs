//! The log's thread: drains the queue, writes, syncs, answers.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::entries::{Entries, Place};
use super::format::{BATCH_HEADER_BYTES, BatchWriter, HEADER_BYTES, Record, SegmentHeader};
use super::queue::{Operation, Queue, Work, copy};
use super::recovery::Found;
use super::removal::{Purged, Removal};
use super::room::Room;
use super::segment::{Making, Segment, path};
use super::{LogEntry, Options};
use crate::env::{Disk, Random, SyncSite, spawn_background};
use crate::metrics::Stopwatch;

/// A batch is closed when it has this many bytes; one operation may be larger.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Room for the marks at the start of a segment, and for a note of what is committed.
const MARKS_BYTES: usize = 256;
/// Memory that the buffer keeps from batch to batch.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;
/// The next segment is made once this part of the last one is used.
const BEGUN: u64 = 16;
/// How long nothing must come before the last batch is proven by an empty one.
const IDLE: Duration = Duration::from_millis(5);

/// The log's thread as a value.
#[derive(Debug)]
pub struct Writer {
    disk: Arc<dyn Disk>,
    random: Arc<dyn Random>,
    options: Options,
    queue: Arc<Queue>,
    entries: Arc<Entries>,
    /// Oldest first; batches go to the last.
    segments: VecDeque<Segment>,
    spare: Spare,
    removal: Removal,
    room: Arc<Room>,
    /// It has a thread of its own: it has segments made ahead and removed by others, and waits for space. Else it makes them
    /// when they are needed, removes one after each sync, and fails without space.
    may_wait: bool,
    marks: Marks,
    buffer: Vec<u8>,
    batches: Batches,
    /// The last entry in the log as written.
    last_index: u64,
}

/// The segment after the last one.
#[derive(Debug, Default)]
enum Spare {
    #[default]
    None,
    /// It was there when the log was opened.
    Ready(Segment),
    /// On its way to be ready before it is needed.
    Making(JoinHandle<io::Result<Segment>>),
}

/// Numbers of batches; see the module's essay on what proves what.
#[derive(Debug)]
struct Batches {
    /// The last that was written.
    written: u64,
    /// The last that is known to be synced.
    synced: u64,
    /// The last that a written batch says is synced.
    proven: u64,
}

/// What each segment begins with, so that older ones can go.
#[derive(Debug, Default)]
struct Marks {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        random: Arc<dyn Random>,
        options: Options,
        found: Found,
        (queue, room): (Arc<Queue>, Arc<Room>),
    ) -> (Writer, Arc<Entries>) {
        let purged = found.purged.as_ref().map_or(0, |(index, _)| *index);
        let last_index = found.entries.last_index().unwrap_or(purged);
        let entries = Arc::new(Entries::new(options.cache_bytes_max, found.entries, purged));
        let mut writer = Writer {
            disk,
            random,
            options,
            queue,
            entries: entries.clone(),
            segments: found.segments,
            spare: Spare::None,
            removal: Removal::default(),
            room,
            may_wait: false,
            marks: Marks { vote: found.vote, committed: found.committed, purged: found.purged },
            buffer: Vec::new(),
            // Recovery has synced what it found.
            batches: Batches { written: found.last_batch, synced: found.last_batch, proven: found.last_batch },
            last_index,
        };
        writer.note_room();
        if let Some(spare) = found.spare {
            writer.room.set_spare(spare.len - HEADER_BYTES);
            writer.spare = Spare::Ready(spare);
        }
        (writer, entries)
    }

    /// Runs until the log is closed or fails; others make segments ahead and remove old ones.
    pub fn run(mut self) {
        self.may_wait = true;
        self.room.set_bounded();
        if let Err(error) = self.prepare() {
            self.fail(error, Vec::new());
        }
        while self.step() {}
    }

    /// Waits for work and does it: one write and one sync for all that waits. `false` when the log was closed, and is
    /// sealed, or has failed.
    pub fn step(&mut self) -> bool {
        if !self.is_running() {
            return false;
        }
        let patience = self.has_leftovers().then_some(IDLE);
        let work = self.queue.wait(patience);
        self.act(work)
    }

    /// Does what there is to do now, without waiting for work; else as [`Writer::step`].
    pub fn step_now(&mut self) -> bool {
        if !self.is_running() {
            return false;
        }
        match self.queue.take() {
            Work::Idle if !self.has_leftovers() => true,
            work => self.act(work),
        }
    }

    fn act(&mut self, work: Work) -> bool {
        match work {
            Work::Operations(mut operations, committed) => {
                let written = self.write(&operations, committed).and_then(|()| self.sync());
                let bytes = operations.iter().map(|operation| operation.bytes).sum();
                match written {
                    Ok(()) => {
                        self.options
                            .metrics
                            .batch
                            .observe(f64::from(u32::try_from(operations.len()).unwrap_or(u32::MAX)));
                        self.queue.wrote(bytes);
                        for done in operations.iter_mut().filter_map(|operation| operation.done.take()) {
                            done(Ok(()));
                        }
                    }
                    Err(error) => self.fail(error, operations),
                }
                self.is_running()
            }
            Work::Idle => {
                // Not synced: it only says what is true already.
                let proven = if self.is_proven() { Ok(()) } else { self.write_batch(&[], None, None) };
                // A removal needs the sync: the marks that the file took over may be in a batch that was not.
                let removed = |()| {
                    if self.removal.is_under_way() || !self.can_remove() { self.removal.look() } else { self.sync() }
                };
                if let Err(error) = proven.and_then(removed) {
                    self.fail(error, Vec::new());
                }
                self.is_running()
            }
            Work::Closed(committed) => {
                let sealed = self.write_batch(&[], committed, Some(Record::Seal)).and_then(|()| self.sync());
                match sealed {
                    Ok(()) => self.end(),
                    Err(error) => self.fail(error, Vec::new()),
                }
                false
            }
        }
    }

    /// Whether there is something to do when nothing comes.
    pub(super) fn has_leftovers(&self) -> bool {
        !self.is_proven() || self.can_remove() || self.removal.is_under_way()
    }

    /// Whether a batch in the log says that the last one is synced.
    fn is_proven(&self) -> bool {
        self.batches.proven == self.batches.synced
    }

    fn is_running(&self) -> bool {
        !self.queue.has_failed()
    }

    /// Writes operations as one batch, or as several if they are many.
    fn write(&mut self, operations: &[Operation], committed: Option<Bytes>) -> io::Result<()> {
        let mut rest = operations;
        let mut committed = committed;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|operation| {
                bytes += operation.bytes;
                bytes <= BATCH_BYTES_MAX
            });
            let (batch, later) = rest.split_at(fits.count().max(1));
            // With the last: what it calls committed was queued before, and must not be torn off behind it.
            let note = if later.is_empty() { committed.take() } else { None };
            self.write_batch(batch, note, None)?;
            rest = later;
        }
        Ok(())
    }

    fn write_batch(
        &mut self,
        operations: &[Operation],
        committed: Option<Bytes>,
        seal: Option<Record>,
    ) -> io::Result<()> {
        let bytes: usize = operations.iter().map(|operation| operation.bytes).sum();
        if !self.current().has_room(BATCH_HEADER_BYTES + bytes + MARKS_BYTES) {
            self.roll()?;
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        let number = self.batches.written + 1;
        let mut placed: Vec<(&LogEntry, usize)> = Vec::new();
        let mut batch = BatchWriter::new(&mut self.buffer);
        let segment = self.segments.back_mut().expect("there is always a segment to write to");
        if segment.offset == HEADER_BYTES {
            for record in self.marks.records() {
                batch.push(&record);
            }
        }
        for record in operations.iter().flat_map(|operation| &operation.records) {
            let payload_at = batch.push(record);
            match record {
                Record::Entry(entry) => {
                    self.last_index = entry.index;
                    segment.last_index = segment.last_index.max(entry.index);
                    placed.push((entry, payload_at));
                }
                Record::Vote(vote) => self.marks.vote = Some(vote.clone()),
                Record::Committed(committed) => self.marks.committed = Some(committed.clone()),
                Record::Truncate(index) => {
                    self.last_index = self.last_index.min(*index);
                    self.entries.wrote_truncation();
                }
                Record::Purge(through, mark) => {
                    self.last_index = self.last_index.max(*through);
                    self.marks.purged = Some((*through, mark.clone()));
                }
                Record::Seal => {}
            }
        }
        if let Some(committed) = committed {
            batch.push(&Record::Committed(committed.clone()));
            self.marks.committed = Some(committed);
        }
        if let Some(seal) = seal {
            batch.push(&seal);
        }
        batch.finish(segment.header.salt, number, self.batches.synced);

        let watch = Stopwatch::start();
        let write = || segment.file.write_all_at(segment.offset, &self.buffer);
        if self.may_wait {
            self.room.write(write)?
        } else {
            write()?
        }
        self.options.metrics.write.observe(watch.seconds());
        self.options.metrics.written_bytes.add(i64::try_from(self.buffer.len()).unwrap_or(i64::MAX));
        for (entry, payload_at) in placed {
            let offset = segment.offset + payload_at as u64;
            self.entries.place(entry, Place { file: segment.file.clone(), offset });
        }
        segment.offset += self.buffer.len() as u64;
        self.batches.written = number;
        self.batches.proven = self.batches.synced;
        self.note_room();
        self.prepare()
    }

    /// Makes everything that was written durable, and lets files go that a purge has freed.
    fn sync(&mut self) -> io::Result<()> {
        let watch = Stopwatch::start();
        self.current().file.sync_data(SyncSite::WalBatch)?;
        self.options.metrics.sync.observe(watch.seconds());
        self.batches.synced = self.batches.written;
        self.entries.set_synced(self.last_index);
        self.remove_purged()
    }

    /// Whether the oldest segment holds nothing that the last purge has left.
    pub(super) fn can_remove(&self) -> bool {
        let Some((through, _)) = self.marks.purged else { return false };
        self.segments.len() > 1 && self.segments.front().is_some_and(|first| first.last_index <= through)
    }

    /// The mark of the purge is durable, so files that hold nothing else may go. Only right after a sync: the newest segment
    /// must hold all the marks durably.
    fn remove_purged(&mut self) -> io::Result<()> {
        self.removal.look()?;
        if self.removal.is_under_way() || !self.can_remove() {
            return Ok(());
        }
        let mut purged = Purged {
            disk: self.disk.clone(),
            dir: self.options.dir.clone(),
            files: Vec::new(),
            room: self.room.clone(),
        };
        while self.can_remove()
            && (self.may_wait || purged.files.is_empty())
            && let Some(segment) = self.segments.pop_front()
        {
            purged.files.push(path(&self.options.dir, segment.header.sequence));
        }
        if self.may_wait { self.removal.begin(purged) } else { purged.remove(Duration::ZERO) }
    }

    /// Goes on in the next segment. What the last one holds is synced first: a batch in the new one proves it.
    fn roll(&mut self) -> io::Result<()> {
        if self.current().offset == HEADER_BYTES {
            // A batch that is larger than a segment: the file grows.
            return Ok(());
        }
        if self.batches.synced < self.batches.written {
            self.sync()?;
        }
        let next = match std::mem::take(&mut self.spare) {
            Spare::Ready(spare) => spare,
            Spare::Making(spare) => finish(spare)?,
            Spare::None if self.may_wait => finish(self.begin(Making::AtOnce)?)?,
            Spare::None => self.next_segment(Making::AtOnce)()?,
        };
        self.segments.push_back(next);
        self.room.set_spare(0);
        self.note_room();
        Ok(())
    }

    /// Begins to make the next segment once there is something in the last one: not before, for who starts may not write
    /// much.
    fn prepare(&mut self) -> io::Result<()> {
        let current = self.current();
        let is_begun = current.offset >= HEADER_BYTES + current.len / BEGUN;
        if self.may_wait && is_begun && matches!(self.spare, Spare::None) {
            self.spare = Spare::Making(self.begin(Making::Ahead)?);
        }
        Ok(())
    }

    /// Begins to make the next segment on a thread of its own, which goes on until there is space for it.
    fn begin(&self, making: Making) -> io::Result<JoinHandle<io::Result<Segment>>> {
        let (make, room) = (self.next_segment(making), self.room.clone());
        spawn_background("wal-segment", move || room.make(make))
    }

    /// Makes the segment after the last one, wherever it is called.
    fn next_segment(&self, making: Making) -> impl Fn() -> io::Result<Segment> + Send + 'static {
        let sequence = self.current().header.sequence + 1;
        let header = SegmentHeader { sequence, salt: self.random.next_u64(), len: self.options.segment_bytes };
        let (disk, dir) = (self.disk.clone(), self.options.dir.clone());
        move || Segment::create(&*disk, &dir, header, making)
    }

    /// Tells how much fits into the last segment.
    fn note_room(&self) {
        let current = self.current();
        self.room.set_rest(current.len.saturating_sub(current.offset));
    }

    fn current(&self) -> &Segment {
        self.segments.back().expect("there is always a segment to write to")
    }

    /// Tells everybody who waits, and all who come later.
    fn fail(&mut self, error: io::Error, unanswered: Vec<Operation>) {
        tracing::error!(%error, "the write-ahead log has failed");
        let (failure, waiting) = self.queue.fail(error);
        for done in unanswered.into_iter().chain(waiting).filter_map(|operation| operation.done) {
            done(Err(copy(&failure)));
        }
        self.entries.end();
    }

    /// Nothing is written any more: whoever still waits hears of it.
    fn end(&mut self) {
        for done in self.queue.end().into_iter().filter_map(|operation| operation.done) {
            done(Err(io::Error::other("the log is closed")));
        }
        self.entries.end();
    }
}

/// Waits for a segment that is being made, and for the space that it needs.
fn finish(making: JoinHandle<io::Result<Segment>>) -> io::Result<Segment> {
    making.join().map_err(|_| io::Error::other("making a log segment failed badly"))?
}

impl Drop for Writer {
    /// However the thread ends, by a panic too, nobody waits for it for ever, and no thread of its own outlives it.
    fn drop(&mut self) {
        self.end();
        self.room.end();
        self.removal.end();
        if let Spare::Making(spare) = std::mem::take(&mut self.spare) {
            // Whether the segment was finished does not matter: the next opening finds or removes it.
            let _ = spare.join();
        }
    }
}

impl Marks {
    fn records(&self) -> Vec<Record> {
        let vote = self.vote.clone().map(Record::Vote);
        let committed = self.committed.clone().map(Record::Committed);
        let purged = self.purged.clone().map(|(through, mark)| Record::Purge(through, mark));
        vote.into_iter().chain(committed).chain(purged).collect()
    }
}
