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
pub(crate) use stage::scalar;
pub use stage::{Evaluation, Loss, Stage, Update};
#[cfg(test)]
pub(crate) use trainer::train;
pub use trainer::{Start, export, run};
pub use training::Training;
