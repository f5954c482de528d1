//! The ablations of UniGen-1.5 (arXiv 2511.14760): which tasks take part in reinforcement learning, and what alignment
//! before it contributes. Beyond the paper, one arm tests a reward for leaving the rest of the picture unchanged.

mod estimate;
mod run;
mod scores;
mod settings;
mod table;

pub use estimate::{Cases, Estimate};
pub use run::ablate;
pub use scores::{Results, Scores, Training};
pub use settings::{Arm, Settings};
pub use table::table;
