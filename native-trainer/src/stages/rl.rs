//! Reinforcement learning with one reward for generation and editing (UniGen-1.5, stage 4): samples of prompts and of
//! edits are scored against descriptions of the wanted pictures, and the policy moves towards the better of each group.

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use pollster::FutureExt;
use rand::seq::index;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cell::{Ref, RefCell};
use std::path::{Path, PathBuf};
use std::time::Instant;
use unigen_core::engine::ModelFolder;
use unigen_core::model::UniGen;
use unigen_core::precision::{MatmulPrecision, WithPrecision};

#[cfg(test)]
mod tests;

use super::base::Base;
use super::exam::{drawing_exam, exam, open_judge};
use crate::Compute;
use crate::data::stickers::{EditKind, Renderer, rng_at};
use crate::eval::detector::Detector;
use crate::optimizer::{HostGradients, floats};
use crate::rewards::http::HttpSettings;
use crate::rewards::{
    Deviation, Ensemble, Groups, Item, RewardKind, RewardSettings, RewardSource, Scored, deviation,
};
use crate::rl::{
    Input, Mix, Objective, Pass, Rollout, Sampling, Task, Terms, advantages, consistency, flat_share, hacked,
    passes, widest, with_consistency,
};
use crate::run::{Record, sheet};
use crate::train::{Evaluation, Loss, Stage, Training, Update, scalar};

/// How far from 1 the ratio of a replayed to a drawn probability may be before the first update.
const TOLERANCE: f64 = 1e-4;
/// The judge may waver so much, of 1, without the policy counting as worse.
const WAVER: f64 = 0.01;
/// Of validation, the number that is to be high; of updates, the number that is raised.
const JUDGE: &str = "judge";
const REWARD: &str = "reward";
/// Columns of the sheet of samples, at most.
const COLUMNS: usize = 8;

/// Settings of the stage `rl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the model to start from, which is also the reference that the policy stays near to.
    pub model: PathBuf,
    /// The detector that judges held-out pictures and takes no part in rewards; none: a run neither stops by itself nor
    /// looks for its best checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    /// Validations in a row with a worse judge under a higher reward after which a run stops; 0: it never does.
    pub patience: usize,
    /// Shares of generation and editing.
    pub mix: [u64; 2],
    /// Kinds of edit, all equally often; name one twice and it comes twice as often.
    pub edit_kinds: Vec<EditKind>,
    /// What prompts and edits are drawn from.
    pub seed: u64,
    /// What differences within a group are divided by, those of rewards and then of their sum.
    pub deviation: Deviation,
    /// Weight of the divergence from the reference.
    pub beta: f64,
    /// Ratios count within `1 - clip ..= 1 + clip` only; 0: as they are, as in the paper.
    pub clip: f64,
    /// Updates from the same samples; with more than one the ratio moves away from 1 and clipping has something to do.
    pub updates: u64,
    /// Weight, beside 1 for all rewards together, of leaving alone what an edit does not ask for; 0: none, as in the paper.
    pub consistency: f32,
    pub rollout: Sampling,
    pub replay: Replay,
    /// What pictures are scored by, with their weights.
    pub rewards: Vec<RewardSettings>,
    pub training: Training,
}

/// The section `[replay]`: what of the samples is learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    /// Decoding steps that are replayed, drawn anew each time; 0: all of them.
    pub steps: usize,
    /// Inputs that are replayed, those whose samples differ most; 0: all of them.
    pub groups: usize,
    /// Images, each as it was before a step, that go through the model together: fewer take less memory.
    pub blocks: usize,
}

impl Default for Replay {
    fn default() -> Self {
        Self { steps: 0, groups: 0, blocks: 32 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: "runs/align/export".into(),
            judge: None,
            patience: 3,
            mix: [1, 1],
            edit_kinds: EditKind::ALL.into(),
            seed: 7,
            deviation: Deviation::Group,
            beta: 0.01,
            clip: 0.0,
            updates: 1,
            consistency: 0.0,
            rollout: Sampling::default(),
            replay: Replay::default(),
            rewards: nano_rewards(),
            training: Training {
                steps: 300,
                batch: 4,
                learning_rate: 2e-5,
                warmup_steps: 10,
                final_rate: 0.1,
                weight_decay: 0.0,
                betas: [0.9, 0.95],
                clip_norm: 1.0,
                ema_decay: 0.0,
                seed: 7,
                log_every: 1,
                evaluate_every: 50,
                save_every: 10,
                ..Training::default()
            },
        }
    }
}

/// The four rewards that the stage `rewards` makes, with equal weights, as the paper's four are.
fn nano_rewards() -> Vec<RewardSettings> {
    let kinds = [RewardKind::Contrastive, RewardKind::Preference, RewardKind::Matcher, RewardKind::Verifier];
    let reward = |kind| RewardSettings {
        source: RewardSource { kind, at: "runs/rewards/export".into(), name: String::new() },
        weight: 1.0,
        http: HttpSettings::default(),
    };
    kinds.map(reward).into()
}

impl Settings {
    fn check(&self, tokens: usize) -> Result<()> {
        self.rollout.check(tokens)?;
        ensure!(self.mix != [0, 0], "mix is {:?}; one of its shares must not be 0", self.mix);
        ensure!(
            self.mix[1] == 0 || !self.edit_kinds.is_empty(),
            "edit_kinds is empty; name kinds of edit, or leave editing out with mix = [1, 0]"
        );
        ensure!(self.updates > 0, "updates is 0; learn from the samples once at least");
        ensure!(
            self.replay.steps <= self.rollout.steps,
            "replay.steps is {}, but rollout.steps is {}; replay at most as many, or 0 for all",
            self.replay.steps,
            self.rollout.steps
        );
        ensure!(
            self.replay.groups <= self.training.batch,
            "replay.groups is {}, but training.batch is {}; replay at most as many, or 0 for all",
            self.replay.groups,
            self.training.batch
        );
        ensure!(
            self.training.accumulate == 1,
            "training.accumulate is {}; make training.batch larger instead: replay.blocks bounds the memory",
            self.training.accumulate
        );
        for (name, value) in
            [("beta", self.beta), ("clip", self.clip), ("consistency", f64::from(self.consistency))]
        {
            ensure!(value.is_finite() && value >= 0.0, "{name} is {value}; it must be a number from 0 on");
        }
        ensure!(self.clip < 1.0, "clip is {}; it must be below 1", self.clip);
        Ok(())
    }
}

/// The stage `rl`.
pub struct RlStage {
    settings: Settings,
    base: Base,
    reference: UniGen,
    rewards: Ensemble,
    judge: Option<Detector>,
    mix: Mix,
    device: Device,
    /// What the last samples were.
    experience: RefCell<Option<Experience>>,
}

/// Samples and what they are worth.
struct Experience {
    round: u64,
    inputs: Vec<Input>,
    rollouts: Vec<Rollout>,
    images: Vec<RgbImage>,
    /// Sum of the rewards of each sample, within its group.
    rewards: Vec<Option<f32>>,
    advantages: Vec<Option<f32>>,
    passes: Vec<Pass>,
    /// The reference's log-probabilities of the tokens of each pass.
    reference: Vec<Vec<f32>>,
    /// The share in the mean over the batch that a token of each sample has, see [`token_weights`].
    weights: Vec<f32>,
    scalars: Vec<(Cow<'static, str>, f64)>,
    seconds: f64,
}

impl RlStage {
    /// The stage with given rewards instead of those of the settings, and the model it starts from.
    ///
    /// # Errors
    /// When the model or the judge cannot be used or a setting is out of range.
    pub fn with(settings: &Settings, rewards: Ensemble, compute: &Compute) -> Result<(Self, UniGen)> {
        let plain = compute.without_autodiff();
        let vision = settings.model.join(ModelFolder::VISION).exists().then_some(&*settings.model);
        let (base, model) = Base::open(&settings.model, vision, None, compute)?;
        settings.check(base.image_tokens())?;
        ensure!(
            base.sees() || settings.mix[1] == 0,
            "mix asks for edits, but the model in {} has no understanding encoder: set mix = [1, 0], or start from a model \
             of the stage `sft` or `align`",
            settings.model.display()
        );
        let judge = open_judge(settings.judge.as_deref(), &plain)?;
        let reference = Base::open(&settings.model, vision, None, &plain)?.1;
        let mix = Mix {
            shares: settings.mix,
            edit_kinds: settings.edit_kinds.clone(),
            seed: settings.seed,
            renderer: Renderer::new(),
        };
        let stage = Self {
            settings: settings.clone(),
            base,
            reference,
            rewards,
            judge,
            mix,
            device: compute.device.clone(),
            experience: RefCell::default(),
        };
        Ok((stage, model))
    }

    fn delimiters(&self) -> [u32; 2] {
        [self.base.text.special().soi, self.base.text.special().eoi]
    }

    /// Draws and scores the samples of `round` by `model`, which has no gradients.
    fn gather(&self, model: &UniGen, round: u64) -> Result<Experience> {
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
        // Rewards may wait for another machine meanwhile.
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

    /// The decoding steps that are learned from, ascending.
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

    /// The objective over pass `index`, and the entropy of its tokens.
    fn objective(&self, model: &UniGen, experience: &Experience, index: usize) -> Result<(Terms, Tensor<1>)> {
        let Experience { inputs, rollouts, passes, reference, .. } = experience;
        let (pass, device) = (&passes[index], &self.device);
        let temperature = self.settings.rollout.temperature;
        let prefix = |group: usize| inputs[group].prefix(model, device);
        let replayed = pass.replay(model, rollouts, temperature, self.delimiters(), prefix, device)?;
        let of_tokens = |value: &dyn Fn(usize, usize) -> f32| {
            let values: Vec<f32> = pass.tokens.iter().map(|&(rollout, at)| value(rollout, at)).collect();
            Tensor::<1>::from_floats(values.as_slice(), device)
        };
        let terms = Objective { beta: self.settings.beta, clip: self.settings.clip }.terms(
            replayed.log_probs,
            of_tokens(&|rollout, at| rollouts[rollout].log_probs[at]),
            Tensor::from_floats(reference[index].as_slice(), device),
            of_tokens(&|rollout, _| experience.advantages[rollout].unwrap_or(0.0)),
            of_tokens(&|rollout, _| experience.weights[rollout]),
        );
        Ok((terms, replayed.entropy))
    }

    /// The gradients of a step, pass by pass, since the graph of all would take too much memory.
    fn replayed(&self, model: &UniGen, step: u64) -> Result<Update> {
        let experience = self.experience(model, step)?;
        let start = Instant::now();
        let tokens: usize = experience.passes.iter().map(|pass| pass.tokens.len()).sum();
        let (mut loss, mut kl, mut entropy, mut off, mut clipped) = (0.0, 0.0, 0.0, 0.0_f64, 0.0);
        let mut gradients = HostGradients::default();
        for (index, pass) in experience.passes.iter().enumerate() {
            let (terms, spread) = self.objective(model, &experience, index)?;
            let share = pass.tokens.len() as f64 / tokens as f64;
            loss += scalar(terms.loss.clone())?;
            kl += scalar(terms.kl)?;
            entropy += share * scalar(spread)?;
            for ratio in floats(terms.ratios)? {
                let away = (f64::from(ratio) - 1.0).abs();
                off = if away.is_nan() { f64::NAN } else { off.max(away) };
                clipped += f64::from(u8::from(self.settings.clip > 0.0 && away > self.settings.clip));
            }
            if loss.is_finite() {
                gradients = gradients.plus(HostGradients::read(model, terms.loss.backward())?);
            }
        }
        let fresh = step.is_multiple_of(self.settings.updates);
        // Later, bf16 rounds: the log tells how much.
        if step == 0 {
            ensure!(
                off <= TOLERANCE,
                "before the first update the policy gives drawn codes other probabilities when they are replayed: the ratio \
                 is off 1 by {off:.1e}, at most {TOLERANCE:.0e} is allowed. Replay and decoding differ"
            );
        }
        let seconds = start.elapsed().as_secs_f64();
        let all = if fresh { seconds + experience.seconds } else { seconds };
        let drawn: usize = experience.rollouts.iter().map(|rollout| rollout.codes.len()).sum();
        let mut scalars = experience.scalars.clone();
        // Without a weight the reference is not asked.
        scalars.extend((self.settings.beta > 0.0).then(|| ("kl".into(), kl)));
        scalars.extend([
            ("entropy".into(), entropy),
            ("ratio_error".into(), off),
            ("clipped".into(), clipped / tokens as f64),
            ("update_seconds".into(), seconds / experience.inputs.len() as f64),
            ("tokens_per_second".into(), drawn as f64 / all),
        ]);
        Ok(Update { loss, gradients: loss.is_finite().then_some(gradients), scalars })
    }

    /// The samples of the round that `step` belongs to, drawn by `model` where it is the round's first.
    fn experience(&self, model: &UniGen, step: u64) -> Result<Ref<'_, Experience>> {
        let round = step / self.settings.updates;
        if self.experience.borrow().as_ref().is_none_or(|experience| experience.round != round) {
            *self.experience.borrow_mut() = Some(self.gather(&model.valid(), round)?);
        }
        Ref::filter_map(self.experience.borrow(), Option::as_ref)
            .map_err(|_| anyhow::anyhow!("no samples of round {round}"))
    }

    /// Samples with their rewards, a group a row.
    fn samples(&self) -> Option<RgbImage> {
        let experience = self.experience.borrow();
        let Experience { inputs, rollouts, images, rewards, advantages, .. } = experience.as_ref()?;
        let caption = |sample: usize| {
            let number = |value: Option<f32>| value.map_or("none".to_owned(), |value| format!("{value:+.2}"));
            let Input { task, text, .. } = &inputs[rollouts[sample].group];
            let (reward, advantage) = (number(rewards[sample]), number(advantages[sample]));
            format!("{reward} -> {advantage} {}: {text}", task.name())
        };
        let cells: Vec<_> = images.iter().enumerate().map(|(s, image)| (image.clone(), caption(s))).collect();
        Some(sheet(&cells, self.settings.rollout.samples.min(COLUMNS), 1))
    }
}

/// The share that a token of each sample has in the mean over all samples that are `replayed` and have an advantage, where `tokens` of a
/// sample's tokens are replayed on average. Not by how many tokens the steps have that are replayed this time, since over all draws
/// of steps those of large steps would then count less.
fn token_weights(advantages: &[Option<f32>], replayed: &[bool], tokens: f64) -> Vec<f32> {
    let there =
        || advantages.iter().zip(replayed).map(|(advantage, &replayed)| replayed && advantage.is_some());
    let weight = 1.0 / (tokens * there().filter(|&there| there).count().max(1) as f64);
    there().map(|there| if there { weight as f32 } else { 0.0 }).collect()
}

/// How much of what should stay each sample has left alone; none for generation.
fn consistencies(inputs: &[Input], rollouts: &[Rollout], images: &[RgbImage]) -> Vec<Option<f32>> {
    let of = |(rollout, drawn): (&Rollout, &RgbImage)| {
        let Input { before, wanted, .. } = &inputs[rollout.group];
        consistency(before.as_ref()?, wanted.as_ref()?, drawn)
    };
    rollouts.iter().zip(images).map(of).collect()
}

/// Raw rewards by source and task, with how much they differ within a group; weighted means, and the share of scores that are missing.
fn summaries(
    scored: &Scored,
    steady: &[Option<f32>],
    inputs: &[Input],
    samples: usize,
) -> Vec<(Cow<'static, str>, f64)> {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        (count > 0.0).then_some(sum / count)
    };
    let (mut scalars, mut total, mut weights) = (Vec::new(), 0.0, 0.0);
    let mut spreads = [[0.0; 2]; Task::ALL.len()];
    for reward in &scored.rewards {
        let scores: Vec<Option<f32>> =
            reward.scores.iter().map(|score| score.as_ref().ok().copied()).collect();
        if let Some(mean) = mean(&mut scores.iter().flatten().copied().map(f64::from)) {
            total += f64::from(reward.weight) * mean;
            weights += f64::from(reward.weight);
        }
        for task in Task::ALL {
            let groups = || scores.chunks(samples).zip(inputs).filter(|(_, input)| input.task == task);
            let mut there = groups().flat_map(|(group, _)| group).flatten().copied().map(f64::from);
            if let Some(mean) = mean(&mut there) {
                scalars.push((format!("{REWARD}/{}/{}", reward.name, task.name()).into(), mean));
            }
            if let Some(mean) = mean(&mut groups().filter_map(|(group, _)| deviation(group))) {
                scalars.push((format!("spread/{}/{}", reward.name, task.name()).into(), mean));
                let [sum, weights] = &mut spreads[task as usize];
                *sum += f64::from(reward.weight) * mean;
                *weights += f64::from(reward.weight);
            }
        }
        let missing = scores.iter().filter(|score| score.is_none()).count();
        if missing > 0 {
            let share = missing as f64 / scores.len() as f64;
            scalars.push((format!("missing/{}", reward.name).into(), share));
        }
    }
    scalars.extend(
        mean(&mut steady.iter().flatten().copied().map(f64::from)).map(|mean| ("consistency".into(), mean)),
    );
    for (task, [sum, weights]) in Task::ALL.into_iter().zip(spreads) {
        scalars.extend((weights > 0.0).then(|| (format!("spread/{}", task.name()).into(), sum / weights)));
    }
    if weights > 0.0 {
        scalars.push((REWARD.into(), total / weights));
    }
    scalars
}

impl Stage for RlStage {
    type Settings = Settings;
    type Model = UniGen;
    const NAME: &'static str = "rl";
    const SCORE: Option<&'static str> = Some(JUDGE);
    const ONE_DEVICE: Option<&'static str> = Some("the samples of a step are drawn and scored together");

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn on_trial(settings: Settings, _: &Path) -> Settings {
        Settings { judge: None, ..settings }
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, UniGen)> {
        let rewards = Ensemble::open(&settings.rewards, &compute.without_autodiff())?;
        Self::with(settings, rewards, compute)
    }

    fn loss(&self, model: &UniGen, step: u64) -> Result<Loss> {
        let experience = self.experience(model, step)?;
        let parts = (0..experience.passes.len()).map(|index| self.objective(model, &experience, index));
        let parts = parts.map(|part| Ok(part?.0.loss)).collect::<Result<Vec<_>>>()?;
        let total = parts.into_iter().reduce(|a, b| a + b).context("no samples to learn from")?;
        Ok(Loss { total, parts: vec![] })
    }

    /// The first update sees the model in f32, so that its ratios tell mistakes from rounding: in bf16 a replay rounds
    /// differently from the drawing (the log's `ratio_error`).
    fn update(&self, model: &UniGen, step: u64) -> Result<Update> {
        match step {
            0 => self.replayed(&model.clone().with_precision(MatmulPrecision::F32), step),
            _ => self.replayed(model, step),
        }
    }

    /// Between two updates from the same samples the samples would be missing.
    fn resumable(&self, steps: u64) -> bool {
        steps.is_multiple_of(self.settings.updates)
    }

    fn finished(&self, log: &[Record]) -> Option<String> {
        let patience = Some(self.settings.patience).filter(|&patience| patience > 0)?;
        hacked(log, JUDGE, REWARD, WAVER, patience)
    }

    fn evaluate(&self, model: &UniGen) -> Result<Evaluation> {
        let engine = self.base.engine(model)?;
        let judge = self.judge.as_ref();
        let mut found = if self.base.sees() { exam(&engine, judge)? } else { Evaluation::default() };
        if let Some(judge) = judge {
            let drawn = drawing_exam(&engine, judge)?;
            found.scalars.extend(drawn.scalars);
            found.sheets.extend(drawn.sheets);
            let score =
                |of: &str| found.scalars.iter().find(|(name, _)| *name == of).map(|(_, score)| *score);
            // Edits are scored 1 to 5.
            let scores = [score("geneval"), score("imgedit").map(|score| (score - 1.0) / 4.0)];
            let there: Vec<f64> = scores.into_iter().flatten().collect();
            found.scalars.push((JUDGE, there.iter().sum::<f64>() / there.len().max(1) as f64));
        }
        found.sheets.extend(self.samples().map(|sheet| ("rollouts", sheet)));
        Ok(found)
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.base.export(model, folder)
    }
}
