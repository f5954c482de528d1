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

use super::sources::{self, Origin};
use crate::batch::{Base, Example, Lora, Sample, hidden};
use crate::data::{Captioned, Edit, Edits, Order, Pictures, SourceSettings, any_shape, rng_at};
use crate::estimate::{Estimate, Exports, Rows, Sequences};
use crate::train::{Best, Counted, Evaluation, Loss, Stage, Training};
use crate::validation::{OwnValidation, SEED, Validation};
use crate::world::{World, WorldSettings};
use std::sync::Arc;
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

/// The data that samples are made from. Held-out data may lack one kind.
struct Material {
    edits: Option<Arc<dyn Edits>>,
    pictures: Option<Arc<dyn Pictures>>,
    /// The orders of edits and of pictures.
    orders: [Order; 2],
}

/// The stage `align`.
pub struct AlignStage<W> {
    settings: Settings,
    base: Base,
    origin: Origin,
    validation: Box<dyn Validation>,
    training: Material,
    held_out: Material,
    device: Device,
    world: PhantomData<fn() -> W>,
}

/// The number of the sample that is seen at `index`.
fn place(order: Order, index: u64, count: Option<u64>) -> u64 {
    order.at(index, count.unwrap_or(u64::MAX))
}

impl<W: World> AlignStage<W> {
    /// Sample `index` of `material`, and whether it is a rehearsal; `None` if `material` lacks its kind.
    fn sample(&self, material: &Material, index: u64) -> Result<Option<(bool, Sample)>> {
        let (base, size) = (&self.base, self.base.size());
        let mut rng = rng_at(self.settings.training.seed, index);
        let rehearsed = rng.random_bool(self.settings.rehearsal);
        let (picture, turns) = if rehearsed {
            let shape = any_shape(size, &mut rng);
            let Some(pictures) = &material.pictures else { return Ok(None) };
            let Captioned { picture, annotation } =
                pictures.captioned(place(material.orders[1], index, pictures.count()), shape)?;
            (picture, annotation.conversation(index, &mut rng))
        } else {
            let Some(edits) = &material.edits else { return Ok(None) };
            let Edit { before, instruction, description, .. } =
                edits.read(place(material.orders[0], index, edits.count()), size)?;
            (before, vec![[instruction, description]])
        };
        let sequence = base.conversation(&picture, &turns)?;
        let example = Example { sequence, ..Example::default() };
        Ok(Some((rehearsed, Sample { example, picture: Some(picture) })))
    }

    /// Cross-entropy of the descriptions of wanted pictures, and of the answers, over some samples of `material`.
    fn losses(
        &self,
        model: &UniGen,
        material: &Material,
        samples: Range<u64>,
        device: &Device,
    ) -> Result<[Option<Tensor<1>>; 2]> {
        let read = samples.into_par_iter().filter_map(|index| self.sample(material, index).transpose());
        let mut drawn = self.base.reading.timed(|| read.collect::<Result<Vec<_>>>())?;
        drawn.sort_by_key(|(rehearsed, _)| *rehearsed);
        if drawn.is_empty() {
            return Ok([None, None]);
        }
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

    fn models(settings: &mut Settings) -> Vec<&mut PathBuf> {
        vec![&mut settings.model]
    }

    fn on_trial(settings: Settings, _: &Path) -> Settings {
        Settings { judge: None, ..settings }
    }

    fn estimate(settings: &Settings, exports: &mut Exports, export: &Path) -> Result<Option<Estimate>> {
        let config = exports.model_in(&settings.model)?;
        let (training, data) = (&settings.training, &settings.data);
        let world = W::open(&settings.world)?;
        let of = |text: &str| sources::tokens_of(&world, &settings.triples, text, data.max_text);
        let (instruction, text) = (of("instruction")?, of("description")?);
        let sequences = Sequences { config: &config, text };
        let edits = sequences.describe(sequences.turn(instruction, text));
        let rehearsal = sequences.describe(sources::conversation(&world, data)?);
        let share = (100.0 * settings.rehearsal) as u64;
        let rows = Rows::mean([edits, rehearsal], [100 - share.min(100), share]).times(training.batch as f64);
        let (accumulate, again) = (training.accumulate, training.gradient_checkpointing);
        let lora = settings.lora.as_ref().map(|lora| exports.adapters(&settings.model, lora)).transpose()?;
        let found = sequences.estimate(rows, lora, accumulate, again, true)?;
        exports.model(export, config);
        Ok(Some(found))
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, UniGen)> {
        let rehearsal = settings.rehearsal;
        ensure!((0.0..=1.0).contains(&rehearsal), "rehearsal is {rehearsal}, not 0 to 1");
        let Settings { data, triples, .. } = settings;
        let (world, origin) = (W::open(&settings.world)?, Origin::of(&[triples, &data.shards]));
        let edits = sources::edits(&world, triples, &data.validation, origin, |world| {
            world.edits(settings.seed, &[])
        })?;
        let pictures = sources::pictures(&world, data, SEED, origin)?;
        let order = |files: &[PathBuf]| origin.order(!files.is_empty(), settings.training.seed);
        let orders = [order(triples), order(&data.shards)];
        let training = Material { edits: Some(edits.training), pictures: Some(pictures.training), orders };
        let orders = [Order::Given; 2];
        let held_out = Material { edits: edits.held_out, pictures: pictures.held_out, orders };
        sources::check_held_out(&data.validation, &[held_out.edits.is_some(), held_out.pictures.is_some()])?;
        let own = OwnValidation { edits: held_out.edits.clone(), ..OwnValidation::default() };
        let validation = sources::validation(&world, origin, own, settings.judge.as_deref(), compute)?;
        let lora = settings.lora.as_ref();
        let (base, model) = Base::open(&settings.model, Some(&settings.model), lora, data.max_text, compute)?;
        let (settings, device) = (settings.clone(), compute.device.clone());
        let stage =
            Self { settings, base, origin, validation, training, held_out, device, world: PhantomData };
        Ok((stage, model))
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
        found.add_losses(["held-out description", "held-out rehearsal"], losses, [1.0; 2])?;
        Ok(found)
    }

    fn best(&self) -> Option<Best> {
        let any = self.held_out.edits.is_some() || self.held_out.pictures.is_some();
        (self.origin == Origin::Own && any).then_some(Best::Lowest(Evaluation::LOSS))
    }

    fn counted(&self) -> Counted {
        self.base.reading.counted()
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.base.export(model, folder)
    }
}
