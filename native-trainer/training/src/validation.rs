//! What a model is asked in validation.

use anyhow::Result;
use burn::tensor::Device;
use unigen_core::engine::Engine;
use unigen_core::image_tokenizer::ImageTokenizer;

use crate::train::Evaluation;

/// What held-out samples are drawn from.
pub const SEED: u64 = 0x5EED_E8A3;

/// Held-out tasks, and a judge where there is one.
pub trait Validation: Send + Sync {
    /// Whether a judge scores what models draw.
    fn judged(&self) -> bool;

    /// Has `engine` draw held-out prompts: a sheet and, with a judge, scores.
    ///
    /// # Errors
    /// When the device fails; after Ctrl-C.
    fn drawing(&self, engine: &Engine) -> Result<Evaluation>;

    /// Has `engine` edit held-out pictures and answer questions about them: sheets, the share of right answers and, with a
    /// judge, scores of the edits.
    ///
    /// # Errors
    /// When the device fails; after Ctrl-C.
    fn editing(&self, engine: &Engine) -> Result<Evaluation>;

    /// Encodes and decodes held-out pictures of `size` pixels a side with a tokenizer whose codes have `bits`.
    ///
    /// # Errors
    /// Where the sizes do not fit or the device fails; after Ctrl-C.
    fn reconstruction(
        &self,
        tokenizer: &ImageTokenizer,
        bits: usize,
        size: u32,
        device: &Device,
    ) -> Result<Evaluation>;

    /// One number, 0 to 1, that says how good a model is by what [`drawing`](Self::drawing) and
    /// [`editing`](Self::editing) found; none without a judge.
    fn score(&self, found: &Evaluation) -> Option<f64>;
}
