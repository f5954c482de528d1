//! Training data: the sticker world, drawn on the fly, and WebDataset shards, one's own or written from it.

pub mod codes;
pub mod shards;
mod source;
pub mod stickers;

pub use source::{Caption, Captioned, Source, SourceSettings, pick_at};
