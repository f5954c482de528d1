//! The stages of training, one file per stage, over one loop ([`crate::train`]). A [`World`] supplies whatever the
//! user's files do not.

pub mod align;
mod discriminator;
mod grounding;
pub mod pretrain;
pub mod rl;
pub mod sft;
#[cfg(test)]
mod tests;
pub mod tokenizer;
pub mod vision;

use anyhow::Result;
use std::path::PathBuf;

pub use align::AlignStage;
pub use pretrain::PretrainStage;
pub use rl::RlStage;
pub use sft::SftStage;
pub use tokenizer::TokenizerStage;
pub use vision::VisionStage;

use crate::data::{Edits, Files, Pictures, SourceSettings};
use crate::world::World;

/// The captioned pictures that `settings` name, or those of the world.
fn open_pictures(world: &impl World, settings: &SourceSettings) -> Result<Box<dyn Pictures>> {
    match &settings.shards[..] {
        [] => Ok(world.pictures(settings.seed)),
        files => Ok(Box::new(Files::open(files, "data.shards")?)),
    }
}

/// The edits in `triples`, or those of the world.
fn open_edits(
    world: &impl World,
    triples: &[PathBuf],
    seed: u64,
    kinds: &[String],
) -> Result<Box<dyn Edits>> {
    match triples {
        [] => world.edits(seed, kinds),
        files => Ok(Box::new(Files::open(files, "triples")?)),
    }
}
