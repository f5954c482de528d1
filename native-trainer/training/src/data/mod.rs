//! Training data: traits for captioned pictures, edits and prompts by index; a user's own files, which implement
//! them; image codes that are kept in a file.

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

/// Largest side of a training picture in pixels. A batch of larger pictures would not fit into memory.
pub const MAX_SIDE: u32 = 1024;

/// The section `[data]` of a configuration: where captioned pictures come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    /// Captioned pictures as WebDataset shards or jsonl files ([`record`]). If the list is empty, the world draws the
    /// pictures.
    pub shards: Vec<PathBuf>,
    /// Seed of the world's pictures.
    pub seed: u64,
}
