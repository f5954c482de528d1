//! `unigen train STAGE`.

use anyhow::Result;
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use unigen_core::precision::MatmulPrecision;

use super::{Stage, Start, export, run, settings};
use unigen_runs::{Compute, DeviceChoice, RunFolder};

/// What a stage of training takes from the command line.
#[derive(Debug, Args)]
pub struct Options {
    /// Settings as TOML; what it leaves out keeps its default
    #[arg(long, conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Folder of the run: settings, log, checkpoints and, at the end, the export
    #[arg(long)]
    out: PathBuf,
    /// One setting, such as training.steps=1000; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Go on with the run in the folder, with its settings
    #[arg(long)]
    resume: bool,
    /// Weights to start from, a safetensors file
    #[arg(long, conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Train nothing: write the run's best checkpoint, where its stage looks for it, or its last into this folder as the end of
    /// training would
    #[arg(long, conflicts_with_all = ["config", "set", "resume", "init"])]
    export: Option<PathBuf>,
    /// Devices that share the batches of a step, training.accumulate of them at least
    #[arg(long, default_value_t = 1, conflicts_with = "export")]
    devices: usize,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Where and how a stage computes.
#[derive(Debug, Clone, Copy, Args)]
pub struct ComputeArgs {
    /// Where to compute
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Matrix products in f32, or in bf16 with f32 sums where the processor has them (AMX, AVX-512 BF16)
    #[arg(long, default_value = "bf16")]
    precision: Precision,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Precision {
    Bf16,
    F32,
}

impl ComputeArgs {
    /// The device; fails where there is none of the kind.
    pub(super) fn open(self) -> Result<Compute> {
        Ok(self.on(self.device.open()?))
    }

    /// So many devices of the kind, likewise.
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
    /// A new run, or an unfinished one that goes on with the settings that it has.
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

/// Runs `unigen train` for the stage `S`.
///
/// # Errors
/// Those of [`settings`], [`run`] and [`export`].
pub fn command<S: Stage>(options: &Options) -> Result<()> {
    if let Some(folder) = &options.export {
        let exported = export::<S>(&options.out, folder, &options.compute.open()?)?;
        eprintln!("exported {exported}, to {}", folder.display());
        return Ok(());
    }
    let devices = options.compute.devices(options.devices)?;
    let config = match options.resume {
        true => Some(RunFolder::open(&options.out)?.config()),
        false => options.config.clone(),
    };
    let settings = settings(config.as_deref(), &options.set)?;
    let start = match &options.init {
        Some(weights) => Start::From(weights),
        None if options.resume => Start::Resume,
        None => Start::New,
    };
    run::<S>(settings, &options.out, start, &devices)
}
