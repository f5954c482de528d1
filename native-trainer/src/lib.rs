//! Making data for, training, judging and verifying unified multimodal models.

pub mod ablate;
pub mod bench;
pub mod data;
mod device;
pub mod eval;
pub mod optimizer;
mod pool;
pub mod rewards;
pub mod rl;
pub mod run;
pub mod stages;
pub mod train;
pub mod verify;

pub use device::{Compute, DeviceChoice};
