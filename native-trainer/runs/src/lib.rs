//! What surrounds a long job: its folder, log and curves, sheets of pictures, progress, the device it computes on, and a
//! clean way out.

mod device;
mod folder;
mod html;
mod interrupt;
mod log;
pub mod pool;
mod progress;
mod sheet;
mod tensorboard;

pub use device::{Compute, DeviceChoice, floats, values};
pub use folder::{RunFolder, RunInfo, Session};
pub use html::runs_page;
pub use interrupt::{Interrupt, Interrupted};
pub use log::{Record, RunLog};
pub use progress::Progress;
pub use sheet::sheet;
