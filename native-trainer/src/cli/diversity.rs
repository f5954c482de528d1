//! `unigen eval diversity`.

use super::{ComputeArgs, Outputs, Sampling, WorldArgs, engine, interruptible, judge};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::config::GenerationConfig;
use unigen_runs::Progress;
use unigen_stickers::diversity;

#[derive(Args)]
pub struct Diversity {
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Folder of the detector whose features tell pictures apart
    #[arg(long, default_value = "models/detector")]
    detector: PathBuf,
    /// Number of things to draw, each from eight seeds
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1050))]
    prompts: u64,
    /// Seed of the first picture and of the renders
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
    #[serde(flatten)]
    diversity: &'a diversity::Diversity,
}

impl Diversity {
    pub fn run(&self) -> Result<ExitCode> {
        self.outputs.check()?;
        self.world.scope().check()?;
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let Self { model, seed, .. } = self;
        let (compute, scope) = (self.compute.open()?, self.world.scope());
        let judge = judge(&self.detector, &compute)?;
        let engine = engine(model, &compute)?;
        let settings = &self.sampling.over(engine.generation());
        let count = self.prompts as usize;
        let found = Progress::over("diversity", count, |progress| {
            diversity::Diversity::of(&engine, scope, count, settings, *seed, &judge, progress)
        })?;
        print!("{found}");
        let report = Report { model, bf16: self.compute.bf16, seed: *seed, settings, diversity: &found };
        self.outputs.write(&report, || found.sheet())
    }
}
