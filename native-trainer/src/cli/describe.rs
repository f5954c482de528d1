//! `unigen describe`.

use super::{ComputeArgs, engine, warn_of_unknown_words};
use anyhow::Result;
use clap::Args;
use pollster::FutureExt;
use std::path::PathBuf;
use std::process::ExitCode;
use unigen_core::engine::AnswerSettings;
use unigen_core::picture::Picture;
use unigen_core::sampling::Flow;

#[derive(Args)]
pub struct Describe {
    /// Picture to look at
    image: PathBuf,
    /// Question or instruction about the picture
    #[arg(default_value = "describe the picture.")]
    question: String,
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Largest number of tokens of the answer
    #[arg(long, default_value_t = AnswerSettings::default().max_tokens)]
    max_tokens: usize,
    /// 0 always takes the likeliest token; above 0, tokens are drawn at random
    #[arg(long, default_value_t = AnswerSettings::default().temperature)]
    temperature: f32,
    /// Seed; the same seed gives the same answer
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl Describe {
    pub fn run(&self) -> Result<ExitCode> {
        let image = Picture::open(&self.image)?;
        let engine = engine(&self.model, &self.compute.open()?)?;
        warn_of_unknown_words(&engine, [self.question.as_str()]);
        let &Self { max_tokens, temperature, seed, .. } = self;
        let settings = AnswerSettings { max_tokens, temperature, seed, ..AnswerSettings::default() };
        let answer = engine.ask(&image, &self.question, &settings, async |_| Flow::Continue).block_on()?;
        println!("{}", answer.text);
        eprintln!("mean probability of a token: {:.2}", answer.mean_log_probability.exp());
        Ok(ExitCode::SUCCESS)
    }
}
