//! What a model is asked in validation: prompts; and where it sees, edits, and questions with one right answer.

use anyhow::Result;
use pollster::FutureExt;
use std::path::Path;
use unigen_core::engine::{EditRequest, Engine};

use crate::Compute;
use crate::data::stickers::{Edit, Renderer, Split, edit_at, validation_prompts};
use crate::eval::detector::Detector;
use crate::eval::geneval::{Prompt, Tag};
use crate::eval::imgedit::{self, held_out_cases};
use crate::eval::understanding::{self, held_out_questions};
use crate::eval::{self, BATCH, check_judge};
use crate::run::{Interrupt, sheet};
use crate::train::Evaluation;

/// What held-out scenes are drawn from.
pub const SEED: u64 = 0x5EED_E8A3;
/// Edits of each kind that a judge scores, and edits on the sheet without one.
const SCORED: u64 = 3;
const EDITS: u64 = 24;
/// Questions of each kind.
const ASKED: usize = 12;

/// What the prompts are drawn from; every so manieth of them is drawn.
const PROMPTS: u64 = 0x5EED_9E7A;
const SKIPPED: usize = 7;

/// Held-out prompts; those of `unigen eval geneval` have no part in choosing a checkpoint.
pub fn prompts() -> Vec<Prompt> {
    validation_prompts(PROMPTS).into_iter().step_by(SKIPPED).collect()
}

/// Has `engine` draw [`prompts`] and `judge` score them: `geneval`, each tag, and a sheet.
///
/// # Errors
/// When the device fails; after Ctrl-C.
pub fn drawing_exam(engine: &Engine, judge: &Detector) -> Result<Evaluation> {
    let judged = eval::Evaluation::of(engine, &prompts(), 1, engine.generation(), 0, judge, |_| {})?;
    let mut scalars = vec![("geneval", judged.overall.unwrap_or_default())];
    scalars.extend(Tag::ALL.iter().filter_map(|&tag| Some((tag.name(), judged.scores.tag(tag)?))));
    Ok(Evaluation { scalars, sheets: vec![("samples", judged.sheet())] })
}

/// The detector at `path`, where there is one, if it may judge.
///
/// # Errors
/// Where it cannot be opened or is not accurate enough.
pub fn open_judge(path: Option<&Path>, compute: &Compute) -> Result<Option<Detector>> {
    let judge = path.map(|path| Detector::open(path, compute)).transpose()?;
    judge.as_ref().map_or(Ok(()), |judge| check_judge(judge).map(drop))?;
    Ok(judge)
}

/// Has `engine` edit and answer about held-out scenes: the share of answers that are right to the letter and, with a judge,
/// the scores of the edits; a sheet of before, drawn and wanted; a sheet of questions and answers.
///
/// # Errors
/// When the device fails; after Ctrl-C.
pub fn exam(engine: &Engine, judge: Option<&Detector>) -> Result<Evaluation> {
    let asked = held_out_questions(Split::Validation, SEED, ASKED);
    let answers = understanding::evaluate(engine, &asked, |_| ())?;
    let mut scalars = vec![("answers right", answers.overall)];
    scalars.extend(answers.kinds.iter().map(|kind| (kind.kind.name(), kind.accuracy)));
    let edits = match judge {
        Some(judge) => {
            let cases = held_out_cases(Split::Validation, SEED, SCORED);
            let found = imgedit::evaluate(engine, cases, engine.generation(), 0, judge, |_| ())?;
            scalars.push(("imgedit", found.model.overall));
            found.model.sheet()
        }
        None => edits(engine)?,
    };
    Ok(Evaluation { scalars, sheets: vec![("edits", edits), ("answers", answers.sheet())] })
}

/// Before, drawn and wanted of held-out edits.
fn edits(engine: &Engine) -> Result<image::RgbImage> {
    let (renderer, size) = (Renderer::new(), engine.config().image_size as u32);
    let edits: Vec<Edit> = (0..EDITS).map(|index| edit_at(Split::Validation, SEED, index)).collect();
    let requests = edits.iter().zip(0..).map(|(edit, seed)| EditRequest {
        image: renderer.render(&edit.before, size, size),
        instruction: edit.instruction.clone(),
        seed,
        mask: None,
    });
    let requests: Vec<EditRequest> = requests.collect();
    let mut cells = Vec::new();
    for (requests, edits) in requests.chunks(BATCH).zip(edits.chunks(BATCH)) {
        let drawn =
            engine.edit_batch(requests, engine.generation(), async |_| Interrupt::flow()).block_on()?;
        for ((request, edit), drawn) in requests.iter().zip(edits).zip(drawn) {
            cells.push((request.image.clone(), request.instruction.clone()));
            cells.push((drawn, format!("drawn (seed {})", request.seed)));
            cells.push((renderer.render(&edit.after, size, size), edit.description.clone()));
        }
    }
    Ok(sheet(&cells, 6, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_of_every_kind_and_none_is_of_the_test() {
        let prompts = prompts();
        for tag in Tag::ALL {
            assert!(prompts.iter().filter(|prompt| prompt.tag == tag).count() > 5, "{tag:?}");
        }
        for Prompt { include, .. } in prompts {
            for clause in &include {
                let color = clause.color.map(|color| Split::of_color(clause.class, color));
                let place = clause.position.map(|(relation, target)| {
                    Split::of_relation(clause.class, relation, include[target].class)
                });
                assert!(
                    color.into_iter().chain(place).all(|split| split == Split::Validation),
                    "{include:?}"
                );
            }
        }
    }
}
