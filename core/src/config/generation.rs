//! How a model draws.

use super::Config;
use super::bounds::{MAX_SIZE, size, wrong};
use crate::error::Result;
use crate::text::Vocabulary;
use serde::{Deserialize, Serialize};

/// How a model draws unless the user says otherwise: its generation.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationConfig {
    /// Classifier-free guidance, 0 to 100, as the model's authors count it. UniGen's is `uncond + guidance_scale (cond - uncond)`,
    /// where 1 is no guidance; Show-o's is `(1 + guidance_scale) cond - guidance_scale uncond`, where 0 is none.
    pub guidance_scale: f32,
    /// `s_T` of editing, 0 to 100: `none + s_I (image - none) + s_T (full - image)`. UniGen-1.5 edits with 3.
    pub edit_guidance_scale: f32,
    /// `s_I` of editing, 0 to 100. UniGen-1.5 edits with 1.5.
    pub image_guidance_scale: f32,
    /// Decoding steps, 1 to the number of codes of an image.
    pub steps: usize,
    /// Decoding steps of an edit. An edit keeps most of the picture, so fewer steps are enough.
    pub edit_steps: usize,
    /// Noise on the confidences that decide which codes are kept, at the start, 0 to 100. It decays to nothing.
    pub temperature: f32,
    /// Codes are drawn from this many of the likeliest; from all where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// The longest prompt, in tokens; UniGen trains with 128.
    pub max_prompt_tokens: usize,
    /// What a drawing is led away from: it takes the place of the empty prompt in the guidance. Edits have none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub negative_prompt: String,
    /// The words that the model has learned, where somebody has listed them: others make no picture of what they say.
    #[serde(skip_serializing_if = "Vocabulary::is_empty")]
    pub vocabulary: Vocabulary,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            guidance_scale: 4.0,
            edit_guidance_scale: 3.0,
            image_guidance_scale: 1.5,
            steps: 12,
            edit_steps: 12,
            temperature: 3.0,
            top_k: None,
            max_prompt_tokens: 128,
            negative_prompt: String::new(),
            vocabulary: Vocabulary::default(),
        }
    }
}

impl GenerationConfig {
    /// The defaults for images of `codes` codes, with no more steps than codes.
    pub fn of(codes: usize) -> Self {
        let usual = Self::default();
        Self { steps: usual.steps.min(codes), edit_steps: usual.edit_steps.min(codes), ..usual }
    }

    /// How Show-o's authors draw images of `codes` codes: 50 steps with guidance. A row of text has 128 tokens, of which two
    /// begin and end it.
    pub fn showo(codes: usize) -> Self {
        let steps = 50.min(codes);
        Self {
            guidance_scale: 5.0,
            steps,
            edit_steps: steps,
            temperature: 1.0,
            max_prompt_tokens: 126,
            ..Self::default()
        }
    }

    /// How the authors of Show-o-Turbo draw images of `codes` codes: 4 steps without guidance, from few of the codes.
    pub fn showo_turbo(codes: usize) -> Self {
        let steps = 4.min(codes);
        let top_k = Some(if codes > 256 { 500 } else { 200 });
        Self { guidance_scale: 0.0, steps, edit_steps: steps, top_k, ..Self::showo(codes) }
    }

    /// [`validate`](Config::validate) for images of `codes` codes.
    ///
    /// # Errors
    /// Those of [`validate`](Config::validate), and `Config` where there are more steps than codes.
    pub fn check(&self, codes: usize) -> Result<()> {
        size("steps", self.steps, codes)?;
        size("edit_steps", self.edit_steps, codes)?;
        self.validate()
    }
}

impl Config for GenerationConfig {
    fn validate(&self) -> Result<()> {
        for (key, value) in [
            ("guidance_scale", self.guidance_scale),
            ("edit_guidance_scale", self.edit_guidance_scale),
            ("image_guidance_scale", self.image_guidance_scale),
            ("temperature", self.temperature),
        ] {
            if !(0.0..=100.0).contains(&value) {
                return Err(wrong(key, format!("is {value}")).fix("choose 0 to 100"));
            }
        }
        if let Some(top_k) = self.top_k {
            size("top_k", top_k, MAX_SIZE)?;
        }
        size("steps", self.steps, MAX_SIZE)?;
        size("edit_steps", self.edit_steps, MAX_SIZE)?;
        size("max_prompt_tokens", self.max_prompt_tokens, 1 << 12)
    }
}
