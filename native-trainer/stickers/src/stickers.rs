//! The sticker world as a [`World`] of the training stages.

use anyhow::Result;
use burn::module::Module;
use std::path::Path;
use unigen_rewards::{Reward, RewardSettings};
use unigen_runs::Compute;
use unigen_training::data::{Edits, Pictures, Prompts};
use unigen_training::validation::Validation;
use unigen_training::world::{Perception, World, WorldSettings};

use crate::edits::{DescribedEdits, SceneEdits};
use crate::judge::{Detector, Teacher};
use crate::pictures::{ScenePictures, labels};
use crate::prompts::ScenePrompts;
use crate::rewards;
use crate::validation::SceneValidation;
use crate::world::{Domain, Scope, Split};

/// The sticker world within a scope.
pub struct Stickers(Scope);

impl Stickers {
    fn domain(&self, split: Split) -> Domain {
        Domain { scope: self.0, split }
    }
}

impl World for Stickers {
    fn open(settings: &WorldSettings) -> Result<Self> {
        let scope: Scope = settings.read()?;
        scope.check()?;
        Ok(Self(scope))
    }

    fn labels(&self) -> [usize; 2] {
        labels(self.0)
    }

    fn pictures(&self, seed: u64) -> Box<dyn Pictures> {
        Box::new(ScenePictures::new(self.domain(Split::Train), seed))
    }

    fn held_out_pictures(&self, seed: u64) -> Box<dyn Pictures> {
        Box::new(ScenePictures::new(self.domain(Split::Validation), seed))
    }

    fn edits(&self, seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>> {
        Ok(Box::new(SceneEdits::new(self.domain(Split::Train), seed, kinds)?))
    }

    fn held_out_edits(&self, seed: u64) -> Box<dyn Edits> {
        Box::new(SceneEdits::all(self.domain(Split::Validation), seed))
    }

    fn prompts(&self, seed: u64) -> Box<dyn Prompts> {
        Box::new(ScenePrompts { scope: self.0, seed })
    }

    fn described_edits(&self, seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>> {
        Ok(Box::new(DescribedEdits::new(self.0, seed, kinds)?))
    }

    fn validation(&self, judge: Option<&Path>, compute: &Compute) -> Result<Box<dyn Validation>> {
        Ok(Box::new(SceneValidation::open(self.0, judge, compute)?))
    }

    fn perception(&self, teacher: &Path, compute: &Compute) -> Result<Box<dyn Perception>> {
        let Detector { config, net, .. } = Detector::open(teacher, compute)?;
        Ok(Box::new(Teacher { net: net.no_grad(), size: config.size as usize }))
    }

    fn rewards(&self, settings: &[RewardSettings], compute: &Compute) -> Result<Vec<Box<dyn Reward>>> {
        rewards::open(settings, compute)
    }
}
