//! The training loop.

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::path::Path;
use std::time::Instant;
use unigen_core::files::write_atomic;

use super::{Loss, Stage, Training, checkpoint, settings};
use crate::optimizer::{AdamW, HostGradients, Step, floats};
use crate::run::{Interrupt, Interrupted, Progress, Record, RunFolder, RunLog};

/// Added to AdamW's denominator.
const EPS: f64 = 1e-8;
/// What the log calls the loss; lines of validations have none.
const LOSS: &str = "loss";
/// Steps in a row without a finite gradient after which a run gives up.
const PATIENCE: u64 = 10;

/// How a run begins.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// From random weights.
    New,
    /// From the weights in a safetensors file, with names `ema.*` or plain paths.
    From(&'a Path),
    /// From the last checkpoint of the run in the folder. A run that was stopped and resumed ends with the same bits as
    /// one that was not, in the same precision of matrix products.
    Resume,
}

/// Trains a stage in the run folder `out` on `device`, and exports it into `out/export` at the end. The `settings` of a
/// resumed run replace those of the folder.
///
/// # Errors
/// When settings, data or weights cannot be used; when writing fails; when ten steps in a row have no finite gradient;
/// and after Ctrl-C, once the checkpoint is saved: the message says how to go on.
pub fn run<S: Stage>(settings: S::Settings, out: &Path, start: Start, device: &Device) -> Result<()> {
    let interrupt = Interrupt::install()?;
    train::<S>(settings, out, start, device, &|| interrupt.requested())
}

/// Exports the averaged weights of the last checkpoint of the run in `out`, finished or not, into `folder`.
///
/// # Errors
/// When there is no run or checkpoint, or what the stage's export reports.
pub fn export<S: Stage>(out: &Path, folder: &Path, device: &Device) -> Result<()> {
    let run = RunFolder::open(out)?;
    let settings = settings::settings(Some(&run.config()), &[])?;
    let (stage, model) = S::open(&settings, &device.clone().autodiff())?;
    let model = checkpoint::initial(&run.checkpoint(checkpoint::LAST), model.valid())?;
    write_export(&stage, &model, folder)
}

pub(super) fn write_export<S: Stage>(stage: &S, model: &S::Model, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    stage.export(model, folder).with_context(|| format!("cannot export to {}", folder.display()))
}

/// [`run`], leaving when `stop` says so.
pub(super) fn train<S: Stage>(
    settings: S::Settings,
    out: &Path,
    start: Start,
    device: &Device,
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    let training = S::training(&settings).clone();
    training.check()?;
    let config = toml::to_string_pretty(&settings)?;
    let device = device.clone().autodiff();
    device.seed(training.seed);
    let (stage, mut model) = S::open(&settings, &device)?;
    let mut optimizer = adamw(&training);

    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let (folder, done) = match start {
        Start::Resume => {
            let path = RunFolder::open(out)?.checkpoint(checkpoint::LAST);
            let done;
            (model, done) = checkpoint::restore(&path, model, &mut optimizer)?;
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
    write_export(&trainer.stage, &trainer.averaged(&model), &export)?;
    trainer.folder.finish()?;
    trainer.progress.note(&format!("trained {} steps; exported to {}", trainer.done, export.display()));
    trainer.progress.finish();
    Ok(())
}

struct Trainer<S: Stage> {
    stage: S,
    optimizer: AdamW,
    training: Training,
    folder: RunFolder,
    log: RunLog,
    progress: Progress,
    /// Steps done.
    done: u64,
    /// Steps that the checkpoint has.
    saved: u64,
    /// Steps in a row, up to the last, without a finite gradient.
    failed: u64,
    interval: Interval,
}

/// The steps since the last line of the log.
#[derive(Default)]
struct Interval {
    steps: u64,
    /// Steps without a finite gradient.
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
            let due = |every: u64| last || self.done.is_multiple_of(every);
            let (evaluate, save) = (due(self.training.evaluate_every), due(self.training.save_every));
            let stop = !last && stop();
            if save || stop {
                self.save(&model)?;
            }
            if stop {
                return Err(self.stopped());
            }
            if evaluate {
                self.evaluate(&model)?;
            }
        }
        Ok(model)
    }

    /// Whether the run was stopped after it had saved a step and before it had validated it.
    fn evaluation_is_missing(&self) -> Result<bool> {
        let due = self.done == self.training.steps || self.done.is_multiple_of(self.training.evaluate_every);
        if self.done == 0 || !due {
            return Ok(false);
        }
        let validated = |record: &Record| record.step == self.done && !record.scalars.contains_key(LOSS);
        Ok(!self.folder.records()?.iter().any(validated))
    }

    fn stopped(&self) -> anyhow::Error {
        anyhow!("stopped after step {} with everything saved; to go on: {}", self.done, self.resume())
    }

    fn step(&mut self, mut model: S::Model) -> Result<S::Model> {
        let start = Instant::now();
        let (step, rate) = (self.done, self.training.rate(self.done));
        let found = gradients(&self.stage, &model, step, &self.training)?;
        let (loss, parts) = (found.loss, found.parts.clone());
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
            self.write_log(rate, norm, parts)?;
        }
        ensure!(
            self.failed < PATIENCE,
            "step {}: the loss or its gradient was not finite for {PATIENCE} steps in a row. Lower the learning rate \
             and go on from the checkpoint of step {}: {} --set training.learning_rate={:e}",
            self.done,
            self.saved,
            self.resume(),
            self.training.learning_rate / 2.0,
        );
        Ok(model)
    }

    fn write_log(&mut self, rate: f64, norm: f64, parts: Vec<(&'static str, f64)>) -> Result<()> {
        let Interval { steps, skipped, seconds, loss } = std::mem::take(&mut self.interval);
        let mut scalars = vec![
            (LOSS, loss / (steps - skipped) as f64),
            ("learning_rate", rate),
            ("gradient_norm", norm),
            ("samples_per_second", (steps * self.training.samples()) as f64 / seconds),
            ("skipped_steps", skipped as f64),
        ];
        scalars.extend(parts);
        self.log.scalars(self.done, &scalars)
    }

    fn averaged(&self, model: &S::Model) -> S::Model {
        self.optimizer.averaged(model.valid())
    }

    /// Validates; one that is stopped is done again by the resumed run.
    fn evaluate(&mut self, model: &S::Model) -> Result<()> {
        let found = match self.stage.evaluate(&self.averaged(model)) {
            Err(error) if Interrupted::is(&error) => {
                self.save(model)?;
                return Err(self.stopped());
            }
            found => found?,
        };
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

    /// The command that goes on with this run.
    fn resume(&self) -> String {
        format!("unigen train {} --out {} --resume", S::NAME, self.folder.root().display())
    }
}

/// What came of the batches of one step.
pub(super) struct Gradients {
    /// Their sum; none where a loss was not finite.
    gradients: Option<HostGradients>,
    /// The mean of the losses, and the parts of the last one.
    loss: f64,
    parts: Vec<(&'static str, f64)>,
}

/// The gradients of a step, batch after batch, so that no more than one batch is in memory.
pub(super) fn gradients<S: Stage>(
    stage: &S,
    model: &S::Model,
    step: u64,
    training: &Training,
) -> Result<Gradients> {
    let count = training.accumulate;
    let mut sum = Gradients { gradients: Some(HostGradients::default()), loss: 0.0, parts: vec![] };
    for batch in step * count..(step + 1) * count {
        let Loss { total, parts } = stage.loss(model, batch)?;
        let loss = scalar(total.clone())?;
        sum.loss += loss / count as f64;
        sum.parts = parts.into_iter().map(|(name, part)| Ok((name, scalar(part)?))).collect::<Result<_>>()?;
        sum.gradients = match sum.gradients {
            Some(gradients) if loss.is_finite() => {
                Some(gradients.plus(HostGradients::read(model, total.backward())?))
            }
            _ => None,
        };
    }
    Ok(sum)
}

/// The optimiser that settings ask for.
pub(super) fn adamw(training: &Training) -> AdamW {
    AdamW::new(training.betas, EPS, training.weight_decay)
}

/// The model after a step, and the norm of its gradient; a step whose gradient is not finite changes nothing.
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

fn scalar(tensor: Tensor<1>) -> Result<f64> {
    let value = floats(tensor)?.first().copied().context("a loss without a value")?;
    Ok(f64::from(value))
}
