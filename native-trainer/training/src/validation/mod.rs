//! Validation: held-out tasks for a model.

mod own;

use anyhow::Result;
use burn::tensor::Device;
use unigen_core::engine::Engine;
use unigen_core::image_tokenizer::ImageTokenizer;

use crate::train::Evaluation;

pub use own::OwnValidation;

/// Seed of held-out samples.
pub const SEED: u64 = 0x5EED_E8A3;

/// Held-out tasks, with or without a judge.
pub trait Validation: Send + Sync {
    /// Whether a judge scores the pictures.
    fn judged(&self) -> bool;

    /// Generates held-out prompts with `engine`. The result is a sheet and, with a judge, scores.
    ///
    /// # Errors
    /// If the device fails; after Ctrl-C.
    fn drawing(&self, engine: &Engine) -> Result<Evaluation>;

    /// Edits held-out pictures with `engine` and asks questions about them. The result is sheets, the share of right
    /// answers and, with a judge, scores of the edits.
    ///
    /// # Errors
    /// If the device fails; after Ctrl-C.
    fn editing(&self, engine: &Engine) -> Result<Evaluation>;

    /// Encodes and decodes held-out pictures of `size` x `size` pixels with a tokenizer whose codes have `bits` bits.
    ///
    /// # Errors
    /// If the sizes do not fit or the device fails; after Ctrl-C.
    fn reconstruction(
        &self,
        tokenizer: &ImageTokenizer,
        bits: usize,
        size: u32,
        device: &Device,
    ) -> Result<Evaluation>;

    /// One score of the model, 0 to 1, from the results of [`drawing`](Self::drawing) and [`editing`](Self::editing).
    /// `None` without a judge.
    fn score(&self, found: &Evaluation) -> Option<f64>;
}
