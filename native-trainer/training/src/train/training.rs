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
    /// Samples in memory at once.
    pub batch: usize,
    /// Batches a step, whose gradients are averaged: a step sees `accumulate * batch` samples.
    pub accumulate: u64,
    /// Keep no results of norms and activations for the backward pass, but compute them again: less memory, more time.
    pub gradient_checkpointing: bool,
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
    /// Steps between two lines of the log; 0: only one, at the end.
    pub log_every: u64,
    /// Steps between two validations; 0: only one, at the end, so that no best checkpoint is looked for.
    pub evaluate_every: u64,
    /// Steps between two checkpoints; 0: only at the start and the end.
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
    /// Batches of the whole run.
    pub fn batches(&self) -> u64 {
        self.steps.saturating_mul(self.accumulate)
    }

    /// Samples a step.
    pub fn samples(&self) -> u64 {
        self.accumulate.saturating_mul(self.batch as u64)
    }

    /// `compute` with gradients.
    pub fn autodiff(&self, compute: &Compute) -> Compute {
        let device = compute.device.clone().autodiff();
        let device = if self.gradient_checkpointing { device.gradient_checkpointing() } else { device };
        Compute { device, ..*compute }
    }

    /// Learning rate of `step`, counted from 0: linear warm-up, then a cosine down to `final_rate * learning_rate`.
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

    /// What gradients of this norm are multiplied by, so that it is at most `clip_norm`.
    pub fn clip(&self, norm: f64) -> f64 {
        if norm > self.clip_norm { self.clip_norm / norm } else { 1.0 }
    }

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// Name the setting, its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        let decay = |x: f64| (0.0..1.0).contains(&x);
        let some = |x: f64| x.is_finite() && x >= 0.0;
        let [beta1, beta2] = self.betas;
        ensure!(self.steps > 0, "training.steps is 0; train for 1 step at least");
        ensure!(self.batch > 0, "training.batch is 0; a step needs 1 sample at least");
        ensure!(self.accumulate > 0, "training.accumulate is 0; a step needs 1 batch at least");
        for (name, value, ok, allowed) in [
            ("learning_rate", self.learning_rate, some(self.learning_rate), "a number from 0 on"),
            ("final_rate", self.final_rate, some(self.final_rate), "a number from 0 on"),
            ("weight_decay", self.weight_decay, some(self.weight_decay), "a number from 0 on"),
            ("clip_norm", self.clip_norm, self.clip_norm > 0.0, "a number above 0, or inf"),
            ("betas", beta1, decay(beta1), "two numbers from 0 to below 1"),
            ("betas", beta2, decay(beta2), "two numbers from 0 to below 1"),
            ("ema_decay", self.ema_decay, decay(self.ema_decay), "a number from 0 to below 1"),
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
