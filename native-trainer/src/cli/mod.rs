//! The commands of `unigen` that have more than a few options.

mod ablate;
mod bench_model;
mod coverage;
mod data;
mod describe;
mod diversity;
mod edit;
mod eval_all;
mod eval_tokenizer;
mod extend;
mod generate;
mod geneval;
mod imgedit;
mod import;
mod inpaint;
mod judging;
pub mod models;
mod own;
mod pull;
mod reconstruct;
mod rewards;
mod runs;
mod understanding;
mod vlm;

pub use ablate::Ablate;
pub use bench_model::BenchModel;
pub use coverage::Vocabulary;
pub use data::{DataCheck, DataDescribe};
pub use describe::Describe;
pub use diversity::Diversity;
pub use edit::Edit;
pub use eval_all::EvalAll;
pub use eval_tokenizer::EvalTokenizer;
pub use extend::Extend;
pub use generate::Generate;
pub use geneval::Geneval;
pub use imgedit::ImgEdit;
pub use import::Import;
pub use inpaint::Inpaint;
pub use own::Dpg;
pub use pull::Pull;
pub use reconstruct::Reconstruct;
pub use rewards::{EvalRewards, ServeRewards};
pub use runs::Runs;
pub use understanding::Understanding;

use anyhow::{Context, Result, ensure};
use clap::Args;
use image::{ImageFormat, RgbImage};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::{Engine, ModelFolder};
use unigen_core::files::write_atomic;
use unigen_core::precision::MatmulPrecision;
use unigen_evaluation::{Detect, check_judge};
use unigen_models::Library;
use unigen_runs::{Compute, DeviceChoice, Interrupt, Interrupted};
use unigen_stickers::judge::Detector;
use unigen_stickers::world::{Class, Domain, Scope, Split};

/// Exit code of an interrupted program, by the convention of shells.
const INTERRUPTED: u8 = 130;

/// Device and precision.
#[derive(Args)]
struct ComputeArgs {
    /// Device to compute on
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Multiply matrices in bf16 on processors with AMX or AVX-512 BF16. This is faster, but images differ from those
    /// in f32
    #[arg(long)]
    bf16: bool,
}

impl ComputeArgs {
    /// Opens the device. Fails if the machine has no such device.
    fn open(&self) -> Result<Compute> {
        let precision = if self.bf16 { MatmulPrecision::Bf16 } else { MatmulPrecision::F32 };
        Ok(Compute { device: self.device.open()?, precision })
    }
}

/// The engine of the model that the user calls `model`: a name that `unigen models` lists, or a folder.
fn engine(model: &Path, compute: &Compute) -> Result<Engine> {
    let model = Library::of_user().find(model)?;
    Ok(model.open(&compute.device)?.with_precision(compute.precision))
}

/// Options that override the model's generation.json.
#[derive(Args)]
struct Sampling {
    /// Guidance scale of the text, as the model's authors count it; 1, for Show-o 0, turns guidance off [default: the model's]
    #[arg(long)]
    guidance_scale: Option<f32>,
    /// Decoding steps [default: the model's]
    #[arg(long)]
    steps: Option<usize>,
    /// Noise on the order in which image codes are fixed [default: the model's]
    #[arg(long)]
    temperature: Option<f32>,
}

impl Sampling {
    fn over(&self, model: &GenerationConfig) -> GenerationConfig {
        GenerationConfig {
            guidance_scale: self.guidance_scale.unwrap_or(model.guidance_scale),
            steps: self.steps.unwrap_or(model.steps),
            temperature: self.temperature.unwrap_or(model.temperature),
            ..model.clone()
        }
    }

    /// The same for edits, which have their own text scale and number of steps.
    fn over_edits(&self, model: &GenerationConfig, image_guidance_scale: Option<f32>) -> GenerationConfig {
        GenerationConfig {
            edit_steps: self.steps.unwrap_or(model.edit_steps),
            edit_guidance_scale: self.guidance_scale.unwrap_or(model.edit_guidance_scale),
            image_guidance_scale: image_guidance_scale.unwrap_or(model.image_guidance_scale),
            ..self.over(model)
        }
    }
}

/// Where an evaluation writes its results.
#[derive(Args)]
struct Outputs {
    /// JSON file for the scores and for the verdict on each picture
    #[arg(long)]
    json: Option<PathBuf>,
    /// Image file for a sheet of right and wrong pictures
    #[arg(long)]
    sheet: Option<PathBuf>,
}

impl Outputs {
    /// Checks, before any work, that the files can be written.
    fn check(&self) -> Result<()> {
        self.json.as_deref().map_or(Ok(()), writable)?;
        self.sheet.as_deref().map_or(Ok(()), |sheet| image_format(sheet).map(drop))
    }

    fn write(&self, report: &impl Serialize, sheet: impl FnOnce() -> RgbImage) -> Result<()> {
        self.json.as_deref().map_or(Ok(()), |path| write_json(path, report))?;
        self.sheet.as_deref().map_or(Ok(()), |path| write_image(path, &sheet()))
    }
}

/// A progress bar over decoding steps.
fn steps_bar(steps: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} step {pos}/{len}, {eta} left")?;
    Ok(ProgressBar::new(steps as u64).with_style(style))
}

/// Runs `work`, which Ctrl-C may stop. An interruption becomes the exit code of an interrupted program; other errors
/// are returned.
pub fn interruptible(work: impl FnOnce() -> Result<()>) -> Result<ExitCode> {
    Interrupt::install()?;
    match work() {
        Err(error) if Interrupted::is(&error) => {
            eprintln!("{error:#}");
            Ok(ExitCode::from(INTERRUPTED))
        }
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

/// Opens the judge at `path` and prints its accuracy. Fails if the accuracy is too low.
fn judge(path: &Path, compute: &Compute) -> Result<Detector> {
    let judge = Detector::open(path, compute)?;
    println!("{:<15}{:>8.4}", "detector", judge.accuracy());
    check_judge(&judge)?;
    Ok(judge)
}

/// Writes `report` as JSON at `path`.
fn write_json(path: &Path, report: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec_pretty(report)?;
    Ok(write_atomic(path, |out| out.write_all(&json))?)
}

/// Checks, before any work, that `path` can be written.
fn writable(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(
        folder.is_dir(),
        "cannot write {}: there is no folder {}; create it first",
        path.display(),
        folder.display()
    );
    ensure!(!path.is_dir(), "{} is a folder; give the name of a file", path.display());
    Ok(())
}

/// The image format that the name of a file asks for. Fails if the file cannot be written.
fn image_format(path: &Path) -> Result<ImageFormat> {
    writable(path)?;
    let format = ImageFormat::from_path(path).ok().filter(|format| format.writing_enabled());
    format.with_context(|| {
        format!("{}: unknown kind of image; choose a name that ends in .png or .jpg", path.display())
    })
}

/// Prints the words of `texts` that the model has not learned, if its vocabulary is known.
fn warn_of_unknown_words<'a>(engine: &Engine, texts: impl IntoIterator<Item = &'a str>) {
    const EXAMPLES: usize = 12;
    let text = texts.into_iter().collect::<Vec<_>>().join("\n");
    let unknown = engine.unknown_words(&text);
    if unknown.is_empty() {
        return;
    }
    let vocabulary = &engine.generation().vocabulary;
    let known = vocabulary.words();
    let named = |word: &&str| match vocabulary.nearest(word) {
        Some(nearest) => format!("\"{word}\" (but \"{nearest}\")"),
        None => format!("\"{word}\""),
    };
    eprintln!(
        "warning: this model has not learned {}; it knows {} words, among them {} (all are in its {})",
        unknown.iter().map(named).collect::<Vec<_>>().join(", "),
        known.len(),
        known[..known.len().min(EXAMPLES)].join(", "),
        ModelFolder::GENERATION,
    );
}

fn write_image(path: &Path, image: &RgbImage) -> Result<()> {
    let mut file = Cursor::new(Vec::new());
    image
        .write_to(&mut file, image_format(path)?)
        .with_context(|| format!("cannot encode {}", path.display()))?;
    Ok(write_atomic(path, |out| out.write_all(file.get_ref()))?)
}

/// How much of the sticker world is shown.
#[derive(Args)]
pub struct WorldArgs {
    /// Number of things, in the order of the table of things
    #[arg(long, default_value_t = Class::GENEVAL.len())]
    things: usize,
    /// Things in three dimensions, too (needs `cargo xtask assets`)
    #[arg(long)]
    solid: bool,
    /// Texts in Chinese, too
    #[arg(long)]
    chinese: bool,
}

impl WorldArgs {
    /// The scope.
    pub fn scope(&self) -> Scope {
        let Self { things, solid, chinese } = *self;
        Scope { things, solid, chinese }
    }

    /// Its test scenes.
    fn domain(&self) -> Result<Domain> {
        let scope = self.scope();
        scope.check()?;
        Ok(Domain { scope, split: Split::Test })
    }
}
