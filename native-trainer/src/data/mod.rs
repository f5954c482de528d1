//! Training data: the sticker world, drawn on the fly, and WebDataset shards, one's own or written from it.

pub mod codes;
mod edits;
pub mod record;
pub mod shards;
mod source;
pub mod stickers;

/// The largest side of a picture to train on, in pixels: a batch of larger ones would fit no memory.
pub const MAX_SIDE: u32 = 1024;

pub use edits::{EditSample, EditSource};
pub use source::{Caption, Captioned, Source, SourceSettings, any_shape, pick_at};
