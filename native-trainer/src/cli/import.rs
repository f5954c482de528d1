//! `unigen import`.

use super::interruptible;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::weights::{BlockFormat, Precision};
use unigen_core::{Error, ErrorKind};
use unigen_models::Library;
use unigen_models::import::{self, Parts, ShowO, Storage, Whole};
use unigen_runs::Interrupt;

#[derive(Subcommand)]
pub enum Import {
    /// Put a language model, an understanding encoder and an image tokenizer together: what training starts from
    Parts(ImportParts),
    /// Import a Show-o checkpoint: Show-o, Show-o-512, RecA, Show-o-Turbo
    ShowO(ImportShowO),
    /// Import a UniGen checkpoint as its authors save it
    Unigen(ImportUnigen),
}

#[derive(Args)]
pub struct ImportParts {
    /// Qwen2.5: a Hugging Face folder, or a GGUF file
    #[arg(long)]
    decoder: PathBuf,
    /// SigLIP or SigLIP2: a Hugging Face folder
    #[arg(long)]
    vision: PathBuf,
    /// MAGVITv2: a folder as showlab publishes it
    #[arg(long)]
    image_tokenizer: PathBuf,
    /// Side of the pictures that the model is to draw, in pixels
    #[arg(long)]
    image_size: usize,
    /// tokenizer.json of the language model [default: the one in its folder or in the GGUF file]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Seed of the new rows of the token table and of the new projector
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct ImportShowO {
    /// Folder of the checkpoint
    checkpoint: PathBuf,
    /// MAGVITv2: a folder as showlab publishes it
    #[arg(long)]
    image_tokenizer: PathBuf,
    /// tokenizer.json of Phi-1.5, or the folder that it is in
    #[arg(long)]
    tokenizer: PathBuf,
    /// How the model draws unless told otherwise
    #[arg(long, value_enum, default_value_t = ShowOSampling::Usual)]
    sampling: ShowOSampling,
    #[command(flatten)]
    target: Target,
}

/// How a Show-o draws.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowOSampling {
    /// As Show-o's authors: 50 steps with guidance 5
    Usual,
    /// As the authors of Show-o-Turbo: 4 steps without guidance, from the likeliest codes
    Turbo,
}

#[derive(Args)]
pub struct ImportUnigen {
    /// Folder of the checkpoint
    checkpoint: PathBuf,
    /// MAGVITv2: a folder as showlab publishes it
    #[arg(long)]
    image_tokenizer: PathBuf,
    /// SigLIP or SigLIP2: a Hugging Face folder. Without it the model draws, but it cannot see pictures
    #[arg(long)]
    vision: Option<PathBuf>,
    /// tokenizer.json of Qwen2.5, or the folder that it is in
    #[arg(long)]
    tokenizer: PathBuf,
    /// Side of the pictures that the model draws, in pixels: 256 for UniGen, 384 for UniGen-1.5
    #[arg(long, default_value_t = 256)]
    image_size: usize,
    #[command(flatten)]
    target: Target,
}

/// Where the model goes, and how it is stored.
#[derive(Args)]
pub struct Target {
    /// Folder to write [default: the name of the source, in the folder of models that `unigen models` lists]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    storage: StorageArgs,
}

/// How the values of a model are stored.
#[derive(Args)]
pub struct StorageArgs {
    /// Store the linear layers of decoder and understanding encoder in blocks of 4 or 8 bits a value
    #[arg(long, value_enum, default_value_t = Quantize::None)]
    quantize: Quantize,
    /// Precision of what is not quantised
    #[arg(long, value_enum, default_value_t = Dtype::Keep)]
    dtype: Dtype,
}

#[derive(Clone, Copy, ValueEnum)]
enum Quantize {
    /// 4.5 bits a value (GGML's Q4_0)
    Q4,
    /// 8.5 bits a value (GGML's Q8_0)
    Q8,
    /// As they are
    None,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    /// As it is
    Keep,
    /// 11 bits of precision, up to 65504
    F16,
    /// 8 bits of precision, the range of f32
    Bf16,
}

impl StorageArgs {
    fn storage(&self) -> Storage {
        Storage {
            quantize: match self.quantize {
                Quantize::Q4 => Some(BlockFormat::Q4_0),
                Quantize::Q8 => Some(BlockFormat::Q8_0),
                Quantize::None => None,
            },
            precision: match self.dtype {
                Dtype::Keep => None,
                Dtype::F16 => Some(Precision::F16),
                Dtype::Bf16 => Some(Precision::Bf16),
            },
        }
    }
}

impl Import {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| match self {
            Import::Parts(parts) => {
                let plan = Parts {
                    decoder: parts.decoder.clone(),
                    vision: parts.vision.clone(),
                    image_tokenizer: parts.image_tokenizer.clone(),
                    tokenizer: parts.tokenizer.clone(),
                    image_size: parts.image_size,
                    seed: parts.seed,
                };
                parts.target.write(&parts.decoder, || plan.read())
            }
            Import::ShowO(showo) => {
                let plan = ShowO {
                    checkpoint: showo.checkpoint.clone(),
                    image_tokenizer: showo.image_tokenizer.clone(),
                    tokenizer: showo.tokenizer.clone(),
                    turbo: showo.sampling == ShowOSampling::Turbo,
                };
                showo.target.write(&showo.checkpoint, || plan.read())
            }
            Import::Unigen(unigen) => {
                let plan = Whole {
                    checkpoint: unigen.checkpoint.clone(),
                    image_tokenizer: unigen.image_tokenizer.clone(),
                    vision: unigen.vision.clone(),
                    tokenizer: unigen.tokenizer.clone(),
                    image_size: unigen.image_size,
                };
                unigen.target.write(&unigen.checkpoint, || plan.read())
            }
        })
    }
}

impl Target {
    /// Writes what `read` plans from the weights at `source`.
    fn write(&self, source: &Path, read: impl FnOnce() -> unigen_core::Result<import::Import>) -> Result<()> {
        let out = match &self.out {
            Some(out) => out.clone(),
            None => {
                let name =
                    std::path::absolute(source)?.file_stem().map(|name| name.to_string_lossy().into_owned());
                Library::of_user().folder(&name.context("the source has no name; choose one with --out")?)
            }
        };
        write(read()?, &out, &self.storage)
    }
}

/// Writes a model into the folder `out` behind a progress bar.
pub fn write(import: import::Import, out: &Path, storage: &StorageArgs) -> Result<()> {
    for warning in &import.warnings {
        eprintln!("warning: {warning}");
    }
    let (side, style) = (
        import.config().image_size,
        ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left")?,
    );
    let bar = ProgressBar::new(0).with_style(style);
    let progress = |written, all| {
        bar.set_length(all);
        bar.set_position(written);
        let interrupted = |e| Error::new(ErrorKind::Cancelled, out.display(), e);
        Interrupt::check().map_err(interrupted)
    };
    import.write(out, storage.storage(), &progress)?;
    bar.finish_and_clear();
    println!("{}: draws {side} x {side} pixels", out.display());
    Ok(())
}
