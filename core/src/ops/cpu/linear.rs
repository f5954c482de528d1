//! `y = x wᵀ + b`.

use super::matmul::matmul;
use super::matrix::Mat;
use super::memory::unwritten;
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
        // SAFETY: the bias or, without one, the product is written everywhere.
        let mut y = unsafe { unwritten(rows * outputs) };
        if let Some(bias) = bias {
            let chunk = rows_per_task(rows, outputs) * outputs;
            threads::for_each_chunk(&mut y, chunk.max(1), |_, y| {
                y.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
            });
        }
        let (x_mat, w_mat) = (Mat::new(x.data, rows, inputs), Mat::new(weight.data, outputs, inputs));
        matmul(x_mat, w_mat.t(), &mut y, bias.is_some(), self.precision);
        let mut shape = x.shape.to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        (y, shape)
    }

    fn gradients(self, x: View, weight: View, grad: &[f32], wanted: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        let (rows, outputs, inputs) = (x.rows(), weight.rows(), weight.width());
        let grad = Mat::new(grad, rows, outputs);
        let product = |a: Mat, b: Mat| {
            // SAFETY: the product is written everywhere.
            let mut c = unsafe { unwritten(a.rows * b.cols) };
            matmul(a, b, &mut c, false, self.precision);
            c
        };
        [
            wanted[0].then(|| product(grad, Mat::new(weight.data, outputs, inputs))),
            wanted[1].then(|| product(grad.t(), Mat::new(x.data, rows, inputs))),
        ]
    }
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
