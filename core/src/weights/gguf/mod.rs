//! GGUF, the files of llama.cpp (`docs/gguf.md` in ggml): key-value pairs, then names, shapes and places of tensors, then
//! the tensors.

mod header;
mod metadata;
mod values;

pub(super) use header::contents;
pub use metadata::Gguf;
