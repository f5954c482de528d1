//! Kernels of the CPU device.

mod amx;
pub mod matmul;
mod threads;

pub use matmul::{MatmulPrecision, matmul_precision, set_matmul_precision};
