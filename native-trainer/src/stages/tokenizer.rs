//! Training the image tokenizer: MAGVIT-v2's recipe (arXiv 2310.05737) in small.

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use unigen_core::config::{ModelConfig, TokenizerConfig};
use unigen_core::engine::ModelFolder;
use unigen_core::image_tokenizer::{ImageTokenizer, lfq, pixels_from_images};
use unigen_core::weights::Precision;

use super::discriminator::Discriminator;
use crate::Compute;
use crate::data::{MAX_SIDE, Source, SourceSettings};
use crate::eval::detector::{Detector, DetectorNet};
use crate::eval::tokenizer::Reconstructions;
use crate::train::{Evaluation, Loss, Stage, Training};

/// Scenes that validation looks at.
const SCENES: u64 = 192;

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
    /// Weight of the error of the teacher's features.
    pub feature: f64,
    /// Weight of the entropy penalty, in nats a code, at the start; it falls to a tenth along the run.
    pub entropy: f64,
    /// Temperature of the entropies.
    pub temperature: f64,
    /// Weight of the latents' distance to their corners.
    pub commitment: f64,
    /// Weight of the adversarial loss.
    pub adversarial: f64,
    /// Share of the run after which the adversarial loss begins.
    pub adversarial_start: f64,
    /// Channels of the discriminator's first convolution.
    pub discriminator_width: usize,
    /// Folder of a trained image tokenizer to start from; none: random weights. Its sizes replace `model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Train the decoder only, so that codes stay what they are.
    pub freeze_encoder: bool,
    /// A detector whose features the reconstructions should keep; none: no feature loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// The detector that scores the reconstructions; none: no such score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    pub data: SourceSettings,
    pub model: TokenizerConfig,
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
pub struct TokenizerStage {
    settings: Settings,
    source: Source,
    teacher: Option<DetectorNet>,
    judge: Option<Detector>,
    device: Device,
}

impl TokenizerStage {
    /// The mean error of the teacher's features, each level relative to the size of its activations. Scalar `[1]`.
    fn feature_loss(teacher: &DetectorNet, real: &Tensor<4>, reconstructed: &Tensor<4>) -> Tensor<1> {
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

    /// How far the run is at a batch, 0 to 1.
    fn progress(&self, batch: u64) -> f64 {
        batch as f64 / self.settings.training.batches() as f64
    }
}

impl Stage for TokenizerStage {
    type Settings = Settings;
    type Model = Pair;
    const NAME: &'static str = "tokenizer";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn on_trial(settings: Settings, _: &Path) -> Settings {
        Settings { judge: None, ..settings }
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, Pair)> {
        let device = &compute.device;
        let sides = Discriminator::MIN_SIDE..=MAX_SIDE;
        ensure!(sides.contains(&settings.size), "size is {}; choose {sides:?} pixels", settings.size);
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
        let open = |path: &Option<PathBuf>, compute: &Compute| {
            path.as_ref().map(|path| Detector::open(path, compute)).transpose()
        };
        let teacher = open(&settings.teacher, compute)?.map(|detector| detector.net.no_grad());
        let judge = open(&settings.judge, &compute.without_autodiff())?;
        if settings.freeze_encoder {
            tokenizer.encoder = tokenizer.encoder.no_grad();
        }
        let discriminator = Discriminator::new(settings.discriminator_width, device)?;
        let source = Source::open(&settings.data)?;
        let stage = Self { settings, source, teacher, judge, device: device.clone() };
        Ok((stage, Pair { tokenizer, discriminator }))
    }

    fn loss(&self, model: &Pair, step: u64) -> Result<Loss> {
        let settings = &self.settings;
        let batch = settings.training.batch as u64;
        let pictures: Vec<_> = (step * batch..(step + 1) * batch)
            .into_par_iter()
            .map(|index| self.source.picture(index, settings.size))
            .collect::<Result<_>>()?;
        let real = pixels_from_images(&pictures, &self.device)?;
        let z = model.tokenizer.latent(real.clone());
        let reconstructed = model.tokenizer.decode_bits(lfq::straight_through(z.clone()));

        let error = real.clone() - reconstructed.clone();
        let (l1, l2) = (error.clone().abs().mean(), error.square().mean());
        let mut total = l1.clone() * settings.l1 + l2.clone() * settings.l2;
        let mut parts = vec![("l1", l1), ("l2", l2)];
        if let Some(teacher) = &self.teacher {
            let feature = Self::feature_loss(teacher, &real, &reconstructed);
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
            let deceive = model.discriminator.deceive(reconstructed.clone());
            let discriminator = model.discriminator.loss(real, reconstructed);
            total = total + deceive.clone() * settings.adversarial + discriminator.clone();
            parts.extend([("deceive", deceive), ("discriminator", discriminator)]);
        }
        Ok(Loss { total, parts })
    }

    fn evaluate(&self, model: &Pair) -> Result<Evaluation> {
        let (size, bits) = (self.settings.size, self.settings.model.z_channels);
        let (judge, device) = (self.judge.as_ref(), self.device.clone().without_autodiff());
        let found = Reconstructions::run(&model.tokenizer, bits, size, SCENES, judge, &device, |_| ())?;
        let mut scalars = vec![("psnr", found.psnr), ("bits used", found.bits_used)];
        if let Some(found) = &found.reconstructions {
            scalars.extend([
                ("sprites found", found.place),
                ("class", found.class),
                ("color", found.color),
                ("class and color", found.both),
                ("false positives", found.false_positives),
            ]);
        }
        Ok(Evaluation { scalars, sheets: vec![("reconstructions", found.sheet())] })
    }

    fn export(&self, model: &Pair, folder: &Path) -> Result<()> {
        let folder = ModelFolder::create(folder)?;
        Ok(folder.write_image_tokenizer(&model.tokenizer, &self.settings.model, Precision::F16)?)
    }
}
