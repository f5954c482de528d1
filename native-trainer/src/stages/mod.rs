//! The stages of training, one file a stage over one loop ([`crate::train`]).

pub mod align;
pub(crate) mod base;
pub(crate) mod batch;
mod discriminator;
mod exam;
mod grounding;
pub(crate) mod mix;
pub mod pretrain;
mod questions;
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
