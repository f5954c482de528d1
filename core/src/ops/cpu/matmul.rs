//! Matrix products on the CPU: `f32` through the crate `gemm`, `bf16` operands with `f32` sums (`bf16`) where the
//! processor has them.

use super::bf16;
use super::matrix::{Mat, MatMut};
use super::memory::{assume_init, uninit};
use super::threads::{self, Shared};
use crate::precision::MatmulPrecision;
use std::mem::MaybeUninit;

/// `a b`, row after row, on all threads.
pub fn matmul(a: Mat, b: Mat, precision: MatmulPrecision) -> Vec<f32> {
    let mut c = uninit(a.rows * b.cols);
    // SAFETY: nothing is added up.
    unsafe { product(a, b, Shared::new(&mut c), b.cols, false, precision, true) };
    // SAFETY: the product is written everywhere.
    unsafe { assume_init(c) }
}

/// `c += a b` on all threads, `c` row after row.
pub fn matmul_add(a: Mat, b: Mat, c: &mut [f32], precision: MatmulPrecision) {
    let row_stride = b.cols;
    // SAFETY: all of `c` is written.
    unsafe { product(a, b, Shared::new(c).maybe_uninit(), row_stride, true, precision, true) };
}

/// `c = a b` or `c += a b` on the calling thread, for products that are themselves tasks.
pub fn matmul_serial(a: Mat, b: Mat, c: MatMut, accumulate: bool, precision: MatmulPrecision) {
    // SAFETY: all of `c` is written.
    unsafe { product(a, b, Shared::new(c.data).maybe_uninit(), c.row_stride, accumulate, precision, false) };
}

/// `c += a b` on the calling thread, where other tasks write beside the product; rows of `c` are `row_stride` items apart.
///
/// # Safety
/// No one else touches the items of the product meanwhile.
pub unsafe fn matmul_beside(a: Mat, b: Mat, c: Shared<f32>, row_stride: usize, precision: MatmulPrecision) {
    // SAFETY: all of `c` is written, and as demanded of the caller.
    unsafe { product(a, b, c.maybe_uninit(), row_stride, true, precision, false) };
}

/// # Safety
/// All of `c` is written, or nothing is accumulated.
unsafe fn product(
    a: Mat,
    b: Mat,
    c: Shared<MaybeUninit<f32>>,
    row_stride: usize,
    accumulate: bool,
    precision: MatmulPrecision,
    parallel: bool,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner sizes differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * row_stride + n <= c.len() && n <= row_stride, "a product larger than its place");
    if precision == MatmulPrecision::Bf16 && bf16::available() {
        // SAFETY: as asserted and as demanded of the caller.
        return unsafe { bf16::matmul(a, b, c, row_stride, accumulate, parallel) };
    }
    let parallel = parallel && threads::count() > 1 && m * n * k > 1 << 18;
    let threads = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: the assertions above and in `Mat` keep every access inside the slices; `c` is read only to accumulate.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.at(0).cast::<f32>(),
            1,
            row_stride as isize,
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
