//! The stages of training, one file a stage over one loop ([`crate::train`]).

mod discriminator;
pub mod tokenizer;

pub use tokenizer::TokenizerStage;
