//! Draws samples from the policy, and records what a replay needs.

use anyhow::{Result, ensure};
use pollster::FutureExt;
use serde::{Deserialize, Serialize};
use unigen_core::model::UniGen;
use unigen_core::sampling::{Branch, Flow, MaskedDecoding, Order, Prefix, Seeds, StepReport};

use crate::data::rng_at;
use rand::RngExt;

/// The section `[rollout]`: how samples are drawn. There is no guidance, and positions are fixed in Halton order, so
/// that samples come from the policy itself: the probability of a sample is the product of those of its codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Samples per input.
    pub samples: usize,
    /// Decoding steps.
    pub steps: usize,
    /// Temperature of the softmax that codes are drawn from. It is part of the policy, so rollouts, replays and the
    /// reference all use it. Below 1, samples are nearer to those with guidance.
    pub temperature: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { samples: 8, steps: 8, temperature: 0.7 }
    }
}

/// One sample: an image and how it was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// The input that it is a sample of.
    pub group: usize,
    /// The codes of the image, row-major.
    pub codes: Vec<u32>,
    /// The step, from 0, that fixed each code.
    pub fixed_at: Vec<usize>,
    /// The log-probability that each code had at that step.
    pub log_probs: Vec<f32>,
}

impl Rollout {
    /// The codes that were known before a step.
    pub fn known(&self, step: usize) -> Vec<Option<u32>> {
        self.codes.iter().zip(&self.fixed_at).map(|(&code, &at)| (at < step).then_some(code)).collect()
    }

    /// The positions that a step fixed.
    pub fn fixed(&self, step: usize) -> Vec<usize> {
        (0..self.codes.len()).filter(|&position| self.fixed_at[position] == step).collect()
    }
}

impl Sampling {
    /// Draws samples of `tokens` codes for every input, input after input, all at once. The samples of an input share
    /// its prefix. `seed` and `round` determine the samples.
    ///
    /// # Errors
    /// If there are no samples, no steps, or more steps than codes; if the device fails.
    pub fn draw(
        &self,
        model: &UniGen,
        prefixes: Vec<Prefix>,
        tokens: usize,
        delimiters: [u32; 2],
        [seed, round]: [u64; 2],
    ) -> Result<Vec<Rollout>> {
        self.check(tokens)?;
        let images = prefixes.len() * self.samples;
        let mut rng = rng_at(seed, round);
        let seeds = Seeds((0..images).map(|_| rng.random()).collect());
        let mut rollouts: Vec<Rollout> = (0..images)
            .map(|image| Rollout {
                group: image / self.samples,
                codes: vec![0; tokens],
                fixed_at: vec![usize::MAX; tokens],
                log_probs: vec![0.0; tokens],
            })
            .collect();
        let decoding = MaskedDecoding::new(self.steps, Order::Halton);
        let targets = vec![vec![None; tokens]; images];
        let branches = [Branch { weight: 1.0 / self.temperature, prefixes }];
        let on_step = async |report: StepReport<'_>| {
            // If the device cannot be read, the decoding ends with an error.
            let Ok(now) = report.preview().await else { return Flow::Cancel };
            for (image, rollout) in rollouts.iter_mut().enumerate() {
                for position in 0..tokens {
                    // The last step keeps all its codes, whatever it would mask again.
                    let kept = !now.masked[image][position] || report.step == report.steps;
                    if rollout.fixed_at[position] == usize::MAX && kept {
                        rollout.codes[position] = now.codes[image][position];
                        rollout.fixed_at[position] = report.step - 1;
                        rollout.log_probs[position] = now.log_probs[image][position];
                    }
                }
            }
            Flow::Continue
        };
        let drawn = decoding.decode(model, &branches, targets, delimiters, &seeds, on_step).block_on()?;
        for (rollout, drawn) in rollouts.iter().zip(&drawn) {
            ensure!(
                rollout.codes == *drawn,
                "the codes recorded at each step are not those of the finished image; this is a bug in the program"
            );
        }
        Ok(rollouts)
    }

    /// # Errors
    /// The error names the setting that does not fit images of `tokens` codes.
    pub fn check(&self, tokens: usize) -> Result<()> {
        ensure!(
            self.samples > 1,
            "rollout.samples is {}; a group needs at least 2 samples to compare",
            self.samples
        );
        ensure!(
            (1..=tokens).contains(&self.steps),
            "rollout.steps is {}; choose 1 to {tokens}, the number of codes of an image",
            self.steps
        );
        ensure!(
            (0.1..=10.0).contains(&self.temperature),
            "rollout.temperature is {}; choose 0.1 to 10",
            self.temperature
        );
        Ok(())
    }
}
