//! What every long job needs: a run folder, logs and curves, sheets of pictures, progress, a device, and a clean
//! stop.

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
