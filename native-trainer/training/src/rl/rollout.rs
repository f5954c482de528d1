//! Samples drawn from the policy, with what it takes to replay them.

use anyhow::{Result, ensure};
use pollster::FutureExt;
use serde::{Deserialize, Serialize};
use unigen_core::model::UniGen;
use unigen_core::sampling::{Branch, Flow, MaskedDecoding, Order, Path, Prefix, Seeds, StepReport};

use crate::data::rng_at;
use rand::RngExt;

/// The section `[rollout]`: how samples are drawn. There is no guidance and positions come in an order of their own, so that what is
/// drawn is the policy itself: a sample's probability is that of its codes, one by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Samples of an input.
    pub samples: usize,
    /// Decoding steps.
    pub steps: usize,
    /// Of the softmax that codes are drawn from, in rollouts, replays and the reference alike: the policy. Below 1 samples are
    /// nearer to what guidance draws.
    pub temperature: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { samples: 8, steps: 8, temperature: 0.7 }
    }
}

/// One sample: an image and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Which input it is a sample of.
    pub group: usize,
    /// The image, row-major.
    pub codes: Vec<u32>,
    /// The step, from 0, that fixed each code.
    pub fixed_at: Vec<usize>,
    /// The log-probability that each code had at that step.
    pub log_probs: Vec<f32>,
}

impl Rollout {
    /// What was known before a step.
    pub fn known(&self, step: usize) -> Vec<Option<u32>> {
        self.codes.iter().zip(&self.fixed_at).map(|(&code, &at)| (at < step).then_some(code)).collect()
    }

    /// The positions that a step fixed.
    pub fn fixed(&self, step: usize) -> Vec<usize> {
        (0..self.codes.len()).filter(|&position| self.fixed_at[position] == step).collect()
    }
}

impl Sampling {
    /// Draws samples of `tokens` codes for every input, input after input, all at once; the samples of an input share its
    /// prefix. `seed` and `round` say what is drawn.
    ///
    /// # Errors
    /// For no samples, no steps or more steps than codes; when the device fails.
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
        let decoding = MaskedDecoding { steps: self.steps, order: Order::Halton, path: Path::Cached };
        let targets = vec![vec![None; tokens]; images];
        let branches = [Branch { weight: 1.0 / self.temperature, prefixes }];
        let on_step = async |report: StepReport<'_>| {
            // A device that cannot be read ends the decoding with an error.
            let Ok(now) = report.preview().await else { return Flow::Cancel };
            for (image, rollout) in rollouts.iter_mut().enumerate() {
                for position in 0..tokens {
                    // The last step keeps all that it draws, whatever it would mask again.
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
                "the codes noted at each step are not those of the image that came of them; this is a mistake of the program"
            );
        }
        Ok(rollouts)
    }

    /// # Errors
    /// Name the setting that does not fit images of `tokens` codes.
    pub fn check(&self, tokens: usize) -> Result<()> {
        ensure!(
            self.samples > 1,
            "rollout.samples is {}; a group needs 2 samples at least to be compared",
            self.samples
        );
        ensure!(
            (1..=tokens).contains(&self.steps),
            "rollout.steps is {}; choose 1 to the {tokens} codes of an image",
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
