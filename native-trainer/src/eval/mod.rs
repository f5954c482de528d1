//! Evaluation: judges and scores.

pub mod detector;
pub mod geneval;
pub mod imgedit;
mod run;
pub mod tokenizer;
pub mod understanding;

pub use run::{BATCH, Detect, Evaluation, Judged, MIN_ACCURACY, check_judge};
