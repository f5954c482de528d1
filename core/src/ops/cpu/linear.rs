//! `y = x wᵀ + b`.

use super::matmul::{Mat, matmul};
use super::{View, rows_per_task, threads, unwritten, vector};
use crate::ops::extension::Kernel;

/// See [`crate::ops::linear`]. Two inputs, `x` and `weight`, or a third, `bias`.
#[derive(Clone, Copy, Debug)]
pub struct Linear;

impl Kernel<2> for Linear {
    fn forward(&self, [x, weight]: [View; 2]) -> (Vec<f32>, Vec<usize>) {
        forward(x, weight, None)
    }

    fn backward(&self, [x, weight]: [View; 2], grad: &[f32], wanted: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        backward(x, weight, grad, wanted)
    }
}

impl Kernel<3> for Linear {
    fn forward(&self, [x, weight, bias]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        forward(x, weight, Some(bias.data))
    }

    fn backward(
        &self,
        [x, weight, bias]: [View; 3],
        grad: &[f32],
        wanted: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let [dx, dweight] = backward(x, weight, grad, [wanted[0], wanted[1]]);
        [dx, dweight, wanted[2].then(|| column_sums(grad, bias.width()))]
    }
}

fn forward(x: View, weight: View, bias: Option<&[f32]>) -> (Vec<f32>, Vec<usize>) {
    let (rows, outputs, inputs) = (x.rows(), weight.rows(), weight.width());
    // SAFETY: the bias or, without one, the product is written everywhere.
    let mut y = unsafe { unwritten(rows * outputs) };
    if let Some(bias) = bias {
        let chunk = rows_per_task(rows, outputs) * outputs;
        threads::for_each_chunk(&mut y, chunk.max(1), |_, y| {
            y.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
        });
    }
    let (x_mat, w_mat) = (Mat::new(x.data, rows, inputs), Mat::new(weight.data, outputs, inputs));
    matmul(x_mat, w_mat.t(), &mut y, bias.is_some());
    let mut shape = x.shape.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    (y, shape)
}

fn backward(x: View, weight: View, grad: &[f32], wanted: [bool; 2]) -> [Option<Vec<f32>>; 2] {
    let (rows, outputs, inputs) = (x.rows(), weight.rows(), weight.width());
    let grad = Mat::new(grad, rows, outputs);
    let product = |a: Mat, b: Mat| {
        // SAFETY: the product is written everywhere.
        let mut c = unsafe { unwritten(a.rows * b.cols) };
        matmul(a, b, &mut c, false);
        c
    };
    [
        wanted[0].then(|| product(grad, Mat::new(weight.data, outputs, inputs))),
        wanted[1].then(|| product(grad.t(), Mat::new(x.data, rows, inputs))),
    ]
}

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
