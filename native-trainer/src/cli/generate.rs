//! `unigen generate`.

use super::{
    ComputeArgs, Sampling, engine, image_format, interruptible, steps_bar, warn_of_unknown_words, write_image,
};
use anyhow::Result;
use clap::Args;
use pollster::FutureExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::engine::GenerateRequest;
use unigen_core::sampling::StepReport;
use unigen_evaluation::BATCH;
use unigen_runs::{Interrupt, sheet};

#[derive(Args)]
pub struct Generate {
    /// Prompts; each one gives its own images
    #[arg(required = true)]
    prompts: Vec<String>,
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Image file to write. Several images are numbered: out-1.png, out-2.png and so on
    #[arg(short, long, default_value = "out.png")]
    out: PathBuf,
    /// Seed of the first image. Further images use the seeds after it. The same seed gives the same image
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Images per prompt
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    count: u64,
    /// Write all images as one sheet
    #[arg(long)]
    sheet: bool,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl Generate {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| self.draw())
    }

    fn draw(&self) -> Result<()> {
        image_format(&self.out)?;
        let engine = engine(&self.model, &self.compute.open()?)?;
        warn_of_unknown_words(&engine, self.prompts.iter().map(String::as_str));
        let settings = self.sampling.over(engine.generation());
        let requests: Vec<GenerateRequest> = self
            .prompts
            .iter()
            .flat_map(|prompt| (0..self.count).map(move |i| (prompt, self.seed.wrapping_add(i))))
            .map(|(prompt, seed)| GenerateRequest { prompt: prompt.clone(), seed })
            .collect();
        let steps = requests.len().div_ceil(BATCH) * settings.steps;
        let bar = steps_bar(steps)?;
        let mut cells = Vec::new();
        let mut numbers = 1..;
        for batch in requests.chunks(BATCH) {
            let on_step = async |_: StepReport<'_>| {
                bar.inc(1);
                Interrupt::flow()
            };
            let images = engine.generate_batch(batch, &settings, on_step).block_on()?;
            for ((request, image), number) in batch.iter().zip(images).zip(&mut numbers) {
                if self.sheet {
                    cells.push((image, format!("{} (seed {})", request.prompt, request.seed)));
                } else {
                    let single = requests.len() == 1;
                    let path = if single { self.out.clone() } else { numbered(&self.out, number) };
                    write_image(&path, &image)?;
                    bar.suspend(|| println!("{}", path.display()));
                }
            }
        }
        bar.finish_and_clear();
        if self.sheet {
            let columns = (cells.len() as f64).sqrt().ceil() as usize;
            write_image(&self.out, &sheet(&cells, columns, 2))?;
            println!("{}", self.out.display());
        }
        Ok(())
    }
}

/// `out.png` → `out-3.png`
fn numbered(path: &Path, number: usize) -> PathBuf {
    let part = |name: Option<&std::ffi::OsStr>| name.unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!("{}-{number}.{}", part(path.file_stem()), part(path.extension())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_before_the_ending() {
        assert_eq!(numbered(Path::new("a.b/out.png"), 3), Path::new("a.b/out-3.png"));
        assert_eq!(numbered(Path::new("x.y.jpg"), 12), Path::new("x.y-12.jpg"));
    }
}
