//! Weight files: reading, checking, writing, and the names that published checkpoints use.
//!
//! [`Checkpoint`] opens safetensors, PyTorch archives and GGUF files and lists their tensors. A [`StoredTensor`] is one of
//! them, unread; its values are asked for as `f32`, `f16` or `bf16`, or its blocks as a [`QuantizedMatrix`]. [`load`] fills a
//! module, with the names that [`keys`] finds; [`save`] writes one. [`write_file`] writes tensors of any type, quantised ones
//! too, with no more than a piece of one in memory.
//!
//! # Quantised weights in safetensors
//!
//! Safetensors has no type for blocks. A file of this project stores the blocks of the weight `NAME` `[rows, columns]` as a `U8` tensor
//! `[rows, blocks of a row, bytes of a block]`, with the name of the format appended in lower case: `NAME.q4_0` of
//! `[rows, columns / 32, 18]`, or `NAME.q8_0` of `[rows, columns / 32, 34]`. Name and shape say everything, so nothing else has to
//! survive sharding or other tools. [`Checkpoint`] lists such a tensor as `NAME`, of type [`BlockFormat::Q4_0`] or
//! [`BlockFormat::Q8_0`] and shape `[rows, columns]`, and [`FileTensor`] writes it. A row that is not whole blocks cannot be stored
//! so; such a matrix stays in half precision.

mod checkpoint;
mod contents;
mod element;
mod file_kind;
mod gguf;
mod gguf_decoder;
pub mod keys;
mod load;
mod mapped;
mod parameter_path;
mod pickle;
mod pytorch;
mod safetensors;
mod save;
mod shapes;
mod showo;
mod stored;
mod tensors;
mod write;

pub use crate::quantized::{BlockFormat, QuantizedMatrix};
pub use bytes::Bytes;
pub use checkpoint::Checkpoint;
pub use element::{Element, ElementType};
pub use gguf::Gguf;
pub use gguf_decoder::GgufDecoder;
pub use load::{load, parameters};
pub use parameter_path::ParameterPath;
pub use save::{NamedTensor, save, tensors, write_tensors};
pub use shapes::shapes;
pub use showo::showo_decoder;
pub use stored::StoredTensor;
pub use tensors::Tensors;
pub use write::{FileTensor, Precision, write_file};
