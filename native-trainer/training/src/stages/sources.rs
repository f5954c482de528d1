//! Where the samples of a stage come from: the user's own files, or a world.

use anyhow::{Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unigen_runs::Compute;

use crate::data::{Edits, Files, HeldOut, Order, Pictures, Prompts, SourceSettings, Split};
use crate::estimate::{self, Conversation, text_tokens};
use crate::validation::{OwnValidation, SEED, Validation};
use crate::world::World;

/// Whether a run has samples of the user's own. Then nothing of the world takes part in its validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Own,
    World,
}

impl Origin {
    /// The origin of a run whose settings list these files.
    pub fn of(lists: &[&[PathBuf]]) -> Self {
        if lists.iter().all(|files| files.is_empty()) { Self::World } else { Self::Own }
    }

    /// The order of the samples: the user's own are shuffled by `seed`.
    pub fn order(self, own: bool, seed: u64) -> Order {
        if self == Self::Own && own { Order::Shuffled(seed) } else { Order::Given }
    }

    /// Samples of the world, with those that `held_out` makes if the run has none of the user's own.
    fn world<T: ?Sized>(self, training: Box<T>, held_out: impl FnOnce() -> Box<T>) -> Split<T> {
        let held_out = (self == Self::World).then(|| held_out().into());
        Split { training: training.into(), held_out }
    }
}

/// The captioned pictures that `settings` name, or those of the world, of which `seed` holds out some.
pub fn pictures(
    world: &impl World,
    settings: &SourceSettings,
    seed: u64,
    origin: Origin,
) -> Result<Split<dyn Pictures>> {
    match &settings.shards[..] {
        [] => Ok(origin.world(world.pictures(settings.seed), || world.held_out_pictures(seed))),
        files => {
            let own = Files::split(files, "data.shards", &settings.validation, "caption")?;
            Ok(Split {
                training: own.training,
                held_out: own.held_out.map(|files| files as Arc<dyn Pictures>),
            })
        }
    }
}

/// How many samples of a source are used: `wanted`, or all of the user's own, or `world` of a source without end.
pub fn limit(wanted: Option<u64>, count: Option<u64>, world: u64) -> u64 {
    match count {
        Some(count) => wanted.map_or(count, |wanted| wanted.min(count)),
        None => wanted.unwrap_or(world),
    }
}

/// About how many tokens the captions of `settings` have.
pub fn caption_tokens(world: &impl World, settings: &SourceSettings) -> Result<f64> {
    let read = |count: u64| match &settings.shards[..] {
        [] => world.pictures(settings.seed).texts(count),
        files => Files::texts_of(files, "caption", count),
    };
    text_tokens(read, settings.max_text)
}

/// About how long conversations about the pictures of `settings` are. A caption of the user's own is one answer.
pub fn conversation(world: &impl World, settings: &SourceSettings) -> Result<Conversation> {
    match &settings.shards[..] {
        [] => estimate::conversation(&*world.pictures(settings.seed)),
        _ => {
            const QUESTION: f64 = 6.0;
            let answers = caption_tokens(world, settings)?;
            Ok(Conversation { rows: 12.0 + QUESTION + answers, answers })
        }
    }
}

/// About how many tokens the texts called `text` of `files` have, or those of the world's captions.
pub fn tokens_of(world: &impl World, files: &[PathBuf], text: &str, limit: usize) -> Result<f64> {
    let read = |count: u64| match files {
        [] => world.pictures(0).texts(count),
        files => Files::texts_of(files, text, count),
    };
    text_tokens(read, limit)
}

/// The edits in `triples`, or those of the world that `made` gives.
pub fn edits<W: World>(
    world: &W,
    triples: &[PathBuf],
    held_out: &HeldOut,
    origin: Origin,
    made: impl FnOnce(&W) -> Result<Box<dyn Edits>>,
) -> Result<Split<dyn Edits>> {
    match triples {
        [] => Ok(origin.world(made(world)?, || world.held_out_edits(SEED))),
        files => {
            let own = Files::split(files, "triples", held_out, "instruction")?;
            Ok(Split { training: own.training, held_out: own.held_out.map(|files| files as Arc<dyn Edits>) })
        }
    }
}

/// The prompts in `files`, or those of the world. The world has no held-out prompts: its validation has its own.
pub fn prompts(
    world: &impl World,
    files: &[PathBuf],
    held_out: &HeldOut,
    seed: u64,
) -> Result<Split<dyn Prompts>> {
    match files {
        [] => Ok(Split { training: world.prompts(seed).into(), held_out: None }),
        files => {
            let own = Files::split(files, "prompts", held_out, "prompt")?;
            Ok(Split {
                training: own.training,
                held_out: own.held_out.map(|files| files as Arc<dyn Prompts>),
            })
        }
    }
}

/// The validation of a run: of `own` samples, or of the world with the judge in the folder `judge`.
///
/// # Errors
/// The errors of the world; if there is a judge although the samples are the user's own.
pub fn validation(
    world: &impl World,
    origin: Origin,
    own: OwnValidation,
    judge: Option<&Path>,
    compute: &Compute,
) -> Result<Box<dyn Validation>> {
    check_judge(origin, judge)?;
    match origin {
        Origin::World => world.validation(judge, &compute.without_autodiff()),
        Origin::Own => Ok(Box::new(own)),
    }
}

/// Checks that a run on the user's own samples has no judge.
///
/// # Errors
/// If it has one.
pub fn check_judge(origin: Origin, judge: Option<&Path>) -> Result<()> {
    match judge.filter(|_| origin == Origin::Own) {
        None => Ok(()),
        Some(judge) => bail!(
            "judge is {}, but this run trains on files of your own, and the judge knows only the pictures of its world: \
             leave judge out",
            judge.display()
        ),
    }
}

/// Checks that files for validation have something to validate: one of `held_out` must be true.
///
/// # Errors
/// If there are files without a sample that this run can use.
pub fn check_held_out(settings: &HeldOut, held_out: &[bool]) -> Result<()> {
    if let HeldOut::Files(files) = settings {
        ensure!(
            held_out.contains(&true),
            "data.validation: {} has no sample of the kinds that this run trains on",
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}
