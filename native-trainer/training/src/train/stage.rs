//! The trait that every training stage implements.

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use serde::{Serialize, de::DeserializeOwned};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

use unigen_core::precision::WithPrecision;

use super::Training;
use crate::estimate::{Estimate, Exports};
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
    /// The reason if the batches of a step cannot be shared among devices. The text completes a sentence after
    /// "since".
    const ONE_DEVICE: Option<&'static str> = None;

    /// The loop's settings.
    fn training(settings: &Self::Settings) -> &Training;

    /// The settings that say which models a run starts from: folders, or names that [`Find`](super::Find) knows.
    fn models(settings: &mut Self::Settings) -> Vec<&mut PathBuf> {
        let _ = settings;
        vec![]
    }

    /// Settings for a trial of a few batches: without a judge, and with only as much prepared data as these batches
    /// need, which is kept in `folder`.
    fn on_trial(settings: Self::Settings, folder: &Path) -> Self::Settings {
        let _ = folder;
        settings
    }

    /// What a run with these settings needs; `None` if the stage cannot say. `exports` knows the sizes of models that
    /// earlier runs of a recipe make, and learns those of `export`, the folder of this run's export.
    ///
    /// # Errors
    /// If the sizes of a model that the run starts from are unknown.
    fn estimate(settings: &Self::Settings, exports: &mut Exports, export: &Path) -> Result<Option<Estimate>> {
        let _ = (settings, exports, export);
        Ok(None)
    }

    /// Changes of the settings, in the form of `--set`, that halve what is in memory at once this many times and train
    /// on the same samples; `None` if there is nothing left to halve.
    fn smaller(settings: &Self::Settings, halvings: u32) -> Option<Vec<String>> {
        let Training { batch, accumulate, .. } = *Self::training(settings);
        let set = |batch: usize| {
            let accumulate = accumulate.saturating_mul(1 << halvings);
            vec![format!("training.batch={batch}"), format!("training.accumulate={accumulate}")]
        };
        match halvings {
            0 => Some(vec![]),
            _ => Some(batch.checked_shr(halvings).unwrap_or(0)).filter(|batch| *batch > 0).map(set),
        }
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

    /// The number of validation by which the best checkpoint is chosen, kept and exported. The untrained model is then
    /// validated too, unless the only validation is at the end.
    fn best(&self) -> Option<Best> {
        None
    }

    /// What reading samples has taken since the last call.
    fn counted(&self) -> Counted {
        Counted::default()
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

/// A number of validation that chooses the best checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    Highest(&'static str),
    Lowest(&'static str),
}

impl Best {
    /// The name of the number.
    pub fn name(self) -> &'static str {
        let (Self::Highest(name) | Self::Lowest(name)) = self;
        name
    }

    /// Whether `number` is better than `other`.
    pub fn better(self, number: f64, other: f64) -> bool {
        match self {
            Self::Highest(_) => number > other,
            Self::Lowest(_) => number < other,
        }
    }
}

/// What reading samples takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counted {
    /// Time in which the steps waited for their samples.
    pub seconds: f64,
    /// Number of texts, and of those that were cut to the limit.
    pub texts: f64,
    pub cut: f64,
}

/// The results of a validation.
#[derive(Default)]
pub struct Evaluation {
    /// Named numbers for the log.
    pub scalars: Vec<(&'static str, f64)>,
    /// Named sheets of pictures.
    pub sheets: Vec<(&'static str, RgbImage)>,
}

impl Evaluation {
    /// The name of the weighted sum of held-out losses.
    pub const LOSS: &'static str = "held-out loss";

    /// Adds held-out losses, called `names`, and their sum by `weights`. A loss that is missing is left out.
    ///
    /// # Errors
    /// If a loss cannot be read from its device.
    pub fn add_losses<const N: usize>(
        &mut self,
        names: [&'static str; N],
        losses: [Option<Tensor<1>>; N],
        weights: [f64; N],
    ) -> Result<()> {
        let (mut sum, mut any) = (0.0, false);
        for ((name, loss), weight) in names.into_iter().zip(losses).zip(weights) {
            if let Some(loss) = loss {
                let loss = scalar(loss)?;
                (sum, any) = (sum + weight * loss, true);
                self.scalars.push((name, loss));
            }
        }
        self.scalars.extend(any.then_some((Self::LOSS, sum)));
        Ok(())
    }
}
