//! Cross entropy of rows of logits with one class each.

use super::threads::{self, rows_per_task};
use super::vector::{exp, max, softmax, vectorised};
use crate::ops::fused::{FusedOp, View};

/// See [`crate::ops::cross_entropy`]. Input: `logits`.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// One class a row, each below the number of classes.
    pub targets: Vec<u32>,
}

impl FusedOp<1> for CrossEntropy {
    fn forward(&self, [logits]: [View; 1]) -> (Vec<f32>, Vec<usize>) {
        let (rows, classes) = (logits.rows(), logits.width());
        let mut losses = vec![0.0; rows];
        let per_task = rows_per_task(rows, classes);
        threads::for_each_chunk(&mut losses, per_task, |task, losses| {
            for (row, loss) in (task * per_task..).zip(losses) {
                let logits = &logits.data[row * classes..(row + 1) * classes];
                let log_sum = vectorised(
                    #[inline(always)]
                    || {
                        let top = max(logits);
                        // Sixteen sums side by side, so that the loop vectorises.
                        let (chunks, rest) = logits.as_chunks::<16>();
                        let mut sums = [0.0; 16];
                        for chunk in chunks {
                            for (sum, logit) in sums.iter_mut().zip(chunk) {
                                *sum += exp(logit - top);
                            }
                        }
                        let rest: f32 = rest.iter().map(|logit| exp(logit - top)).sum();
                        (sums.iter().sum::<f32>() + rest).ln() + top
                    },
                );
                *loss = log_sum - logits[self.targets[row] as usize];
            }
        });
        let total: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
        (vec![(total / rows as f64) as f32], vec![1])
    }

    /// `dlogits = g (softmax(logits) - [class = target]) / rows`.
    fn backward(&self, [logits]: [View; 1], grad: &[f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        let (rows, classes) = (logits.rows(), logits.width());
        let scale = grad[0] / rows as f32;
        let mut dlogits = logits.data.to_vec();
        let per_task = rows_per_task(rows, classes);
        threads::for_each_chunk(&mut dlogits, per_task * classes, |task, chunk| {
            for (row, dlogits) in (task * per_task..).zip(chunk.chunks_exact_mut(classes)) {
                vectorised(
                    #[inline(always)]
                    || {
                        softmax(dlogits, 1.0);
                        dlogits[self.targets[row] as usize] -= 1.0;
                        for value in dlogits {
                            *value *= scale;
                        }
                    },
                );
            }
        });
        [Some(dlogits)]
    }
}
