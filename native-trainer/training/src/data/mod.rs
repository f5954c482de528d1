//! Training data: traits for captioned pictures, edits and prompts by index; a user's own files, which implement
//! them; image codes that are kept in files.

pub mod codes;
mod edits;
mod error;
mod files;
mod held_out;
mod index;
mod order;
mod paths;
mod pictures;
mod prompts;
mod random;
pub mod record;
mod survey;
mod tar_index;
#[cfg(test)]
mod tests;
mod writer;

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use edits::{Edit, Edits};
pub use error::ShardError;
pub use files::Files;
pub use held_out::{HeldOut, Split};
pub use index::{Sample, ShardIndex};
pub use order::Order;
pub use pictures::{Annotation, Captioned, Pictures, QUESTIONS, Region};
pub use prompts::{Prompt, Prompts};
pub use random::{any_shape, pick_at, rng_at};
pub use survey::{Shown, Survey};
pub use writer::ShardWriter;

/// Largest side of a training picture in pixels. A batch of larger pictures would not fit into memory.
pub const MAX_SIDE: u32 = 1024;

/// The section `[data]` of a configuration: where captioned pictures come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    /// Captioned pictures as WebDataset shards or jsonl files ([`record`]). If the list is empty, the world draws the
    /// pictures.
    pub shards: Vec<PathBuf>,
    /// Seed of the world's pictures.
    pub seed: u64,
    /// What is held out of the user's own files, all of them, for validation.
    pub validation: HeldOut,
    /// Largest number of tokens of a text. Longer texts are cut, and the log says how many were.
    pub max_text: usize,
}

/// Largest number of tokens of a text, unless the settings say otherwise.
pub const MAX_TEXT: usize = 512;

impl Default for SourceSettings {
    fn default() -> Self {
        Self { shards: vec![], seed: 0, validation: HeldOut::default(), max_text: MAX_TEXT }
    }
}
