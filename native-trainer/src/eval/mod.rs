//! Evaluation: judges and scores.

pub mod detector;
pub mod geneval;
