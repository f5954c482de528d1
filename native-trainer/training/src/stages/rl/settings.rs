//! Settings of reinforcement learning.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use unigen_rewards::{Deviation, RewardSettings};

use crate::batch::Lora;
use crate::data::{HeldOut, MAX_TEXT};
use crate::rl::{Estimator, Objective, Ratio, Sampling};
use crate::train::Training;
use crate::world::WorldSettings;

/// Settings of the stage `rl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the model to start from. It is also the reference that the policy stays near.
    pub model: PathBuf,
    /// The detector that judges held-out pictures and takes no part in rewards. Without it, a run neither stops by
    /// itself nor looks for its best checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    /// The run stops after this many validations in a row with a worse judge under a higher reward; 0 means never.
    pub patience: usize,
    /// Shares of generation and of editing.
    pub mix: [u64; 2],
    /// A user's own prompts as shards or jsonl files ([`crate::data::record`]): `prompt`, and `description` if it
    /// says more. If the list is empty, the world's prompts are used.
    pub prompts: Vec<PathBuf>,
    /// A user's own edits in the same formats: before, instruction, after and description. If the list is empty, the
    /// world's edits are used.
    pub triples: Vec<PathBuf>,
    /// Kinds of the world's edits, all equally often. A kind that is named twice comes twice as often. An empty list
    /// means all kinds.
    pub edit_kinds: Vec<String>,
    /// Seed of the world's prompts and edits.
    pub seed: u64,
    /// What differences within a group are divided by.
    pub deviation: Normalisation,
    /// Weight of the KL divergence from the reference.
    pub beta: f64,
    /// Ratios are clipped to `1 - clip ..= 1 + clip`; 0 means no clipping, as in the paper.
    pub clip: f64,
    /// Number of updates from the same samples. With more than one, the ratio moves away from 1 and clipping takes
    /// effect.
    pub updates: u64,
    /// Weight of the reward for keeping what an edit does not ask to change, where all other rewards together weigh
    /// 1. The paper has none: 0.
    pub consistency: f32,
    /// Train low-rank adapters beside the frozen weights. Without it, all weights are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    pub data: Data,
    pub rollout: Sampling,
    pub replay: Replay,
    /// The rewards that score pictures, with their weights. If the list is empty, the world's own rewards are used.
    pub rewards: Vec<RewardSettings>,
    /// What the world shows, if it gives the material.
    #[serde(skip_serializing_if = "WorldSettings::is_empty")]
    pub world: WorldSettings,
    pub training: Training,
}

/// What differences within a group are divided by: first those of each reward, then those of their weighted sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalisation {
    /// Both by the deviation of the group.
    Group,
    /// Both by the deviation within groups, pooled over the batch.
    Batch,
    /// Each reward by the deviation of the group, and the sum by that of the batch, as in GDPO (arXiv 2601.05242):
    /// rewards stay apart, and a group on which they agree counts more.
    Gdpo,
}

impl Normalisation {
    /// For each reward by itself.
    pub fn of_rewards(self) -> Deviation {
        if self == Self::Batch { Deviation::Batch } else { Deviation::Group }
    }

    /// For the weighted sum.
    pub fn of_sum(self) -> Deviation {
        if self == Self::Group { Deviation::Group } else { Deviation::Batch }
    }
}

/// The section `[data]`: what is common to the user's own prompts and edits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// What is held out of each of them for validation.
    pub validation: HeldOut,
    /// Largest number of tokens of a text. Longer texts are cut, and the log says how many were.
    pub max_text: usize,
}

impl Default for Data {
    fn default() -> Self {
        Self { validation: HeldOut::default(), max_text: MAX_TEXT }
    }
}

/// The section `[replay]`: which samples and steps are learned from, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    /// How the probability of a sample is estimated.
    pub estimator: Estimator,
    /// Number of decoding steps to replay, drawn anew for each round; 0 means all. Fresh masks hide as many codes as
    /// the decoding did before these steps.
    pub steps: usize,
    /// The first `steps` steps are replayed instead of some that are drawn. They decide most of a picture.
    pub early: bool,
    /// Fresh masks come in complementary pairs, which predict every code once.
    pub pairs: bool,
    /// The samples of an input share their fresh masks.
    pub shared: bool,
    /// What the ratio of probabilities is taken over.
    pub ratio: Ratio,
    /// Number of inputs to replay, those whose samples differ most; 0 means all.
    pub groups: usize,
    /// Number of partly decoded images that go through the model together. A smaller number takes less memory.
    pub blocks: usize,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            estimator: Estimator::Steps,
            steps: 0,
            early: false,
            pairs: false,
            shared: true,
            ratio: Ratio::Token,
            groups: 0,
            blocks: 32,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: "runs/align/export".into(),
            judge: None,
            patience: 3,
            mix: [1, 1],
            prompts: vec![],
            triples: vec![],
            edit_kinds: vec![],
            seed: 7,
            deviation: Normalisation::Group,
            beta: 0.01,
            clip: 0.0,
            updates: 1,
            consistency: 0.0,
            lora: None,
            data: Data::default(),
            rollout: Sampling::default(),
            replay: Replay::default(),
            rewards: vec![],
            world: WorldSettings::default(),
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

impl Settings {
    /// What is minimised.
    pub(super) fn objective(&self) -> Objective {
        match self.replay.estimator {
            Estimator::Best => Objective::Distillation,
            _ => Objective::Policy { beta: self.beta, clip: self.clip, ratio: self.replay.ratio },
        }
    }

    /// Weight of the divergence from the reference; 0 if the objective has none.
    pub(super) fn divergence(&self) -> f64 {
        if self.replay.estimator == Estimator::Best { 0.0 } else { self.beta }
    }

    pub(super) fn check(&self, tokens: usize) -> Result<()> {
        self.rollout.check(tokens)?;
        self.data.validation.check()?;
        ensure!(
            self.replay.estimator != Estimator::Steps || !self.replay.pairs,
            "replay.pairs needs fresh masks; set replay.estimator = \"masks\" too"
        );
        ensure!(
            self.replay.steps > 0 || !self.replay.early,
            "replay.early needs a number of steps; set replay.steps, for example to 3"
        );
        ensure!(self.mix != [0, 0], "mix is {:?}; at least one share must be above 0", self.mix);
        ensure!(self.updates > 0, "updates is 0; choose 1 at least");
        ensure!(
            self.replay.steps <= self.rollout.steps,
            "replay.steps is {}, but rollout.steps is {}; choose at most as many, or 0 for all",
            self.replay.steps,
            self.rollout.steps
        );
        ensure!(
            self.replay.groups <= self.training.batch,
            "replay.groups is {}, but training.batch is {}; choose at most as many, or 0 for all",
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
            ensure!(value.is_finite() && value >= 0.0, "{name} is {value}; it must be 0 or above");
        }
        ensure!(self.clip < 1.0, "clip is {}; it must be below 1", self.clip);
        Ok(())
    }
}
