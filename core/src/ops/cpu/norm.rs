//! Normalisation of rows: root mean square, and mean and variance.

use super::memory::{assume_init, uninit, written};
use super::sums::add_rows;
use super::threads::{self, rows_per_task};
use super::vector::{dot, sum, vectorised};
use crate::ops::fused::{FusedOp, View};
use std::mem::MaybeUninit;

/// See [`crate::ops::rms_norm`]. Inputs: `x`, `weight`.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    pub eps: f32,
}

impl RmsNorm {
    /// The factor that brings a row to a mean square of one.
    #[inline(always)]
    fn scale(&self, x: &[f32]) -> f32 {
        (dot(x, x) / x.len() as f32 + self.eps).sqrt().recip()
    }
}

impl FusedOp<2> for RmsNorm {
    fn forward(&self, [x, weight]: [View; 2]) -> (Vec<f32>, Vec<usize>) {
        let y = map_rows(x, |x, y| {
            let scale = self.scale(x);
            written(y, x.iter().zip(weight.data).map(|(x, w)| x * scale * w));
        });
        (y, x.shape.to_vec())
    }

    fn cheap(&self) -> bool {
        true
    }

    /// With `x̂ = s x`: `dx = s (g w - x̂ mean(g w x̂))`, `dw = Σ g x̂`.
    fn backward(&self, [x, weight]: [View; 2], grad: &[f32], _: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        let width = x.width();
        let (dx, dweight) = map_rows_and_sum(x, grad, width, |x, grad, dx, dweight| {
            let scale = self.scale(x);
            let terms = x.iter().zip(grad).zip(weight.data).zip(dweight);
            let dx = written(
                dx,
                terms.map(|(((x, grad), w), dweight)| {
                    let gx = grad * scale;
                    *dweight += gx * x;
                    gx * w
                }),
            );
            let mean = dot(dx, x) / width as f32 * scale * scale;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx -= x * mean;
            }
        });
        [Some(dx), Some(dweight)]
    }
}

/// See [`crate::ops::layer_norm`]. Inputs: `x`, `weight`, `bias`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    pub eps: f32,
}

impl LayerNorm {
    /// Writes `x̂`, of mean zero and variance one, to `y`, and returns it with its scale.
    #[inline(always)]
    fn normalise<'a>(&self, x: &[f32], y: &'a mut [MaybeUninit<f32>]) -> (&'a mut [f32], f32) {
        let mean = sum(x) / x.len() as f32;
        let y = written(y, x.iter().map(|x| x - mean));
        let scale = (dot(y, y) / x.len() as f32 + self.eps).sqrt().recip();
        for y in &mut *y {
            *y *= scale;
        }
        (y, scale)
    }
}

impl FusedOp<3> for LayerNorm {
    fn forward(&self, [x, weight, bias]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        let y = map_rows(x, |x, y| {
            let (y, _) = self.normalise(x, y);
            for ((y, w), b) in y.iter_mut().zip(weight.data).zip(bias.data) {
                *y = *y * w + b;
            }
        });
        (y, x.shape.to_vec())
    }

    fn cheap(&self) -> bool {
        true
    }

    /// `dx = s (g w - mean(g w) - x̂ mean(g w x̂))`, `dw = Σ g x̂`, `db = Σ g`.
    fn backward(&self, [x, weight, _]: [View; 3], grad: &[f32], _: [bool; 3]) -> [Option<Vec<f32>>; 3] {
        let width = x.width();
        let (dx, mut sums) = map_rows_and_sum(x, grad, 2 * width, |x, grad, dx, sums| {
            let (dx, scale) = self.normalise(x, dx);
            let (dweight, dbias) = sums.split_at_mut(width);
            let (mut mean, mut mean_x) = (0.0, 0.0);
            for i in 0..width {
                dweight[i] += grad[i] * dx[i];
                dbias[i] += grad[i];
                mean += grad[i] * weight.data[i];
                mean_x += grad[i] * weight.data[i] * dx[i];
            }
            (mean, mean_x) = (mean / width as f32, mean_x / width as f32);
            for i in 0..width {
                dx[i] = scale * (grad[i] * weight.data[i] - mean - dx[i] * mean_x);
            }
        });
        let dbias = sums.split_off(width);
        [Some(dx), Some(sums), Some(dbias)]
    }
}

/// `y` of `body(row of x, row of y)`, rows in parallel. `body` writes all of the row of `y`.
fn map_rows(x: View, body: impl Fn(&[f32], &mut [MaybeUninit<f32>]) + Sync + Send) -> Vec<f32> {
    let width = x.width();
    let mut y = uninit(x.data.len());
    if y.is_empty() {
        return vec![];
    }
    let per_task = rows_per_task(x.rows(), width) * width;
    threads::for_each_chunk(&mut y, per_task, |task, y| {
        let x = &x.data[task * per_task..];
        vectorised(
            #[inline(always)]
            || x.chunks_exact(width).zip(y.chunks_exact_mut(width)).for_each(|(x, y)| body(x, y)),
        );
    });
    // SAFETY: `body` has written every row.
    unsafe { assume_init(y) }
}

/// `dx` and the sums over the rows of `body(row of x, row of grad, row of dx, sums)`, rows in parallel. `body` writes all of the
/// row of `dx`.
fn map_rows_and_sum(
    x: View,
    grad: &[f32],
    sums: usize,
    body: impl Fn(&[f32], &[f32], &mut [MaybeUninit<f32>], &mut [f32]) + Sync + Send,
) -> (Vec<f32>, Vec<f32>) {
    let width = x.width();
    let mut dx = uninit(x.data.len());
    if dx.is_empty() {
        return (vec![], vec![0.0; sums]);
    }
    let per_task = rows_per_task(x.rows(), width) * width;
    let mut partial = vec![0.0; dx.len().div_ceil(per_task) * sums];
    threads::for_each_pair(&mut dx, per_task, &mut partial, sums, |task, dx, partial| {
        let (x, grad) = (&x.data[task * per_task..], &grad[task * per_task..]);
        vectorised(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
                for ((x, grad), dx) in rows.zip(dx.chunks_exact_mut(width)) {
                    body(x, grad, dx, partial);
                }
            },
        );
    });
    // SAFETY: `body` has written every row.
    (unsafe { assume_init(dx) }, add_rows(&partial, sums))
}
