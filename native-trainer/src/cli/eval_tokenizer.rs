//! `unigen eval tokenizer`.

use super::{ComputeArgs, Outputs, WorldArgs, interruptible, judge};
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::precision::WithPrecision;
use unigen_models::Library;
use unigen_runs::{Compute, Progress};
use unigen_stickers::judge::Detector;
use unigen_stickers::reconstruction::{Reconstructions, held_out_scenes};
use unigen_stickers::world::{Domain, Scope, Split};
use unigen_training::data::MAX_SIDE;

#[derive(Args)]
pub struct EvalTokenizer {
    /// Name of a model that `unigen models` lists, or the folder of a model or of an image tokenizer
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Folder of the detector that judges
    #[arg(long, default_value = "models/detector")]
    detector: PathBuf,
    /// Number of held-out scenes
    #[arg(long, default_value_t = 192, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    count: u64,
    /// Side of the square pictures in pixels
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SIDE)))]
    size: u32,
    #[command(flatten)]
    world: WorldArgs,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl EvalTokenizer {
    pub fn run(&self) -> Result<ExitCode> {
        self.outputs.check()?;
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let compute = self.compute.open()?;
        let judge = judge(&self.detector, &compute)?;
        let found =
            reconstructions(&self.model, self.size, self.world.scope(), self.count, &judge, &compute)?;
        print!("{found}");
        self.outputs.write(&found, || found.sheet())
    }
}

/// Reconstructs held-out scenes and judges them, with a progress bar.
pub(super) fn reconstructions(
    model: &Path,
    size: u32,
    scope: Scope,
    count: u64,
    judge: &Detector,
    compute: &Compute,
) -> Result<Reconstructions> {
    scope.check()?;
    let (config, tokenizer) = Library::of_user().find(model)?.image_tokenizer(&compute.device)?;
    let tokenizer = tokenizer.with_precision(compute.precision);
    config.grid(size as usize, size as usize)?;
    let scenes = held_out_scenes(Domain { scope, split: Split::Validation }, count);
    Progress::over("tokenizer", count as usize, |progress| {
        Reconstructions::run(
            &tokenizer,
            config.z_channels,
            size,
            &scenes,
            Some(judge),
            &compute.device,
            progress,
        )
    })
}
