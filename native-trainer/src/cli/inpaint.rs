//! `unigen inpaint`.

use super::{
    ComputeArgs, Sampling, engine, image_format, interruptible, steps_bar, warn_of_unknown_words, write_image,
};
use anyhow::Result;
use clap::Args;
use pollster::FutureExt;
use std::path::PathBuf;
use std::process::ExitCode;
use unigen_core::engine::InpaintRequest;
use unigen_core::picture::Picture;
use unigen_core::sampling::StepReport;
use unigen_runs::Interrupt;

#[derive(Args)]
pub struct Inpaint {
    /// Picture to fill
    image: PathBuf,
    /// What the whole picture shows in the end
    prompt: String,
    /// Mask, a picture as large as IMAGE: white areas are drawn anew, all other pixels stay as they are
    #[arg(long)]
    mask: PathBuf,
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

impl Inpaint {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| self.draw())
    }

    fn draw(&self) -> Result<()> {
        image_format(&self.out)?;
        let request = InpaintRequest {
            image: Picture::open(&self.image)?,
            mask: Picture::open_mask(&self.mask)?,
            prompt: self.prompt.clone(),
            seed: self.seed,
        };
        let engine = engine(&self.model, &self.compute.open()?)?;
        warn_of_unknown_words(&engine, [self.prompt.as_str()]);
        let settings = self.sampling.over(engine.generation());
        let bar = steps_bar(settings.steps)?;
        let on_step = async |_: StepReport<'_>| {
            bar.inc(1);
            Interrupt::flow()
        };
        let codes = engine.inpaint_codes(&request, &settings, on_step).block_on()?;
        let image = engine.inpaint_image(&request, &codes).block_on()?;
        bar.finish_and_clear();
        write_image(&self.out, &image)?;
        println!("{}", self.out.display());
        Ok(())
    }
}
