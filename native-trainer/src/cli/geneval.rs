//! `unigen eval geneval`.

use super::{Compute, Sampling, flow, image_format, leave, writable, write_image};
use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Args;
use pollster::FutureExt;
use serde::Serialize;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::Engine;
use unigen_core::files::write_atomic;
use unigen_trainer::data::stickers::geneval_prompts;
use unigen_trainer::eval::geneval::{Prompt, read_prompts};
use unigen_trainer::eval::{Detect, Evaluation};
use unigen_trainer::run::{Interrupt, Progress};

#[derive(Args)]
pub struct Geneval {
    /// Folder of the model
    #[arg(long, default_value = "models/nano")]
    model: PathBuf,
    /// The detector that judges
    #[arg(long, default_value = "models/detector")]
    detector: PathBuf,
    /// Prompts in the format of GenEval's evaluation_metadata.jsonl [default: 553 of the sticker world]
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Images a prompt
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=100))]
    samples: u64,
    /// Seed of the first image, and of the sticker world's prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// File for scores and for the verdict on every image
    #[arg(long)]
    json: Option<PathBuf>,
    /// Image file for a sheet of images, right and wrong
    #[arg(long)]
    sheet: Option<PathBuf>,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    compute: Compute,
}

/// What the JSON file says.
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
    /// `detector` opens the judge.
    pub fn run(&self, detector: impl Fn(&Path, &Device) -> Result<Box<dyn Detect>>) -> Result<ExitCode> {
        self.json.as_deref().map_or(Ok(()), writable)?;
        self.sheet.as_deref().map_or(Ok(()), |sheet| image_format(sheet).map(drop))?;
        let prompts = self.prompts()?;
        let device = self.compute.device();
        let detector = detector(&self.detector, &device)?;
        println!("{:<15}{:>8.4}", "detector", detector.accuracy());
        leave(self.evaluate(&prompts, &*detector, &device, Interrupt::install()?))
    }

    fn prompts(&self) -> Result<Vec<Prompt>> {
        let Some(path) = &self.prompts else {
            return Ok(geneval_prompts(self.seed));
        };
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        read_prompts(BufReader::new(file)).with_context(|| path.display().to_string())
    }

    fn evaluate(
        &self,
        prompts: &[Prompt],
        detector: &dyn Detect,
        device: &Device,
        interrupt: Interrupt,
    ) -> Result<()> {
        let engine = Engine::open(&self.model, device)?;
        let settings = self.sampling.over(engine.generation());
        let samples = self.samples as usize;
        let mut progress = Progress::new("geneval", 0, (prompts.len() * samples) as u64);
        let mut before = 0;
        let evaluation = Evaluation::run(
            prompts,
            samples,
            self.seed,
            detector,
            |requests| {
                Ok(engine.generate_batch(requests, &settings, async |_| flow(interrupt)).block_on()?)
            },
            |done| {
                progress.step(done as u64, (done - before) as u64, f64::NAN);
                before = done;
            },
        )?;
        progress.finish();
        print!("{evaluation}");
        if let Some(path) = &self.json {
            let (model, bf16) = (self.model.as_path(), self.compute.bf16);
            let report = Report { model, samples, bf16, settings: &settings, evaluation: &evaluation };
            let json = serde_json::to_vec_pretty(&report)?;
            write_atomic(path, |out| out.write_all(&json))?;
        }
        if let Some(path) = &self.sheet {
            write_image(path, &evaluation.sheet())?;
        }
        Ok(())
    }
}
