//! ImgEdit (Ye et al. 2025, arXiv 2505.20275) on the sticker world: nine kinds of edit, three scores each, 1 to 5.
//!
//! A judge reads the edited picture's scene; [`Scores`] says what is made of it. Two rows give the scale its ends: a copy of
//! the picture before, and what the image tokenizer makes of the picture that is wanted.

mod case;
mod change;
mod report;
mod run;
mod score;

#[cfg(test)]
mod tests;

pub use case::{Before, Case, held_out_cases, read_cases};
pub use report::{Edits, Judged, Kind, Report};
pub use run::{ImgEdit, evaluate};
pub use score::Scores;
