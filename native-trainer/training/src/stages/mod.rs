//! The stages of training, one file per stage, over one loop ([`crate::train`]). A
//! [`World`](crate::world::World) supplies whatever the user's files do not.

pub mod align;
mod discriminator;
mod grounding;
pub mod pretrain;
pub mod rl;
pub mod sft;
mod sources;
#[cfg(test)]
mod tests;
pub mod tokenizer;
pub mod vision;

/// Number of parameters of the tokenizer's discriminator of this width.
#[cfg(test)]
pub(crate) fn discriminator_parameters(width: usize) -> usize {
    use burn::module::Module;
    discriminator::Discriminator::new(width, &burn::tensor::Device::flex()).map_or(0, |net| net.num_params())
}

pub use align::AlignStage;
pub use pretrain::PretrainStage;
pub use rl::RlStage;
pub use sft::SftStage;
pub use tokenizer::TokenizerStage;
pub use vision::VisionStage;
