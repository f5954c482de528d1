//! Measures what an image tokenizer keeps of held-out scenes: pixels, and sprites that the judge still recognises.

use anyhow::Result;
use burn::tensor::Device;
use image::RgbImage;
use rayon::prelude::*;
use serde::Serialize;
use std::fmt;
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_evaluation::reconstruction;

use crate::judge::{Detector, Found, sprites_found};
use crate::world::{Domain, Renderer, Scene, scene_at};

/// The seed of the validation scenes.
const SCENES_SEED: u64 = 0x5EED_70CE;

/// The first `count` held-out scenes of a domain.
pub fn held_out_scenes(domain: impl Into<Domain>, count: u64) -> Vec<Scene> {
    let domain = domain.into();
    (0..count).into_par_iter().map(|index| scene_at(domain, SCENES_SEED, index)).collect()
}

/// How reconstructions of scenes compare with the originals.
#[derive(Clone, Debug, Serialize)]
pub struct Reconstructions {
    #[serde(flatten)]
    pub pictures: reconstruction::Reconstructions,
    /// What the judge finds in the originals and in the reconstructions. None without a judge.
    pub originals: Option<Found>,
    pub reconstructions: Option<Found>,
}

impl Reconstructions {
    /// Encodes and decodes pictures of `scenes`, `size` pixels a side, with a tokenizer whose codes
    /// have `bits` bits. Calls `progress` with the number of scenes done.
    ///
    /// # Errors
    /// If there are no scenes, the sizes do not fit, the device fails, or Ctrl-C was pressed.
    pub fn run(
        tokenizer: &ImageTokenizer,
        bits: usize,
        size: u32,
        scenes: &[Scene],
        judge: Option<&Detector>,
        device: &Device,
        progress: impl FnMut(usize),
    ) -> Result<Self> {
        let renderer = Renderer::new();
        let originals = scenes.par_iter().map(|scene| renderer.render(scene, size, size)).collect();
        let pictures = reconstruction::Reconstructions::run(tokenizer, bits, originals, device, progress)?;
        let found = |side: usize| {
            let seen = scenes.iter().cloned().zip(pictures.images.iter().map(|pair| pair[side].clone()));
            judge.map(|judge| sprites_found(judge, &seen.collect::<Vec<_>>())).transpose()
        };
        let (originals, reconstructions) = (found(0)?, found(1)?);
        Ok(Self { pictures, originals, reconstructions })
    }

    /// A sheet of originals beside their reconstructions.
    pub fn sheet(&self) -> RgbImage {
        self.pictures.sheet()
    }
}

impl fmt::Display for Reconstructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pictures.fmt(f)?;
        let (Some(before), Some(after)) = (&self.originals, &self.reconstructions) else { return Ok(()) };
        writeln!(f, "{:<17}{:>10}{:>17}", "sprites", "originals", "reconstructions")?;
        for (name, part) in [
            ("found", (|found| found.place) as fn(&Found) -> f64),
            ("class", |found| found.class),
            ("color", |found| found.color),
            ("class and color", |found| found.both),
            ("false positives", |found| found.false_positives),
        ] {
            writeln!(f, "{name:<17}{:>10.4}{:>17.4}", part(before), part(after))?;
        }
        Ok(())
    }
}
