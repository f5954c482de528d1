//! `bf16` matrix products with `f32` sums: on Intel's AMX tile unit (Sapphire Rapids and later), else with the dot
//! products of AVX-512 BF16 (Zen 4, Cooper Lake and later).
//!
//! A tile is 16 rows of 64 bytes. The left operand's tiles hold 16 rows x 32 inner values; the right
//! operand's hold 16 pairs of inner values x 16 columns (Intel's manual calls this VNNI layout; it is also what a dot
//! product with one broadcast pair wants). Both are packed once, in blocks that stay in the second-level cache, and
//! 2 x 2 tiles of sums are kept in registers; vector registers hold a quarter of their rows at a time.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod matmul;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod pack;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod rows;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod stored;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod unit;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use {
    matmul::matmul,
    rows::Rows,
    stored::matmul_stored,
    unit::{available, has_tile_unit},
};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod absent;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use absent::{Rows, available, has_tile_unit, matmul, matmul_stored};
