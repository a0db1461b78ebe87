//! What is logged: the shape of lines whatever happens, and the lines that operators and frameworks wait for.

mod faults;
mod healthy;
mod outputs;
mod slow;
mod table;

pub use crate::harness::Line;
