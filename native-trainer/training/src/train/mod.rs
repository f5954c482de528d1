//! Training: one loop over any [`Stage`].

mod check;
mod checkpoint;
mod command;
mod fit;
mod recipe;
mod replicas;
mod settings;
mod stage;
#[cfg(test)]
mod tests;
mod trainer;
mod training;
mod trial;

pub use command::{ComputeArgs, Options, command};
pub use recipe::{CheckOptions, Entry, RecipeOptions, check_all, runs_in, train_all};
pub use settings::{Find, settings};
pub use stage::scalar;
pub use stage::{Best, Counted, Evaluation, Loss, Stage, Update};
#[cfg(test)]
pub(crate) use trainer::train;
pub use trainer::{Exported, Start, export, run};
pub use training::Training;
