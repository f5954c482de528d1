//! How batches are made: the task of each sample, the frozen parts that encode it, and the packing of several
//! sequences.

mod base;
mod mix;
mod packing;
mod reading;

pub use base::{Base, Lora, Sample};
pub use mix::task_of;
pub use packing::{Example, Hidden, hidden, mask};
pub use reading::Reading;

/// Number of texts from which a vocabulary is learned.
pub(crate) const VOCABULARY_TEXTS: u64 = 40_000;
