//! Evaluations on the user's own prompts, edits and questions. Each keeps its results in a folder as they come, and
//! goes on from there when it is started again.

use super::vlm::{Asking, Endpoint};
use super::{ComputeArgs, Sampling, engine, interruptible};
use anyhow::{Context, Result, ensure};
use clap::Args;
use image::RgbImage;
use pollster::FutureExt;
use serde::Serialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::{AnswerSettings, EditRequest, Engine, GenerateRequest};
use unigen_core::picture::Picture;
use unigen_evaluation::ask::Ask;
use unigen_evaluation::journal::Journal;
use unigen_evaluation::page::{Entry, page};
use unigen_evaluation::understanding::{Asked, Understanding};
use unigen_evaluation::{dpg, edits};
use unigen_runs::{Interrupt, Progress};
use unigen_training::data::Files;

/// Draws one picture of a prompt.
pub(super) fn draw(
    engine: &Engine,
    settings: &GenerationConfig,
    prompt: &str,
    seed: u64,
) -> Result<RgbImage> {
    Interrupt::check()?;
    let request = [GenerateRequest { prompt: prompt.to_owned(), seed }];
    let drawn = engine.generate_batch(&request, settings, async |_| Interrupt::flow()).block_on()?;
    drawn.into_iter().next().context("no picture was drawn")
}

#[derive(Args)]
pub struct Dpg {
    /// File of prompts with their questions, one JSON object per line: {"prompt": "..", "questions": [{"id": 1, "question":
    /// "..", "dependency": [0, 1], "category": ".."}]}
    prompts: PathBuf,
    /// Name of a model that `unigen models` lists, or the folder of one
    #[arg(long, default_value = "nano")]
    model: PathBuf,
    /// Vision-language model that answers the questions, as URL#MODEL of an OpenAI-compatible endpoint; its key is in
    /// UNIGEN_JUDGE_KEY
    #[arg(long)]
    judge: Endpoint,
    /// Folder for pictures, results, report.json and report.html
    #[arg(long)]
    out: PathBuf,
    /// Pictures per prompt
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=100))]
    samples: u64,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl Dpg {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| self.evaluate())
    }

    fn evaluate(&self) -> Result<()> {
        let text = std::fs::read_to_string(&self.prompts)
            .with_context(|| format!("cannot read {}", self.prompts.display()))?;
        let prompts = dpg::read(&text).with_context(|| self.prompts.display().to_string())?;
        let judge = self.asking.open(&self.judge)?;
        let engine = engine(&self.model, &self.compute.open()?)?;
        let settings = self.sampling.over(engine.generation());
        let samples = self.samples as usize;
        let of = ("dpg", &self.model, judge.name(), &settings, samples, &prompts);
        let mut journal = Journal::open(&self.out, &of)?;
        let found = Progress::over("dpg", prompts.len() * samples, |progress| {
            let draw = |prompt: &str, seed| draw(&engine, &settings, prompt, seed);
            dpg::run(&prompts, samples, &judge, &mut journal, draw, progress)
        })?;
        print!("{found}");
        journal.finish(&found, &found.page(&prompts))
    }
}

/// `eval imgedit --triples`.
pub(super) struct OwnEdits<'a> {
    pub triples: &'a [PathBuf],
    pub model: &'a PathBuf,
    pub judge: &'a Endpoint,
    pub out: &'a PathBuf,
    pub seed: u64,
    pub asking: &'a Asking,
    pub compute: &'a ComputeArgs,
}

impl OwnEdits<'_> {
    pub fn evaluate(&self, settings: impl Fn(&Engine) -> GenerationConfig) -> Result<()> {
        let files = Files::open(self.triples, "--triples")?;
        let judge = self.asking.open(self.judge)?;
        let engine = engine(self.model, &self.compute.open()?)?;
        let (settings, size) = (settings(&engine), engine.config().image_size as u32);
        let of = ("imgedit", self.model, judge.name(), &settings, self.seed, self.triples);
        let mut journal = Journal::open(self.out, &of)?;
        let case = |number: usize| {
            files.usable(number as u64, |record| {
                Ok(edits::Case {
                    before: Picture::square(&record.picture("before")?, size),
                    instruction: record.text("instruction")?,
                    after: record.picture("after").ok().map(|after| Picture::square(&after, size)),
                })
            })
        };
        let draw = |case: &edits::Case, number: u64| {
            Interrupt::check()?;
            let (image, instruction) = (case.before.clone(), case.instruction.clone());
            let request =
                [EditRequest { image, instruction, seed: self.seed.wrapping_add(number), mask: None }];
            let drawn = engine.edit_batch(&request, &settings, async |_| Interrupt::flow()).block_on()?;
            drawn.into_iter().next().context("no picture was drawn")
        };
        let count = files.len() as usize;
        let found = Progress::over("imgedit", count, |progress| {
            edits::run(count, case, &judge, &mut journal, draw, progress)
        })?;
        print!("{found}");
        journal.finish(&found, &found.page(case(0)?.after.is_some()))
    }
}

/// `eval understanding FILE`.
pub(super) struct OwnQuestions<'a> {
    pub files: &'a [PathBuf],
    pub model: &'a PathBuf,
    pub out: &'a PathBuf,
    pub compute: &'a ComputeArgs,
}

/// The content of the JSON file.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a PathBuf,
    #[serde(flatten)]
    found: &'a Understanding,
}

impl OwnQuestions<'_> {
    pub fn evaluate(&self) -> Result<()> {
        let files = Files::open(self.files, "FILE")?;
        let engine = engine(self.model, &self.compute.open()?)?;
        ensure!(engine.sees(), "the model in {} has no understanding encoder", self.model.display());
        let of = ("understanding", self.model, self.files);
        let mut journal = Journal::open(self.out, &of)?;
        let asked = (0..files.len()).map(|index| {
            files.usable(index, |record| {
                let wanted = record.text("answer")?.to_lowercase();
                let kind = record.text("kind").unwrap_or_else(|_| "questions".to_owned());
                let (image, question) = (record.picture("image")?, record.text("question")?);
                Ok(Asked { kind, question, wanted, image })
            })
        });
        let asked: Vec<Asked> = asked.collect::<Result<_>>()?;
        // The best answer without a look at the picture is the most frequent one of each kind.
        let mut counts: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
        for Asked { kind, wanted, .. } in &asked {
            *counts.entry(kind).or_default().entry(wanted).or_default() += 1;
        }
        let most = |answers: HashMap<&str, usize>| {
            let most = answers.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
            most.map_or(String::new(), |(answer, _)| answer.to_owned())
        };
        let majority: HashMap<String, String> =
            counts.into_iter().map(|(kind, answers)| (kind.to_owned(), most(answers))).collect();
        let mut number = 0;
        let found = Progress::over("understanding", asked.len(), |progress| {
            let answer = |image: &RgbImage, question: &str| -> Result<String> {
                Interrupt::check()?;
                let key = format!("{number:06}");
                number += 1;
                if let Some(answer) = journal.get(&key)? {
                    return Ok(answer);
                }
                let settings = AnswerSettings::default();
                let answer =
                    engine.ask(image, question, &settings, async |_| Interrupt::flow()).block_on()?.text;
                journal.add_picture(&key, &thumbnail(image))?;
                journal.add(&key, &answer)?;
                Ok(answer)
            };
            Understanding::run(asked, &majority, answer, progress)
        })?;
        print!("{found}");
        let numbers = [
            ("right".to_owned(), format!("{:.4}", found.overall)),
            ("most frequent answer".to_owned(), format!("{:.4}", found.majority)),
        ];
        let entries = found.answers.iter().enumerate().map(|(place, answered)| Entry {
            pictures: vec![(Journal::picture_path(&format!("{place:06}")), answered.kind.clone())],
            title: answered.question.clone(),
            lines: vec![format!("answer: {}", answered.answer), format!("wanted: {}", answered.wanted)],
            right: Some(answered.correct),
        });
        let page = page("Understanding", &numbers, &entries.collect::<Vec<_>>());
        journal.finish(&Report { model: self.model, found: &found }, &page)
    }
}

/// A picture as small as a page shows it.
pub(super) fn thumbnail(image: &RgbImage) -> RgbImage {
    const SIDE: u32 = 256;
    match image.width().max(image.height()) {
        0..=SIDE => image.clone(),
        longest => {
            let scaled = |side: u32| (side * SIDE / longest).max(1);
            image::imageops::thumbnail(image, scaled(image.width()), scaled(image.height()))
        }
    }
}
