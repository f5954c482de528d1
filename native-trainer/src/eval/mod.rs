//! Evaluation: judges and scores.

pub mod geneval;
