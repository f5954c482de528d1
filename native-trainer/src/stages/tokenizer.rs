//! Training the image tokenizer: MAGVIT-v2's recipe (arXiv 2310.05737) in small.

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use pollster::FutureExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use unigen_core::config::{ModelConfig, TokenizerConfig};
use unigen_core::engine::ModelFolder;
use unigen_core::image_tokenizer::{Codes, ImageTokenizer, lfq, pixels_from_images};
use unigen_core::weights::Precision;

use super::discriminator::Discriminator;
use crate::data::stickers::{Renderer, Scene, Split, scene_at};
use crate::data::{MAX_SIDE, Source, SourceSettings};
use crate::eval::detector::{Detector, DetectorNet, sprites_found};
use crate::run::sheet;
use crate::train::{Evaluation, Loss, Stage, Training};

/// Scenes that validation looks at, and what they are drawn from.
const SCENES: u64 = 192;
const SCENES_SEED: u64 = 0x5EED_70CE;
/// Pairs on the sheet.
const SHOWN: usize = 16;

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
    renderer: Renderer,
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

    /// How far the run is, 0 to 1.
    fn progress(&self, step: u64) -> f64 {
        step as f64 / self.settings.training.steps as f64
    }
}

impl Stage for TokenizerStage {
    type Settings = Settings;
    type Model = Pair;
    const NAME: &'static str = "tokenizer";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn open(settings: &Settings, device: &Device) -> Result<(Self, Pair)> {
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
        let open = |path: &Option<PathBuf>, device: &Device| {
            path.as_ref().map(|path| Detector::open(path, device)).transpose()
        };
        let teacher = open(&settings.teacher, device)?.map(|detector| detector.net.no_grad());
        let judge = open(&settings.judge, &device.clone().without_autodiff())?;
        if settings.freeze_encoder {
            tokenizer.encoder = tokenizer.encoder.no_grad();
        }
        let discriminator = Discriminator::new(settings.discriminator_width, device)?;
        let (source, renderer) = (Source::open(&settings.data)?, Renderer::new());
        let stage = Self { settings, source, renderer, teacher, judge, device: device.clone() };
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
        let size = self.settings.size;
        let scenes: Vec<Scene> = (0..SCENES)
            .into_par_iter()
            .map(|index| scene_at(Split::Validation, SCENES_SEED, index))
            .collect();
        let originals: Vec<_> =
            scenes.par_iter().map(|scene| self.renderer.render(scene, size, size)).collect();
        let device = self.device.clone().without_autodiff();
        let (mut images, mut codes): (Vec<RgbImage>, Vec<Codes>) = (vec![], vec![]);
        for originals in originals.chunks(16) {
            let batch = model.tokenizer.encode(pixels_from_images(originals, &device)?);
            let pixels = model.tokenizer.decode(batch.clone(), size as usize, size as usize);
            images.extend(model.tokenizer.to_image(pixels).block_on()?);
            codes.extend(lfq::codes_from_data(batch.into_data())?);
        }
        let bits = self.settings.model.z_channels;
        let mut scalars = vec![
            ("psnr", mean(originals.iter().zip(&images).map(|(a, b)| psnr(a, b)))),
            ("bits used", entropy_of_bits(&codes, bits)),
        ];
        if let Some(judge) = &self.judge {
            let pictures: Vec<_> = scenes.into_iter().zip(images.iter().cloned()).collect();
            let found = sprites_found(judge, &pictures)?;
            scalars.extend([
                ("sprites found", found.place),
                ("class", found.class),
                ("color", found.color),
                ("class and color", found.both),
                ("false positives", found.false_positives),
            ]);
        }
        let pairs = originals.iter().zip(&images).take(SHOWN);
        let pairs: Vec<_> = pairs.map(|(a, b)| (beside(a, b), format!("{:.1} dB", psnr(a, b)))).collect();
        Ok(Evaluation { scalars, sheets: vec![("reconstructions", sheet(&pairs, 4, 1))] })
    }

    fn export(&self, model: &Pair, folder: &Path) -> Result<()> {
        let folder = ModelFolder::create(folder)?;
        Ok(folder.write_image_tokenizer(&model.tokenizer, &self.settings.model, Precision::F16)?)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

/// Peak signal-to-noise ratio in dB.
fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    let square = |(&a, &b): (&u8, &u8)| (f64::from(a) - f64::from(b)).powi(2);
    let error = mean(a.as_raw().iter().zip(b.as_raw()).map(square)).max(1e-3);
    10.0 * (255.0 * 255.0 / error).log10()
}

/// How many bits a code carries at most, by how often each of its bits is set.
fn entropy_of_bits(codes: &[Codes], bits: usize) -> f64 {
    let total: usize = codes.iter().map(Vec::len).sum();
    let entropy = |bit: usize| {
        let set = codes.iter().flatten().filter(|&&code| code >> bit & 1 == 1).count();
        let p = set as f64 / total.max(1) as f64;
        [p, 1.0 - p].iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum::<f64>()
    };
    (0..bits).map(entropy).sum()
}

/// Two pictures of one size side by side.
fn beside(a: &RgbImage, b: &RgbImage) -> RgbImage {
    let (width, height) = a.dimensions();
    RgbImage::from_fn(2 * width, height, |x, y| {
        *if x < width { a.get_pixel(x, y) } else { b.get_pixel(x - width, y) }
    })
}
