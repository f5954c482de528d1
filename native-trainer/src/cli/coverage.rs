//! `unigen eval vocabulary`.

use super::{ComputeArgs, Outputs, Sampling, WorldArgs, engine, interruptible, judge};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::config::GenerationConfig;
use unigen_evaluation::Detect;
use unigen_runs::Progress;
use unigen_stickers::coverage::{Coverage, asked};

#[derive(Args)]
pub struct Vocabulary {
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Folder of the detector that judges
    #[arg(long, default_value = "models/detector")]
    detector: PathBuf,
    /// Seed of the prompts and of the first picture
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    world: WorldArgs,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// The content of the JSON file.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a Path,
    bf16: bool,
    seed: u64,
    settings: &'a GenerationConfig,
    detector_accuracy: f64,
    #[serde(flatten)]
    coverage: &'a Coverage,
}

impl Vocabulary {
    pub fn run(&self) -> Result<ExitCode> {
        self.outputs.check()?;
        self.world.scope().check()?;
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let compute = self.compute.open()?;
        let judge = judge(&self.detector, &compute)?;
        let engine = engine(&self.model, &compute)?;
        let settings = self.sampling.over(engine.generation());
        let asked = asked(self.world.scope(), self.seed);
        let coverage = Progress::over("vocabulary", asked.len(), |progress| {
            Coverage::of(&engine, asked, &settings, self.seed, &judge, progress)
        })?;
        print!("{coverage}");
        let report = Report {
            model: &self.model,
            bf16: self.compute.bf16,
            seed: self.seed,
            settings: &settings,
            detector_accuracy: judge.accuracy(),
            coverage: &coverage,
        };
        self.outputs.write(&report, || coverage.sheet())
    }
}
