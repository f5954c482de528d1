//! Training of the image tokenizer: a small version of MAGVIT-v2's recipe (arXiv 2310.05737).

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unigen_core::config::{Config, ModelConfig, TokenizerConfig};
use unigen_core::engine::ModelFolder;
use unigen_core::image_tokenizer::{ImageTokenizer, lfq, pixels_from_images};
use unigen_core::weights::Precision;

use super::discriminator::Discriminator;
use super::sources::{self, Origin};
use crate::batch::Reading;
use crate::data::{MAX_SIDE, Order, Pictures, SourceSettings};
use crate::estimate::{Estimate, Exports, pair};
use crate::train::{Best, Counted, Evaluation, Loss, Stage, Training};
use crate::validation::{OwnValidation, SEED, Validation};
use crate::world::{Perception, World, WorldSettings};
use unigen_runs::Compute;

/// Settings of the stage `tokenizer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Side of the pictures in pixels.
    pub size: u32,
    /// Weight of the absolute error of the pixels.
    pub l1: f64,
    /// Weight of the squared error of the pixels.
    pub l2: f64,
    /// Weight of the feature loss.
    pub feature: f64,
    /// Weight of the entropy penalty at the start, in nats per code. It falls to a tenth during the run.
    pub entropy: f64,
    /// Temperature of the entropies.
    pub temperature: f64,
    /// Weight of the commitment loss, the distance of the latents to their quantised values.
    pub commitment: f64,
    /// Weight of the adversarial loss.
    pub adversarial: f64,
    /// Share of the run after which the adversarial loss begins.
    pub adversarial_start: f64,
    /// Channels of the discriminator's first convolution.
    pub discriminator_width: usize,
    /// Folder of a trained image tokenizer to start from; its sizes replace `model`. Without it, the weights are
    /// random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Train the decoder only, so that codes do not change.
    pub freeze_encoder: bool,
    /// A detector whose features the reconstructions should keep. Without it, there is no feature loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// The detector that scores the reconstructions. Without it, there is no such score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    pub data: SourceSettings,
    pub model: TokenizerConfig,
    /// What the world shows, if it gives the material.
    #[serde(skip_serializing_if = "WorldSettings::is_empty")]
    pub world: WorldSettings,
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size: 96,
            l1: 2.0,
            l2: 1.0,
            feature: 0.7,
            entropy: 0.005,
            temperature: 1.0,
            commitment: 0.02,
            adversarial: 0.05,
            adversarial_start: 0.8,
            discriminator_width: 32,
            start: None,
            freeze_encoder: false,
            teacher: None,
            judge: None,
            data: SourceSettings { seed: 2, ..SourceSettings::default() },
            model: ModelConfig::preset("nano").map(|nano| nano.image_tokenizer).unwrap_or_default(),
            world: WorldSettings::default(),
            training: Training {
                steps: 10_000,
                batch: 8,
                learning_rate: 1e-3,
                warmup_steps: 200,
                final_rate: 0.05,
                weight_decay: 1e-4,
                betas: [0.9, 0.98],
                clip_norm: 1.0,
                ema_decay: 0.998,
                ..Training::default()
            },
        }
    }
}

/// The tokenizer and its adversary.
#[derive(Module, Debug)]
pub struct Pair {
    pub tokenizer: ImageTokenizer,
    pub discriminator: Discriminator,
}

/// The stage `tokenizer`.
pub struct TokenizerStage<W> {
    settings: Settings,
    pictures: Arc<dyn Pictures>,
    order: Order,
    reading: Reading,
    /// Whether validation measures held-out pictures of the user's own.
    own: bool,
    teacher: Option<Box<dyn Perception>>,
    validation: Box<dyn Validation>,
    device: Device,
    world: PhantomData<fn() -> W>,
}

/// Checks the side of the pictures.
fn check_size(size: u32) -> Result<()> {
    let sides = Discriminator::MIN_SIDE..=MAX_SIDE;
    ensure!(sides.contains(&size), "size is {size}; choose {} to {} pixels", sides.start(), sides.end());
    Ok(())
}

impl<W: World> TokenizerStage<W> {
    /// The mean error of the teacher's features, where each level is relative to the size of its activations. Scalar
    /// `[1]`.
    fn feature_loss(teacher: &dyn Perception, real: &Tensor<4>, reconstructed: &Tensor<4>) -> Tensor<1> {
        let levels = teacher.features(real).into_iter().zip(teacher.features(reconstructed));
        let losses: Vec<_> = levels
            .map(|(real, reconstructed)| {
                let size = real.clone().abs().mean() + 1e-6;
                (real - reconstructed).abs().mean() / size
            })
            .collect();
        let levels = losses.len() as f64;
        Tensor::cat(losses, 0).sum() / levels
    }

    /// The progress of the run at a batch, 0 to 1.
    fn progress(&self, batch: u64) -> f64 {
        batch as f64 / self.settings.training.batches() as f64
    }
}

impl<W: World> Stage for TokenizerStage<W> {
    type Settings = Settings;
    type Model = Pair;
    const NAME: &'static str = "tokenizer";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn models(settings: &mut Settings) -> Vec<&mut PathBuf> {
        settings.start.iter_mut().collect()
    }

    fn on_trial(settings: Settings, _: &Path) -> Settings {
        Settings { judge: None, ..settings }
    }

    /// Without the teacher, whose size only its world knows.
    fn estimate(settings: &Settings, exports: &mut Exports, export: &Path) -> Result<Option<Estimate>> {
        let config = match &settings.start {
            Some(folder) => exports.image_tokenizer_in(folder)?,
            None => settings.model.clone(),
        };
        config.validate()?;
        check_size(settings.size)?;
        let training = &settings.training;
        let adversary = (settings.discriminator_width, settings.adversarial > 0.0);
        let found = pair(&config, settings.size, adversary, [training.batch as u64, training.accumulate]);
        exports.image_tokenizer(export, config);
        Ok(Some(found))
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, Pair)> {
        let device = &compute.device;
        check_size(settings.size)?;
        let mut settings = settings.clone();
        let mut tokenizer = match &settings.start {
            Some(folder) => {
                let (config, tokenizer) = ModelFolder::at(folder).image_tokenizer(device)?;
                settings.model = config;
                tokenizer
            }
            None => ImageTokenizer::new(&settings.model, device)?,
        };
        settings.model.grid(settings.size as usize, settings.size as usize).context("size")?;
        let world = W::open(&settings.world)?;
        let teacher =
            settings.teacher.as_ref().map(|teacher| world.perception(teacher, compute)).transpose()?;
        let origin = Origin::of(&[&settings.data.shards]);
        let sources = sources::pictures(&world, &settings.data, SEED, origin)?;
        sources::check_held_out(&settings.data.validation, &[sources.held_out.is_some()])?;
        let own = origin == Origin::Own && sources.held_out.is_some();
        let held_out = OwnValidation { pictures: sources.held_out, ..OwnValidation::default() };
        let validation = sources::validation(&world, origin, held_out, settings.judge.as_deref(), compute)?;
        if settings.freeze_encoder {
            tokenizer.encoder = tokenizer.encoder.no_grad();
        }
        let discriminator = Discriminator::new(settings.discriminator_width, device)?;
        let (pictures, device) = (sources.training, device.clone());
        let reading = Reading::new(settings.data.max_text)?;
        let order = origin.order(true, settings.training.seed);
        let stage =
            Self { settings, pictures, order, reading, own, teacher, validation, device, world: PhantomData };
        Ok((stage, Pair { tokenizer, discriminator }))
    }

    fn loss(&self, model: &Pair, step: u64) -> Result<Loss> {
        let settings = &self.settings;
        let batch = settings.training.batch as u64;
        let count = self.pictures.count().unwrap_or(u64::MAX);
        let read = (step * batch..(step + 1) * batch)
            .into_par_iter()
            .map(|index| self.pictures.picture(self.order.at(index, count), settings.size));
        let pictures: Vec<_> = self.reading.timed(|| read.collect::<Result<_>>())?;
        let real = pixels_from_images(&pictures, &self.device)?;
        let z = model.tokenizer.latent(real.clone())?;
        let reconstructed = model.tokenizer.decode_bits(lfq::straight_through(z.clone()));

        let error = real.clone() - reconstructed.clone();
        let (l1, l2) = (error.clone().abs().mean(), error.square().mean());
        let mut total = l1.clone() * settings.l1 + l2.clone() * settings.l2;
        let mut parts = vec![("l1", l1), ("l2", l2)];
        if let Some(teacher) = &self.teacher {
            let feature = Self::feature_loss(&**teacher, &real, &reconstructed);
            total = total + feature.clone() * settings.feature;
            parts.push(("feature", feature));
        }
        if !settings.freeze_encoder {
            let entropy = lfq::entropy(z.clone(), settings.temperature);
            let weight = settings.entropy * (1.0 - 0.9 * self.progress(step));
            parts.extend([
                ("entropy of a code", entropy.per_sample.clone()),
                ("entropy of the batch", entropy.batch.clone()),
            ]);
            total = total + entropy.penalty() * weight + lfq::commitment(z) * settings.commitment;
        }
        if settings.adversarial > 0.0 && self.progress(step) >= settings.adversarial_start {
            let adversarial = model.discriminator.adversarial_loss(reconstructed.clone());
            let discriminator = model.discriminator.loss(real, reconstructed);
            total = total + adversarial.clone() * settings.adversarial + discriminator.clone();
            parts.extend([("adversarial", adversarial), ("discriminator", discriminator)]);
        }
        Ok(Loss { total, parts })
    }

    fn evaluate(&self, model: &Pair) -> Result<Evaluation> {
        let (size, bits) = (self.settings.size, self.settings.model.z_channels);
        let device = self.device.clone().without_autodiff();
        self.validation.reconstruction(&model.tokenizer, bits, size, &device)
    }

    /// The adversarial loss trades errors of pixels for looks, so with it no number tells which checkpoint is best.
    fn best(&self) -> Option<Best> {
        (self.own && self.settings.adversarial == 0.0).then_some(Best::Highest("psnr"))
    }

    fn counted(&self) -> Counted {
        self.reading.counted()
    }

    fn export(&self, model: &Pair, folder: &Path) -> Result<()> {
        let folder = ModelFolder::create(folder)?;
        Ok(folder.write_image_tokenizer(&model.tokenizer, &self.settings.model, Precision::F16)?)
    }
}
