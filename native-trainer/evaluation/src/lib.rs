//! Protocols that score a model, over any detector and any pictures: GenEval ([`geneval`]), answers to questions
//! ([`understanding`]), and what an image tokenizer keeps ([`reconstruction`]).

mod detect;
pub mod geneval;
pub mod reconstruction;
pub mod understanding;
mod vocabulary;

pub use detect::{BATCH, Detect, Detection, MIN_ACCURACY, check_judge};
pub use vocabulary::{Vocabulary, unknown};
