//! Parity with published models: the core against tensors that reference implementations computed.
//!
//! A parity folder holds a model's `config.json` and `model.safetensors` as published, or its `model.gguf`, and
//! `io.safetensors`: inputs, and what the reference computed from them in float32. [`verify`] recognises the [`kinds`] of folder by their config. A kind is one
//! file in `kinds`; bounds and differences are in `compare`. `tests/parity` in the repository has a folder of every kind, and
//! the scripts that made it.

mod compare;
mod folder;
mod kinds;

pub use compare::Comparison;

use anyhow::Result;
use burn::tensor::Device;
use std::path::Path;

use compare::Comparer;
use folder::{Config, Folder};

/// What one kind of folder holds and how it is compared.
trait Kind: Sync {
    /// Name for messages.
    fn name(&self) -> &'static str;

    /// Whether the folder with this config.json is of this kind. The first kind in [`kinds::ALL`] that says yes compares it.
    fn recognises(&self, config: &Config) -> bool;

    /// Computes the outputs with the core, from the folder's weights and inputs, and compares each with the reference's.
    ///
    /// # Errors
    /// Where something in the folder is missing, damaged, or does not fit the rest.
    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()>;
}

/// Names of the kinds of folder that can be compared.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    kinds::ALL.iter().map(|kind| kind.name())
}

/// Compares everything in `folder`; `report` gets each comparison as soon as it is made.
///
/// # Errors
/// Name the tensor, or the key of config.json, that is missing, damaged, or does not fit the others; for a folder of an
/// unknown kind, the kinds that are known.
pub fn verify(folder: &Path, device: &Device, report: &mut dyn FnMut(Comparison)) -> Result<()> {
    let config = Config::read(folder)?;
    let kind = kinds::of(&config)?;
    let folder = Folder::open(folder, config, device)?;
    kind.compare(&folder, &mut Comparer::new(&folder.io, report))
}
