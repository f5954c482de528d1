//! The stages of training, one file a stage over one loop ([`crate::train`]).

pub mod align;
pub(crate) mod base;
pub(crate) mod batch;
mod discriminator;
mod exam;
mod grounding;
pub(crate) mod mix;
pub mod pretrain;
pub mod rl;
pub mod sft;
pub mod tokenizer;
pub mod vision;

pub use align::AlignStage;
pub use base::Lora;
pub use pretrain::PretrainStage;
pub use rl::RlStage;
pub use sft::SftStage;
pub use tokenizer::TokenizerStage;
pub use vision::VisionStage;

/// Texts that a vocabulary is learned from.
const TEXTS: u64 = 40_000;
/// The longest text, in tokens.
const MAX_TEXT: usize = 96;
/// What captions are asked for with.
const QUESTIONS: [&str; 5] = [
    "describe the picture.",
    "describe this image.",
    "what does the picture show?",
    "write a caption.",
    "what is in this image?",
];
