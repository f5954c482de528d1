//! A unified multimodal model on [burn]: it draws pictures from text, edits them, and answers questions about them, on the
//! CPU, on a GPU and in the browser. The model is UniGen-1.5 (arXiv 2511.14760) after UniGen (arXiv 2505.14682).
//!
//! An [`Engine`](engine::Engine) is a loaded model. Load it from a folder, then generate, edit and ask:
//!
//! ```
//! use pollster::FutureExt;
//! use std::path::Path;
//! use unigen_core::engine::{AnswerSettings, EditRequest, Engine, GenerateRequest};
//! use unigen_core::sampling::Flow;
//! use unigen_core::{Device, Result};
//!
//! # fn main() -> Result<()> {
//! let engine = Engine::open(Path::new("../models/nano"), &Device::flex())?;
//! let settings = engine.generation();
//!
//! let request = GenerateRequest { prompt: "a red apple left of a blue car".into(), seed: 1 };
//! let picture = engine.generate(&request, settings, async |_| Flow::Continue).block_on()?;
//! assert_eq!(picture.dimensions(), (96, 96));
//!
//! let instruction = "make the apple green".into();
//! let request = EditRequest { image: picture.clone(), instruction, seed: 1, mask: None };
//! let edited = engine.edit(&request, settings, async |_| Flow::Continue).block_on()?;
//! assert_ne!(edited, picture);
//!
//! let (question, settings) = ("what is left of the car?", AnswerSettings::default());
//! let answer = engine.ask(&picture, question, &settings, async |_| Flow::Continue).block_on()?;
//! assert_eq!(answer.text, "apple");
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//!
//! | Module | What it does |
//! |---|---|
//! | [`engine`] | The whole model: pictures and answers |
//! | [`config`] | Sizes: presets, published config.json files, ours |
//! | [`weights`] | Weight files and the names in them |
//! | [`text`], [`sequence`] | Text to tokens; which rows each task has and who attends to whom |
//! | [`model`], [`decoder`] | The network: language model, projector, image codes in and out |
//! | [`vision`], [`image_tokenizer`] | Pictures to features; pictures to codes and back |
//! | [`sampling`] | Masked decoding of images, text decoding |
//! | [`nn`], [`ops`], [`precision`] | Layers, operations with kernels for CPU and GPU, and how exactly they multiply |
//! | [`picture`], [`files`] | Image files that users give; writing files whole |
//! | [`cost`] | Parameters, memory and arithmetic of a model, from its sizes alone |
//!
//! Functions that fail return an [`Error`], which says what is wrong, where, and what to do about it.
//!
//! # Features
//!
//! `cpu` (burn flex with fused kernels) and `wgpu` (Vulkan, Metal, DX12, WebGPU), both on by default; `train` adds
//! gradients.
// The helpers of gradients stand beside the operations that they belong to.
#![cfg_attr(not(feature = "train"), allow(dead_code))]

pub mod config;
pub mod cost;
pub mod decoder;
pub mod engine;
mod error;
pub mod file_kind;
pub mod files;
pub mod image_tokenizer;
pub mod json;
pub mod model;
pub mod nn;
pub mod ops;
mod philox;
pub mod picture;
pub mod precision;
pub mod quantized;
pub mod sampling;
pub mod sequence;
pub mod text;
pub mod vision;
pub mod weights;

// Public signatures have them.
pub use burn::tensor::{Device, Int, Tensor};
pub use image;

pub use error::{Error, ErrorKind, Result};
