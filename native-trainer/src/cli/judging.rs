//! What evaluations share in which a model draws things of the sticker world and a detector judges.

use super::{ComputeArgs, Outputs, Sampling, WorldArgs, engine, judge};
use anyhow::Result;
use clap::Args;
use image::RgbImage;
use serde::Serialize;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use unigen_core::config::GenerationConfig;
use unigen_core::engine::Engine;
use unigen_evaluation::Detect;
use unigen_stickers::judge::Detector;

#[derive(Args)]
pub struct Judging {
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Folder of the detector that judges
    #[arg(long, default_value = "models/detector")]
    detector: PathBuf,
    /// Seed of the first picture and of what the world draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub world: WorldArgs,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// A model, how it draws, and its judge.
pub struct Opened {
    pub engine: Engine,
    pub settings: GenerationConfig,
    pub judge: Detector,
}

/// The content of the JSON file.
#[derive(Serialize)]
struct Report<'a, T> {
    model: &'a Path,
    bf16: bool,
    seed: u64,
    settings: &'a GenerationConfig,
    detector_accuracy: f64,
    #[serde(flatten)]
    found: &'a T,
}

impl Judging {
    /// Fails at once for what would fail at the end.
    pub fn check(&self) -> Result<()> {
        self.outputs.check()?;
        self.world.scope().check()
    }

    pub fn open(&self) -> Result<Opened> {
        let compute = self.compute.open()?;
        let judge = judge(&self.detector, &compute)?;
        let engine = engine(&self.model, &compute)?;
        let settings = self.sampling.over(engine.generation());
        Ok(Opened { engine, settings, judge })
    }

    /// Prints what was found, and writes the report and the sheet if they are wanted.
    pub fn tell<T: Display + Serialize>(
        &self,
        Opened { settings, judge, .. }: &Opened,
        found: &T,
        sheet: impl FnOnce() -> RgbImage,
    ) -> Result<()> {
        print!("{found}");
        let (model, bf16, detector_accuracy) = (self.model.as_path(), self.compute.bf16, judge.accuracy());
        let report = Report { model, bf16, seed: self.seed, settings, detector_accuracy, found };
        self.outputs.write(&report, sheet)
    }
}
