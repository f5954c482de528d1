//! From a prompt to a picture.

use super::{Drawing, Engine, Source, layouts};
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::Codes;
use crate::sampling::{Flow, Prefix, StepReport, text_guidance};
use image::RgbImage;

/// A picture to be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateRequest {
    /// What the picture shows. Any language is read, but the model understands what it has learned.
    pub prompt: String,
    /// The same seed gives the same picture, alone or in any batch.
    pub seed: u64,
}

impl Engine {
    /// Draws one square picture of `image_size` pixels a side; `on_step` sees every step and may cancel.
    ///
    /// # Errors
    /// `Text` for an empty prompt or one that is too long; `Config` for settings out of range; `Cancelled`;
    /// `Device`.
    pub async fn generate(
        &self,
        request: &GenerateRequest,
        settings: &GenerationConfig,
        on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<RgbImage> {
        let images = self.generate_batch(std::slice::from_ref(request), settings, on_step).await?;
        images.into_iter().next().ok_or_else(not_drawn)
    }

    /// Draws several pictures at once, each as [`generate`](Self::generate) draws it alone, up to rounding. Errors as
    /// there.
    pub async fn generate_batch(
        &self,
        requests: &[GenerateRequest],
        settings: &GenerationConfig,
        on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<Vec<RgbImage>> {
        self.images(&self.draw_codes(requests, settings, on_step).await?).await
    }

    /// The codes of the pictures, row-major. Errors as [`generate`](Self::generate).
    pub async fn draw_codes(
        &self,
        requests: &[GenerateRequest],
        settings: &GenerationConfig,
        on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<Vec<Codes>> {
        self.decode(self.begin_drawing(requests, settings)?, on_step).await
    }

    /// Reads the prompts. Errors as [`generate`](Self::generate).
    pub fn begin_drawing(
        &self,
        requests: &[GenerateRequest],
        settings: &GenerationConfig,
    ) -> Result<Drawing> {
        let targets = vec![vec![None; self.config.image_codes()]; requests.len()];
        self.begin(requests, targets, settings)
    }

    /// Reads the prompts of pictures whose known codes are in `targets`, one vector per picture; the `None`s are drawn.
    pub(super) fn begin(
        &self,
        requests: &[GenerateRequest],
        targets: Vec<Vec<Option<u32>>>,
        settings: &GenerationConfig,
    ) -> Result<Drawing> {
        let codes = self.config.image_codes();
        settings.check(codes)?;
        let layouts = layouts(&self.text);
        let prefix = |text: &[u32]| self.prefix(&layouts.generate(text, codes), &Source::default());
        let prompts = requests.iter().map(|r| self.prompt(&r.prompt, settings.max_prompt_tokens));
        let cond: Vec<Prefix> = prompts.map(|text| prefix(&text?)).collect::<Result<_>>()?;
        let negative = match settings.negative_prompt.trim() {
            "" => vec![],
            text => self.read("negative prompt", text, "leave it out", |text| {
                self.text.encode_within(text, settings.max_prompt_tokens)
            })?,
        };
        let factor = self.config.guidance_factor(settings.guidance_scale);
        let branches = text_guidance(factor, cond, vec![prefix(&negative)?]);
        let seeds = requests.iter().map(|r| r.seed).collect();
        Ok(Drawing { branches, targets, seeds, decoding: self.decoding(settings.steps, settings) })
    }

    /// The tokens of a prompt.
    pub(super) fn prompt(&self, prompt: &str, limit: usize) -> Result<Vec<u32>> {
        let fix = "describe the picture, for example \"a photo of a red apple\"";
        self.read("prompt", prompt, fix, |text| self.text.encode_within(text, limit))
    }
}

/// One request gives one picture, so this does not happen.
pub(super) fn not_drawn() -> Error {
    Error::new(ErrorKind::Device, "picture", "was not drawn").fix("start again")
}
