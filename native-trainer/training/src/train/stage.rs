//! What distinguishes one stage of training from another.

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use serde::{Serialize, de::DeserializeOwned};
use std::borrow::Cow;
use std::path::Path;

use unigen_core::precision::WithPrecision;

use super::Training;
use crate::optimizer::HostGradients;
use unigen_runs::{Compute, Record, floats};

/// A stage: data, model and loss. [`super::run`] does the rest.
///
/// A batch is a function of its number alone, so that a resumed run sees what it would have seen.
pub trait Stage: Sized {
    /// All settings; in TOML, the loop's are the section `[training]`.
    type Settings: Serialize + DeserializeOwned + Default + Clone + Send + 'static;
    /// What is trained. Parts that must not train are kept outside, or frozen by `Module::no_grad`.
    type Model: Module + 'static;
    /// Name on the command line.
    const NAME: &'static str;
    /// The number of validation that is to be high. The untrained model is validated too, unless there is no validation before
    /// the end; the checkpoint with the highest is kept, and it is what a run exports.
    const SCORE: Option<&'static str> = None;
    /// Why the batches of a step cannot be shared among devices, where they cannot: it follows "since".
    const ONE_DEVICE: Option<&'static str> = None;

    /// The loop's settings.
    fn training(settings: &Self::Settings) -> &Training;

    /// Settings for a trial of a few batches: without a judge, and with no more prepared data than the batches need, which
    /// are kept in `folder`.
    fn on_trial(settings: Self::Settings, folder: &Path) -> Self::Settings {
        let _ = folder;
        settings
    }

    /// Opens data and frozen models, and makes the model with random weights, all on a device with autodiff. Frozen models
    /// have the precision of `compute`; the loop gives it to the model.
    fn open(settings: &Self::Settings, compute: &Compute) -> Result<(Self, Self::Model)>;

    /// The loss of batch number `batch`, counted from 0: that of a step, or one of several.
    fn loss(&self, model: &Self::Model, batch: u64) -> Result<Loss>;

    /// Loss and gradients of the batch of `step`. A stage whose batch has no room in memory as a whole adds up parts.
    fn update(&self, model: &Self::Model, step: u64) -> Result<Update> {
        let Loss { total, parts } = self.loss(model, step)?;
        // Reading waits for a GPU, so all work is handed out first.
        let gradients = HostGradients::read(model, total.backward())?;
        let loss = scalar(total)?;
        let gradients = loss.is_finite().then_some(gradients);
        let parts = parts.into_iter().map(|(name, value)| Ok((name.into(), scalar(value)?)));
        Ok(Update { loss, gradients, scalars: parts.collect::<Result<_>>()? })
    }

    /// Whether a run that is left after `steps` steps can go on from the weights alone. Checkpoints and validations wait for
    /// such a step.
    fn resumable(&self, _steps: u64) -> bool {
        true
    }

    /// Why there is no use in going on, from the log up to a validation.
    fn finished(&self, _log: &[Record]) -> Option<String> {
        None
    }

    /// Validation of the averaged weights, `model` being on a device without autodiff.
    fn evaluate(&self, model: &Self::Model) -> Result<Evaluation>;

    /// Writes what later stages and users load into `folder`, from the averaged weights.
    fn export(&self, model: &Self::Model, folder: &Path) -> Result<()>;
}

/// The stage `S` and its model, in the precision of `compute`.
pub(super) fn open<S: Stage>(settings: &S::Settings, compute: &Compute) -> Result<(S, S::Model)> {
    let (stage, model) = S::open(settings, compute)?;
    Ok((stage, model.with_precision(compute.precision)))
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

/// What changes the weights.
pub struct Update {
    pub loss: f64,
    /// None where the loss is not finite.
    pub gradients: Option<HostGradients>,
    /// Named numbers for the log.
    pub scalars: Vec<(Cow<'static, str>, f64)>,
}

/// The value of a loss, `[1]`.
pub fn scalar(tensor: Tensor<1>) -> Result<f64> {
    let value = floats(tensor)?.first().copied().context("a loss without a value")?;
    Ok(f64::from(value))
}

/// What validation found.
#[derive(Default)]
pub struct Evaluation {
    /// Named numbers for the log.
    pub scalars: Vec<(&'static str, f64)>,
    /// Named pictures for the eye.
    pub sheets: Vec<(&'static str, RgbImage)>,
}
