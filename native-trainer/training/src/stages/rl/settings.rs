//! Settings of reinforcement learning.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use unigen_rewards::{Deviation, RewardSettings};

use crate::rl::Sampling;
use crate::train::Training;

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
    /// A user's own prompts, as shards or jsonl files ([`crate::data::record`]): `prompt`, and `description` where it says more;
    /// none: the world's.
    pub prompts: Vec<PathBuf>,
    /// A user's own edits, likewise: before, instruction, after and description; none: the world's.
    pub triples: Vec<PathBuf>,
    /// Kinds of the world's edits, all equally often; one that is named twice comes twice as often; none: all kinds.
    pub edit_kinds: Vec<String>,
    /// What the world's prompts and edits are drawn from.
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
    /// What pictures are scored by, with their weights; none: the world's own rewards.
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
            prompts: vec![],
            triples: vec![],
            edit_kinds: vec![],
            seed: 7,
            deviation: Deviation::Group,
            beta: 0.01,
            clip: 0.0,
            updates: 1,
            consistency: 0.0,
            rollout: Sampling::default(),
            replay: Replay::default(),
            rewards: vec![],
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
    pub(super) fn check(&self, tokens: usize) -> Result<()> {
        self.rollout.check(tokens)?;
        ensure!(self.mix != [0, 0], "mix is {:?}; one of its shares must not be 0", self.mix);
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
