//! Training: one loop over any [`Stage`].

mod stage;
mod training;

pub use stage::{Evaluation, Loss, Stage};
pub use training::Training;
