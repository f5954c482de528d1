//! The kinds of parity folder, one file a kind.

mod causal;
mod clip;
mod decoding;
mod gguf;
mod grpo;
mod language_model;
mod magvitv2;
mod openclip;
mod parameters;
mod recorded;
mod showo;
mod siglip;
mod siglip2;
mod training;

use anyhow::{Result, bail};

use crate::Kind;
use crate::folder::Config;

/// All kinds. Those of UniGen have the model type of their decoder, and come before it.
pub const ALL: &[&dyn Kind] = &[
    &decoding::Decoding,
    &training::Training,
    &grpo::Grpo,
    &showo::Showo,
    &causal::Qwen2,
    &causal::Llama,
    &gguf::Gguf,
    &siglip::Siglip,
    &siglip2::Siglip2,
    &magvitv2::MagVitV2,
    &clip::HuggingFaceClip,
    &openclip::OpenClip,
];

/// The kind of the folder with this config.json.
///
/// # Errors
/// Where it is none, with the names of those that are known.
pub fn of(config: &Config) -> Result<&'static dyn Kind> {
    if let Some(kind) = ALL.iter().find(|kind| kind.recognises(config)) {
        return Ok(*kind);
    }
    let known: Vec<&str> = crate::kinds().collect();
    let known = known.join(", ");
    match config.model_type() {
        Some(other) => bail!("config.json: no model_type \"{other}\" can be compared; the kinds are {known}"),
        None => {
            bail!("config.json: the keys are those of no kind that can be compared; the kinds are {known}")
        }
    }
}
