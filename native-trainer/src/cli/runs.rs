//! `unigen runs`.

use super::writable;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use unigen_core::files::write_atomic;
use unigen_runs::{RunFolder, runs_page};

#[derive(Args)]
pub struct Runs {
    /// Run folders, or folders that contain run folders
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// HTML page to write
    #[arg(short, long, default_value = "runs.html")]
    out: PathBuf,
}

impl Runs {
    pub fn run(&self) -> Result<ExitCode> {
        writable(&self.out)?;
        let mut runs = Vec::new();
        for folder in &self.folders {
            runs.extend(RunFolder::all(folder)?);
        }
        let page = runs_page(&runs)?;
        write_atomic(&self.out, |out| out.write_all(page.as_bytes()))?;
        println!("{}: {} runs", self.out.display(), runs.len());
        Ok(ExitCode::SUCCESS)
    }
}
