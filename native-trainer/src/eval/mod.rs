//! Evaluation: judges and scores.

pub mod detector;
pub mod geneval;
mod run;

pub use run::{BATCH, Detect, Evaluation, Judged, MIN_ACCURACY, check_judge};
