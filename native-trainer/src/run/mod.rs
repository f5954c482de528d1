//! What surrounds a training loop: its folder, its log and curves, its progress bar, and a clean way out.

mod folder;
mod html;
mod interrupt;
mod log;
mod progress;
mod sheet;
mod tensorboard;

pub use folder::{RunFolder, RunInfo, Session};
pub use html::runs_page;
pub use interrupt::{Interrupt, Interrupted};
pub use log::{Record, RunLog};
pub use progress::Progress;
pub use sheet::sheet;
