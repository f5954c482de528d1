//! A world whose pictures are drawn without end, beside the files of a user.

use anyhow::Result;
use burn::tensor::Tensor;
use std::path::Path;
use unigen_rewards::{Reward, RewardSettings};
use unigen_runs::Compute;

use crate::data::{Edits, Pictures, Prompts};
use crate::validation::Validation;

/// Where stages take what the user's files do not give: pictures, edits and prompts of training and of validation, a judge,
/// and rewards. Everything is a function of seeds.
pub trait World: Sized + 'static {
    /// Number of classes and of attributes in [`Region::labels`](crate::data::Region::labels).
    const LABELS: [usize; 2];

    /// Captioned pictures to train on.
    fn pictures(seed: u64) -> Box<dyn Pictures>;

    /// Captioned pictures that no training shows.
    fn held_out_pictures(seed: u64) -> Box<dyn Pictures>;

    /// Edits to train on, all `kinds` equally often; no kinds stand for all that there are.
    ///
    /// # Errors
    /// Where there is no such kind.
    fn edits(seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>>;

    /// Edits that no training shows.
    fn held_out_edits(seed: u64) -> Box<dyn Edits>;

    /// Prompts for reinforcement learning.
    fn prompts(seed: u64) -> Box<dyn Prompts>;

    /// Edits for reinforcement learning. Their descriptions tell the wanted picture from the one before, as a reward that
    /// goes by them must.
    ///
    /// # Errors
    /// Where there is no such kind.
    fn described_edits(seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>>;

    /// What models are asked in validation, with the judge in the folder `judge`; none: nothing is scored.
    ///
    /// # Errors
    /// Where the judge cannot be opened or is not accurate enough.
    fn validation(judge: Option<&Path>, compute: &Compute) -> Result<Box<dyn Validation>>;

    /// The network in the folder `teacher`, whose features a reconstruction should keep.
    ///
    /// # Errors
    /// Where it cannot be opened.
    fn perception(teacher: &Path, compute: &Compute) -> Result<Box<dyn Perception>>;

    /// The rewards of `settings`, in their order ([`unigen_rewards::open`] with the world's own). No settings stand for
    /// the world's own rewards.
    ///
    /// # Errors
    /// Name the reward that cannot be opened, and why.
    fn rewards(settings: &[RewardSettings], compute: &Compute) -> Result<Vec<Box<dyn Reward>>>;
}

/// A network whose features say whether two pictures look alike (perceptual loss, Johnson et al., arXiv 1603.08155).
pub trait Perception: Send + Sync {
    /// The activations of pixels `[batch, height, width, 3]` in [-1, 1] at several resolutions, with gradients to the
    /// pixels alone.
    fn features(&self, pixels: &Tensor<4>) -> Vec<Tensor<4>>;
}
