//! Trains the detector.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use image::{Rgb, RgbImage};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use unigen_runs::{Compute, sheet};
use unigen_training::data::{MAX_SIDE, rng_at};
use unigen_training::train::{Evaluation, Loss, Stage, Training};

use super::detector::{Detector, pixels};
use super::distort::distort;
use super::found::{Seen, compare};
use super::loss::loss;
use super::net::{DetectorConfig, DetectorNet, MULTIPLE};
use crate::world::{Domain, Renderer, Scene, Scope, Split, Truth, scene_at};

/// Number of scenes in validation, and their seed.
const SCENES: u64 = 512;
const SCENES_SEED: u64 = 0x5EED_0E7A;
/// Number of pictures on the sheet.
const SHOWN: usize = 24;

/// The stage `detector`.
pub struct DetectorStage {
    settings: Settings,
    renderer: Renderer,
    device: Device,
}

/// Settings of the stage `detector`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The seed of the initial weights. The judge and the teacher have different seeds.
    pub seed: u64,
    /// Side of the pictures in pixels, a multiple of 16.
    pub size: u32,
    /// The splits whose combinations of objects and colours are shown, in turn. A judge needs all splits, since it
    /// judges pictures of combinations that the model has not seen. A teacher must get `["train"]` alone.
    pub splits: Vec<Split>,
    /// What the scenes show. The network tells apart as many things.
    pub world: Scope,
    pub model: DetectorConfig,
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            size: 96,
            splits: vec![Split::Train, Split::Validation, Split::Test],
            world: Scope::default(),
            model: DetectorConfig::default(),
            training: Training {
                steps: 10_000,
                batch: 32,
                learning_rate: 2e-3,
                warmup_steps: 100,
                final_rate: 0.02,
                weight_decay: 0.02,
                betas: [0.9, 0.98],
                clip_norm: 5.0,
                ema_decay: 0.998,
                seed: 1,
                evaluate_every: 1000,
                ..Training::default()
            },
        }
    }
}

impl DetectorStage {
    /// Scene and picture `index` of the training data. Some pictures are distorted.
    fn sample(&self, index: u64) -> Result<(Vec<Truth>, RgbImage)> {
        let Settings { size, splits, training, .. } = &self.settings;
        let split = splits[(index % splits.len() as u64) as usize];
        let scene = scene_at(Domain { scope: self.settings.world, split }, training.seed, index);
        let image = self.renderer.render(&scene, *size, *size);
        // The distortion draws from a stream of its own, not from the scene's.
        let image = distort(image, &mut rng_at(!training.seed, index))?;
        Ok((Truth::of(&scene, *size, *size), image))
    }

    /// The validation pictures, with the objects that they show and the network's detections.
    fn validate(&self, model: &DetectorNet) -> Result<(Vec<RgbImage>, Vec<Seen>)> {
        let size = self.settings.size;
        let domain = Domain { scope: self.settings.world, split: Split::Validation };
        let scenes: Vec<Scene> =
            (0..SCENES).into_par_iter().map(|index| scene_at(domain, SCENES_SEED, index)).collect();
        let images: Vec<RgbImage> =
            scenes.par_iter().map(|scene| self.renderer.render(scene, size, size)).collect();
        let detections = Detector::new(self.settings.model.clone(), model.clone(), 0.).find(&images)?;
        let truths = scenes.iter().map(|scene| Truth::of(scene, size, size));
        Ok((images, truths.zip(detections).collect()))
    }
}

impl Stage for DetectorStage {
    type Settings = Settings;
    type Model = DetectorNet;
    const NAME: &'static str = "detector";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn open(settings: &Settings, Compute { device, .. }: &Compute) -> Result<(Self, DetectorNet)> {
        let size = settings.size as usize;
        ensure!(
            (1..=MAX_SIDE as usize).contains(&size) && size.is_multiple_of(MULTIPLE),
            "size is {size}; choose a multiple of {MULTIPLE} up to {MAX_SIDE}"
        );
        ensure!(
            !settings.splits.is_empty(),
            "splits is empty, so there is nothing to train on; give at least one split"
        );
        settings.world.check()?;
        let settings = &Settings {
            model: DetectorConfig {
                size: settings.size,
                things: settings.world.things,
                ..settings.model.clone()
            },
            ..settings.clone()
        };
        ensure!(settings.training.batch > 0, "training.batch is 0; choose at least 1");
        device.seed(settings.seed);
        let model = DetectorNet::new(&settings.model, device)?;
        let stage = Self { settings: settings.clone(), renderer: Renderer::new(), device: device.clone() };
        Ok((stage, model))
    }

    fn loss(&self, model: &DetectorNet, step: u64) -> Result<Loss> {
        let batch = self.settings.training.batch as u64;
        let samples: Vec<_> = (step * batch..(step + 1) * batch)
            .into_par_iter()
            .map(|index| self.sample(index))
            .collect::<Result<_>>()?;
        let (truths, images): (Vec<_>, Vec<_>) = samples.into_iter().unzip();
        let output = model.forward(&pixels(&images, &self.device)?);
        loss(output, &truths)
    }

    fn evaluate(&self, model: &DetectorNet) -> Result<Evaluation> {
        let (images, seen) = self.validate(model)?;
        let shown: Vec<_> = images.iter().zip(&seen).take(SHOWN).map(|(i, s)| drawn(i, s)).collect();
        let found = compare(&seen);
        Ok(Evaluation {
            scalars: vec![
                ("found", found.place),
                ("box", found.boxes),
                ("class", found.class),
                ("color", found.color),
                ("class and color", found.both),
                ("false positives", found.false_positives),
            ],
            sheets: vec![("detections", sheet(&shown, 6, 1))],
        })
    }

    fn export(&self, model: &DetectorNet, folder: &Path) -> Result<()> {
        let (_, seen) = self.validate(model)?;
        Detector::new(self.settings.model.clone(), model.clone(), compare(&seen).both).save(folder)
    }
}

/// A picture at twice its size, with the detections and the faults.
fn drawn(image: &RgbImage, (truths, detections): &Seen) -> (RgbImage, String) {
    let (width, height) = (2 * image.width(), 2 * image.height());
    let mut image = image::imageops::resize(image, width, height, image::imageops::FilterType::Nearest);
    for detection in detections {
        frame(&mut image, detection.bbox.map(|at| (2. * at).round() as i64));
    }
    let name = |color: Option<_>, class| match color {
        Some(color) => format!("{color} {class}"),
        None => format!("{class}"),
    };
    let mut wanted: Vec<String> = truths.iter().map(|truth| name(truth.color, truth.class)).collect();
    let mut names = Vec::new();
    for detection in detections {
        let found = name(detection.color, detection.class);
        let right = wanted.iter().position(|wanted| *wanted == found).map(|at| wanted.remove(at)).is_some();
        let percent = (100. * detection.score).round();
        names.push(if right { format!("{found} {percent}") } else { format!("NO {found} {percent}") });
    }
    names.extend(wanted.iter().map(|missed| format!("MISSED {missed}")));
    (image, names.join(", "))
}

/// Draws the outline of a rectangle in black and white, which shows on any background.
fn frame(image: &mut RgbImage, [left, top, right, bottom]: [i64; 4]) {
    let across = (left..=right).flat_map(|x| [(x, top), (x, bottom)]);
    let down = (top..=bottom).flat_map(|y| [(left, y), (right, y)]);
    for (x, y) in across.chain(down) {
        let (Ok(column), Ok(row)) = (u32::try_from(x), u32::try_from(y)) else { continue };
        if let Some(pixel) = image.get_pixel_mut_checked(column, row) {
            *pixel = Rgb(if (x + y) / 4 % 2 == 0 { [0; 3] } else { [255; 3] });
        }
    }
}
