//! What an image tokenizer keeps of held-out scenes: pixels, and sprites that the judge still knows.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use image::RgbImage;
use pollster::FutureExt;
use rayon::prelude::*;
use serde::Serialize;
use std::fmt;
use unigen_core::image_tokenizer::{Codes, ImageTokenizer, lfq, pixels_from_images};

use super::detector::{Detector, Found, sprites_found};
use crate::data::stickers::{Renderer, Scene, Split, scene_at};
use crate::run::{Interrupt, sheet};

/// What the scenes of validation are drawn from.
const SCENES_SEED: u64 = 0x5EED_70CE;
/// Pictures encoded together.
const BATCH: usize = 16;
/// Pairs on the sheet.
const SHOWN: usize = 16;

/// How reconstructions of scenes compare with the originals.
#[derive(Clone, Debug, Serialize)]
pub struct Reconstructions {
    /// Peak signal-to-noise ratio in dB, the mean over the pictures.
    pub psnr: f64,
    /// How many bits a code carries at most, by how often each of its bits is set.
    pub bits_used: f64,
    /// What the judge finds in the originals and in the reconstructions; none without a judge.
    pub originals: Option<Found>,
    pub reconstructions: Option<Found>,
    /// Original and reconstruction of every scene.
    #[serde(skip)]
    pub images: Vec<[RgbImage; 2]>,
}

impl Reconstructions {
    /// Encodes and decodes the first `count` scenes of validation, `size` pixels a side, with a tokenizer whose codes have
    /// `bits`. `progress` learns how many are done.
    ///
    /// # Errors
    /// Where there is nothing to do, the sizes do not fit, or the device fails; after Ctrl-C.
    pub fn run(
        tokenizer: &ImageTokenizer,
        bits: usize,
        size: u32,
        count: u64,
        judge: Option<&Detector>,
        device: &Device,
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        ensure!(count > 0, "nothing to reconstruct: give at least one scene");
        let scenes: Vec<Scene> =
            (0..count).into_par_iter().map(|index| scene_at(Split::Validation, SCENES_SEED, index)).collect();
        let renderer = Renderer::new();
        let originals: Vec<_> = scenes.par_iter().map(|scene| renderer.render(scene, size, size)).collect();
        let (mut images, mut codes): (Vec<RgbImage>, Vec<Codes>) = (vec![], vec![]);
        for originals in originals.chunks(BATCH) {
            Interrupt::check()?;
            let batch = tokenizer.encode(pixels_from_images(originals, device)?);
            let pixels = tokenizer.decode(batch.clone(), size as usize, size as usize);
            images.extend(tokenizer.to_image(pixels).block_on()?);
            codes.extend(lfq::codes_from_data(batch.into_data())?);
            progress(images.len());
        }
        let found = |pictures: &[RgbImage]| {
            let pictures: Vec<_> = scenes.iter().cloned().zip(pictures.iter().cloned()).collect();
            judge.map(|judge| sprites_found(judge, &pictures)).transpose()
        };
        Ok(Self {
            psnr: mean(originals.iter().zip(&images).map(|(a, b)| psnr(a, b))),
            bits_used: entropy_of_bits(&codes, bits),
            originals: found(&originals)?,
            reconstructions: found(&images)?,
            images: originals.into_iter().zip(images).map(|(a, b)| [a, b]).collect(),
        })
    }

    /// Originals beside their reconstructions.
    pub fn sheet(&self) -> RgbImage {
        let pairs = self.images.iter().take(SHOWN);
        let pairs: Vec<_> = pairs.map(|[a, b]| (beside(a, b), format!("{:.1} dB", psnr(a, b)))).collect();
        sheet(&pairs, 4, 1)
    }
}

impl fmt::Display for Reconstructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<17}{:>10.2} dB over {} scenes", "psnr", self.psnr, self.images.len())?;
        writeln!(f, "{:<17}{:>10.2}", "bits used", self.bits_used)?;
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
