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
    Estimator, Input, Masks, Pass, Rollout, Task, View, advantages, best_of, consistency, flat_share, passes,
    step_views, taught, widest, with_consistency,
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
    /// The log-probabilities of the tokens of each pass by the reference, and by the policy that drew them. `None` for
    /// the latter if the policy itself is that one whenever it learns.
    pub reference: Vec<Vec<f32>>,
    pub old: Option<Vec<Vec<f32>>>,
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
        let (steps, views) = self.views(&rollouts, round);
        let plan = |kept: &[bool]| -> Result<Plan> {
            let passes = passes(&rollouts, &views, settings.replay.blocks, kept);
            self.plan(model, passes, &inputs, &rollouts, &device)
        };
        let kinds: Vec<usize> = inputs.iter().map(|input| input.task as usize).collect();
        let groups = Groups { size: samples, kinds: &kinds };
        // Meanwhile, rewards may wait for another machine.
        let start = Instant::now();
        let all = settings.replay.groups == 0 && settings.replay.estimator != Estimator::Best;
        let deviation = settings.deviation.of_rewards();
        let (scored, (planned, planning)) = self.rewards.score(&items, groups, deviation, || {
            let start = Instant::now();
            let planned = all.then(|| plan(&vec![true; batch * samples]));
            (planned, start.elapsed())
        })?;
        let scoring = (start.elapsed() - planning).as_secs_f64();
        let planned = planned.transpose()?;

        let steady = consistencies(&inputs, &rollouts, &images);
        let mut rewards = scored.totals.clone();
        if settings.consistency > 0.0 {
            rewards = with_consistency(&rewards, &steady, settings.consistency, groups, deviation);
        }
        let found = advantages(&rewards, groups, settings.deviation.of_sum());
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

        // Samples that teach nothing take no part in any term.
        let mut kept = taught(&found.values, samples);
        if settings.replay.groups > 0 {
            let widest = widest(&found.values, samples, settings.replay.groups);
            kept.iter_mut().enumerate().for_each(|(sample, kept)| *kept &= widest[sample / samples]);
        }
        if settings.replay.estimator == Estimator::Best {
            let best = best_of(&found.values, samples);
            kept.iter_mut().zip(best).for_each(|(kept, best)| *kept &= best);
        }
        let Plan { passes, reference, old } = match planned {
            Some(planned) => planned,
            None => plan(&kept)?,
        };
        let counts =
            views.iter().map(|views| views.iter().map(|view| view.wanted.len()).sum::<usize>() as f64);
        let some = settings.replay.estimator == Estimator::Steps && !settings.replay.early;
        let tokens: Vec<f64> = match some {
            // The number in the steps drawn this time would be wrong: over all draws, tokens of large steps would
            // count less.
            true => {
                let share = steps.len() as f64 / settings.rollout.steps as f64;
                vec![self.base.image_tokens() as f64 * share; rollouts.len()]
            }
            false => counts.collect(),
        };
        let weights = token_weights(&kept, &tokens);
        Ok(Experience {
            round,
            inputs,
            rollouts,
            images,
            rewards,
            advantages: found.values,
            passes,
            reference,
            old,
            weights,
            scalars,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// The steps that are replayed, and the views of each rollout.
    fn views(&self, rollouts: &[Rollout], round: u64) -> (Vec<usize>, Vec<Vec<View>>) {
        let (steps, replay) = (self.replayed_steps(round), &self.settings.replay);
        let seed = [self.settings.training.seed, round];
        let views = match replay.estimator {
            Estimator::Steps => step_views(rollouts, &steps),
            Estimator::Masks | Estimator::Best => {
                Masks { pairs: replay.pairs, shared: replay.shared, seed }.views(rollouts, &steps)
            }
        };
        (steps, views)
    }

    /// The log-probabilities of the tokens of `passes`, before `model` learns from them.
    fn plan(
        &self,
        model: &UniGen,
        passes: Vec<Pass>,
        inputs: &[Input],
        rollouts: &[Rollout],
        device: &Device,
    ) -> Result<Plan> {
        let settings = &self.settings;
        let drawn = |pass: &Pass| -> Vec<f32> {
            pass.tokens.iter().map(|&(rollout, at)| rollouts[rollout].log_probs[at]).collect()
        };
        let of = |model: &UniGen| -> Result<Vec<Vec<f32>>> {
            let prefix = |group: usize| inputs[group].prefix(model, device);
            let temperature = settings.rollout.temperature;
            let replay =
                |pass: &Pass| pass.replay(model, rollouts, temperature, self.delimiters(), prefix, device);
            passes.iter().map(|pass| floats(replay(pass)?.log_probs)).collect()
        };
        let reference = match settings.divergence() > 0.0 {
            true => of(&self.reference(model).with_precision(model.precision()))?,
            false => passes.iter().map(|pass| vec![0.0; pass.tokens.len()]).collect(),
        };
        let old = match settings.replay.estimator {
            Estimator::Steps => Some(passes.iter().map(drawn).collect()),
            Estimator::Masks if settings.updates > 1 => Some(of(model)?),
            Estimator::Masks | Estimator::Best => None,
        };
        Ok(Plan { passes, reference, old })
    }

    /// The decoding steps that are replayed, ascending.
    fn replayed_steps(&self, round: u64) -> Vec<usize> {
        let (all, some) = (self.settings.rollout.steps, self.settings.replay.steps);
        if some == 0 || some == all {
            return (0..all).collect();
        }
        if self.settings.replay.early {
            return (0..some).collect();
        }
        let mut steps = index::sample(&mut rng_at(!self.settings.training.seed, round), all, some).into_vec();
        steps.sort_unstable();
        steps
    }
}

/// What is replayed, with its log-probabilities before the model learns from it.
struct Plan {
    passes: Vec<Pass>,
    reference: Vec<Vec<f32>>,
    old: Option<Vec<Vec<f32>>>,
}

/// The share that each token of a sample has in the mean over all samples that are `kept`. `tokens` are the numbers of
/// a sample's tokens that are replayed.
pub(super) fn token_weights(kept: &[bool], tokens: &[f64]) -> Vec<f32> {
    let samples = kept.iter().filter(|kept| **kept).count().max(1) as f64;
    let weight = |(&kept, tokens): (&bool, &f64)| if kept { (1.0 / (tokens * samples)) as f32 } else { 0.0 };
    kept.iter().zip(tokens).map(weight).collect()
}

/// How well each sample keeps what should not change; `None` for generation.
fn consistencies(inputs: &[Input], rollouts: &[Rollout], images: &[RgbImage]) -> Vec<Option<f32>> {
    let of = |(rollout, drawn): (&Rollout, &RgbImage)| {
        let Input { before, wanted, .. } = &inputs[rollout.group];
        consistency(before.as_ref()?, wanted.as_ref()?, drawn)
    };
    rollouts.iter().zip(images).map(of).collect()
}
