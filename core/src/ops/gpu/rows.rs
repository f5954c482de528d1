//! Rows of tensors, and sums over them.

use super::launch::{Buffer, Launch, tensor};
use burn::tensor::DType;
use unigen_shaders::SUM_ROWS;

/// All but the last dimension as rows, and the last.
pub fn rows_and_width(x: &Buffer) -> [usize; 2] {
    let width = x.shape().last().copied().unwrap_or(1);
    [x.shape().iter().product::<usize>() / width.max(1), width]
}

/// A new `f32` tensor shaped like `x`.
pub fn like(x: &Buffer) -> Buffer {
    tensor(x, x.shape(), DType::F32)
}

/// Sums over chunks of the `rows` rows of `x` `[rows, width]`, of the given shape.
pub fn sum_chunks(x: &Buffer, rows: usize, width: usize, chunk: usize, shape: &[usize]) -> Buffer {
    let sums = tensor(x, shape, DType::F32);
    let lanes = SUM_ROWS.workgroup[0] as usize;
    Launch::new(&SUM_ROWS)
        .buffers([x, &sums])
        .numbers([rows, width, chunk])
        .workgroups([width.div_ceil(lanes), rows.div_ceil(chunk)]);
    sums
}

/// Sums over the rows, `[rows, width]` → `[width]`: first over chunks of them, then over the chunks.
pub fn sum_rows(x: &Buffer) -> Buffer {
    let [rows, width] = rows_and_width(x);
    let chunk = rows.isqrt();
    let chunks = rows.div_ceil(chunk);
    let sums = sum_chunks(x, rows, width, chunk, &[chunks, width]);
    sum_chunks(&sums, chunks, width, chunks, &[width])
}
