//! `unigen extend`.

use super::{
    ComputeArgs, Sampling, engine, image_format, interruptible, steps_bar, warn_of_unknown_words, write_image,
};
use anyhow::Result;
use clap::{Args, ValueEnum};
use pollster::FutureExt;
use std::path::PathBuf;
use std::process::ExitCode;
use unigen_core::engine::{self as core, ExtendRequest};
use unigen_core::picture::Picture;
use unigen_core::sampling::StepReport;
use unigen_runs::Interrupt;

#[derive(Args)]
pub struct Extend {
    /// Picture to continue
    image: PathBuf,
    /// What the whole picture shows in the end
    prompt: String,
    /// Edge where the picture grows
    #[arg(long, value_enum, default_value_t = Side::Right)]
    side: Side,
    /// How often it grows by half of a picture that the model draws
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Image file to write
    #[arg(short, long, default_value = "out.png")]
    out: PathBuf,
    /// Seed; the same seed gives the same image
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// The edges by the names that people type.
#[derive(Clone, Copy, ValueEnum)]
enum Side {
    Left,
    Right,
    Top,
    Bottom,
}

impl From<Side> for core::Side {
    fn from(side: Side) -> Self {
        match side {
            Side::Left => Self::Left,
            Side::Right => Self::Right,
            Side::Top => Self::Top,
            Side::Bottom => Self::Bottom,
        }
    }
}

impl Extend {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| self.draw())
    }

    fn draw(&self) -> Result<()> {
        image_format(&self.out)?;
        let request = ExtendRequest {
            image: Picture::open(&self.image)?,
            side: self.side.into(),
            times: self.times,
            prompt: self.prompt.clone(),
            seed: self.seed,
        };
        let engine = engine(&self.model, &self.compute.open()?)?;
        warn_of_unknown_words(&engine, [self.prompt.as_str()]);
        let settings = self.sampling.over(engine.generation());
        let bar = steps_bar(settings.steps.saturating_mul(self.times))?;
        let on_step = async |_: StepReport<'_>| {
            bar.inc(1);
            Interrupt::flow()
        };
        let image = engine.extend(&request, &settings, on_step).block_on()?;
        bar.finish_and_clear();
        write_image(&self.out, &image)?;
        println!("{}", self.out.display());
        Ok(())
    }
}
