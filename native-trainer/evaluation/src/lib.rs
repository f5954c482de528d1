//! Protocols that score a model with any detector, any judge and any pictures: GenEval ([`geneval`]), DPG-Bench
//! ([`dpg`]), edits ([`edits`]), answers to questions ([`understanding`]), and reconstructions by an image tokenizer ([`reconstruction`]).

pub mod ask;
mod detect;
pub mod dpg;
pub mod edits;
pub mod geneval;
pub mod journal;
pub mod page;
pub mod reconstruction;
mod similarity;
pub mod understanding;
mod vocabulary;

pub use detect::{BATCH, Detect, Detection, MIN_ACCURACY, check_judge};
pub use vocabulary::{Vocabulary, unknown};
