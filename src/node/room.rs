//! Room in memory for answers that must be held whole.
//!
//! Most answers hold next to nothing of what they send. One that is sorted must have all its pairs before its first byte
//! goes out. Such answers wait here, in order, until there is room for what they will hold, and keep it until they were
//! sent or dropped. One that is larger than all room takes all of it, and is alone then.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::NodeError;
use super::proposer::REQUEST_TIMEOUT;

/// Room is counted in pieces of so many bytes.
const PIECE_BYTES: usize = 4096;

/// All the room there is.
#[derive(Debug)]
pub(super) struct Rooms {
    free: Arc<Semaphore>,
    pieces: usize,
}

/// Room that an answer takes. Dropped, it is free again.
#[derive(Debug)]
pub struct Room {
    permit: OwnedSemaphorePermit,
}

impl Rooms {
    pub(super) fn new(bytes: usize) -> Rooms {
        let pieces = (bytes / PIECE_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Rooms { free: Arc::new(Semaphore::new(pieces)), pieces }
    }

    /// Waits for room for so many bytes, or for all room if that is less.
    ///
    /// # Errors
    /// [`NodeError::Timeout`] if there is none within the request timeout.
    pub(super) async fn take(&self, bytes: usize) -> Result<Room, NodeError> {
        // It was clamped to what a `u32` holds.
        let pieces = bytes.div_ceil(PIECE_BYTES).clamp(1, self.pieces) as u32;
        let taken = tokio::time::timeout(REQUEST_TIMEOUT, self.free.clone().acquire_many_owned(pieces)).await;
        let permit = taken.map_err(|_| NodeError::Timeout)?.map_err(|_| NodeError::Stopped)?;
        Ok(Room { permit })
    }
}

impl Room {
    /// Gives back what is beyond so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let spare = self.permit.num_permits().saturating_sub(bytes.div_ceil(PIECE_BYTES));
        drop(self.permit.split(spare));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_then_gives_up() {
        let rooms = Rooms::new(10 * PIECE_BYTES);
        let mut first = rooms.take(8 * PIECE_BYTES).await.unwrap();
        let small = rooms.take(2 * PIECE_BYTES).await.unwrap();
        assert_eq!(rooms.take(1).await.unwrap_err(), NodeError::Timeout);
        first.shrink(7 * PIECE_BYTES);
        let one = rooms.take(1).await.unwrap();
        let waiting = rooms.take(9 * PIECE_BYTES);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop((first, small));
        assert!(futures_util::poll!(&mut waiting).is_ready());
        drop(one);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_all_is_all() {
        let rooms = Rooms::new(10 * PIECE_BYTES);
        let all = rooms.take(usize::MAX).await.unwrap();
        assert_eq!(rooms.take(1).await.unwrap_err(), NodeError::Timeout);
        drop(all);
        rooms.take(10 * PIECE_BYTES).await.unwrap();
    }
}
