//! `unigen eval understanding`.

use super::own::OwnQuestions;
use super::{ComputeArgs, Outputs, WorldArgs, engine, interruptible};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::engine::Engine;
use unigen_runs::Progress;
use unigen_stickers::understanding::{self, held_out_questions};
use unigen_stickers::world::{Domain, Scope, Split};

#[derive(Args)]
pub struct Understanding {
    /// Your own questions as shards or jsonl files, with image, question, answer and, if you like, kind [default: held-out
    /// scenes of the sticker world]
    #[arg(requires = "out")]
    files: Vec<PathBuf>,
    /// Folder for the results, report.json and report.html of your own questions
    #[arg(long, requires = "files")]
    out: Option<PathBuf>,
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Questions of each kind
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    each: u64,
    /// Seed of the scenes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    world: WorldArgs,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// The content of the JSON file.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a Path,
    bf16: bool,
    #[serde(flatten)]
    found: &'a understanding::Understanding,
}

impl Understanding {
    pub fn run(&self) -> Result<ExitCode> {
        self.outputs.check()?;
        if let Some(out) = &self.out {
            let Self { files, model, compute, .. } = self;
            return interruptible(|| OwnQuestions { files, model, out, compute }.evaluate());
        }
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let engine = engine(&self.model, &self.compute.open()?)?;
        let found = understanding(&engine, self.world.scope(), self.seed, self.each)?;
        print!("{found}");
        let report = Report { model: &self.model, bf16: self.compute.bf16, found: &found };
        self.outputs.write(&report, || found.sheet())
    }
}

/// Asks questions about held-out scenes, with a progress bar.
pub(super) fn understanding(
    engine: &Engine,
    scope: Scope,
    seed: u64,
    each: u64,
) -> Result<understanding::Understanding> {
    scope.check()?;
    let asked = held_out_questions(Domain { scope, split: Split::Test }, seed, each as usize);
    Progress::over("understanding", asked.len(), |progress| {
        understanding::evaluate(engine, scope, &asked, progress)
    })
}
