//! `y = x wᵀ + b`.

use super::matmul::{matmul, matmul_add};
use super::matrix::Mat;
use super::memory::{assume_init, uninit};
use super::sums::column_sums;
use super::threads::{self, rows_per_task};
use crate::ops::fused::{FusedOp, View};
use crate::precision::MatmulPrecision;

/// See [`crate::ops::linear`]. Two inputs, `x` and `weight`, or a third, `bias`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    pub precision: MatmulPrecision,
}

impl Linear {
    fn product(self, x: View, weight: View, bias: Option<&[f32]>) -> (Vec<f32>, Vec<usize>) {
        let (rows, outputs, inputs) = (x.rows(), weight.rows(), weight.width());
        let (x_mat, w_mat) = (Mat::new(x.data, rows, inputs), Mat::new(weight.data, outputs, inputs));
        let y = match bias {
            Some(bias) => {
                let mut y = repeated(bias, rows);
                matmul_add(x_mat, w_mat.t(), &mut y, self.precision);
                y
            }
            None => matmul(x_mat, w_mat.t(), self.precision),
        };
        let mut shape = x.shape.to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        (y, shape)
    }

    fn gradients(self, x: View, weight: View, grad: &[f32], wanted: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        let (rows, outputs, inputs) = (x.rows(), weight.rows(), weight.width());
        let grad = Mat::new(grad, rows, outputs);
        [
            wanted[0].then(|| matmul(grad, Mat::new(weight.data, outputs, inputs), self.precision)),
            wanted[1].then(|| matmul(grad.t(), Mat::new(x.data, rows, inputs), self.precision)),
        ]
    }
}

/// `rows` times the same row.
fn repeated(row: &[f32], rows: usize) -> Vec<f32> {
    if row.is_empty() {
        return vec![];
    }
    let mut all = uninit(rows * row.len());
    let chunk = rows_per_task(rows, row.len()) * row.len();
    threads::for_each_chunk(&mut all, chunk, |_, chunk| {
        for to in chunk.chunks_exact_mut(row.len()) {
            to.write_copy_of_slice(row);
        }
    });
    // SAFETY: chunks are whole rows, all of which are written.
    unsafe { assume_init(all) }
}

impl FusedOp<2> for Linear {
    fn forward(&self, [x, weight]: [View; 2]) -> (Vec<f32>, Vec<usize>) {
        self.product(x, weight, None)
    }

    fn backward(&self, [x, weight]: [View; 2], grad: &[f32], wanted: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        self.gradients(x, weight, grad, wanted)
    }
}

impl FusedOp<3> for Linear {
    fn forward(&self, [x, weight, bias]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        self.product(x, weight, Some(bias.data))
    }

    fn backward(
        &self,
        [x, weight, bias]: [View; 3],
        grad: &[f32],
        wanted: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let [dx, dweight] = self.gradients(x, weight, grad, [wanted[0], wanted[1]]);
        [dx, dweight, wanted[2].then(|| column_sums(grad, bias.width()))]
    }
}
