//! Published checkpoints become a model folder.
//!
//! [`Parts`] puts a language model, an understanding encoder and an image tokenizer together: what training starts from.
//! [`Whole`] takes a UniGen checkpoint as its authors save it, [`ShowO`] one of Show-o.
//!
//! An import reads a tensor's rows, writes them and lets go of them, so that it needs little memory whatever the size of the
//! model. It writes into a hidden folder beside the new one, which gets its name at the end: what has the name is whole.

mod front_ends;
mod parts;
mod published;
mod showo;
mod storage;
mod table;
mod tensors;
mod whole;
mod write;

pub use parts::Parts;
pub use showo::ShowO;
pub use storage::Storage;
pub use whole::Whole;

use crate::Origin;
use std::path::Path;
use tensors::NewTensor;
use unigen_core::Result;
use unigen_core::config::{GenerationConfig, ModelConfig};

/// A model that is read but not written yet.
pub struct Import {
    config: ModelConfig,
    generation: GenerationConfig,
    tokenizer_json: Vec<u8>,
    model: Vec<NewTensor>,
    image_tokenizer: Vec<NewTensor>,
    vision: Option<Vec<NewTensor>>,
    /// Where it comes from.
    pub origin: Origin,
    /// What the user should know, though it stops nothing.
    pub warnings: Vec<String>,
}

/// Hears how many bytes are written, and of how many; an error ends the import.
pub type Progress<'a> = &'a dyn Fn(u64, u64) -> Result<()>;

impl Import {
    /// Sizes of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Writes the model folder `out`, which must not exist.
    ///
    /// # Errors
    /// `Io` where `out` exists, cannot be written or the disk is full; `Weights` for values that are not finite or do not
    /// fit. Nothing is left behind then.
    pub fn write(self, out: &Path, storage: Storage, progress: Progress<'_>) -> Result<()> {
        write::write(self, out, storage, progress)
    }
}
