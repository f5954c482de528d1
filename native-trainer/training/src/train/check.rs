//! Tries a few steps of a run, to see whether it fits into memory and how long it will take.

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use std::fmt;
use std::time::Instant;
use toml::Table;

use super::fit::{OnCard, fits_machine, on_card};
use super::replicas::Replicas;
use super::stage::open;
use super::trainer::{adamw, gradients, update, write_export};
use super::trial::{Trial, on_trial, seconds};
use super::{Stage, settings::settings_of};
use crate::estimate::{Card, Estimate, Exports};

/// Number of timed steps. One step before them is not timed.
const STEPS: u64 = 2;

/// The needs of a run.
pub(super) struct Checked {
    parameters: usize,
    samples: u64,
    /// The predicted memory, if the stage can say.
    predicted: Option<Estimate>,
    /// The peak memory of this process during the trial, in bytes. Known on Linux only.
    memory: Option<u64>,
    /// Seconds of one step, and of all steps.
    step: f64,
    all: f64,
}

impl Checked {
    pub fn hours(&self) -> f64 {
        self.all / 3600.0
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gigabytes =
            |bytes: Option<f64>| bytes.map_or("-".to_owned(), |bytes| format!("{:.2} GB", bytes / 1e9));
        let predicted = gigabytes(self.predicted.as_ref().map(Estimate::bytes));
        let memory = gigabytes(self.memory.map(|bytes| bytes as f64));
        let Self { parameters, samples, step, .. } = self;
        let (step, hours) = (format!("{step:.2} s"), format!("{:.2} hours", self.hours()));
        write!(f, "{parameters:>12}{samples:>10}{predicted:>12}{memory:>12}{step:>10}{hours:>14}")
    }
}

/// Opens a run of the stage `S`, takes a few steps, and writes its export for the runs after it.
///
/// # Errors
/// The errors that would end the run.
pub(super) fn check<S: Stage>(trial: &Trial) -> Result<Checked> {
    let wanted = settings_of::<S>(trial.config, trial.set, trial.find)?;
    let moved = on_trial(Table::try_from(&wanted)?, trial.out, trial.trial);
    let wanted =
        S::on_trial(moved.try_into().context("cannot change the settings for a trial")?, trial.trial);
    let training = S::training(&wanted).clone();
    training.check()?;
    let predicted = S::estimate(&wanted, &mut Exports::default(), trial.export).unwrap_or_default();
    fits_machine::<S>(&wanted, std::slice::from_ref(trial.compute))?;
    let compute = training.autodiff(trial.compute);
    compute.device.seed(training.seed);
    reset_peak();
    let (stage, mut model) = open::<S>(&wanted, &compute)?;
    let mut optimizer = adamw(&training);
    let mut start = Instant::now();
    for step in 0..=STEPS {
        if step == 1 {
            start = Instant::now();
        }
        let found = gradients(&stage, &model, &Replicas::none(), step, &training)?;
        let norm;
        (model, norm) = update(&mut optimizer, model, found, step, &training)?;
        ensure!(norm.is_finite(), "step {}: the loss or its gradient is not finite", step + 1);
    }
    let step = start.elapsed().as_secs_f64() / STEPS as f64;
    let memory = peak();
    write_export(&stage, &optimizer.averaged(model.valid()), trial.export)?;
    let (parameters, samples) = (model.num_params(), training.samples());
    Ok(Checked { parameters, samples, predicted, memory, step, all: seconds(&training, step) })
}

/// Predicts a run of the stage `S` on a card, without opening it. `exports` learns what the run exports.
///
/// # Errors
/// If the settings cannot be used, or the sizes of a model that the run starts from are unknown.
pub(super) fn predict<S: Stage>(trial: &Trial, card: Card, exports: &mut Exports) -> Result<Option<OnCard>> {
    let wanted = settings_of::<S>(trial.config, trial.set, trial.find)?;
    S::training(&wanted).check()?;
    on_card::<S>(&wanted, exports, trial.export, card)
}

/// The peak memory of this process, in bytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// Resets [`peak`] if the system can.
fn reset_peak() {
    // Without a reset, the peak includes earlier runs, which is still an upper bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
