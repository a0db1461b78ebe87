//! The seams to the outside world: time, disk and randomness.
//!
//! Nothing below `node` takes these by itself; it is given them, each in a real and in a simulated form. With the
//! simulated ones a test moves the clock, replays a seed, and crashes the disk at any point where data was synced. A third
//! disk is plain memory, for members whose data may go with their process; a fourth only looks at another.

mod background;
mod clock;
mod default_host;
mod disk;
mod memory_disk;
pub mod mistake;
mod moment;
mod overlay;
mod process;
mod random;
mod real_disk;
mod sim_disk;
mod wording;

pub use background::spawn_background;
pub use clock::{Clock, ManualClock, SystemClock, Tick, unix_time};
pub use default_host::default_host;
pub use disk::{DAMAGE_REMEDY, Disk, File, SyncSite, lacks_space};
pub use memory_disk::MemoryDisk;
pub use mistake::Mistake;
pub use moment::{timestamp, timestamp_for_file_name};
pub use overlay::Overlay;
pub use process::{ProcessFigures, raise_file_limit};
pub use random::{Random, SeededRandom, SystemRandom};
pub use real_disk::{RealDisk, RealFile};
pub use sim_disk::{Image, SimDisk};
pub use wording::{go_duration, size};
