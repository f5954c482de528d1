//! Matrix products on the CPU: `f32` through the crate `gemm`, `bf16` operands with `f32` sums (`bf16`) where the
//! processor has them.

use super::bf16;
use super::matrix::{Mat, MatMut};
use super::threads;
use crate::precision::MatmulPrecision;

/// `c = a b`, or `c += a b`, on all threads.
pub fn matmul(a: Mat, b: Mat, c: &mut [f32], accumulate: bool, precision: MatmulPrecision) {
    let row_stride = b.cols;
    product(a, b, MatMut { data: c, row_stride }, accumulate, precision, true);
}

/// [`matmul`] on the calling thread, for products that are themselves tasks; `c` may have a row stride.
pub fn matmul_serial(a: Mat, b: Mat, c: MatMut, accumulate: bool, precision: MatmulPrecision) {
    product(a, b, c, accumulate, precision, false);
}

fn product(a: Mat, b: Mat, c: MatMut, accumulate: bool, precision: MatmulPrecision, parallel: bool) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner sizes differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * c.row_stride + n <= c.data.len() && n <= c.row_stride);
    if precision == MatmulPrecision::Bf16 && bf16::available() {
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
