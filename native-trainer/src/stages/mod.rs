//! The stages of training, one file a stage over one loop ([`crate::train`]).

mod batch;
mod discriminator;
pub mod pretrain;
pub mod tokenizer;

pub use pretrain::PretrainStage;
pub use tokenizer::TokenizerStage;
