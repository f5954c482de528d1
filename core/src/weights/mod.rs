//! Weight files: reading, checking, writing, and the names that published checkpoints use.

pub mod keys;
mod load;
mod safetensors;

pub use load::{NamedTensor, Precision, Tensors, load, parameters, save, tensors, write_tensors};
pub use safetensors::Checkpoint;
