//! The training loop.

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use unigen_core::files::write_atomic;

use super::replicas::{self, Replicas};
use super::stage::open;
use super::{Counted, Stage, Training, Update, checkpoint, settings};
use crate::optimizer::{AdamW, HostGradients, Step};
use unigen_runs::Compute;
use unigen_runs::{Interrupt, Interrupted, Progress, Record, RunFolder, RunLog};

/// Added to the denominator of AdamW.
const EPS: f64 = 1e-8;
/// Name of the loss in the log. Lines of validations have no loss.
const LOSS: &str = "loss";
/// A run gives up after this many steps in a row without a finite gradient.
const PATIENCE: u64 = 10;

/// How a run begins.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// From random weights.
    New,
    /// From the weights in a safetensors file. They are called `ema.*`, or by their plain paths.
    From(&'a Path),
    /// From the last checkpoint of the run in the folder. In the same precision of matrix products, a resumed run
    /// ends with the same bits as one that was never stopped.
    Resume,
}

/// Trains a stage on `devices`, which share the batches of a step, and writes the run folder `out` with the export in
/// `out/export`. The first device also validates. When a run resumes, `settings` replace those in the folder.
///
/// # Errors
/// If settings, data or weights cannot be used; if writing fails; if ten steps in a row have no finite gradient;
/// after Ctrl-C, once the checkpoint is saved. The message then says how to continue.
pub fn run<S: Stage>(settings: S::Settings, out: &Path, start: Start, devices: &[Compute]) -> Result<()> {
    let interrupt = Interrupt::install()?;
    train::<S>(settings, out, start, devices, &|| interrupt.requested())
}

/// The exported checkpoint, and its number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exported {
    Best(u64),
    Last(u64),
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exported::Best(step) => write!(f, "the best checkpoint (step {step})"),
            Exported::Last(step) => write!(f, "the last checkpoint (step {step})"),
        }
    }
}

/// Exports the averaged weights of the run in `out` into `folder`, and returns which checkpoint they come from. That
/// is the best checkpoint if the stage looks for it and there is one, otherwise the last. The run may be unfinished.
///
/// # Errors
/// If there is no run or checkpoint, and the errors of the stage's export.
pub fn export<S: Stage>(out: &Path, folder: &Path, compute: &Compute) -> Result<Exported> {
    let run = RunFolder::open(out)?;
    let settings = settings::settings(Some(&run.config()), &[])?;
    let compute = Compute { device: compute.device.clone().autodiff(), ..*compute };
    let (stage, model) = open::<S>(&settings, &compute)?;
    let (path, exported) = match best(&stage, &run) {
        Some(path) => {
            let step = checkpoint::step(&path)?;
            (path, Exported::Best(step))
        }
        None => {
            let path = run.checkpoint(checkpoint::LAST);
            let step = checkpoint::step(&path)?;
            (path, Exported::Last(step))
        }
    };
    write_export(&stage, &checkpoint::averaged(&path, model.valid())?, folder)?;
    Ok(exported)
}

/// The checkpoint with the best validation, if there is one.
fn best<S: Stage>(stage: &S, run: &RunFolder) -> Option<PathBuf> {
    Some(run.checkpoint(checkpoint::BEST)).filter(|path| stage.best().is_some() && path.exists())
}

pub(super) fn write_export<S: Stage>(stage: &S, model: &S::Model, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    stage.export(model, folder).with_context(|| format!("cannot export to {}", folder.display()))
}

/// [`run`], which stops when `stop` says so.
pub(crate) fn train<S: Stage>(
    settings: S::Settings,
    out: &Path,
    start: Start,
    devices: &[Compute],
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    let training = S::training(&settings).clone();
    training.check()?;
    replicas::check::<S>(training.accumulate, devices.len())?;
    let config = toml::to_string_pretty(&settings)?;
    let mut devices = devices.iter().map(|device| training.autodiff(device));
    let compute = devices.next().context("no device is given to train on")?;
    compute.device.seed(training.seed);
    let (stage, mut model) = open::<S>(&settings, &compute)?;
    let replicas = Replicas::open::<S>(&settings, devices.collect())?;
    let mut optimizer = adamw(&training);

    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let (folder, done) = match start {
        Start::Resume => {
            let run = RunFolder::open(out)?;
            let restored = checkpoint::restore(&run.checkpoint(checkpoint::LAST), model, &mut optimizer);
            let done;
            (model, done) = match run.begun() {
                true => restored?,
                false => {
                    restored.context("the run has no checkpoint yet; start it again without --resume")?
                }
            };
            let folder = RunFolder::resume(out, &command)?;
            write_atomic(&folder.config(), |file| file.write_all(config.as_bytes()))?;
            (folder, done)
        }
        Start::New | Start::From(_) => {
            if let Start::From(path) = start {
                model = checkpoint::initial(path, model)?;
            }
            (RunFolder::create(out, &config, &command)?, 0)
        }
    };
    let resume = matches!(start, Start::Resume);
    let log = RunLog::open(&folder, resume.then_some(done))?;
    let progress = Progress::new(S::NAME, done, training.steps);
    let mut trainer = Trainer {
        stage,
        replicas,
        optimizer,
        training,
        folder,
        log,
        progress,
        done,
        saved: done,
        failed: 0,
        interval: Interval::default(),
    };
    if !resume {
        trainer.save(&model)?;
    }
    let model = trainer.steps(model, stop)?;
    let export = trainer.folder.root().join("export");
    let (mut averaged, mut exported) = (trainer.averaged(&model), Exported::Last(trainer.done));
    if let Some(best) = best(&trainer.stage, &trainer.folder) {
        exported = Exported::Best(checkpoint::step(&best)?);
        averaged = checkpoint::averaged(&best, averaged)?;
    }
    write_export(&trainer.stage, &averaged, &export)?;
    trainer.folder.finish()?;
    let (done, place) = (trainer.done, export.display());
    trainer.progress.note(&format!("trained {done} steps; exported {exported} to {place}"));
    trainer.progress.finish();
    Ok(())
}

struct Trainer<S: Stage> {
    stage: S,
    replicas: Replicas<S::Model>,
    optimizer: AdamW,
    training: Training,
    folder: RunFolder,
    log: RunLog,
    progress: Progress,
    /// Steps done.
    done: u64,
    /// Number of steps in the saved checkpoint.
    saved: u64,
    /// Number of steps without a finite gradient since the last good step.
    failed: u64,
    interval: Interval,
}

/// The steps since the last line of the log.
#[derive(Default)]
struct Interval {
    steps: u64,
    /// Number of steps without a finite gradient.
    skipped: u64,
    seconds: f64,
    /// Sum of the losses of steps that were not skipped.
    loss: f64,
}

impl<S: Stage> Trainer<S> {
    fn steps(&mut self, mut model: S::Model, stop: &dyn Fn() -> bool) -> Result<S::Model> {
        if self.evaluation_is_missing()? {
            self.evaluate(&model)?;
        }
        while self.done < self.training.steps {
            model = self.step(model)?;
            let last = self.done == self.training.steps;
            if !last && self.stage.resumable(self.done) && stop() {
                self.save(&model)?;
                return Err(self.stopped());
            }
            // Validation comes before the checkpoint: a sheet may show what only this process has drawn. A run that is
            // killed in between repeats both.
            let validated = self.due(self.training.evaluate_every);
            if validated {
                self.evaluate(&model)?;
            }
            let finished = if validated { self.stage.finished(&self.folder.records()?) } else { None };
            if finished.is_some() || self.due(self.training.save_every) {
                self.save(&model)?;
            }
            if let Some(reason) = finished {
                self.progress.note(&format!("stopped after step {}: {reason}", self.done));
                return Ok(model);
            }
        }
        Ok(model)
    }

    /// Whether an action is due that comes every `every` steps and after the last step. It waits for a step from
    /// which the run can resume.
    fn due(&self, every: u64) -> bool {
        if self.done == self.training.steps {
            return true;
        }
        let resumable = |step: u64| self.stage.resumable(step);
        let waiting = (0..self.done).rev().take_while(|&step| !resumable(step));
        let mut since = std::iter::once(self.done).chain(waiting);
        every > 0 && resumable(self.done) && since.any(|step| step.is_multiple_of(every))
    }

    /// Whether the run was stopped between saving a step and validating it.
    fn evaluation_is_missing(&self) -> Result<bool> {
        // The untrained model is validated only if the stage looks for the best checkpoint.
        if !self.due(self.training.evaluate_every) || (self.done == 0 && self.stage.best().is_none()) {
            return Ok(false);
        }
        let validated = |record: &Record| record.step == self.done && !record.scalars.contains_key(LOSS);
        Ok(!self.folder.records()?.iter().any(validated))
    }

    fn stopped(&self) -> anyhow::Error {
        anyhow!("stopped after step {} with everything saved; to continue: {}", self.done, self.resume())
    }

    fn step(&mut self, mut model: S::Model) -> Result<S::Model> {
        let start = Instant::now();
        let (step, rate) = (self.done, self.training.rate(self.done));
        let found = gradients(&self.stage, &model, &self.replicas, step, &self.training)?;
        let (loss, scalars) = (found.loss, found.scalars.clone());
        let norm;
        (model, norm) = update(&mut self.optimizer, model, found, step, &self.training)?;
        self.done += 1;
        self.interval.steps += 1;
        self.interval.seconds += start.elapsed().as_secs_f64();
        if norm.is_finite() {
            self.failed = 0;
            self.interval.loss += loss;
        } else {
            self.failed += 1;
            self.interval.skipped += 1;
        }
        self.progress.step(self.done, self.training.samples(), loss);
        if self.done == self.training.steps || self.done.is_multiple_of(self.training.log_every) {
            self.write_log(rate, norm, &scalars)?;
        }
        ensure!(
            self.failed < PATIENCE,
            "step {}: the loss or its gradient was not finite for {PATIENCE} steps in a row. Lower the learning rate \
             and continue from the checkpoint of step {}: {} --set training.learning_rate={:e}",
            self.done,
            self.saved,
            self.resume(),
            self.training.learning_rate / 2.0,
        );
        Ok(model)
    }

    fn write_log(&mut self, rate: f64, norm: f64, more: &[(Cow<str>, f64)]) -> Result<()> {
        let Interval { steps, skipped, seconds, loss } = std::mem::take(&mut self.interval);
        let mut scalars = vec![
            (LOSS, loss / (steps - skipped) as f64),
            ("learning_rate", rate),
            ("gradient_norm", norm),
            ("samples_per_second", (steps * self.training.samples()) as f64 / seconds),
            ("skipped_steps", skipped as f64),
        ];
        let Counted { seconds: data, texts, cut } = self.stage.counted();
        scalars.extend((data > 0.0).then_some(("data_share", data / seconds)));
        scalars.extend((cut > 0.0).then_some(("texts_cut", cut / texts)));
        scalars.extend(more.iter().map(|(name, value)| (name.as_ref(), *value)));
        self.log.scalars(self.done, &scalars)
    }

    fn averaged(&self, model: &S::Model) -> S::Model {
        self.optimizer.averaged(model.valid())
    }

    /// Validates the model. If a validation is interrupted, the resumed run repeats it.
    fn evaluate(&mut self, model: &S::Model) -> Result<()> {
        let found = match self.stage.evaluate(&self.averaged(model)) {
            Err(error) if Interrupted::is(&error) => {
                self.save(model)?;
                return Err(self.stopped());
            }
            found => found?,
        };
        let by = self.stage.best();
        let number = by.and_then(|by| found.scalars.iter().find(|(name, _)| *name == by.name()));
        if let (Some(by), Some(&(name, number))) = (by, number) {
            let before = self.folder.records()?;
            let mut others = before.iter().filter_map(|record| record.scalars.get(name)?.as_f64());
            if others.all(|other| by.better(number, other)) {
                let path = self.folder.checkpoint(checkpoint::BEST);
                checkpoint::save(&path, model, &self.optimizer, self.done)?;
            }
        }
        if !found.scalars.is_empty() {
            self.log.scalars(self.done, &found.scalars)?;
            let numbers = found.scalars.iter().map(|(name, value)| format!("{name} {value:.4}"));
            let numbers = numbers.collect::<Vec<_>>().join(" · ");
            self.progress.note(&format!("step {}: {numbers}", self.done));
        }
        for (name, sheet) in &found.sheets {
            self.log.image(self.done, name, sheet)?;
        }
        Ok(())
    }

    fn save(&mut self, model: &S::Model) -> Result<()> {
        let path = self.folder.checkpoint(checkpoint::LAST);
        checkpoint::save(&path, model, &self.optimizer, self.done)?;
        self.saved = self.done;
        Ok(())
    }

    /// The command that continues this run.
    fn resume(&self) -> String {
        format!("unigen train {} --out {} --resume", S::NAME, self.folder.root().display())
    }
}

/// The result of the batches of one step.
pub(super) struct Gradients {
    /// The sum of the gradients; `None` if a loss was not finite.
    gradients: Option<HostGradients>,
    /// The mean of the losses, and the numbers of the last batch.
    loss: f64,
    scalars: Vec<(Cow<'static, str>, f64)>,
}

/// The gradients of a step, computed batch by batch, so that no device holds more than one batch in memory. They are
/// added in the order of the batches, so the result does not depend on the number of devices.
pub(super) fn gradients<S: Stage>(
    stage: &S,
    model: &S::Model,
    replicas: &Replicas<S::Model>,
    step: u64,
    training: &Training,
) -> Result<Gradients> {
    let count = training.accumulate;
    replicas.begin(model, step * count..(step + 1) * count)?;
    let mut sum = Gradients { gradients: Some(HostGradients::default()), loss: 0.0, scalars: vec![] };
    for turn in 0..count {
        let update = replicas.update(turn).unwrap_or_else(|| stage.update(model, step * count + turn));
        let Update { loss, gradients, scalars } = update?;
        sum.loss += loss / count as f64;
        sum.scalars = scalars;
        sum.gradients = sum.gradients.zip(gradients).map(|(sum, gradients)| sum.plus(gradients));
    }
    Ok(sum)
}

/// The optimiser for these settings.
pub(super) fn adamw(training: &Training) -> AdamW {
    AdamW::new(training.betas, EPS, training.weight_decay)
}

/// The model after a step, and the norm of its gradient. If the gradient is not finite, the model does not change.
pub(super) fn update<M: Module>(
    optimizer: &mut AdamW,
    model: M,
    found: Gradients,
    step: u64,
    training: &Training,
) -> Result<(M, f64)> {
    let share = 1.0 / training.accumulate as f64;
    let norm = found.gradients.as_ref().map_or(f64::NAN, |gradients| gradients.norm() * share);
    match found.gradients {
        Some(gradients) if norm.is_finite() => {
            let change = Step {
                learning_rate: training.rate(step),
                gradient_scale: training.clip(norm) * share,
                ema_decay: training.average_decay(step),
            };
            Ok((optimizer.step(model, gradients, change)?, norm))
        }
        _ => Ok((model, norm)),
    }
}
