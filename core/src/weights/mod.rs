//! Weight files: reading, checking, writing, and the names that published checkpoints use.
//!
//! [`Checkpoint`] opens safetensors, PyTorch archives and GGUF files and lists their tensors. A [`StoredTensor`] is one of
//! them, unread; its values are asked for as `f32`, `f16` or `bf16`, or its blocks as a [`QuantizedMatrix`]. [`load`] fills a module, with
//! the names that [`keys`] finds.

mod checkpoint;
mod element;
mod file_kind;
mod gguf;
pub mod keys;
mod load;
mod pickle;
mod pytorch;
mod quantized;
mod safetensors;
mod stored;
mod tensors;

pub use bytes::Bytes;
pub use checkpoint::Checkpoint;
pub use element::{Element, ElementType};
pub use gguf::{Gguf, GgufDecoder};
pub use load::{NamedTensor, Precision, load, parameters, save, tensors, write_tensors};
pub use quantized::{BlockFormat, QuantizedMatrix};
pub use stored::StoredTensor;
pub use tensors::Tensors;
