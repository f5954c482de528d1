//! The training loop.

use anyhow::{Context, Result, bail, ensure};
use burn::module::Module;
use burn::tensor::Device;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Instant;
use unigen_core::files::write_atomic;

use super::{Stage, Training, Update, checkpoint, settings};
use crate::optimizer::{AdamW, Step};
use crate::run::{Interrupt, Progress, RunFolder, RunLog, records};

/// Added to AdamW's denominator.
const EPS: f64 = 1e-8;
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

/// Exports the averaged weights of the best checkpoint of the run in `out`, where its stage looks for it, else of the last,
/// into `folder`; the run may be finished or not.
///
/// # Errors
/// When there is no run or checkpoint, or what the stage's export reports.
pub fn export<S: Stage>(out: &Path, folder: &Path, device: &Device) -> Result<()> {
    let run = RunFolder::open(out)?;
    let settings = settings::settings(Some(&run.config()), &[])?;
    let (stage, model) = S::open(&settings, &device.clone().autodiff())?;
    let best = Some(run.checkpoint(checkpoint::BEST)).filter(|best| S::SCORE.is_some() && best.exists());
    let path = best.unwrap_or_else(|| run.checkpoint(checkpoint::LAST));
    write_export(&stage, &checkpoint::initial(&path, model.valid())?, folder)
}

fn write_export<S: Stage>(stage: &S, model: &S::Model, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    stage.export(model, folder).with_context(|| format!("cannot export to {}", folder.display()))
}

/// [`run`], leaving when `stop` says so.
pub(crate) fn train<S: Stage>(
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
    let mut optimizer = AdamW::new(training.betas, EPS, training.weight_decay);

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
        if S::SCORE.is_some() {
            trainer.evaluate(&model)?;
        }
    }
    let model = trainer.steps(model, stop)?;
    let export = trainer.folder.root().join("export");
    let mut averaged = trainer.averaged(&model);
    if let Some(best) = trainer.best() {
        averaged = checkpoint::initial(&best, averaged)?;
    }
    write_export(&trainer.stage, &averaged, &export)?;
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
        let mut save = false;
        while self.done < self.training.steps {
            model = self.step(model)?;
            let last = self.done == self.training.steps;
            let due = |every: u64| last || self.done.is_multiple_of(every);
            let evaluate = due(self.training.evaluate_every);
            let resumable = last || self.stage.resumable(self.done);
            let stop = !last && resumable && stop();
            save |= stop || due(self.training.save_every);
            if save && resumable {
                self.save(&model)?;
                save = false;
            }
            if evaluate {
                self.evaluate(&model)?;
                if let Some(reason) = self.stage.finished(&records(&self.folder.log())?) {
                    self.progress.note(&format!("stopped after step {}: {reason}", self.done));
                    self.save(&model)?;
                    return Ok(model);
                }
            }
            if stop {
                bail!("stopped after step {} with everything saved; to go on: {}", self.done, self.resume());
            }
        }
        Ok(model)
    }

    fn step(&mut self, mut model: S::Model) -> Result<S::Model> {
        let start = Instant::now();
        let (step, rate) = (self.done, self.training.rate(self.done));
        let Update { loss, gradients, scalars } = self.stage.update(&model, step)?;
        let mut norm = f64::NAN;
        if let Some(gradients) = gradients {
            norm = gradients.norm();
            if norm.is_finite() {
                let change = Step {
                    learning_rate: rate,
                    gradient_scale: self.training.clip(norm),
                    ema_decay: self.training.average_decay(step),
                };
                model = self.optimizer.step(model, gradients, change)?;
            }
        }
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
        self.progress.step(self.done, self.training.batch as u64, loss);
        if self.done == self.training.steps || self.done.is_multiple_of(self.training.log_every) {
            self.write_log(rate, norm, &scalars)?;
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

    fn write_log(&mut self, rate: f64, norm: f64, more: &[(Cow<str>, f64)]) -> Result<()> {
        let Interval { steps, skipped, seconds, loss } = std::mem::take(&mut self.interval);
        let mut scalars = vec![
            ("loss", loss / (steps - skipped) as f64),
            ("learning_rate", rate),
            ("gradient_norm", norm),
            ("samples_per_second", steps as f64 * self.training.batch as f64 / seconds),
            ("skipped_steps", skipped as f64),
        ];
        scalars.extend(more.iter().map(|(name, value)| (name.as_ref(), *value)));
        self.log.scalars(self.done, &scalars)
    }

    fn averaged(&self, model: &S::Model) -> S::Model {
        self.optimizer.averaged(model.valid())
    }

    fn evaluate(&mut self, model: &S::Model) -> Result<()> {
        let found = self.stage.evaluate(&self.averaged(model))?;
        let score = found.scalars.iter().find(|(name, _)| Some(*name) == S::SCORE);
        if let Some(&(name, score)) = score {
            let before = records(&self.folder.log())?;
            if before.iter().filter_map(|record| record.scalars.get(name)?.as_f64()).all(|other| score > other) {
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

    /// The checkpoint that validated best, if one did.
    fn best(&self) -> Option<PathBuf> {
        let path = self.folder.checkpoint(checkpoint::BEST);
        (S::SCORE.is_some() && path.exists()).then_some(path)
    }

    /// The command that goes on with this run.
    fn resume(&self) -> String {
        format!("unigen train {} --out {} --resume", S::NAME, self.folder.root().display())
    }
}
