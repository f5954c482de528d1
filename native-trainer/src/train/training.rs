//! Settings of the training loop.

use serde::{Deserialize, Serialize};

/// The section `[training]` of every stage's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Optimiser steps.
    pub steps: u64,
    /// Samples a step.
    pub batch: usize,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Learning rate at the end of the cosine, as a share of `learning_rate`.
    pub final_rate: f64,
    /// AdamW's decay of matrices and convolutions.
    pub weight_decay: f64,
    /// AdamW's decay rates of the moments.
    pub betas: [f64; 2],
    /// Largest norm of all gradients together.
    pub clip_norm: f64,
    /// Decay of the averaged weights a step, once warm: `min(ema_decay, (1 + step) / (10 + step))`.
    pub ema_decay: f64,
    /// What the data are drawn from.
    pub seed: u64,
    /// Steps between two lines of the log.
    pub log_every: u64,
    /// Steps between two validations.
    pub evaluate_every: u64,
    /// Steps between two checkpoints.
    pub save_every: u64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch: 32,
            learning_rate: 1e-3,
            warmup_steps: 200,
            final_rate: 0.05,
            weight_decay: 0.01,
            betas: [0.9, 0.95],
            clip_norm: 1.0,
            ema_decay: 0.999,
            seed: 0,
            log_every: 20,
            evaluate_every: 1000,
            save_every: 500,
        }
    }
}
