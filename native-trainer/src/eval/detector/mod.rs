//! The detector that judges pictures: objects as points (Zhou et al. 2019, arXiv 1904.07850), with class and colour.
//!
//! It is trained for judging only. A second network of the same kind, from another seed, may teach the tokenizer by its
//! [features](DetectorNet::features); the judge never does.

mod decode;
mod distort;
mod found;
mod loss;
mod net;
mod stage;
mod truth;

#[cfg(test)]
mod tests;

pub use decode::decode;
pub use found::{Found, sprites_found};
pub(crate) use found::{middle, overlap, same_place};
pub use loss::loss;
pub(crate) use net::space_to_depth;
pub use net::{DetectorConfig, DetectorNet, Level, MULTIPLE, STRIDE};
pub use stage::{DetectorStage, Settings};
pub use truth::Truth;

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use std::path::Path;
use unigen_core::image_tokenizer::pixels_from_images;
use unigen_core::precision::WithPrecision;
use unigen_core::weights::{Checkpoint, keys, load};

use crate::Compute;
use crate::eval::{Detect, geneval::Detection};
use crate::run::Interrupt;

/// Name of the file that [`DetectorStage`] exports.
pub const FILE: &str = "detector.safetensors";
/// Keys of its metadata: the config as JSON; the accuracy.
const CONFIG: &str = "config";
const ACCURACY: &str = "accuracy";
/// Pictures looked at together.
const BATCH: usize = 64;

/// A trained detector.
#[derive(Debug)]
pub struct Detector {
    pub config: DetectorConfig,
    pub net: DetectorNet,
    /// The share of sprites in original renders of validation scenes that it finds with their class and colour, 0 to 1.
    pub accuracy: f64,
}

impl Detector {
    /// A detector of known accuracy.
    pub fn new(config: DetectorConfig, net: DetectorNet, accuracy: f64) -> Self {
        Self { config, net, accuracy }
    }

    /// Loads what [`DetectorStage`] exported: the file at `path`, or [`FILE`] in the folder there.
    ///
    /// # Errors
    /// Where the file is missing, broken or no detector.
    pub fn open(path: &Path, compute: &Compute) -> Result<Self> {
        let path = &if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let checkpoint = Checkpoint::open(path)?;
        let metadata = |key: &str| {
            let value = checkpoint.metadata().get(key);
            value.with_context(|| format!("{} is no detector: its metadata lack \"{key}\"", path.display()))
        };
        let config: DetectorConfig = serde_json::from_str(metadata(CONFIG)?)
            .with_context(|| format!("the detector's config in {}", path.display()))?;
        let accuracy = metadata(ACCURACY)?
            .parse()
            .with_context(|| format!("the detector's accuracy in {}", path.display()))?;
        let net = load(DetectorNet::new(&config, &compute.device)?, &checkpoint, keys::same)?;
        let net = net.with_precision(compute.precision);
        Ok(Self { config, net, accuracy })
    }

    /// The activations of pixels `[b, h, w, 3]` in [-1, 1] at three resolutions, see [`DetectorNet::features`].
    pub fn features(&self, pixels: &Tensor<4>) -> Vec<Tensor<4>> {
        self.net.features(pixels)
    }
}

impl Detect for Detector {
    fn accuracy(&self) -> f64 {
        self.accuracy
    }

    /// What each picture shows, most certain first, boxes in pixels.
    ///
    /// # Errors
    /// Where pictures differ in size, or their sides are no multiples of [`MULTIPLE`]; after Ctrl-C.
    fn detect(&self, images: &[RgbImage]) -> Result<Vec<Vec<Detection>>> {
        let device = self.net.stem.weight.device();
        let mut found = Vec::with_capacity(images.len());
        for images in images.chunks(BATCH) {
            Interrupt::check()?;
            let output = self.net.forward(&pixels(images, &device)?);
            let [_, rows, columns, channels] = output.dims();
            let output = output.try_into_data().context("reading the detector's output")?;
            let output = output.try_into_vec::<f32>().context("reading the detector's output")?;
            found.extend(output.chunks(rows * columns * channels).map(|one| decode(one, rows, columns)));
        }
        Ok(found)
    }
}

/// Pictures of one size as `[b, h, w, 3]` in [-1, 1].
fn pixels(images: &[RgbImage], device: &Device) -> Result<Tensor<4>> {
    let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
    let whole = |side: u32| side > 0 && (side as usize).is_multiple_of(MULTIPLE);
    ensure!(
        whole(width) && whole(height),
        "the detector cannot look at {width} x {height} pixels; make both sides multiples of {MULTIPLE}"
    );
    Ok(pixels_from_images(images, device)?)
}
