//! Pre-training on generation, captioning from codes, and plain text, as in UniGen's first stages.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unigen_core::config::ModelConfig;
use unigen_core::engine::{ModelFolder, layouts};
use unigen_core::model::UniGen;
use unigen_core::sequence::ImageRows;

use super::sources::{self, Origin};
use crate::batch::{Base, Example, Lora, VOCABULARY_TEXTS, hidden, mask, task_of};
use crate::data::codes::CodeCache;
use crate::data::{Annotation, Order, QUESTIONS, SourceSettings, pick_at, rng_at};
use crate::estimate::{Estimate, Exports, Rows, Sequences};
use crate::train::{Best, Counted, Evaluation, Loss, Stage, Training};
use crate::validation::{OwnValidation, SEED, Validation};
use crate::world::{World, WorldSettings};
use unigen_runs::Compute;

/// Number of pictures of a world, unless the settings say otherwise.
const PICTURES: u64 = 65_536;
/// Number of held-out pictures, and of samples for the losses of validation.
const HELD_OUT: u64 = 24;
const MEASURED: u64 = 64;

/// Settings of the stage `pretrain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of a model to continue from, with its tokenizers and sizes, such as `unigen import parts` writes. Without
    /// it, weights are random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Train low-rank adapters beside the frozen weights of `start`. Without it, all weights are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    /// Folder of a trained image tokenizer, as the stage `tokenizer` exports it, for a model with random weights.
    pub image_tokenizer: PathBuf,
    /// The `tokenizer.json` of a text tokenizer for a model with random weights. Without it, one is learned from the
    /// captions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_tokenizer: Option<PathBuf>,
    /// Folder that keeps the codes of the pictures. What is missing there is made.
    pub codes: PathBuf,
    /// Number of different pictures. Each is seen many times with other masks and captions. Without it, all pictures of
    /// the user's own files, or 65,536 of the world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures: Option<u64>,
    /// Shares of generation, captioning and text. UniGen mixes 3 : 2 : 1. A model that starts from random weights
    /// needs more generation, which takes longest to learn.
    pub mix: [u64; 3],
    /// Weights of the losses of generation, captioning and text.
    pub weights: [f64; 3],
    /// Share of generation samples whose text is dropped, for guidance.
    pub drop_text: f64,
    /// The detector that scores samples in validation. Without it, there is no such score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    pub data: SourceSettings,
    /// Sizes of a model with random weights; those of the image tokenizer are taken from its folder.
    pub model: ModelConfig,
    /// What the world shows, if it gives the material.
    #[serde(skip_serializing_if = "WorldSettings::is_empty")]
    pub world: WorldSettings,
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: None,
            lora: None,
            image_tokenizer: "runs/tokenizer/export".into(),
            text_tokenizer: None,
            codes: "runs/codes".into(),
            pictures: None,
            mix: [8, 1, 1],
            weights: [1.0, 0.3, 0.3],
            drop_text: 0.1,
            judge: None,
            data: SourceSettings { seed: 3, ..SourceSettings::default() },
            model: nano(),
            world: WorldSettings::default(),
            training: Training {
                steps: 40_000,
                batch: 16,
                learning_rate: 1e-3,
                warmup_steps: 300,
                final_rate: 0.05,
                weight_decay: 0.05,
                betas: [0.9, 0.98],
                clip_norm: 1.0,
                ema_decay: 0.999,
                seed: 4,
                ..Training::default()
            },
        }
    }
}

fn nano() -> ModelConfig {
    #[allow(clippy::expect_used, reason = "a preset of this program")]
    ModelConfig::preset("nano").expect("the preset nano")
}

/// The stage `pretrain`.
pub struct PretrainStage<W> {
    settings: Settings,
    base: Base,
    origin: Origin,
    order: Order,
    codes: CodeCache<Arc<dyn Annotation>>,
    /// Codes of held-out pictures, if there are any.
    held_out: Option<CodeCache<Arc<dyn Annotation>>>,
    validation: Box<dyn Validation>,
    device: Device,
    world: PhantomData<fn() -> W>,
}

/// The task of one sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Generate,
    Describe,
    Text,
}

impl<W: World> PretrainStage<W> {
    /// Sample `index` of `pictures`.
    fn example(
        &self,
        pictures: &CodeCache<Arc<dyn Annotation>>,
        order: Order,
        index: u64,
    ) -> Result<Example> {
        let mut rng = rng_at(self.settings.training.seed, index);
        let ([codes], annotation) = pictures.get(order.at(index, pictures.len()))?;
        self.teach(task(self.settings.mix, index), &codes, &annotation.caption(index), index, &mut rng)
    }

    fn teach(
        &self,
        task: Task,
        codes: &[u32],
        caption: &str,
        visit: u64,
        rng: &mut impl Rng,
    ) -> Result<Example> {
        let layouts = layouts(&self.base.text);
        let caption = self.base.tokens(caption)?;
        let plain =
            |sequence, source: &[u32]| Example { sequence, source: source.to_vec(), ..Example::default() };
        Ok(match task {
            Task::Generate => {
                let text = if rng.random_bool(self.settings.drop_text) { &[][..] } else { &caption };
                let masked = mask(codes.len(), rng);
                Example {
                    sequence: layouts.generate(text, codes.len()),
                    target: codes.to_vec(),
                    masked,
                    ..Example::default()
                }
            }
            Task::Describe => {
                let question = self.base.text.encode(pick_at::<&str>(&QUESTIONS, visit))?;
                plain(layouts.conversation(ImageRows::Codes(codes.len()), [[&question[..], &caption]]), codes)
            }
            Task::Text => plain(layouts.text(&caption), &[]),
        })
    }

    /// The losses of each task over samples of `pictures`: generation, captioning, text.
    fn losses(
        &self,
        model: &UniGen,
        (pictures, order): (&CodeCache<Arc<dyn Annotation>>, Order),
        samples: Range<u64>,
        device: &Device,
    ) -> Result<[Option<Tensor<1>>; 3]> {
        let mut batch: [Vec<Example>; 3] = Default::default();
        self.base.reading.timed(|| -> Result<()> {
            for index in samples {
                batch[task(self.settings.mix, index) as usize].push(self.example(pictures, order, index)?);
            }
            Ok(())
        })?;
        let [generate, describe, text] = batch.each_ref().map(Vec::len);
        let examples: Vec<Example> = batch.into_iter().flatten().collect();
        let hidden = hidden(model, &examples, device)?;
        let all = generate + describe + text;
        Ok([
            hidden.code_loss(model, &examples, 0..generate)?,
            hidden.answer_loss(model, &examples, generate..generate + describe)?,
            hidden.answer_loss(model, &examples, generate + describe..all)?,
        ])
    }
}

/// The task of sample `index`.
fn task(mix: [u64; 3], index: u64) -> Task {
    [Task::Generate, Task::Describe, Task::Text][task_of(mix, index).0]
}

impl<W: World> Stage for PretrainStage<W> {
    type Settings = Settings;
    type Model = UniGen;
    const NAME: &'static str = "pretrain";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn models(settings: &mut Settings) -> Vec<&mut PathBuf> {
        let Settings { start, image_tokenizer, .. } = settings;
        start.iter_mut().chain([image_tokenizer]).collect()
    }

    fn on_trial(settings: Settings, folder: &Path) -> Settings {
        let samples = settings.training.samples();
        let pictures = Some(settings.pictures.map_or(samples, |pictures| pictures.min(samples)));
        Settings { pictures, codes: folder.join("codes"), judge: None, ..settings }
    }

    fn estimate(settings: &Settings, exports: &mut Exports, export: &Path) -> Result<Option<Estimate>> {
        let config = match &settings.start {
            Some(start) => exports.model_in(start)?,
            None => {
                let image_tokenizer = exports.image_tokenizer_in(&settings.image_tokenizer)?;
                ModelConfig { image_tokenizer, ..settings.model.clone() }
            }
        };
        let lora = settings.start.as_ref().zip(settings.lora.as_ref());
        let lora = lora.map(|(start, lora)| exports.adapters(start, lora)).transpose()?;
        let training = &settings.training;
        let sequences = Sequences {
            config: &config,
            text: sources::caption_tokens(&W::open(&settings.world)?, &settings.data)?,
        };
        let of = [sequences.generate(), sequences.caption(), sequences.text()];
        let rows = Rows::mean(of, settings.mix).times(training.batch as f64);
        let (accumulate, again) = (training.accumulate, training.gradient_checkpointing);
        let found = sequences.estimate(rows, lora, accumulate, again, false)?;
        exports.model(export, config);
        Ok(Some(found))
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, UniGen)> {
        ensure!(
            settings.mix.iter().sum::<u64>() > 0,
            "mix is {:?}; at least one share must be above 0",
            settings.mix
        );
        ensure!((0.0..=1.0).contains(&settings.drop_text), "drop_text is {}, not 0 to 1", settings.drop_text);
        ensure!(
            settings.lora.is_none() || settings.start.is_some(),
            "lora needs a model to train adapters beside: set start to its folder"
        );
        let (world, origin) = (W::open(&settings.world)?, Origin::of(&[&settings.data.shards]));
        let sources = sources::pictures(&world, &settings.data, SEED, origin)?;
        sources::check_held_out(&settings.data.validation, &[sources.held_out.is_some()])?;
        let own = OwnValidation { pictures: sources.held_out.clone(), ..OwnValidation::default() };
        let validation = sources::validation(&world, origin, own, settings.judge.as_deref(), compute)?;
        let pictures = sources.training;
        let max_text = settings.data.max_text;
        let (base, model) = match &settings.start {
            Some(start) => {
                let vision = start.join(ModelFolder::VISION).exists().then_some(&**start);
                Base::open(start, vision, settings.lora.as_ref(), max_text, compute)?
            }
            None => {
                let (images, text) = (&settings.image_tokenizer, settings.text_tokenizer.as_deref());
                let texts = || pictures.texts(VOCABULARY_TEXTS);
                Base::begin(&settings.model, images, text, texts, max_text, compute)?
            }
        };
        let (encoder, weights) = base.encoder();
        let count = sources::limit(settings.pictures, pictures.count(), PICTURES);
        let codes = CodeCache::captioned(&settings.codes, &pictures, count, encoder, weights)?;
        let held_out = sources.held_out.map(|pictures| {
            CodeCache::captioned_in_memory(
                &pictures,
                pictures.count().unwrap_or(HELD_OUT).min(HELD_OUT),
                encoder,
            )
        });
        let held_out = held_out.transpose()?;
        let (settings, device) = (settings.clone(), compute.device.clone());
        let order = origin.order(!settings.data.shards.is_empty(), settings.training.seed);
        let stage =
            Self { settings, base, order, origin, codes, held_out, validation, device, world: PhantomData };
        Ok((stage, model))
    }

    fn loss(&self, model: &UniGen, step: u64) -> Result<Loss> {
        let count = self.settings.training.batch as u64;
        let names = ["generate", "describe", "text"];
        let losses =
            self.losses(model, (&self.codes, self.order), step * count..(step + 1) * count, &self.device)?;
        Ok(Loss::weighted(names, losses, self.settings.weights, &self.device))
    }

    fn evaluate(&self, model: &UniGen) -> Result<Evaluation> {
        let device = self.device.clone().without_autodiff();
        let mut found = self.validation.drawing(&self.base.engine(model)?)?;
        if let Some(held_out) = &self.held_out {
            let losses = self.losses(model, (held_out, Order::Given), 0..MEASURED, &device)?;
            let names = ["held-out generate", "held-out describe", "held-out text"];
            found.add_losses(names, losses, self.settings.weights)?;
        }
        Ok(found)
    }

    fn best(&self) -> Option<Best> {
        (self.origin == Origin::Own && self.held_out.is_some()).then_some(Best::Lowest(Evaluation::LOSS))
    }

    fn counted(&self) -> Counted {
        self.base.reading.counted()
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.base.export(model, folder)
    }
}
