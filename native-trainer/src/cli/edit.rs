//! `unigen edit`.

use super::{
    ComputeArgs, Sampling, engine, image_format, interruptible, steps_bar, warn_of_unknown_words, write_image,
};
use anyhow::Result;
use clap::Args;
use pollster::FutureExt;
use std::path::PathBuf;
use std::process::ExitCode;
use unigen_core::engine::EditRequest;
use unigen_core::picture::Picture;
use unigen_core::sampling::StepReport;
use unigen_runs::Interrupt;

#[derive(Args)]
pub struct Edit {
    /// Picture to edit. If it is not square, only its middle is used
    image: PathBuf,
    /// What to change
    instruction: String,
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Image file to write
    #[arg(short, long, default_value = "out.png")]
    out: PathBuf,
    /// Seed; the same seed gives the same image
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Mask, a picture as large as IMAGE: white areas may change, all other pixels stay as they are
    #[arg(long)]
    mask: Option<PathBuf>,
    /// Guidance scale of the picture [default: the model's]
    #[arg(long)]
    image_guidance_scale: Option<f32>,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl Edit {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| self.draw())
    }

    fn draw(&self) -> Result<()> {
        image_format(&self.out)?;
        let request = EditRequest {
            image: Picture::open(&self.image)?,
            instruction: self.instruction.clone(),
            seed: self.seed,
            mask: self.mask.as_deref().map(Picture::open_mask).transpose()?,
        };
        let engine = engine(&self.model, &self.compute.open()?)?;
        warn_of_unknown_words(&engine, [self.instruction.as_str()]);
        let settings = self.sampling.over_edits(engine.generation(), self.image_guidance_scale);
        let bar = steps_bar(settings.edit_steps)?;
        let on_step = async |_: StepReport<'_>| {
            bar.inc(1);
            Interrupt::flow()
        };
        let image = engine.edit(&request, &settings, on_step).block_on()?;
        bar.finish_and_clear();
        write_image(&self.out, &image)?;
        println!("{}", self.out.display());
        Ok(())
    }
}
