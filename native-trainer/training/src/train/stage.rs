//! The trait that every training stage implements.

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

/// A stage: data, model and loss. [`super::run`] trains it.
///
/// A batch depends on its number alone, so that a resumed run sees the same batches.
pub trait Stage: Sized {
    /// All settings. In TOML, those of the loop are the section `[training]`.
    type Settings: Serialize + DeserializeOwned + Default + Clone + Send + 'static;
    /// The trained model. Frozen parts are kept outside, or frozen by `Module::no_grad`.
    type Model: Module + 'static;
    /// The name on the command line.
    const NAME: &'static str;
    /// The validation score that should be high. The checkpoint with the highest score is kept and exported. The
    /// untrained model is validated too, unless the only validation is at the end.
    const SCORE: Option<&'static str> = None;
    /// The reason if the batches of a step cannot be shared among devices. The text completes a sentence after
    /// "since".
    const ONE_DEVICE: Option<&'static str> = None;

    /// The loop's settings.
    fn training(settings: &Self::Settings) -> &Training;

    /// Settings for a trial of a few batches: without a judge, and with only as much prepared data as these batches
    /// need, which is kept in `folder`.
    fn on_trial(settings: Self::Settings, folder: &Path) -> Self::Settings {
        let _ = folder;
        settings
    }

    /// Opens the data and the frozen models, and creates the model with random weights, all on a device with
    /// autodiff. Frozen models have the precision of `compute`; the loop sets that of the model.
    fn open(settings: &Self::Settings, compute: &Compute) -> Result<(Self, Self::Model)>;

    /// The loss of batch number `batch`, counted from 0. A step has one batch or several.
    fn loss(&self, model: &Self::Model, batch: u64) -> Result<Loss>;

    /// Loss and gradients of the batch of `step`. A stage whose batch does not fit into memory adds up parts of it.
    fn update(&self, model: &Self::Model, step: u64) -> Result<Update> {
        let Loss { total, parts } = self.loss(model, step)?;
        // Reading waits for a GPU, so all work is queued first.
        let gradients = HostGradients::read(model, total.backward())?;
        let loss = scalar(total)?;
        let gradients = loss.is_finite().then_some(gradients);
        let parts = parts.into_iter().map(|(name, value)| Ok((name.into(), scalar(value)?)));
        Ok(Update { loss, gradients, scalars: parts.collect::<Result<_>>()? })
    }

    /// Whether a run that stops after `steps` steps can resume from the weights alone. Checkpoints and validations
    /// wait for such a step.
    fn resumable(&self, _steps: u64) -> bool {
        true
    }

    /// The reason to stop early, given the log up to a validation.
    fn finished(&self, _log: &[Record]) -> Option<String> {
        None
    }

    /// Validates the averaged weights; `model` is on a device without autodiff.
    fn evaluate(&self, model: &Self::Model) -> Result<Evaluation>;

    /// Exports the averaged weights into `folder`, for later stages and for users.
    fn export(&self, model: &Self::Model, folder: &Path) -> Result<()>;
}

/// The stage `S` and its model, in the precision of `compute`.
pub(super) fn open<S: Stage>(settings: &S::Settings, compute: &Compute) -> Result<(S, S::Model)> {
    let (stage, model) = S::open(settings, compute)?;
    Ok((stage, model.with_precision(compute.precision)))
}

/// The loss of one batch.
pub struct Loss {
    /// The minimised loss, `[1]`.
    pub total: Tensor<1>,
    /// Named parts for the log, each `[1]`.
    pub parts: Vec<(&'static str, Tensor<1>)>,
}

impl Loss {
    /// The weighted sum of named losses on `device`. A loss that a batch lacks is left out.
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

/// Gradients of a step and numbers about it.
pub struct Update {
    pub loss: f64,
    /// `None` if the loss is not finite.
    pub gradients: Option<HostGradients>,
    /// Named numbers for the log.
    pub scalars: Vec<(Cow<'static, str>, f64)>,
}

/// The value of a loss, `[1]`.
pub fn scalar(tensor: Tensor<1>) -> Result<f64> {
    let value = floats(tensor)?.first().copied().context("a loss without a value")?;
    Ok(f64::from(value))
}

/// The results of a validation.
#[derive(Default)]
pub struct Evaluation {
    /// Named numbers for the log.
    pub scalars: Vec<(&'static str, f64)>,
    /// Named sheets of pictures.
    pub sheets: Vec<(&'static str, RgbImage)>,
}
