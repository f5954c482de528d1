//! `unigen eval geneval`.

use super::{ComputeArgs, Outputs, Sampling, engine, interruptible, judge};
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::Engine;
use unigen_evaluation::Detect;
use unigen_evaluation::geneval::{Evaluation, Prompt, read_prompts};
use unigen_runs::Progress;
use unigen_stickers::world::{geneval_prompts, vocabulary};

#[derive(Args)]
pub struct Geneval {
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Folder of the detector that judges
    #[arg(long, default_value = "models/detector")]
    detector: PathBuf,
    /// File of prompts in the format of GenEval's evaluation_metadata.jsonl [default: 553 prompts of the sticker
    /// world]
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Images per prompt
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=100))]
    samples: u64,
    /// Seed of the first image and of the sticker world's prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
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
    samples: usize,
    bf16: bool,
    settings: &'a GenerationConfig,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

impl Geneval {
    pub fn run(&self) -> Result<ExitCode> {
        self.outputs.check()?;
        let prompts = self.prompts()?;
        interruptible(|| self.evaluate(&prompts))
    }

    fn prompts(&self) -> Result<Vec<Prompt>> {
        let Some(path) = &self.prompts else {
            return Ok(geneval_prompts(self.seed));
        };
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        read_prompts(BufReader::new(file), vocabulary()).with_context(|| path.display().to_string())
    }

    fn evaluate(&self, prompts: &[Prompt]) -> Result<()> {
        let compute = self.compute.open()?;
        let judge = judge(&self.detector, &compute)?;
        let engine = engine(&self.model, &compute)?;
        let settings = self.sampling.over(engine.generation());
        let samples = self.samples as usize;
        let evaluation = geneval(&engine, prompts, samples, self.seed, &judge, &settings)?;
        print!("{evaluation}");
        let (model, bf16) = (self.model.as_path(), self.compute.bf16);
        let report = Report { model, samples, bf16, settings: &settings, evaluation: &evaluation };
        self.outputs.write(&report, || evaluation.sheet())
    }
}

/// Generates images and judges them, with a progress bar.
pub(super) fn geneval(
    engine: &Engine,
    prompts: &[Prompt],
    samples: usize,
    seed: u64,
    judge: &dyn Detect,
    settings: &GenerationConfig,
) -> Result<Evaluation> {
    Progress::over("geneval", prompts.len() * samples, |progress| {
        Evaluation::of(engine, prompts, samples, settings, seed, judge, progress)
    })
}
