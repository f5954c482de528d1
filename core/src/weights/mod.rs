//! Weight files: reading, checking, writing, and the names that published checkpoints use.

pub mod keys;
mod load;
mod safetensors;

pub use load::{Precision, load, parameters, save, write_aside};
pub use safetensors::{Checkpoint, Dtype};
