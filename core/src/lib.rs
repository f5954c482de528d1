//! A unified multimodal model that understands, generates and edits images, after UniGen-1.5
//! (arXiv 2511.14760), on burn: one core for the browser and for training.
//!
//! The map is in ARCHITECTURE.md. Model files name their equations and tensors as the papers and the
//! published checkpoints do; every public item gives shapes, units and errors.

pub mod config;
pub mod cost;
pub mod decoder;
pub mod engine;
pub mod error;
pub mod files;
pub mod image_tokenizer;
pub mod model;
pub mod nn;
pub mod ops;
pub mod philox;
pub mod picture;
pub mod precision;
pub mod sampling;
pub mod sequence;
pub mod text;
pub mod vision;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
