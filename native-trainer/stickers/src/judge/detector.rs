//! A trained network as a detector.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use image::{RgbImage, imageops::thumbnail};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use unigen_core::image_tokenizer::pixels_from_images;
use unigen_core::ops::conv::upsample2;
use unigen_core::precision::WithPrecision;
use unigen_core::weights::{Checkpoint, Precision, keys, load, save};
use unigen_evaluation::{Detect, Vocabulary};
use unigen_runs::{Compute, Interrupt};

use super::Detection;
use super::decode::{decode, ranked};
use super::net::{DetectorConfig, DetectorNet, MULTIPLE, STRIDE};
use crate::world::{Class, vocabulary};

/// Name of the weights file in a detector's folder.
pub const FILE: &str = "detector.safetensors";
/// Metadata keys of the weights: the config as JSON, and the accuracy.
const CONFIG: &str = "config";
const ACCURACY: &str = "accuracy";
/// Number of pictures per forward pass.
const BATCH: usize = 64;

/// How unlike two pictures look, cell by cell.
#[derive(Clone, Debug)]
pub struct Unlike {
    /// Row by row.
    map: Vec<f32>,
    columns: usize,
    /// Side of a cell in pixels.
    cell: usize,
}

impl Unlike {
    /// The mean over the whole picture.
    pub fn mean(&self) -> f64 {
        self.map.iter().map(|value| f64::from(*value)).sum::<f64>() / self.map.len().max(1) as f64
    }

    /// The mean over the cells whose middle lies in a box `[left, top, right, bottom]` in pixels. None if there is no such
    /// cell.
    pub fn inside(&self, &[left, top, right, bottom]: &[f32; 4]) -> Option<f64> {
        let middle = |at: usize| (at as f32 + 0.5) * self.cell as f32;
        let cells = self.map.iter().enumerate().filter(|(at, _)| {
            let (x, y) = (middle(at % self.columns), middle(at / self.columns));
            (left..=right).contains(&x) && (top..=bottom).contains(&y)
        });
        let (sum, count) =
            cells.fold((0.0, 0), |(sum, count), (_, value)| (sum + f64::from(*value), count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }
}

/// A trained detector.
#[derive(Debug)]
pub struct Detector {
    pub config: DetectorConfig,
    pub net: DetectorNet,
    /// The share of sprites in original renders of validation scenes that it finds with their class and colour, 0 to 1.
    pub accuracy: f64,
}

impl Detector {
    /// A detector with a known accuracy.
    pub fn new(config: DetectorConfig, net: DetectorNet, accuracy: f64) -> Self {
        Self { config, net, accuracy }
    }

    /// Loads the file that [`save`](Self::save) wrote. `path` is the file or its folder, which holds [`FILE`].
    ///
    /// # Errors
    /// If the file is missing or damaged, or holds no detector.
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

    /// Writes [`FILE`] in `folder`, with weights in half precision.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let metadata = HashMap::from([
            (CONFIG.to_owned(), serde_json::to_string(&self.config)?),
            (ACCURACY.to_owned(), self.accuracy.to_string()),
        ]);
        Ok(save(&self.net, &folder.join(FILE), Precision::F16, keys::same, metadata)?)
    }

    /// The objects in each picture, most confident first, with boxes in pixels.
    ///
    /// # Errors
    /// If pictures differ in size, their sides are not multiples of [`MULTIPLE`], or Ctrl-C was pressed.
    pub fn find(&self, images: &[RgbImage]) -> Result<Vec<Vec<Detection>>> {
        self.outputs(images, |output, dims, factor| {
            let mut found = decode(output, dims);
            found.iter_mut().flat_map(|found| &mut found.bbox).for_each(|side| *side *= factor as f32);
            found
        })
    }

    /// The `ranks` most probable classes of each of the `objects` most probable objects in each picture.
    ///
    /// # Errors
    /// As in [`find`](Self::find).
    pub fn rank(&self, images: &[RgbImage], objects: usize, ranks: usize) -> Result<Vec<Vec<Vec<Class>>>> {
        self.outputs(images, |output, dims, _| ranked(output, dims, objects, ranks))
    }

    /// How unlike the pictures `a` and `b` look to the network: for each pair the distance of its features, 0 to 2, in
    /// cells of [`STRIDE`] pixels of the pictures as it reads them, row by row, as the mean over the levels of one minus the
    /// cosine.
    ///
    /// # Errors
    /// As in [`find`](Self::find).
    pub fn unlikeness(&self, a: &[RgbImage], b: &[RgbImage]) -> Result<Vec<Unlike>> {
        let device = self.net.stem.weight.device();
        let mut maps = Vec::with_capacity(a.len());
        for (a, b) in a.chunks(BATCH).zip(b.chunks(BATCH)) {
            Interrupt::check()?;
            let ((a, factor), (b, _)) = (self.fitted(a), self.fitted(b));
            let features =
                |images: &[RgbImage]| Ok::<_, anyhow::Error>(self.net.features(&pixels(images, &device)?));
            let levels = features(&a)?.into_iter().zip(features(&b)?);
            let distance = |(a, b): (Tensor<4>, Tensor<4>)| {
                let dot = |a: &Tensor<4>, b: &Tensor<4>| (a.clone() * b.clone()).sum_dim(3);
                1.0 - dot(&a, &b) / (dot(&a, &a) * dot(&b, &b) + 1e-12).sqrt()
            };
            let [fine, middle, coarse] = <[_; 3]>::try_from(levels.map(distance).collect::<Vec<_>>())
                .map_err(|_| anyhow::anyhow!("the detector has three levels"))?;
            let map = (fine + upsample2(middle + upsample2(coarse))) / 3.0;
            let [_, rows, columns, _] = map.dims();
            let map = map.try_into_data().context("reading the detector's features")?;
            let map = map.try_into_vec::<f32>().context("reading the detector's features")?;
            let cell = factor as usize * STRIDE;
            maps.extend(map.chunks(rows * columns).map(|map| Unlike { map: map.to_vec(), columns, cell }));
        }
        Ok(maps)
    }

    /// What `read` makes of the output for each picture, its `[rows, columns, channels]`, and the factor by which the
    /// picture was made smaller.
    fn outputs<T>(&self, images: &[RgbImage], read: impl Fn(&[f32], [usize; 3], u32) -> T) -> Result<Vec<T>> {
        let device = self.net.stem.weight.device();
        let mut found = Vec::with_capacity(images.len());
        for images in images.chunks(BATCH) {
            Interrupt::check()?;
            let (images, factor) = self.fitted(images);
            let output = self.net.forward(&pixels(&images, &device)?);
            let [_, rows, columns, channels] = output.dims();
            let output = output.try_into_data().context("reading the detector's output")?;
            let output = output.try_into_vec::<f32>().context("reading the detector's output")?;
            let pictures = output.chunks(rows * columns * channels);
            found.extend(pictures.map(|one| read(one, [rows, columns, channels], factor)));
        }
        Ok(found)
    }
}

impl Detector {
    /// Pictures of a multiple of the learned size, made smaller by that factor. Others stay as they are.
    fn fitted<'a>(&self, images: &'a [RgbImage]) -> (Cow<'a, [RgbImage]>, u32) {
        let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
        let factor = width.min(height) / self.config.size;
        if factor < 2 || !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            return (Cow::Borrowed(images), 1);
        }
        let small = |image: &RgbImage| thumbnail(image, image.width() / factor, image.height() / factor);
        (Cow::Owned(images.iter().map(small).collect()), factor)
    }
}

impl Detect for Detector {
    fn accuracy(&self) -> f64 {
        self.accuracy
    }

    fn vocabulary(&self) -> Vocabulary<'_> {
        vocabulary(self.config.things)
    }

    fn detect(&self, images: &[RgbImage]) -> Result<Vec<Vec<unigen_evaluation::Detection>>> {
        let found = self.find(images)?.into_iter();
        Ok(found.map(|detections| detections.into_iter().map(Into::into).collect()).collect())
    }
}

/// Pictures of one size as `[b, h, w, 3]` in [-1, 1].
pub(super) fn pixels(images: &[RgbImage], device: &Device) -> Result<Tensor<4>> {
    let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
    let whole = |side: u32| side > 0 && (side as usize).is_multiple_of(MULTIPLE);
    ensure!(
        whole(width) && whole(height),
        "the detector cannot read pictures of {width} x {height} pixels; make both sides multiples of {MULTIPLE}"
    );
    Ok(pixels_from_images(images, device)?)
}
