//! Kernels of the CPU device, forward and backward.

mod attention;
mod bf16;
mod conv;
mod cross_entropy;
mod group_norm;
mod linear;
pub mod matmul;
mod norm;
mod planes;
mod pointwise;
mod registers;
mod threads;
mod upsample;
mod vector;

pub use attention::Attention;
pub use conv::{Conv2d, UpsampleConv2d};
pub use cross_entropy::CrossEntropy;
pub use group_norm::GroupNorm;
pub use linear::Linear;
pub use matmul::{MatmulPrecision, matmul_precision, set_matmul_precision};
pub use norm::{LayerNorm, RmsNorm};
pub use pointwise::{GeluTanh, Rope, SwiGlu};
pub use upsample::Upsample2;

/// A dense tensor as kernels see it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The values, last dimension fastest.
    pub data: &'a [f32],
    /// The sizes of the dimensions.
    pub shape: &'a [usize],
}

impl View<'_> {
    /// The size of the last dimension.
    fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// How many rows of [`Self::width`] there are.
    fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }
}

/// Memory for `len` values, not zeroed: zeroing a large tensor on one thread costs as much as filling it on all.
///
/// # Safety
/// Every value is written before it is read, and every bit pattern is one.
#[allow(clippy::uninit_vec)]
unsafe fn unwritten<T: Copy>(len: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: as demanded of the caller.
    unsafe { values.set_len(len) };
    values
}

/// How many of `rows` rows one task takes: some tasks for each thread, none of them tiny.
fn rows_per_task(rows: usize, width: usize) -> usize {
    rows.div_ceil(4 * threads::count()).max(4096 / width.max(1)).max(1)
}
