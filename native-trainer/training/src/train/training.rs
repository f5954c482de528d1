//! Settings of the training loop.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use unigen_runs::Compute;

/// The section `[training]` of every stage's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Optimiser steps.
    pub steps: u64,
    /// Samples per batch. A whole batch is in memory at once.
    pub batch: usize,
    /// Batches per step. Their gradients are averaged, so a step sees `accumulate * batch` samples.
    pub accumulate: u64,
    /// Compute norms and activations again in the backward pass instead of keeping them. This takes less memory and
    /// more time.
    pub gradient_checkpointing: bool,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Learning rate at the end of the cosine schedule, as a share of `learning_rate`.
    pub final_rate: f64,
    /// AdamW's weight decay, applied to matrices and convolutions.
    pub weight_decay: f64,
    /// AdamW's decay rates of the moments.
    pub betas: [f64; 2],
    /// Largest norm of all gradients together; larger gradients are scaled down to it.
    pub clip_norm: f64,
    /// Decay of the averaged weights per step, at most. Step by step it is `min(ema_decay, (1 + step) / (10 +
    /// step))`.
    pub ema_decay: f64,
    /// Seed of the data.
    pub seed: u64,
    /// Steps between two lines of the log; 0 means one line at the end.
    pub log_every: u64,
    /// Steps between two validations; 0 means one validation at the end, so that there is no best checkpoint.
    pub evaluate_every: u64,
    /// Steps between two checkpoints; 0 means only at the start and at the end.
    pub save_every: u64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch: 32,
            accumulate: 1,
            gradient_checkpointing: false,
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

impl Training {
    /// Number of batches of the whole run.
    pub fn batches(&self) -> u64 {
        self.steps.saturating_mul(self.accumulate)
    }

    /// Samples per step.
    pub fn samples(&self) -> u64 {
        self.accumulate.saturating_mul(self.batch as u64)
    }

    /// `compute` on a device with autodiff, with gradient checkpointing if it is set.
    pub fn autodiff(&self, compute: &Compute) -> Compute {
        let device = compute.device.clone().autodiff();
        let device = if self.gradient_checkpointing { device.gradient_checkpointing() } else { device };
        Compute { device, ..*compute }
    }

    /// Learning rate of `step`, counted from 0: linear warm-up, then a cosine schedule down to `final_rate *
    /// learning_rate`.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let length = self.steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / length as f64).min(1.0);
        let cosine = (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0;
        self.learning_rate * (self.final_rate + (1.0 - self.final_rate) * cosine)
    }

    /// Decay of the averaged weights at `step`, counted from 0.
    pub fn average_decay(&self, step: u64) -> f64 {
        self.ema_decay.min((1 + step) as f64 / (10 + step) as f64)
    }

    /// The factor that scales gradients of this norm down to `clip_norm` at most.
    pub fn clip(&self, norm: f64) -> f64 {
        if norm > self.clip_norm { self.clip_norm / norm } else { 1.0 }
    }

    /// Checks that these settings can train.
    ///
    /// # Errors
    /// The error names the setting, its value and the allowed range.
    pub fn check(&self) -> Result<()> {
        let decay = |x: f64| (0.0..1.0).contains(&x);
        let some = |x: f64| x.is_finite() && x >= 0.0;
        let [beta1, beta2] = self.betas;
        ensure!(self.steps > 0, "training.steps is 0; choose 1 at least");
        ensure!(self.batch > 0, "training.batch is 0; choose 1 at least");
        ensure!(self.accumulate > 0, "training.accumulate is 0; choose 1 at least");
        for (name, value, ok, allowed) in [
            ("learning_rate", self.learning_rate, some(self.learning_rate), "0 or above"),
            ("final_rate", self.final_rate, some(self.final_rate), "0 or above"),
            ("weight_decay", self.weight_decay, some(self.weight_decay), "0 or above"),
            ("clip_norm", self.clip_norm, self.clip_norm > 0.0, "above 0, or inf"),
            ("betas", beta1, decay(beta1), "from 0 to below 1, both of them"),
            ("betas", beta2, decay(beta2), "from 0 to below 1, both of them"),
            ("ema_decay", self.ema_decay, decay(self.ema_decay), "from 0 to below 1"),
        ] {
            ensure!(ok, "training.{name} is {value}; it must be {allowed}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_warms_up_and_falls() {
        let training = Training {
            steps: 110,
            warmup_steps: 10,
            learning_rate: 2.0,
            final_rate: 0.1,
            ..Training::default()
        };
        let close = |step: u64, wanted: f64| {
            assert!((training.rate(step) - wanted).abs() < 1e-12, "{step}: {}", training.rate(step));
        };
        close(0, 0.2);
        close(9, 2.0);
        close(10, 2.0);
        close(60, 1.1);
        close(110, 0.2);
        close(500, 0.2);
        assert_eq!(Training { warmup_steps: 0, ..training.clone() }.rate(0), 2.0);
        let short = Training { steps: 5, ..training };
        assert!(short.rate(4) == 1.0 && short.rate(30).is_finite());
    }

    #[test]
    fn gradients_are_clipped_to_the_norm() {
        let training = Training { clip_norm: 0.5, ..Training::default() };
        assert_eq!((training.clip(0.4), training.clip(2.0)), (1.0, 0.25));
    }

    #[test]
    fn the_average_starts_young() {
        let training = Training { ema_decay: 0.9, ..Training::default() };
        assert_eq!((training.average_decay(0), training.average_decay(1_000)), (0.1, 0.9));
    }

    #[test]
    fn names_what_cannot_train() {
        Training::default().check().unwrap();
        let fails = |training: Training| training.check().unwrap_err().to_string();
        assert!(fails(Training { steps: 0, ..Training::default() }).contains("training.steps"));
        assert!(
            fails(Training { clip_norm: 0.0, ..Training::default() }).contains("training.clip_norm is 0")
        );
        assert!(fails(Training { learning_rate: f64::NAN, ..Training::default() }).contains("NaN"));
        assert!(fails(Training { betas: [0.9, 1.0], ..Training::default() }).contains("training.betas is 1"));
    }
}
