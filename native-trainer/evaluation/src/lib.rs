//! Protocols that score a model with any detector and any pictures: GenEval ([`geneval`]), answers to questions
//! ([`understanding`]), and reconstructions by an image tokenizer ([`reconstruction`]).

mod detect;
pub mod geneval;
pub mod reconstruction;
pub mod understanding;
mod vocabulary;

pub use detect::{BATCH, Detect, Detection, MIN_ACCURACY, check_judge};
pub use vocabulary::{Vocabulary, unknown};
