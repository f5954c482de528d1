//! Sums over rows.

use super::threads::{self, rows_per_task};
use super::vector;

/// The sums of the columns of a matrix with rows of `width`.
pub fn column_sums(data: &[f32], width: usize) -> Vec<f32> {
    if data.is_empty() {
        return vec![0.0; width];
    }
    let per_task = rows_per_task(data.len() / width, width) * width;
    let mut partial = vec![0.0; data.len().div_ceil(per_task) * width];
    threads::for_each_chunk(&mut partial, width, |task, sums| {
        let rows = &data[task * per_task..data.len().min((task + 1) * per_task)];
        vector::vectorised(
            #[inline(always)]
            || rows.chunks_exact(width).for_each(|row| vector::add(sums, row)),
        );
    });
    add_rows(&partial, width)
}

/// The sums of the columns of a few rows.
pub fn add_rows(data: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    data.chunks_exact(width).for_each(|row| vector::add(&mut sums, row));
    sums
}
