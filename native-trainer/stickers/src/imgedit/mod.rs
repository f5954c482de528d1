//! ImgEdit (Ye et al. 2025, arXiv 2505.20275) on the sticker world: nine kinds of edit with three scores each, from 1
//! to 5.
//!
//! A judge reads the scene of the edited picture, and [`Scores`] compares it with the wanted scene. Two more rows mark
//! the ends of the scale: a copy of the picture before, and the image tokenizer's reconstruction of the wanted picture.

mod case;
mod change;
mod pixels;
mod quality;
mod report;
mod run;
mod score;

#[cfg(test)]
mod tests;

pub use case::{Before, Case, held_out_cases, read_cases};
pub use report::{Edits, Judged, Kind, Report};
pub use run::{ImgEdit, evaluate};
pub use score::Scores;
