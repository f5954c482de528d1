//! Matrix products on the CPU: `f32` through the crate `gemm`, `bf16` operands with `f32` sums (`bf16`) where the
//! processor has them.

use super::bf16;
use super::matrix::{Mat, MatMut};
use super::threads;
use std::sync::atomic::{AtomicBool, Ordering};

static BF16: AtomicBool = AtomicBool::new(false);

/// How operands of matrix products are rounded on the CPU device. Sums are always `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatmulPrecision {
    /// Operands as they are.
    F32,
    /// Operands rounded to `bf16` where the processor multiplies those faster (AMX, AVX-512 BF16); elsewhere as they are.
    Bf16,
}

/// Sets the precision of all matrix products and convolutions on the CPU device of this process.
pub fn set_matmul_precision(precision: MatmulPrecision) {
    BF16.store(precision == MatmulPrecision::Bf16 && bf16::available(), Ordering::Relaxed);
}

/// The precision in force: what [`set_matmul_precision`] asked for, if this processor has it.
pub fn matmul_precision() -> MatmulPrecision {
    if BF16.load(Ordering::Relaxed) { MatmulPrecision::Bf16 } else { MatmulPrecision::F32 }
}

/// `c = a b`, or `c += a b`, on all threads.
pub fn matmul(a: Mat, b: Mat, c: &mut [f32], accumulate: bool) {
    let row_stride = b.cols;
    product(a, b, MatMut { data: c, row_stride }, accumulate, true);
}

/// [`matmul`] on the calling thread, for products that are themselves tasks; `c` may have a row stride.
pub fn matmul_serial(a: Mat, b: Mat, c: MatMut, accumulate: bool) {
    product(a, b, c, accumulate, false);
}

fn product(a: Mat, b: Mat, c: MatMut, accumulate: bool, parallel: bool) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner sizes differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * c.row_stride + n <= c.data.len() && n <= c.row_stride);
    if matmul_precision() == MatmulPrecision::Bf16 {
        return bf16::matmul(a, b, c, accumulate, parallel);
    }
    let parallel = parallel && threads::count() > 1 && m * n * k > 1 << 18;
    let threads = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: the assertions above and in `Mat` keep every access inside the slices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.data.as_mut_ptr(),
            1,
            c.row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}
