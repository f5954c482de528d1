//! Fused operations of the CPU device, forward and backward.

mod attention;
mod bf16;
mod conv;
mod cross_entropy;
mod group_norm;
mod linear;
mod matmul;
mod matrix;
mod memory;
mod norm;
mod place;
mod planes;
mod pointwise;
mod registers;
mod stored;
mod sums;
mod threads;
mod upsample;
mod vector;

pub use attention::Attention;
pub use bf16::available as multiplies_bf16;
pub use conv::{Conv2d, UpsampleConv2d};
pub use cross_entropy::CrossEntropy;
pub use group_norm::GroupNorm;
pub use linear::Linear;
pub use norm::{LayerNorm, RmsNorm};
pub use pointwise::{GeluTanh, Rope, SwiGlu};
pub use stored::{Matrix, StoredLinear, embed};
pub use upsample::Upsample2;
