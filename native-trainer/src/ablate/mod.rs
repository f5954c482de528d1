//! The ablations of UniGen-1.5 (arXiv 2511.14760): which tasks take part in reinforcement learning, what alignment before it
//! is worth; and, beyond the paper, what a reward for leaving the rest alone does.

mod estimate;
mod table;

pub use estimate::{Cases, Estimate};
pub use table::table;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use unigen_core::engine::Engine;
use unigen_core::files::write_atomic;

use crate::Compute;
use crate::data::stickers::{EditKind, Split, geneval_prompts};
use crate::eval;
use crate::eval::detector::Detector;
use crate::eval::geneval::Tag;
use crate::eval::imgedit::{self, held_out_cases};
use crate::run::{Progress, Record, RunFolder};
use crate::stages::{RlStage, rl};
use crate::train::{Start, run};

/// Weight of the consistency reward in the arm that has it, where the settings give none.
const CONSISTENCY: f32 = 0.5;

/// Settings of `unigen ablate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the model before edit instruction alignment, as the stage `sft` exports it.
    pub unaligned: PathBuf,
    /// The same model after it, as the stage `align` exports it.
    pub aligned: PathBuf,
    /// The detector that judges; no reward.
    pub judge: PathBuf,
    /// The arms that are run, in this order. Folders of different arms, made on different machines, may be put together.
    pub arms: Vec<Arm>,
    /// Every arm is run once for each.
    pub seeds: Vec<u64>,
    /// Pictures of each of GenEval's 553 prompts.
    pub samples: usize,
    /// Held-out edits of each of the nine kinds.
    pub edits: u64,
    /// What all arms have in common; `model`, `judge`, `consistency` and the shares of tasks are the arms'.
    pub rl: rl::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unaligned: "runs/sft/export".into(),
            aligned: "runs/align/export".into(),
            judge: "runs/judge/export".into(),
            arms: Arm::ALL.into(),
            seeds: vec![0, 1],
            samples: 1,
            edits: 24,
            rl: rl::Settings::default(),
        }
    }
}

/// One way to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Arm {
    Unaligned,
    Aligned,
    Generate,
    Edit,
    Both,
    UnalignedBoth,
    Consistent,
}

impl From<Arm> for &'static str {
    fn from(arm: Arm) -> Self {
        arm.name()
    }
}

impl TryFrom<String> for Arm {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Arm::ALL.into_iter().find(|arm| arm.name() == name).ok_or_else(|| {
            format!("there is no arm {name}; the arms are {}", Arm::ALL.map(Arm::name).join(", "))
        })
    }
}

impl Arm {
    /// All, in the order in which they are run.
    pub const ALL: [Arm; 7] = {
        use Arm::*;
        [Unaligned, Aligned, Both, Generate, Edit, UnalignedBoth, Consistent]
    };

    /// Its name in settings and folders.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Unaligned => "unaligned",
            Arm::Aligned => "aligned",
            Arm::Generate => "aligned-generate",
            Arm::Edit => "aligned-edit",
            Arm::Both => "aligned-both",
            Arm::UnalignedBoth => "unaligned-both",
            Arm::Consistent => "aligned-both-consistency",
        }
    }

    /// Whether alignment comes first.
    pub fn aligned(self) -> bool {
        !matches!(self, Arm::Unaligned | Arm::UnalignedBoth)
    }

    /// Whether generation and editing take part in reinforcement learning.
    pub fn tasks(self) -> [bool; 2] {
        match self {
            Arm::Unaligned | Arm::Aligned => [false, false],
            Arm::Generate => [true, false],
            Arm::Edit => [false, true],
            Arm::Both | Arm::UnalignedBoth | Arm::Consistent => [true, true],
        }
    }

    /// The settings of its reinforcement learning; none where it has none.
    fn settings(self, common: &Settings, seed: u64) -> Option<rl::Settings> {
        let [generate, edit] = self.tasks();
        let share = |takes_part, share: u64| if takes_part { share.max(1) } else { 0 };
        let mut settings = common.rl.clone();
        settings.model = self.model(common).to_owned();
        // Neither stopping early nor choosing a checkpoint: all arms have the same compute.
        settings.judge = None;
        settings.mix = [share(generate, common.rl.mix[0]), share(edit, common.rl.mix[1])];
        settings.seed = settings.seed.wrapping_add(seed);
        settings.training.seed = settings.training.seed.wrapping_add(seed);
        let weight = if common.rl.consistency > 0.0 { common.rl.consistency } else { CONSISTENCY };
        settings.consistency = if self == Arm::Consistent { weight } else { 0.0 };
        (generate || edit).then_some(settings)
    }

    /// The model it begins with.
    fn model(self, common: &Settings) -> &Path {
        if self.aligned() { &common.aligned } else { &common.unaligned }
    }
}

/// What came of one arm with one seed. Arms with the same seed have the same cases.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Whether each picture is right, 0 or 1, by tag.
    pub geneval: Cases,
    /// The score of each edit, 1 to 5, by kind.
    pub imgedit: Cases,
    /// Of ImgEdit's scores, the one for leaving the rest as it was, 1 to 5.
    pub preservation: Cases,
    /// What its training was like; none where it had none.
    pub training: Option<Training>,
}

/// What reinforcement learning was like in one arm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Of each update with edits, the share of their groups whose samples all had the same rewards, 0 to 1.
    pub flat_edits: Cases,
    /// Of each update with edits, the standard deviation of the rewards within their groups, the rewards' weighted mean.
    pub spread_edits: Cases,
    /// Mean reward over the first and the last tenth of the updates.
    pub reward: [f64; 2],
    /// Seconds of its updates, rollouts and rewards among them.
    pub seconds: f64,
}

/// Scores by arm and seed.
pub type Results = BTreeMap<(Arm, u64), Scores>;

/// Runs what is not done yet of all arms in the folder `out`, each with every seed, and gives the scores; `report` sees all
/// there are after each. A run that was stopped goes on where it was.
///
/// # Errors
/// When a model, the judge or a setting cannot be used; when a run fails or is stopped: the message names it.
pub fn ablate(
    settings: &Settings,
    out: &Path,
    compute: &Compute,
    mut report: impl FnMut(&Results) -> Result<()>,
) -> Result<Results> {
    ensure!(!settings.arms.is_empty(), "arms is empty; give one at least");
    ensure!(!settings.seeds.is_empty(), "seeds is empty; give one at least");
    ensure!(settings.samples > 0, "samples is 0; draw one picture a prompt at least");
    ensure!(settings.edits > 0, "edits is 0; draw one of each kind at least");
    let judge = Detector::open(&settings.judge, compute)?;
    eval::check_judge(&judge)?;
    keep_settings(settings, out)?;
    let mut results = Results::new();
    for &seed in &settings.seeds {
        for &arm in &settings.arms {
            let folder = out.join(format!("{}-{seed}", arm.name()));
            let scores = scores(settings, arm, seed, &folder, &judge, compute).with_context(|| {
                format!("the arm {} with seed {seed}; the same command goes on from there", arm.name())
            })?;
            results.insert((arm, seed), scores);
            report(&results)?;
        }
    }
    Ok(results)
}

/// Notes the settings in `out`; other settings than those noted would mix up what is there already.
fn keep_settings(settings: &Settings, out: &Path) -> Result<()> {
    let (path, text) = (out.join("config.toml"), toml::to_string_pretty(settings)?);
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    if let Ok(before) = fs::read_to_string(&path) {
        // Arms and seeds may be added.
        let before: Settings =
            toml::from_str(&before).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(
            Settings { arms: settings.arms.clone(), seeds: settings.seeds.clone(), ..before } == *settings,
            "{} holds runs with other settings ({}): give another folder, or the same settings",
            out.display(),
            path.display()
        );
    }
    Ok(write_atomic(&path, |file| file.write_all(text.as_bytes()))?)
}

/// The scores of an arm, trained and judged where it is not yet.
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
            .with_context(|| format!("{} is damaged: delete it", file.display()));
    }
    let rl = arm.settings(settings, seed);
    let model = match &rl {
        None => arm.model(settings).to_owned(),
        Some(rl) => {
            let begun = RunFolder::open(folder).ok();
            if !begun.as_ref().is_some_and(|run| run.info().finished) {
                let start = if begun.is_some() { Start::Resume } else { Start::New };
                run::<RlStage>(rl.clone(), folder, start, std::slice::from_ref(compute))?;
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

/// What a log says.
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
        eval::Evaluation::of(&engine, &prompts, settings.samples, generation, seed, judge, progress)
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
