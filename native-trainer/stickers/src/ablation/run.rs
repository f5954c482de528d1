//! Runs the arms and judges the resulting models.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use unigen_core::engine::Engine;
use unigen_core::files::write_atomic;
use unigen_evaluation::check_judge;
use unigen_evaluation::geneval::{Evaluation, Tag};
use unigen_runs::{Compute, Progress, Record, RunFolder};
use unigen_training::stages::{RlStage, rl};
use unigen_training::train::{Start, run};

use super::estimate::{Cases, Estimate};
use super::scores::{Results, Scores, Training};
use super::settings::{Arm, Settings};
use crate::Stickers;
use crate::imgedit::{self, held_out_cases};
use crate::judge::Detector;
use crate::world::{EditKind, Split, geneval_prompts};

/// Runs all arms that are not done yet, each with every seed, in the folder `out`, and returns the scores. After each
/// run, calls `report` with all scores so far. Continues a run that was stopped.
///
/// # Errors
/// If a model, the judge or a setting cannot be used, or if a run fails or is stopped. The message names it.
pub fn ablate(
    settings: &Settings,
    out: &Path,
    compute: &Compute,
    mut report: impl FnMut(&Results) -> Result<()>,
) -> Result<Results> {
    ensure!(!settings.arms.is_empty(), "arms is empty; give at least one arm");
    ensure!(!settings.seeds.is_empty(), "seeds is empty; give at least one seed");
    ensure!(settings.samples > 0, "samples is 0; draw at least 1 picture per prompt");
    ensure!(settings.edits > 0, "edits is 0; draw at least 1 edit of each kind");
    let judge = Detector::open(&settings.judge, compute)?;
    check_judge(&judge)?;
    keep_settings(settings, out)?;
    let mut results = Results::new();
    for &seed in &settings.seeds {
        for &arm in &settings.arms {
            let folder = out.join(format!("{}-{seed}", arm.name()));
            let scores = scores(settings, arm, seed, &folder, &judge, compute).with_context(|| {
                format!(
                    "the arm {} with seed {seed} did not finish; run the same command to continue it",
                    arm.name()
                )
            })?;
            results.insert((arm, seed), scores);
            report(&results)?;
        }
    }
    Ok(results)
}

/// Writes the settings into `out`. Refuses settings that differ from those found there, since runs with different
/// settings would be mixed.
fn keep_settings(settings: &Settings, out: &Path) -> Result<()> {
    let (path, text) = (out.join("config.toml"), toml::to_string_pretty(settings)?);
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    if let Ok(before) = fs::read_to_string(&path) {
        // Arms and seeds may be added.
        let before: Settings =
            toml::from_str(&before).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(
            Settings { arms: settings.arms.clone(), seeds: settings.seeds.clone(), ..before } == *settings,
            "{} holds runs with other settings ({}); choose another folder, or use the same settings",
            out.display(),
            path.display()
        );
    }
    Ok(write_atomic(&path, |file| file.write_all(text.as_bytes()))?)
}

/// The scores of an arm. If they are missing, the arm is trained and judged first.
fn scores(
    settings: &Settings,
    arm: Arm,
    seed: u64,
    folder: &Path,
    judge: &Detector,
    compute: &Compute,
) -> Result<Scores> {
    let file = folder.with_extension("json");
    if let Ok(text) = fs::read(&file) {
        return serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged; delete it", file.display()));
    }
    let rl = arm.settings(settings, seed);
    let model = match &rl {
        None => arm.model(settings).to_owned(),
        Some(rl) => {
            let begun = RunFolder::open(folder).ok();
            if !begun.as_ref().is_some_and(|run| run.info().finished) {
                let start = if begun.is_some() { Start::Resume } else { Start::New };
                run::<RlStage<Stickers>>(rl.clone(), folder, start, std::slice::from_ref(compute))?;
            }
            folder.join("export")
        }
    };
    let mut scores = judged(settings, &model, seed, judge, compute)?;
    if let Some(rl) = &rl {
        scores.training = Some(training(&RunFolder::open(folder)?.records()?, rl)?);
    }
    let json = serde_json::to_vec_pretty(&scores)?;
    write_atomic(&file, |out| out.write_all(&json))?;
    Ok(scores)
}

/// Reads from an arm's log how its training went.
fn training(log: &[Record], settings: &rl::Settings) -> Result<Training> {
    let logged = |name: &str| -> Vec<f64> {
        log.iter().filter_map(|record| record.scalars.get(name)?.as_f64()).collect()
    };
    let rewards = logged("reward");
    let tenth = rewards.len().div_ceil(10);
    let first = Estimate::of(&rewards[..tenth]).context("its log has no rewards")?.mean;
    let last = Estimate::of(&rewards[rewards.len() - tenth..]).context("its log has no rewards")?.mean;
    let seconds_per_group: f64 =
        ["rollout_seconds", "reward_seconds", "update_seconds"].map(logged).iter().flatten().sum();
    Ok(Training {
        flat_edits: Cases(vec![logged("flat_groups/edit")]),
        spread_edits: Cases(vec![logged("spread/edit")]),
        reward: [first, last],
        seconds: seconds_per_group * settings.training.batch as f64,
    })
}

/// The scores of the model in a folder.
fn judged(
    settings: &Settings,
    model: &Path,
    seed: u64,
    judge: &Detector,
    compute: &Compute,
) -> Result<Scores> {
    let engine = Engine::open(model, &compute.device)?.with_precision(compute.precision);
    let generation = engine.generation();
    let prompts = geneval_prompts(seed);
    let drawn = Progress::over("geneval", prompts.len() * settings.samples, |progress| {
        Evaluation::of(&engine, &prompts, settings.samples, generation, seed, judge, progress)
    })?;
    let cases = held_out_cases(Split::Test, seed, settings.edits);
    let edited = Progress::over("imgedit", cases.len(), |progress| {
        imgedit::evaluate(&engine, cases, generation, seed, judge, progress)
    })?;
    let correct = |tag: Tag| {
        let of_tag = drawn.images.iter().filter(|image| image.tag == tag);
        of_tag.map(|image| f64::from(u8::from(image.correct))).collect()
    };
    let edits = |score: fn(&imgedit::Scores) -> f64| {
        let of_kind = |kind: EditKind| {
            let judged = edited.model.judged.iter().filter(|judged| judged.kind == kind);
            judged.map(|judged| score(&judged.scores)).collect()
        };
        Cases(EditKind::ALL.map(of_kind).into())
    };
    Ok(Scores {
        geneval: Cases(Tag::ALL.map(correct).into()),
        imgedit: edits(imgedit::Scores::mean),
        preservation: edits(|scores| scores.preservation),
        training: None,
    })
}
