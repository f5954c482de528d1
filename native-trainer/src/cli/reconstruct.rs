//! `unigen reconstruct`.

use super::{ComputeArgs, Outputs, interruptible};
use anyhow::{Context, Result};
use clap::Args;
use image::RgbImage;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::picture::Picture;
use unigen_core::precision::WithPrecision;
use unigen_evaluation::reconstruction::Reconstructions;
use unigen_models::Library;
use unigen_runs::Progress;
use unigen_training::data::MAX_SIDE;

/// The most pictures at once, because all stay in memory for the sheet.
const MOST: usize = 4096;

#[derive(Args)]
pub struct Reconstruct {
    /// Pictures, or folders of pictures
    #[arg(required = true)]
    pictures: Vec<PathBuf>,
    /// Name of a model that `unigen models` lists, or the folder of a model or of an image tokenizer
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Side of the squares in the middle of the pictures, in pixels
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SIDE)))]
    size: u32,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl Reconstruct {
    pub fn run(&self) -> Result<ExitCode> {
        self.outputs.check()?;
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let compute = self.compute.open()?;
        let (config, tokenizer) = Library::of_user().find(&self.model)?.image_tokenizer(&compute.device)?;
        let tokenizer = tokenizer.with_precision(compute.precision);
        config.grid(self.size as usize, self.size as usize)?;
        let files = files(&self.pictures)?;
        let read =
            |path: &PathBuf| -> Result<RgbImage> { Ok(Picture::square(&Picture::open(path)?, self.size)) };
        let originals = files.iter().map(read).collect::<Result<Vec<_>>>()?;
        let found = Progress::over("reconstruct", originals.len(), |progress| {
            Reconstructions::run(&tokenizer, config.z_channels, originals, &compute.device, progress)
        })?;
        print!("{found}");
        self.outputs.write(&found, || found.sheet())
    }
}

/// The pictures themselves, and those in folders by name.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut inside: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_picture(path)).collect();
        inside.sort();
        anyhow::ensure!(!inside.is_empty(), "the folder {} has no pictures", path.display());
        files.extend(inside);
    }
    anyhow::ensure!(files.len() <= MOST, "{} pictures are more than {MOST}; name fewer", files.len());
    Ok(files)
}

fn is_picture(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let known = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"];
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    !hidden && ending.is_some_and(|ending| known.contains(&ending.as_str()))
}
