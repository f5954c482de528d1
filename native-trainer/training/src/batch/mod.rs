//! What a batch is made of: which sample teaches what, the frozen parts that encode it, and several sequences as one.

mod base;
mod mix;
mod packing;

pub use base::{Base, Lora, Sample};
pub use mix::turn;
pub use packing::{Example, Hidden, hidden, mask};

/// Texts that a vocabulary is learned from.
pub(crate) const TEXTS: u64 = 40_000;
/// The longest text, in tokens.
pub(crate) const MAX_TEXT: usize = 96;
