//! The sticker world as a [`World`] of the training stages.

use anyhow::{Result, ensure};
use burn::module::Module;
use std::path::Path;
use unigen_rewards::{Reward, RewardSettings};
use unigen_runs::Compute;
use unigen_training::data::{Edits, Pictures, Prompts};
use unigen_training::validation::Validation;
use unigen_training::world::{Perception, World, WorldSettings};

use crate::edits::{DescribedEdits, SceneEdits};
use crate::judge::Detector;
use crate::pictures::{LABELS, ScenePictures};
use crate::prompts::ScenePrompts;
use crate::rewards;
use crate::validation::SceneValidation;
use crate::world::Split;

/// The sticker world.
pub struct Stickers;

impl World for Stickers {
    fn open(settings: &WorldSettings) -> Result<Self> {
        ensure!(settings.is_empty(), "the sticker world has no settings; remove the table [world]");
        Ok(Self)
    }

    fn labels(&self) -> [usize; 2] {
        LABELS
    }

    fn pictures(&self, seed: u64) -> Box<dyn Pictures> {
        Box::new(ScenePictures::new(Split::Train, seed))
    }

    fn held_out_pictures(&self, seed: u64) -> Box<dyn Pictures> {
        Box::new(ScenePictures::new(Split::Validation, seed))
    }

    fn edits(&self, seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>> {
        Ok(Box::new(SceneEdits::new(Split::Train, seed, kinds)?))
    }

    fn held_out_edits(&self, seed: u64) -> Box<dyn Edits> {
        Box::new(SceneEdits::all(Split::Validation, seed))
    }

    fn prompts(&self, seed: u64) -> Box<dyn Prompts> {
        Box::new(ScenePrompts { seed })
    }

    fn described_edits(&self, seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>> {
        Ok(Box::new(DescribedEdits::new(seed, kinds)?))
    }

    fn validation(&self, judge: Option<&Path>, compute: &Compute) -> Result<Box<dyn Validation>> {
        Ok(Box::new(SceneValidation::open(judge, compute)?))
    }

    fn perception(&self, teacher: &Path, compute: &Compute) -> Result<Box<dyn Perception>> {
        Ok(Box::new(Detector::open(teacher, compute)?.net.no_grad()))
    }

    fn rewards(&self, settings: &[RewardSettings], compute: &Compute) -> Result<Vec<Box<dyn Reward>>> {
        rewards::open(settings, compute)
    }
}
