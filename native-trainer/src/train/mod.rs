//! Training: one loop over any [`Stage`].

mod checkpoint;
mod command;
mod settings;
mod stage;
#[cfg(test)]
mod tests;
mod trainer;
mod training;

pub use command::{Command, Options, command};
pub use settings::settings;
pub use stage::{Evaluation, Loss, Stage};
pub use trainer::{Start, export, run};
pub use training::Training;
