//! Operations with more than one implementation: a [`portable`] one of burn tensor operations, fused kernels for the CPU
//! device in `cpu`, and compute shaders for the GPU device in `gpu`; forward and, where training meets them, backward.
//!
//! As burn's own tensor operations do, these panic where the shapes of tensors do not fit one another. What depends on data,
//! such as the labels of [`cross_entropy`], gives an error.
//!
//! Modules use those below them:
//!
//! ```text
//! conv ──> transformer   sample          autodiff
//!      \      |          /                  |
//!       cpu, gpu, portable ──> fused, gpu::shader_op
//!              |
//!       attention_layout, sampler, weight
//! ```

mod attention_layout;
#[cfg(feature = "train")]
mod autodiff;
#[cfg(any(feature = "cpu", feature = "wgpu"))]
mod backend_ops;
pub mod conv;
#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cpu")]
mod fused;
#[cfg(feature = "wgpu")]
#[cfg_attr(not(feature = "train"), allow(dead_code, reason = "gradients are for training"))]
mod gpu;
pub mod portable;
pub mod sample;
mod sampler;
mod transformer;
mod weight;

pub use attention_layout::AttentionLayout;
#[cfg(feature = "wgpu")]
pub use gpu::{Launches, take_launches};
pub use transformer::{
    attention, cross_entropy, embed, gelu_tanh, layer_norm, linear, multiplies_bf16, multiplies_blocks,
    multiplies_halves, rms_norm, rope, rows_at_once, select_rows, swiglu,
};
pub use weight::Weight;
