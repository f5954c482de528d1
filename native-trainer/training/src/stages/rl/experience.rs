//! The samples of a round, their rewards, and the share of them that is learned from.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use image::RgbImage;
use pollster::FutureExt;
use rand::seq::index;
use std::borrow::Cow;
use std::time::Instant;
use unigen_core::model::UniGen;
use unigen_core::precision::WithPrecision;
use unigen_rewards::{Groups, Item};
use unigen_runs::floats;

use super::RlStage;
use super::summary::summaries;
use crate::data::rng_at;
use crate::rl::{
    Input, Pass, Rollout, Task, advantages, consistency, flat_share, passes, widest, with_consistency,
};
use crate::world::World;

/// Samples and their rewards.
pub(super) struct Experience {
    pub round: u64,
    pub inputs: Vec<Input>,
    pub rollouts: Vec<Rollout>,
    pub images: Vec<RgbImage>,
    /// Weighted sum of the rewards of each sample, normalised within its group.
    pub rewards: Vec<Option<f32>>,
    pub advantages: Vec<Option<f32>>,
    pub passes: Vec<Pass>,
    /// The reference's log-probabilities of the tokens of each pass.
    pub reference: Vec<Vec<f32>>,
    /// The share that each token of a sample has in the mean over the batch, see [`token_weights`].
    pub weights: Vec<f32>,
    pub scalars: Vec<(Cow<'static, str>, f64)>,
    pub seconds: f64,
}

impl<W: World> RlStage<W> {
    /// Draws and scores the samples of `round` by `model`, which has no gradients.
    pub(super) fn gather(&self, model: &UniGen, round: u64) -> Result<Experience> {
        let (settings, device) = (&self.settings, self.device.clone().without_autodiff());
        let (batch, samples) = (settings.training.batch, settings.rollout.samples);
        let start = Instant::now();
        let inputs = self.mix.inputs(&self.base, round * batch as u64, batch as u64, &device)?;
        let prefixes = inputs.iter().map(|input| input.prefix(model, &device)).collect::<Result<_>>()?;
        let rollouts = settings.rollout.draw(
            model,
            prefixes,
            self.base.image_tokens(),
            self.delimiters(),
            [settings.training.seed, round],
        )?;
        let drawn = start.elapsed().as_secs_f64();

        let codes: Vec<_> = rollouts.iter().map(|rollout| rollout.codes.clone()).collect();
        let images = self.base.engine(model)?.images(&codes).block_on()?;
        let items = images.iter().zip(&rollouts).map(|(image, rollout)| Item {
            image: image.clone(),
            description: inputs[rollout.group].description.clone(),
            before: inputs[rollout.group].before.clone(),
        });
        let items: Vec<Item> = items.collect();
        let steps = self.replayed_steps(round);
        let plan = |kept: &[bool]| -> Result<_> {
            let passes = passes(&rollouts, &steps, settings.replay.blocks, kept);
            let reference = self.reference.clone().with_precision(model.precision());
            let reference = self.reference_log_probs(&reference, &passes, &inputs, &rollouts, &device)?;
            Ok((passes, reference))
        };
        let kinds: Vec<usize> = inputs.iter().map(|input| input.task as usize).collect();
        let groups = Groups { size: samples, kinds: &kinds };
        // Meanwhile, rewards may wait for another machine.
        let start = Instant::now();
        let (scored, (planned, planning)) = self.rewards.score(&items, groups, settings.deviation, || {
            let start = Instant::now();
            let planned = (settings.replay.groups == 0).then(|| plan(&vec![true; batch]));
            (planned, start.elapsed())
        })?;
        let scoring = (start.elapsed() - planning).as_secs_f64();
        let planned = planned.transpose()?;

        let steady = consistencies(&inputs, &rollouts, &images);
        let mut rewards = scored.totals.clone();
        if settings.consistency > 0.0 {
            rewards = with_consistency(&rewards, &steady, settings.consistency, groups, settings.deviation);
        }
        let found = advantages(&rewards, groups, settings.deviation);
        ensure!(
            found.values.iter().any(Option::is_some),
            "no sample of round {round} has a reward: {}",
            scored.reasons().join("; ")
        );
        let mut scalars = summaries(&scored, &steady, &inputs, samples);
        scalars.push(("flat_groups".into(), found.flat));
        for task in Task::ALL {
            let groups = found.values.chunks(samples).zip(&inputs).filter(|(_, input)| input.task == task);
            let of_task: Vec<Option<f32>> = groups.flat_map(|(group, _)| group.to_vec()).collect();
            if !of_task.is_empty() {
                let name = format!("flat_groups/{}", task.name());
                scalars.push((name.into(), flat_share(&of_task, samples)));
            }
        }
        let per_group = |seconds: f64| seconds / batch as f64;
        scalars.push(("rollout_seconds".into(), per_group(drawn)));
        scalars.push(("reward_seconds".into(), per_group(scoring)));

        let (passes, reference) = match planned {
            Some(planned) => planned,
            None => plan(&widest(&found.values, samples, settings.replay.groups))?,
        };
        let mut replayed = vec![false; rollouts.len()];
        passes.iter().flat_map(|pass| &pass.tokens).for_each(|&(rollout, _)| replayed[rollout] = true);
        let share = steps.len() as f64 / settings.rollout.steps as f64;
        let weights = token_weights(&found.values, &replayed, self.base.image_tokens() as f64 * share);
        Ok(Experience {
            round,
            inputs,
            rollouts,
            images,
            rewards,
            advantages: found.values,
            passes,
            reference,
            weights,
            scalars,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// The decoding steps that are replayed, ascending.
    fn replayed_steps(&self, round: u64) -> Vec<usize> {
        let (all, some) = (self.settings.rollout.steps, self.settings.replay.steps);
        if some == 0 || some == all {
            return (0..all).collect();
        }
        let mut steps = index::sample(&mut rng_at(!self.settings.training.seed, round), all, some).into_vec();
        steps.sort_unstable();
        steps
    }

    fn reference_log_probs(
        &self,
        reference: &UniGen,
        passes: &[Pass],
        inputs: &[Input],
        rollouts: &[Rollout],
        device: &Device,
    ) -> Result<Vec<Vec<f32>>> {
        let temperature = self.settings.rollout.temperature;
        let prefix = |group: usize| inputs[group].prefix(reference, device);
        let of = |pass: &Pass| -> Result<Vec<f32>> {
            if self.settings.beta == 0.0 {
                return Ok(pass
                    .tokens
                    .iter()
                    .map(|&(rollout, at)| rollouts[rollout].log_probs[at])
                    .collect());
            }
            floats(
                pass.replay(reference, rollouts, temperature, self.delimiters(), prefix, device)?.log_probs,
            )
        };
        passes.iter().map(of).collect()
    }
}

/// The share that each token of a sample has in the mean over all samples that are `replayed` and have an advantage.
/// `tokens` is the number of a sample's tokens that are replayed on average. The number in the steps drawn this time
/// would be wrong: over all draws, tokens of large steps would count less.
pub(super) fn token_weights(advantages: &[Option<f32>], replayed: &[bool], tokens: f64) -> Vec<f32> {
    let there =
        || advantages.iter().zip(replayed).map(|(advantage, &replayed)| replayed && advantage.is_some());
    let weight = 1.0 / (tokens * there().filter(|&there| there).count().max(1) as f64);
    there().map(|there| if there { weight as f32 } else { 0.0 }).collect()
}

/// How well each sample keeps what should not change; `None` for generation.
fn consistencies(inputs: &[Input], rollouts: &[Rollout], images: &[RgbImage]) -> Vec<Option<f32>> {
    let of = |(rollout, drawn): (&Rollout, &RgbImage)| {
        let Input { before, wanted, .. } = &inputs[rollout.group];
        consistency(before.as_ref()?, wanted.as_ref()?, drawn)
    };
    rollouts.iter().zip(images).map(of).collect()
}
