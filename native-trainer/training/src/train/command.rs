//! `unigen train STAGE`.

use anyhow::Result;
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use unigen_core::precision::MatmulPrecision;

use super::fit::fits_machine;
use super::settings::settings_of;
use super::{Find, Stage, Start, export, run};
use unigen_runs::{Compute, DeviceChoice, RunFolder};

/// The command line of a training stage.
#[derive(Debug, Args)]
pub struct Options {
    /// TOML file with settings; a key that is absent keeps its default
    #[arg(long, conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Folder of the run, for its settings, log, checkpoints and export
    #[arg(long)]
    out: PathBuf,
    /// Change one setting, such as training.steps=1000; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Continue the run in the folder with its settings
    #[arg(long)]
    resume: bool,
    /// Weights to start from: a safetensors file, the folder of a model, or the name of one that `unigen models` lists
    #[arg(long, conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Export a checkpoint of the run into this folder and train nothing. The best checkpoint is exported if the
    /// stage looks for it, otherwise the last
    #[arg(long, conflicts_with_all = ["config", "set", "resume", "init"])]
    export: Option<PathBuf>,
    /// Number of devices that share the batches of a step; training.accumulate must be at least as large
    #[arg(long, default_value_t = 1, conflicts_with = "export")]
    devices: usize,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Device and precision of a stage.
#[derive(Debug, Clone, Copy, Args)]
pub struct ComputeArgs {
    /// Device to compute on
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Precision of matrix products. bf16 has f32 sums and needs AMX or AVX-512 BF16; other processors compute in f32
    #[arg(long, default_value = "bf16")]
    precision: Precision,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Precision {
    Bf16,
    F32,
}

impl ComputeArgs {
    /// Opens the device. Fails if the machine has no such device.
    pub(super) fn open(self) -> Result<Compute> {
        Ok(self.on(self.device.open()?))
    }

    /// Opens `count` such devices.
    fn devices(self, count: usize) -> Result<Vec<Compute>> {
        Ok(self.device.devices(count)?.into_iter().map(|device| self.on(device)).collect())
    }

    fn on(self, device: Device) -> Compute {
        let precision = match self.precision {
            Precision::Bf16 => MatmulPrecision::Bf16,
            Precision::F32 => MatmulPrecision::F32,
        };
        Compute { device, precision }
    }
}

impl Options {
    /// Options of a new run, or of an unfinished run that continues with its own settings.
    pub(super) fn of(
        config: Option<PathBuf>,
        set: Vec<String>,
        out: PathBuf,
        resume: bool,
        compute: ComputeArgs,
    ) -> Self {
        let (config, set) = if resume { (None, vec![]) } else { (config, set) };
        Self { config, out, set, resume, init: None, export: None, devices: 1, compute }
    }
}

/// Runs `unigen train` for the stage `S`; `find` knows models by name.
///
/// # Errors
/// The errors of [`settings`](fn@super::settings), [`run`] and [`export`].
pub fn command<S: Stage>(options: &Options, find: Find) -> Result<()> {
    if let Some(folder) = &options.export {
        let exported = export::<S>(&options.out, folder, &options.compute.open()?)?;
        eprintln!("exported {exported} to {}", folder.display());
        return Ok(());
    }
    let devices = options.compute.devices(options.devices)?;
    let config = match options.resume {
        true => Some(RunFolder::open(&options.out)?.config()),
        false => options.config.clone(),
    };
    let settings = settings_of::<S>(config.as_deref(), &options.set, find)?;
    let init = options.init.as_deref().map(find).transpose()?;
    fits_machine::<S>(&settings, &devices)?;
    let start = match &init {
        Some(weights) => Start::From(weights),
        None if options.resume => Start::Resume,
        None => Start::New,
    };
    run::<S>(settings, &options.out, start, &devices)
}
