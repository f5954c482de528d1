//! What a model that sees is asked in validation: edits, and questions with one right answer.

use anyhow::Result;
use pollster::FutureExt;
use rand::seq::IndexedRandom;
use unigen_core::engine::{AnswerSettings, EditRequest, Engine};
use unigen_core::sampling::Flow;

use crate::data::stickers::{Edit, QuestionAnswer, Renderer, Split, edit_at, questions, rng_at, scene_at};
use crate::eval::BATCH;
use crate::run::sheet;
use crate::train::Evaluation;

/// What held-out scenes are drawn from.
pub const SEED: u64 = 0x5EED_E8A3;
/// Edits on the sheet.
const EDITS: u64 = 24;
/// Questions asked, and of them shown.
const ASKED: u64 = 64;
const SHOWN: usize = 32;
/// No answer is longer, in tokens.
const ANSWER: usize = 24;

/// Has `engine` edit and answer about held-out scenes: the share of answers that are right to the letter; a sheet of
/// before, drawn and wanted; a sheet of questions and answers.
///
/// # Errors
/// When the device fails.
pub fn exam(engine: &Engine) -> Result<Evaluation> {
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
        let drawn = engine.edit_batch(requests, engine.generation(), async |_| Flow::Continue).block_on()?;
        for ((request, edit), drawn) in requests.iter().zip(edits).zip(drawn) {
            cells.push((request.image.clone(), request.instruction.clone()));
            cells.push((drawn, "drawn".to_owned()));
            cells.push((renderer.render(&edit.after, size, size), edit.description.clone()));
        }
    }
    let settings = AnswerSettings { max_tokens: ANSWER, ..AnswerSettings::default() };
    let (mut right, mut answers) = (0, Vec::new());
    for index in 0..ASKED {
        let scene = scene_at(Split::Validation, SEED, index);
        let mut rng = rng_at(SEED, index);
        let asked = questions(&scene, &mut rng);
        let Some(QuestionAnswer { question, answer, .. }) = asked.choose(&mut rng) else { continue };
        let picture = renderer.render(&scene, size, size);
        let found = engine.describe(&picture, question, &settings, async |_| Flow::Continue).block_on()?;
        let correct = found.trim() == answer;
        right += u64::from(correct);
        let text = if correct {
            format!("{question} {found}")
        } else {
            format!("{question} {found} (no: {answer})")
        };
        answers.push((picture, text));
    }
    let share = right as f64 / answers.len().max(1) as f64;
    answers.truncate(SHOWN);
    Ok(Evaluation {
        scalars: vec![("answers right", share)],
        sheets: vec![("edits", sheet(&cells, 6, 1)), ("answers", sheet(&answers, 8, 1))],
    })
}
