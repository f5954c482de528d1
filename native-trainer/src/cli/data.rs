//! `unigen data check` and `unigen data describe`.

use super::own::thumbnail;
use super::vlm::{Asking, Endpoint};
use super::{interruptible, write_json};
use anyhow::{Context, Result, ensure};
use clap::Args;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::files::write_atomic;
use unigen_evaluation::ask::{Ask, Asked};
use unigen_evaluation::journal::Journal;
use unigen_evaluation::page::{Entry, page};
use unigen_runs::{Interrupt, Progress};
use unigen_training::data::{ShardIndex, Shown, Survey};

#[derive(Args)]
pub struct DataCheck {
    /// Shards, jsonl files, folders, or patterns of them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Folder for survey.json and for survey.html, a page with samples
    #[arg(long)]
    out: Option<PathBuf>,
}

impl DataCheck {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| self.check())
    }

    fn check(&self) -> Result<()> {
        let mut bar: Option<Progress> = None;
        let mut before = 0;
        let (survey, shown) = Survey::of(&self.files, |done, of| {
            Interrupt::check()?;
            let bar = bar.get_or_insert_with(|| Progress::new("samples", 0, of as u64));
            bar.step(done as u64, (done - before) as u64, f64::NAN);
            before = done;
            Ok(())
        })?;
        if let Some(bar) = bar {
            bar.finish();
        }
        let numbers = numbers(&survey);
        for (name, number) in &numbers {
            println!("{name:<28}{number}");
        }
        for reason in &survey.reasons {
            println!("cannot be used: {reason}");
        }
        if let Some(out) = &self.out {
            self.write(out, &survey, &numbers, &shown)?;
        }
        Ok(())
    }

    fn write(
        &self,
        out: &Path,
        survey: &Survey,
        numbers: &[(String, String)],
        shown: &[Shown],
    ) -> Result<()> {
        let pictures = out.join("pictures");
        fs::create_dir_all(&pictures).with_context(|| format!("cannot create {}", pictures.display()))?;
        let mut entries = Vec::new();
        for (number, Shown { pictures: of, texts }) in shown.iter().enumerate() {
            let mut listed = Vec::new();
            for (name, picture) in of {
                let path = format!("pictures/{number:03}-{name}.png");
                let (width, height) = picture.dimensions();
                thumbnail(picture).save(out.join(&path)).with_context(|| format!("cannot write {path}"))?;
                listed.push((path, format!("{name}, {width} x {height}")));
            }
            entries.push(Entry { pictures: listed, title: String::new(), lines: texts.clone(), right: None });
        }
        for reason in &survey.reasons {
            let title = "cannot be used".to_owned();
            entries.push(Entry {
                title,
                lines: vec![reason.clone()],
                right: Some(false),
                ..Entry::default()
            });
        }
        let page = page("Samples", numbers, &entries);
        write_json(&out.join("survey.json"), survey)?;
        Ok(write_atomic(&out.join("survey.html"), |file| file.write_all(page.as_bytes()))?)
    }
}

/// The numbers of a survey in the order of a table.
fn numbers(survey: &Survey) -> Vec<(String, String)> {
    let mut rows = vec![("samples".to_owned(), survey.samples.to_string())];
    let mut row = |name: String, number: String| rows.push((name, number));
    for (kind, count) in &survey.kinds {
        row((*kind).to_owned(), count.to_string());
    }
    row("cannot be used".to_owned(), survey.broken.to_string());
    row("edits without description".to_owned(), survey.without_description.to_string());
    row("pictures".to_owned(), survey.pictures.to_string());
    if let Some(sizes) = survey.sizes {
        for (name, [width, height]) in ["smallest sides", "median sides", "largest sides"].iter().zip(sizes) {
            row((*name).to_owned(), format!("{width} x {height}"));
        }
    }
    row("pictures that come again".to_owned(), survey.same_pictures.to_string());
    row("pictures that look alike".to_owned(), survey.similar_pictures.to_string());
    row("texts that come again".to_owned(), survey.same_texts.to_string());
    for (name, count) in survey.lengths.iter().filter(|(_, count)| *count > 0) {
        row(format!("texts {name} characters"), count.to_string());
    }
    row("longest text".to_owned(), format!("{} characters", survey.longest));
    for (language, count) in &survey.languages {
        row(format!("texts in {language}"), count.to_string());
    }
    rows
}

#[derive(Args)]
pub struct DataDescribe {
    /// Shards, jsonl files, folders, or patterns of them, with edits or pictures
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Vision-language model that describes, as URL#MODEL of an OpenAI-compatible endpoint; its key is in
    /// UNIGEN_JUDGE_KEY
    #[arg(long)]
    teacher: Endpoint,
    /// Folder for described.jsonl and its pictures
    #[arg(long)]
    out: PathBuf,
    /// What the teacher is asked about an edit; {instruction} stands for the instruction
    #[arg(long, default_value = EDIT)]
    edit_prompt: String,
    /// What the teacher is asked about a picture without a caption
    #[arg(long, default_value = PICTURE)]
    picture_prompt: String,
    #[command(flatten)]
    asking: Asking,
}

const EDIT: &str = "The first picture was edited by the instruction \"{instruction}\", and the second picture is the result. Describe \
the result in one or two sentences, as a caption for someone who sees neither picture: what it shows, with the change that the \
instruction asked for. Do not mention the first picture, the instruction or an edit.";
const PICTURE: &str =
    "Describe the picture in one or two sentences, as a caption for someone who does not see it.";
/// The longest description, in tokens.
const LONGEST: usize = 256;
/// Number of samples that are asked about together.
const BATCH: usize = 32;

/// A described sample as the journal keeps it.
#[derive(Serialize, Deserialize)]
struct Described {
    line: serde_json::Value,
}

/// A sample that lacks its text.
struct Wanting {
    key: String,
    pictures: Vec<(&'static str, RgbImage)>,
    instruction: Option<String>,
}

impl DataDescribe {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| self.describe())
    }

    fn describe(&self) -> Result<()> {
        ensure!(self.edit_prompt.contains("{instruction}"), "--edit-prompt has no {{instruction}}");
        let index = ShardIndex::open(&self.files)?;
        let teacher = self.asking.open(&self.teacher)?;
        eprintln!("about an edit, {} is asked: {}", teacher.name(), self.edit_prompt);
        eprintln!("about a picture: {}", self.picture_prompt);
        let of = ("describe", teacher.name(), &self.edit_prompt, &self.picture_prompt, index.name());
        let mut journal = Journal::open(&self.out, &of)?;
        let (mut progress, mut failures) = (Progress::new("described", 0, index.len() as u64), Vec::new());
        let mut skipped = 0;
        for first in (0..index.len()).step_by(BATCH) {
            Interrupt::check()?;
            let numbers = first..index.len().min(first + BATCH);
            let (count, done) = (numbers.len() as u64, numbers.end as u64);
            let mut wanting = Vec::new();
            for number in numbers {
                let key = format!("{number:08}");
                if journal.get::<Described>(&key)?.is_none() {
                    match self.wanting(&index, number, key) {
                        Ok(Some(sample)) => wanting.push(sample),
                        Ok(None) => skipped += 1,
                        Err(why) => failures.push(why.to_string()),
                    }
                }
            }
            let asked: Vec<Asked> = wanting.iter().map(|sample| self.asked(sample)).collect();
            for (sample, answer) in wanting.iter().zip(teacher.ask(&asked)) {
                match answer {
                    Ok(text) => {
                        journal.add(&sample.key, &Described { line: line(&journal, sample, &text)? })?
                    }
                    Err(why) => failures.push(format!("sample {}: {why}", sample.key)),
                }
            }
            progress.step(done, count, f64::NAN);
        }
        progress.finish();
        let mut lines = String::new();
        let mut described = 0;
        for number in 0..index.len() {
            if let Some(Described { line }) = journal.get(&format!("{number:08}"))? {
                lines += &format!("{line}\n");
                described += 1;
            }
        }
        let file = self.out.join("described.jsonl");
        write_atomic(&file, |out| out.write_all(lines.as_bytes()))?;
        println!("{described} described in {}, {skipped} had a text already", file.display());
        for why in failures.iter().take(20) {
            println!("left out: {why}");
        }
        ensure!(
            failures.is_empty(),
            "{} samples are left out; start the command again to ask about them once more",
            failures.len()
        );
        Ok(())
    }

    /// The sample of this number if it lacks a description or a caption.
    fn wanting(&self, index: &ShardIndex, number: usize, key: String) -> Result<Option<Wanting>> {
        let record = index.record(number);
        let instruction = record.text("instruction").ok();
        let text = if instruction.is_some() { "description" } else { "caption" };
        if record.text(text).is_ok() || record.text("question").is_ok() || record.text("prompt").is_ok() {
            return Ok(None);
        }
        let names: &[&'static str] = if instruction.is_some() { &["before", "after"] } else { &["image"] };
        let read = |name: &&'static str| Ok((*name, record.picture(name)?));
        let pictures = names.iter().map(read).collect::<Result<_>>()?;
        Ok(Some(Wanting { key, pictures, instruction }))
    }

    fn asked(&self, sample: &Wanting) -> Asked {
        let text = match &sample.instruction {
            Some(instruction) => self.edit_prompt.replace("{instruction}", instruction),
            None => self.picture_prompt.clone(),
        };
        let images = sample.pictures.iter().map(|(_, picture)| picture.clone()).collect();
        Asked { images, text, max_tokens: LONGEST }
    }
}

/// The line of a described sample. Its pictures are kept beside it, whatever file they come from.
fn line(journal: &Journal, sample: &Wanting, text: &str) -> Result<serde_json::Value> {
    let mut line = serde_json::Map::new();
    for (name, picture) in &sample.pictures {
        let key = format!("{}-{name}", sample.key);
        journal.add_picture(&key, picture)?;
        line.insert((*name).to_owned(), json!(Journal::picture_path(&key)));
    }
    match &sample.instruction {
        Some(instruction) => {
            line.insert("instruction".to_owned(), json!(instruction));
            line.insert("description".to_owned(), json!(text));
        }
        None => drop(line.insert("caption".to_owned(), json!(text))),
    }
    Ok(line.into())
}
