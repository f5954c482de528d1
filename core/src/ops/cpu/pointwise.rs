//! Activations and the rotary embedding.

use super::memory::{assume_init, uninit, written};
use super::threads::{self, rows_per_task};
use super::vector::{sigmoid, vectorised};
use crate::ops::fused::{FusedOp, View};

/// See [`crate::ops::swiglu`]. Inputs: `gate`, `up`.
#[derive(Clone, Copy, Debug)]
pub struct SwiGlu;

impl FusedOp<2> for SwiGlu {
    fn forward(&self, [gate, up]: [View; 2]) -> (Vec<f32>, Vec<usize>) {
        let mut y = uninit(gate.data.len());
        let chunk = rows_per_task(y.len(), 1);
        threads::for_each_chunk(&mut y, chunk, |task, y| {
            let (gate, up) = (&gate.data[task * chunk..], &up.data[task * chunk..]);
            vectorised(
                #[inline(always)]
                || {
                    written(y, gate.iter().zip(up).map(|(gate, up)| gate * sigmoid(*gate) * up));
                },
            );
        });
        // SAFETY: the chunks together are written.
        (unsafe { assume_init(y) }, gate.shape.to_vec())
    }

    fn cheap(&self) -> bool {
        true
    }

    /// With `σ = sigmoid(gate)`: `dgate = g up σ (1 + gate (1 - σ))`, `dup = g gate σ`.
    fn backward(&self, [gate, up]: [View; 2], grad: &[f32], _: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        let (mut dgate, mut dup) = (uninit(grad.len()), uninit(grad.len()));
        let chunk = rows_per_task(grad.len(), 1);
        threads::for_each_pair(&mut dgate, chunk, &mut dup, chunk, |task, dgate, dup| {
            let start = task * chunk;
            let (gate, up, grad) = (&gate.data[start..], &up.data[start..], &grad[start..]);
            vectorised(
                #[inline(always)]
                || {
                    let inputs = gate.iter().zip(up).zip(grad).zip(dup);
                    written(
                        dgate,
                        inputs.map(|(((gate, up), grad), dup)| {
                            let s = sigmoid(*gate);
                            dup.write(grad * gate * s);
                            grad * up * s * (1.0 + gate * (1.0 - s))
                        }),
                    );
                },
            );
        });
        // SAFETY: the chunks together are written.
        unsafe { [Some(assume_init(dgate)), Some(assume_init(dup))] }
    }
}

/// See [`crate::ops::gelu_tanh`].
#[derive(Clone, Copy, Debug)]
pub struct GeluTanh;

impl GeluTanh {
    /// `2 √(2/π)`
    const SLOPE: f32 = 1.595_769;
    const CUBE: f32 = 0.044_715;

    /// `y` of `body(x, rest)`, in parallel.
    fn map(x: &[f32], rest: &[f32], body: impl Fn(f32, f32) -> f32 + Sync + Send) -> Vec<f32> {
        let mut y = uninit(x.len());
        let chunk = rows_per_task(y.len(), 1);
        threads::for_each_chunk(&mut y, chunk, |task, y| {
            let (x, rest) = (&x[task * chunk..], &rest[task * chunk..]);
            vectorised(
                #[inline(always)]
                || {
                    written(y, x.iter().zip(rest).map(|(x, rest)| body(*x, *rest)));
                },
            );
        });
        // SAFETY: the chunks together are written.
        unsafe { assume_init(y) }
    }
}

impl FusedOp<1> for GeluTanh {
    /// `x σ(z)` with `z = 2 √(2/π) (x + 0.044715 x³)`.
    fn forward(&self, [x]: [View; 1]) -> (Vec<f32>, Vec<usize>) {
        let y = Self::map(
            x.data,
            x.data,
            #[inline(always)]
            |x, _| x * sigmoid(Self::SLOPE * x * (1.0 + Self::CUBE * x * x)),
        );
        (y, x.shape.to_vec())
    }

    fn cheap(&self) -> bool {
        true
    }

    /// `dx = g (σ(z) + x σ(z) (1 - σ(z)) dz/dx)`
    fn backward(&self, [x]: [View; 1], grad: &[f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        let dx = Self::map(
            x.data,
            grad,
            #[inline(always)]
            |x, grad| {
                let square = Self::CUBE * x * x;
                let s = sigmoid(Self::SLOPE * x * (1.0 + square));
                grad * s * (1.0 + x * (1.0 - s) * Self::SLOPE * (1.0 + 3.0 * square))
            },
        );
        [Some(dx)]
    }
}

/// See [`crate::ops::rope`]. Inputs: `x`, `cos`, `sin`.
#[derive(Clone, Copy, Debug)]
pub struct Rope;

impl FusedOp<3> for Rope {
    fn forward(&self, [x, cos, sin]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        (rotate(x.data, x.shape, cos.data, sin.data, 1.0), x.shape.to_vec())
    }

    /// The inverse rotation.
    fn backward(&self, [x, cos, sin]: [View; 3], grad: &[f32], _: [bool; 3]) -> [Option<Vec<f32>>; 3] {
        [Some(rotate(grad, x.shape, cos.data, sin.data, -1.0)), None, None]
    }
}

/// Rotates the pairs `(x[i], x[i + head_dim / 2])` of each head by the angles of its token, times `sign`.
fn rotate(x: &[f32], shape: &[usize], cos: &[f32], sin: &[f32], sign: f32) -> Vec<f32> {
    let &[tokens, heads, width] = shape else {
        panic!("rope wants [tokens, heads, head_dim], got {shape:?}")
    };
    assert!(width % 2 == 0 && cos.len() == tokens * width / 2 && sin.len() == cos.len());
    let mut y = uninit(x.len());
    if y.is_empty() {
        return vec![];
    }
    let (half, row) = (width / 2, heads * width);
    let per_task = rows_per_task(tokens, row);
    threads::for_each_chunk(&mut y, per_task * row, |task, y| {
        vectorised(
            #[inline(always)]
            || {
                for (token, y) in (task * per_task..).zip(y.chunks_exact_mut(row)) {
                    let angles = token * half..(token + 1) * half;
                    let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
                    let x = x[token * row..(token + 1) * row].chunks_exact(width);
                    for (x, y) in x.zip(y.chunks_exact_mut(width)) {
                        let ((x_low, x_high), (y_low, y_high)) = (x.split_at(half), y.split_at_mut(half));
                        for i in 0..half {
                            let (cos, sin) = (cos[i], sign * sin[i]);
                            y_low[i].write(x_low[i] * cos - x_high[i] * sin);
                            y_high[i].write(x_high[i] * cos + x_low[i] * sin);
                        }
                    }
                }
            },
        );
    });
    // SAFETY: every pair of every head is written, as the width is even.
    unsafe { assume_init(y) }
}
