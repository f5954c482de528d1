//! `unigen eval vocabulary`.

use super::interruptible;
use super::judging::{Judging, Opened};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
use unigen_runs::Progress;
use unigen_stickers::coverage::{Coverage, asked};

#[derive(Args)]
pub struct Vocabulary {
    #[command(flatten)]
    judging: Judging,
}

impl Vocabulary {
    pub fn run(&self) -> Result<ExitCode> {
        self.judging.check()?;
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let Judging { seed, world, .. } = &self.judging;
        let opened = self.judging.open()?;
        let Opened { engine, settings, judge } = &opened;
        let asked = asked(world.scope(), *seed);
        let coverage = Progress::over("vocabulary", asked.len(), |progress| {
            Coverage::of(engine, asked, settings, *seed, judge, progress)
        })?;
        self.judging.tell(&opened, &coverage, || coverage.sheet())
    }
}
