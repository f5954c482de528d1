//! `unigen eval imgedit`.

use super::own::OwnEdits;
use super::vlm::{Asking, Endpoint};
use super::{ComputeArgs, Outputs, Sampling, WorldArgs, engine, interruptible, judge};
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::Engine;
use unigen_evaluation::Detect;
use unigen_runs::Progress;
use unigen_stickers::imgedit::{self, Case, Edits, held_out_cases, read_cases};
use unigen_stickers::judge::Detector;

#[derive(Args)]
pub struct ImgEdit {
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Folder of the detector that judges
    #[arg(long, default_value = "models/detector")]
    detector: PathBuf,
    /// File of edits, one JSON object per line, with "type" (one of ImgEdit's nine), "before" (a scene or the path of
    /// a picture), "instruction" and "wanted" (a scene) [default: edits of held-out scenes of the sticker world]
    #[arg(long)]
    cases: Option<PathBuf>,
    /// Your own edits as shards or jsonl files, with before, instruction and, for comparison, after; a vision-language
    /// model scores them
    #[arg(long, value_delimiter = ',', requires_all = ["judge", "out"], conflicts_with = "cases")]
    triples: Vec<PathBuf>,
    /// The model that scores your own edits, as URL#MODEL of an OpenAI-compatible endpoint; its key is in
    /// UNIGEN_JUDGE_KEY
    #[arg(long, requires = "triples")]
    judge: Option<Endpoint>,
    /// Folder for pictures, results, report.json and report.html of your own edits
    #[arg(long, requires = "triples")]
    out: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
    /// Edits of each type, unless --cases is given
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    each: u64,
    /// Seed of the first picture and of the sticker world's edits
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Guidance scale of the picture [default: the model's]
    #[arg(long)]
    image_guidance_scale: Option<f32>,
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
    settings: &'a GenerationConfig,
    detector_accuracy: f64,
    #[serde(flatten)]
    edits: &'a Edits,
}

impl ImgEdit {
    pub fn run(&self) -> Result<ExitCode> {
        self.outputs.check()?;
        if !self.triples.is_empty() {
            return interruptible(|| self.own());
        }
        let cases = match &self.cases {
            Some(path) => read_cases(path)?,
            None => held_out_cases(self.world.domain()?, self.seed, self.each),
        };
        interruptible(|| self.evaluate(cases))
    }

    /// Scores the user's own edits.
    fn own(&self) -> Result<()> {
        let Self { triples, model, seed, asking, compute, .. } = self;
        let judge = self.judge.as_ref().context("--triples needs --judge")?;
        let out = self.out.as_ref().context("--triples needs --out")?;
        let own = OwnEdits { triples, model, judge, out, seed: *seed, asking, compute };
        own.evaluate(|engine| self.sampling.over_edits(engine.generation(), self.image_guidance_scale))
    }

    fn evaluate(&self, cases: Vec<Case>) -> Result<()> {
        let compute = self.compute.open()?;
        let judge = judge(&self.detector, &compute)?;
        let engine = engine(&self.model, &compute)?;
        let settings = self.sampling.over_edits(engine.generation(), self.image_guidance_scale);
        let edits = imgedit(&engine, cases, self.seed, &judge, &settings)?;
        print!("{edits}");
        let (model, bf16, detector_accuracy) = (self.model.as_path(), self.compute.bf16, judge.accuracy());
        let report = Report { model, bf16, settings: &settings, detector_accuracy, edits: &edits };
        self.outputs.write(&report, || edits.model.sheet())
    }
}

/// Edits pictures and judges them, with a progress bar.
pub(super) fn imgedit(
    engine: &Engine,
    cases: Vec<Case>,
    seed: u64,
    judge: &Detector,
    settings: &GenerationConfig,
) -> Result<Edits> {
    Progress::over("imgedit", cases.len(), |progress| {
        imgedit::evaluate(engine, cases, settings, seed, judge, progress)
    })
}
