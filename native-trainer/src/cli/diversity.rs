//! `unigen eval diversity`.

use super::interruptible;
use super::judging::{Judging, Opened};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
use unigen_runs::Progress;
use unigen_stickers::diversity;

#[derive(Args)]
pub struct Diversity {
    /// Number of things to draw, each from eight seeds
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1050))]
    prompts: u64,
    #[command(flatten)]
    judging: Judging,
}

impl Diversity {
    pub fn run(&self) -> Result<ExitCode> {
        self.judging.check()?;
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let Judging { seed, world, .. } = &self.judging;
        let opened = self.judging.open()?;
        let Opened { engine, settings, judge } = &opened;
        let (scope, count) = (world.scope(), self.prompts as usize);
        let found = Progress::over("diversity", count, |progress| {
            diversity::Diversity::of(engine, scope, count, settings, *seed, judge, progress)
        })?;
        self.judging.tell(&opened, &found, || found.sheet())
    }
}
