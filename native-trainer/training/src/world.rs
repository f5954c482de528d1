//! A world, which draws any number of pictures.

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use unigen_rewards::{Reward, RewardSettings};
use unigen_runs::Compute;

use crate::data::{Edits, Pictures, Prompts};
use crate::validation::Validation;

/// The source of everything that the user's files do not give: pictures, edits and prompts for training and
/// validation, a judge, and rewards. Everything is a function of seeds.
pub trait World: Sized + 'static {
    /// The world with `settings`.
    ///
    /// # Errors
    /// If it has no such settings. The error names the key.
    fn open(settings: &WorldSettings) -> Result<Self>;

    /// Number of classes and number of attributes in [`Region::labels`](crate::data::Region::labels).
    fn labels(&self) -> [usize; 2];

    /// Captioned pictures to train on.
    fn pictures(&self, seed: u64) -> Box<dyn Pictures>;

    /// Captioned pictures that do not occur in training.
    fn held_out_pictures(&self, seed: u64) -> Box<dyn Pictures>;

    /// Edits to train on, with all `kinds` equally often. An empty list means all kinds.
    ///
    /// # Errors
    /// If there is no such kind.
    fn edits(&self, seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>>;

    /// Edits that do not occur in training.
    fn held_out_edits(&self, seed: u64) -> Box<dyn Edits>;

    /// Prompts for reinforcement learning.
    fn prompts(&self, seed: u64) -> Box<dyn Prompts>;

    /// Edits for reinforcement learning. A reward that goes by the description needs one that tells the wanted
    /// picture from the picture before.
    ///
    /// # Errors
    /// If there is no such kind.
    fn described_edits(&self, seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>>;

    /// The validation tasks, with the judge in the folder `judge`. Without a judge, nothing is scored.
    ///
    /// # Errors
    /// If the judge cannot be opened or is not accurate enough.
    fn validation(&self, judge: Option<&Path>, compute: &Compute) -> Result<Box<dyn Validation>>;

    /// The network in the folder `teacher`. Reconstructions should keep its features.
    ///
    /// # Errors
    /// If it cannot be opened.
    fn perception(&self, teacher: &Path, compute: &Compute) -> Result<Box<dyn Perception>>;

    /// The rewards of `settings`, in their order ([`unigen_rewards::open`] with the world's own kinds). An empty list
    /// means the world's own rewards.
    ///
    /// # Errors
    /// The error names the reward that cannot be opened, and the reason.
    fn rewards(&self, settings: &[RewardSettings], compute: &Compute) -> Result<Vec<Box<dyn Reward>>>;
}

/// The table `[world]` of a recipe, whose keys the world knows. An empty table means the world's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorldSettings(Map<String, Value>);

impl WorldSettings {
    /// Whether the recipe says nothing about its world.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The settings in a world's own terms.
    ///
    /// # Errors
    /// If a key is unknown or a value does not fit. The error names it.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T> {
        serde_json::from_value(Value::Object(self.0.clone())).context("world")
    }
}

/// A network whose features say whether two pictures look alike (perceptual loss, Johnson et al., arXiv 1603.08155).
pub trait Perception: Send + Sync {
    /// The activations of pixels `[batch, height, width, 3]` in [-1, 1] at several resolutions. Only the pixels get
    /// gradients.
    fn features(&self, pixels: &Tensor<4>) -> Vec<Tensor<4>>;
}
