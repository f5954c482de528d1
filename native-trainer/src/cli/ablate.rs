//! `unigen ablate`.

use super::interruptible;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use unigen_core::files::write_atomic;
use unigen_core::precision::MatmulPrecision;
use unigen_runs::{Compute, DeviceChoice};
use unigen_stickers::ablation::{ablate, table};
use unigen_training::train::settings;

#[derive(Args)]
pub struct Ablate {
    /// TOML file with settings; a key that is absent keeps its default
    #[arg(long)]
    config: PathBuf,
    /// Folder for the runs, their scores and the table; finished parts are not repeated
    #[arg(long, default_value = "runs/ablate")]
    out: PathBuf,
    /// Change one setting, such as rl.training.steps=100; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Device to compute on
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
}

impl Ablate {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| self.ablate())
    }

    fn ablate(&self) -> Result<()> {
        let settings = settings(Some(&self.config), &self.set)?;
        let file = self.out.join("table.md");
        // Training uses the same precision.
        let compute = Compute { device: self.device.open()?, precision: MatmulPrecision::Bf16 };
        let results = ablate(&settings, &self.out, &compute, |results| {
            Ok(write_atomic(&file, |out| out.write_all(table(results).as_bytes()))?)
        })?;
        print!("{}", table(&results));
        Ok(())
    }
}
