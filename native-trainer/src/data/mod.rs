//! Training data: the sticker world, drawn on the fly, and WebDataset shards, one's own or written from it.

pub mod shards;
pub mod stickers;
