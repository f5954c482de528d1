//! `unigen eval geneval`.

use super::own::draw;
use super::vlm::{Asking, Endpoint};
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
use unigen_evaluation::geneval::{
    Detections, Evaluation, Prompt, Verdicts, geneval_page, read_prompts, run_own,
};
use unigen_evaluation::journal::Journal;
use unigen_runs::Progress;
use unigen_stickers::world::{Class, geneval_prompts, in_chinese, vocabulary};

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
    /// Folder for pictures, results, report.json and report.html, where something else than the detector decides. Without
    /// --detections and --judge, the pictures are only drawn
    #[arg(long, requires = "prompts")]
    out: Option<PathBuf>,
    /// JSON file with what any detector found in the pictures of --out: {"00000-0.png": [{"class": "dog", "score": 0.9,
    /// "bbox": [0, 0, 40, 30], "color": "red"}]}
    #[arg(long, requires = "out", conflicts_with = "judge")]
    detections: Option<PathBuf>,
    /// Vision-language model that decides, as URL#MODEL of an OpenAI-compatible endpoint; its key is in UNIGEN_JUDGE_KEY
    #[arg(long, requires = "out")]
    judge: Option<Endpoint>,
    #[command(flatten)]
    asking: Asking,
    /// Images per prompt
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=100))]
    samples: u64,
    /// Seed of the first image and of the sticker world's prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Say the prompts in Chinese
    #[arg(long)]
    chinese: bool,
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
        if let Some(out) = &self.out {
            return interruptible(|| self.own(out));
        }
        let prompts = self.prompts()?;
        interruptible(|| self.evaluate(&prompts))
    }

    fn prompts(&self) -> Result<Vec<Prompt>> {
        let prompts = match &self.prompts {
            None => geneval_prompts(self.seed),
            Some(path) => {
                let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
                read_prompts(BufReader::new(file), vocabulary(Class::GENEVAL.len()))
                    .with_context(|| path.display().to_string())?
            }
        };
        match self.chinese {
            true => prompts
                .iter()
                .map(|prompt| in_chinese(prompt).with_context(|| prompt.prompt.clone()))
                .collect(),
            false => Ok(prompts),
        }
    }

    /// Draws into `out`, and judges by detections or by a model.
    fn own(&self, out: &Path) -> Result<()> {
        let path = self.prompts.as_ref().context("--out needs --prompts")?;
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = (1..)
            .zip(text.trim_start_matches('\u{feff}').lines())
            .filter(|(_, line)| !line.trim().is_empty());
        let prompt = |(number, line): (usize, &str)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}, line {number} is not a GenEval prompt", path.display()))
        };
        let prompts: Vec<Prompt> = lines.map(prompt).collect::<Result<_>>()?;
        let detections: Option<Detections> = match &self.detections {
            Some(path) => {
                let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                Some(
                    serde_json::from_slice(&text)
                        .with_context(|| format!("{} has no detections", path.display()))?,
                )
            }
            None => None,
        };
        let judge = self.judge.as_ref().map(|endpoint| self.asking.open(endpoint)).transpose()?;
        let verdicts = match (&detections, &judge) {
            (Some(detections), _) => Verdicts::Detections(detections),
            (None, Some(judge)) => Verdicts::Judge(judge),
            (None, None) => Verdicts::None,
        };
        let engine = engine(&self.model, &self.compute.open()?)?;
        let settings = self.sampling.over(engine.generation());
        let (samples, seed) = (self.samples as usize, self.seed);
        let mut journal = Journal::open(out, &("geneval", &self.model, &settings, samples, seed, &prompts))?;
        let (found, missing) = Progress::over("geneval", prompts.len() * samples, |progress| {
            let draw = |prompt: &str, seed| draw(&engine, &settings, prompt, seed);
            run_own(&prompts, samples, seed, &verdicts, &mut journal, draw, progress)
        })?;
        let pictures = out.join(Journal::PICTURES);
        let Some(found) = found else {
            println!(
                "{missing} pictures in {}; let a detector look at them, then add --detections",
                pictures.display()
            );
            return Ok(());
        };
        print!("{found}");
        println!("{:<15}{missing:>8} images", "without verdict");
        let bf16 = self.compute.bf16;
        let report = Report { model: &self.model, samples, bf16, settings: &settings, evaluation: &found };
        journal.finish(&report, &geneval_page(&found, samples, seed))
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
