//! What stages learn from: captioned pictures, edits and prompts by index, as traits; a user's own files as one implementation
//! of them; image codes kept in a file.

pub mod codes;
mod edits;
mod error;
mod files;
mod index;
mod paths;
mod pictures;
mod prompts;
mod random;
pub mod record;
mod tar_index;
#[cfg(test)]
mod tests;
mod writer;

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use edits::{Edit, Edits};
pub use error::ShardError;
pub use files::Files;
pub use index::{Sample, ShardIndex};
pub use pictures::{Annotation, Captioned, Pictures, QUESTIONS, Region};
pub use prompts::{Prompt, Prompts};
pub use random::{any_shape, pick_at, rng_at};
pub use writer::ShardWriter;

/// The largest side of a picture to train on, in pixels: a batch of larger ones would fit no memory.
pub const MAX_SIDE: u32 = 1024;

/// Where captioned pictures come from, the section `[data]` of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    /// Captioned pictures as WebDataset shards or jsonl files ([`record`]), folders of such, or patterns like
    /// `shards/{00000..00009}.tar`; none: those of the world.
    pub shards: Vec<PathBuf>,
    /// What the world's pictures are drawn from.
    pub seed: u64,
}
