//! Edit instruction alignment (UniGen-1.5, stage 3): from a picture and an instruction, the model predicts a
//! description of the wanted picture. It does not draw; it learns what instructions mean. Questions about pictures
//! are rehearsed meanwhile: a small model that learns from descriptions alone describes whatever it is asked (after
//! 300 steps of 64 it answered one question of twelve).

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use unigen_core::model::UniGen;

use super::{open_edits, open_pictures};
use crate::batch::{Base, Example, Lora, Sample, hidden};
use crate::data::{Captioned, Edit, Edits, Pictures, SourceSettings, any_shape, rng_at};
use crate::train::{Evaluation, Loss, Stage, Training};
use crate::validation::{SEED, Validation};
use crate::world::{World, WorldSettings};
use unigen_runs::Compute;

/// Number of held-out samples for the losses of validation.
const MEASURED: u64 = 64;

/// Settings of the stage `align`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the model to start from, as the stage `sft` exports it.
    pub model: PathBuf,
    /// Seed of the world's edits.
    pub seed: u64,
    /// A user's own edits as shards or jsonl files ([`crate::data::record`]). If the list is empty, the world's edits
    /// are used.
    pub triples: Vec<PathBuf>,
    /// Share of samples that ask about a picture, as `sft` does; 0 in the paper.
    pub rehearsal: f64,
    /// The detector that scores edits in validation. Without it, there is no such score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    /// Train low-rank adapters beside the frozen weights. Without it, all weights are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    /// The pictures of the rehearsal.
    pub data: SourceSettings,
    /// What the world shows, if it gives the material.
    #[serde(skip_serializing_if = "WorldSettings::is_empty")]
    pub world: WorldSettings,
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: "runs/sft/export".into(),
            seed: 6,
            triples: vec![],
            rehearsal: 0.5,
            data: SourceSettings { seed: 16, ..SourceSettings::default() },
            judge: None,
            lora: None,
            world: WorldSettings::default(),
            training: Training {
                steps: 500,
                batch: 64,
                learning_rate: 1e-4,
                warmup_steps: 25,
                final_rate: 0.0,
                weight_decay: 0.05,
                betas: [0.9, 0.98],
                ema_decay: 0.99,
                seed: 6,
                evaluate_every: 250,
                save_every: 100,
                ..Training::default()
            },
        }
    }
}

/// The data that samples are made from.
struct Material {
    edits: Box<dyn Edits>,
    pictures: Box<dyn Pictures>,
}

/// The stage `align`.
pub struct AlignStage<W> {
    settings: Settings,
    base: Base,
    validation: Box<dyn Validation>,
    training: Material,
    held_out: Material,
    device: Device,
    world: PhantomData<fn() -> W>,
}

impl<W: World> AlignStage<W> {
    /// Sample `index` of `material`, and whether it is a rehearsal.
    fn sample(&self, material: &Material, index: u64) -> Result<(bool, Sample)> {
        let (base, size) = (&self.base, self.base.size());
        let mut rng = rng_at(self.settings.training.seed, index);
        let rehearsed = rng.random_bool(self.settings.rehearsal);
        let (picture, turns) = if rehearsed {
            let shape = any_shape(size, &mut rng);
            let Captioned { picture, annotation } = material.pictures.captioned(index, shape)?;
            (picture, annotation.conversation(index, &mut rng))
        } else {
            let Edit { before, instruction, description, .. } = material.edits.read(index, size)?;
            (before, vec![[instruction, description]])
        };
        let sequence = base.conversation(&picture, &turns)?;
        Ok((
            rehearsed,
            Sample { example: Example { sequence, ..Example::default() }, picture: Some(picture) },
        ))
    }

    /// Cross-entropy of the descriptions of wanted pictures, and of the answers, over some samples of `material`.
    fn losses(
        &self,
        model: &UniGen,
        material: &Material,
        samples: Range<u64>,
        device: &Device,
    ) -> Result<[Option<Tensor<1>>; 2]> {
        let drawn = samples.into_par_iter().map(|index| self.sample(material, index));
        let mut drawn = drawn.collect::<Result<Vec<_>>>()?;
        drawn.sort_by_key(|(rehearsed, _)| *rehearsed);
        let edits = drawn.partition_point(|(rehearsed, _)| !rehearsed);
        let examples = self.base.encode(drawn.into_iter().map(|(_, sample)| sample).collect(), device)?;
        let hidden = hidden(model, &examples, device)?;
        let loss = |of| hidden.answer_loss(model, &examples, of);
        Ok([loss(0..edits)?, loss(edits..examples.len())?])
    }
}

impl<W: World> Stage for AlignStage<W> {
    type Settings = Settings;
    type Model = UniGen;
    const NAME: &'static str = "align";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn on_trial(settings: Settings, _: &Path) -> Settings {
        Settings { judge: None, ..settings }
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, UniGen)> {
        let rehearsal = settings.rehearsal;
        ensure!((0.0..=1.0).contains(&rehearsal), "rehearsal is {rehearsal}, not 0 to 1");
        let world = W::open(&settings.world)?;
        let validation = world.validation(settings.judge.as_deref(), &compute.without_autodiff())?;
        let (base, model) =
            Base::open(&settings.model, Some(&settings.model), settings.lora.as_ref(), compute)?;
        let edits = open_edits(&world, &settings.triples, settings.seed, &[])?;
        let training = Material { edits, pictures: open_pictures(&world, &settings.data)? };
        let held_out =
            Material { edits: world.held_out_edits(SEED), pictures: world.held_out_pictures(SEED) };
        let (settings, device) = (settings.clone(), compute.device.clone());
        Ok((Self { settings, base, validation, training, held_out, device, world: PhantomData }, model))
    }

    fn loss(&self, model: &UniGen, step: u64) -> Result<Loss> {
        let batch = self.settings.training.batch as u64;
        let samples = step * batch..(step + 1) * batch;
        let losses = self.losses(model, &self.training, samples, &self.device)?;
        Ok(Loss::weighted(["description", "rehearsal"], losses, [1.0; 2], &self.device))
    }

    fn evaluate(&self, model: &UniGen) -> Result<Evaluation> {
        let device = self.device.clone().without_autodiff();
        let losses = self.losses(model, &self.held_out, 0..MEASURED, &device)?;
        let mut found = self.validation.editing(&self.base.engine(model)?)?;
        for (name, loss) in ["held-out description", "held-out rehearsal"].into_iter().zip(losses) {
            if let Some(loss) = loss {
                found.scalars.push((name, f64::from(loss.into_scalar::<f32>())));
            }
        }
        Ok(found)
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.base.export(model, folder)
    }
}
