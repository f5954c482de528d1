//! What distinguishes one stage of training from another.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;

use super::Training;

/// A stage: data, model and loss. [`super::run`] does the rest.
///
/// A batch is a function of its number alone, so that a resumed run sees what it would have seen.
pub trait Stage: Sized {
    /// All settings; in TOML, the loop's are the section `[training]`.
    type Settings: Serialize + DeserializeOwned + Default;
    /// What is trained. Parts that must not train are kept outside, or frozen by `Module::no_grad`.
    type Model: Module;
    /// Name on the command line.
    const NAME: &'static str;

    /// The loop's settings.
    fn training(settings: &Self::Settings) -> &Training;

    /// Settings for a trial of a few batches: without a judge, and with no more prepared data than the batches need, which
    /// are kept in `folder`.
    fn on_trial(settings: Self::Settings, folder: &Path) -> Self::Settings {
        let _ = folder;
        settings
    }

    /// Opens data and frozen models, and makes the model with random weights on `device` (with autodiff).
    fn open(settings: &Self::Settings, device: &Device) -> Result<(Self, Self::Model)>;

    /// The loss of batch number `batch`, counted from 0: that of a step, or one of several.
    fn loss(&self, model: &Self::Model, batch: u64) -> Result<Loss>;

    /// Validation of the averaged weights, `model` being on a device without autodiff.
    fn evaluate(&self, model: &Self::Model) -> Result<Evaluation>;

    /// Writes what later stages and users load into `folder`, from the averaged weights.
    fn export(&self, model: &Self::Model, folder: &Path) -> Result<()>;
}

/// The loss of one batch.
pub struct Loss {
    /// What is minimised, `[1]`.
    pub total: Tensor<1>,
    /// Named parts for the log, each `[1]`.
    pub parts: Vec<(&'static str, Tensor<1>)>,
}

impl Loss {
    /// The weighted sum of named losses, those that a batch has, on `device`.
    pub fn weighted<const N: usize>(
        names: [&'static str; N],
        losses: [Option<Tensor<1>>; N],
        weights: [f64; N],
        device: &Device,
    ) -> Self {
        let mut total = Tensor::<1>::zeros([1], device);
        let mut parts = Vec::new();
        for ((name, loss), weight) in names.into_iter().zip(losses).zip(weights) {
            if let Some(loss) = loss {
                total = total + loss.clone() * weight;
                parts.push((name, loss));
            }
        }
        Self { total, parts }
    }
}

/// What validation found.
#[derive(Default)]
pub struct Evaluation {
    /// Named numbers for the log.
    pub scalars: Vec<(&'static str, f64)>,
    /// Named pictures for the eye.
    pub sheets: Vec<(&'static str, RgbImage)>,
}
