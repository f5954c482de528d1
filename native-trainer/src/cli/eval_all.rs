//! `unigen eval all`.

use super::eval_tokenizer::reconstructions;
use super::geneval::geneval;
use super::imgedit::imgedit;
use super::understanding::understanding;
use super::{ComputeArgs, Sampling, WorldArgs, engine, interruptible, judge, writable, write_json};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::config::GenerationConfig;
use unigen_evaluation::Detect;
use unigen_evaluation::geneval::Evaluation;
use unigen_stickers::imgedit::{Edits, held_out_cases};
use unigen_stickers::reconstruction::Reconstructions;
use unigen_stickers::understanding::Understanding;
use unigen_stickers::world::geneval_prompts;

/// Number of held-out scenes for the image tokenizer.
const SCENES: u64 = 192;

#[derive(Args)]
pub struct EvalAll {
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Folder of the detector that judges
    #[arg(long, default_value = "models/detector")]
    detector: PathBuf,
    /// GenEval: images per prompt
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=100))]
    samples: u64,
    /// ImgEdit: edits of each type
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    edits: u64,
    /// Understanding: questions of each kind
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    questions: u64,
    /// Seed of all evaluations
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// JSON file for all scores and for the verdict on each picture
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    world: WorldArgs,
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
    tokenizer: Reconstructions,
    geneval: Evaluation,
    understanding: Understanding,
    imgedit: Edits,
}

impl EvalAll {
    pub fn run(&self) -> Result<ExitCode> {
        self.json.as_deref().map_or(Ok(()), writable)?;
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let (compute, seed) = (self.compute.open()?, self.seed);
        let judge = judge(&self.detector, &compute)?;
        let engine = engine(&self.model, &compute)?;
        let settings = self.sampling.over_edits(engine.generation(), None);
        let size = engine.config().image_size as u32;
        // The quick evaluations come first.
        let tokenizer = reconstructions(&self.model, size, self.world.scope(), SCENES, &judge, &compute)?;
        print!("{tokenizer}");
        let understanding = understanding(&engine, self.world.scope(), seed, self.questions)?;
        print!("{understanding}");
        let cases = held_out_cases(self.world.domain()?, seed, self.edits);
        let imgedit = imgedit(&engine, cases, seed, &judge, &settings)?;
        print!("{imgedit}");
        let drawing = self.sampling.over(engine.generation());
        let prompts = geneval_prompts(seed);
        let geneval = geneval(&engine, &prompts, self.samples as usize, seed, &judge, &drawing)?;
        print!("{geneval}");
        let (model, bf16, detector_accuracy) = (self.model.as_path(), self.compute.bf16, judge.accuracy());
        let settings = &settings;
        let report = Report {
            model,
            bf16,
            seed,
            settings,
            detector_accuracy,
            tokenizer,
            geneval,
            understanding,
            imgedit,
        };
        self.json.as_deref().map_or(Ok(()), |path| write_json(path, &report))
    }
}
