//! Validation of a model: held-out prompts, and, if the model can see, edits and questions with one right answer.

use anyhow::Result;
use burn::tensor::Device;
use image::RgbImage;
use pollster::FutureExt;
use std::path::Path;
use unigen_core::engine::{EditRequest, Engine, GenerateRequest};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_evaluation::geneval::{self, Prompt, Tag};
use unigen_evaluation::{BATCH, check_judge};
use unigen_runs::{Compute, Interrupt, sheet};
use unigen_training::train::Evaluation;
use unigen_training::validation::{SEED, Validation};

use crate::imgedit::{self, held_out_cases};
use crate::judge::Detector;
use crate::reconstruction::{Reconstructions, held_out_scenes};
use crate::understanding::{self, held_out_questions};
use crate::world::{Domain, Edit, QuestionKind, Renderer, Scope, Split, edit_at, validation_prompts};

/// Number of edits of each kind that a judge scores, and of edits on the sheet without a judge.
const SCORED: u64 = 3;
const EDITS: u64 = 24;
/// Number of questions of each kind.
const ASKED: usize = 12;
/// Number of scenes that are reconstructed.
const SCENES: u64 = 192;
/// The seed of the prompts, and the step between the prompts that are used.
const PROMPTS: u64 = 0x5EED_9E7A;
const EVERY: usize = 7;
/// Names of the scores that [`Validation::score`] combines.
const GENEVAL: &str = "geneval";
const IMGEDIT: &str = "imgedit";

/// Held-out scenes, and a judge if there is one.
pub struct SceneValidation {
    scope: Scope,
    judge: Option<Detector>,
}

impl SceneValidation {
    /// Opens the detector at `judge`. Without a judge, nothing is scored.
    ///
    /// # Errors
    /// If the detector cannot be opened or is not accurate enough.
    pub fn open(scope: Scope, judge: Option<&Path>, compute: &Compute) -> Result<Self> {
        let judge = judge.map(|path| Detector::open(path, compute)).transpose()?;
        judge.as_ref().map_or(Ok(()), |judge| check_judge(judge).map(drop))?;
        Ok(Self { scope, judge })
    }

    fn domain(&self) -> Domain {
        Domain { scope: self.scope, split: Split::Validation }
    }
}

/// Prompts of the validation split. The test prompts must have no part in choosing a checkpoint.
fn prompts() -> Vec<Prompt> {
    validation_prompts(PROMPTS).into_iter().step_by(EVERY).collect()
}

impl Validation for SceneValidation {
    fn judged(&self) -> bool {
        self.judge.is_some()
    }

    /// The scores are `geneval` and one for each tag.
    fn drawing(&self, engine: &Engine) -> Result<Evaluation> {
        let Some(judge) = &self.judge else {
            return Ok(Evaluation { scalars: vec![], sheets: vec![("samples", drawn(engine)?)] });
        };
        let settings = engine.generation();
        let judged = geneval::Evaluation::of(engine, &prompts(), 1, settings, 0, judge, |_| {})?;
        let mut scalars = vec![(GENEVAL, judged.overall.unwrap_or_default())];
        scalars.extend(Tag::ALL.iter().filter_map(|&tag| Some((tag.name(), judged.scores.tag(tag)?))));
        Ok(Evaluation { scalars, sheets: vec![("samples", judged.sheet())] })
    }

    /// The share of answers that are right to the letter, in all and by kind, and the score `imgedit` if there is a
    /// judge. One sheet shows pictures before, drawn and wanted, another questions and answers.
    fn editing(&self, engine: &Engine) -> Result<Evaluation> {
        let asked = held_out_questions(self.domain(), SEED, ASKED);
        let answers = understanding::evaluate(engine, self.scope, &asked, |_| ())?;
        let mut scalars = vec![("answers right", answers.overall)];
        for name in QuestionKind::ALL.map(QuestionKind::name) {
            let kind = answers.kinds.iter().find(|kind| kind.kind == name);
            scalars.extend(kind.map(|kind| (name, kind.accuracy)));
        }
        let edits = match &self.judge {
            Some(judge) => {
                let cases = held_out_cases(self.domain(), SEED, SCORED);
                let found = imgedit::evaluate(engine, cases, engine.generation(), 0, judge, |_| ())?;
                scalars.push((IMGEDIT, found.model.overall));
                found.model.sheet()
            }
            None => edited(engine, self.domain())?,
        };
        Ok(Evaluation { scalars, sheets: vec![("edits", edits), ("answers", answers.sheet())] })
    }

    fn reconstruction(
        &self,
        tokenizer: &ImageTokenizer,
        bits: usize,
        size: u32,
        device: &Device,
    ) -> Result<Evaluation> {
        let judge = self.judge.as_ref();
        let scenes = held_out_scenes(self.domain(), SCENES);
        let found = Reconstructions::run(tokenizer, bits, size, &scenes, judge, device, |_| ())?;
        let mut scalars = vec![("psnr", found.pictures.psnr), ("bits used", found.pictures.bits_used)];
        if let Some(found) = &found.reconstructions {
            scalars.extend([
                ("sprites found", found.place),
                ("class", found.class),
                ("color", found.color),
                ("class and color", found.both),
                ("false positives", found.false_positives),
            ]);
        }
        Ok(Evaluation { scalars, sheets: vec![("reconstructions", found.sheet())] })
    }

    /// The mean of GenEval and ImgEdit, if the model does both.
    fn score(&self, found: &Evaluation) -> Option<f64> {
        self.judge.as_ref()?;
        mean_score(found)
    }
}

/// The mean of the scores of drawing and editing, 0 to 1. None if there is neither.
fn mean_score(found: &Evaluation) -> Option<f64> {
    let score = |of: &str| found.scalars.iter().find(|(name, _)| *name == of).map(|(_, score)| *score);
    // Edits are scored 1 to 5.
    let scores = [score(GENEVAL), score(IMGEDIT).map(|score| (score - 1.0) / 4.0)];
    let there: Vec<f64> = scores.into_iter().flatten().collect();
    (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
}

/// A sheet of pictures that `engine` draws for [`prompts`].
fn drawn(engine: &Engine) -> Result<RgbImage> {
    let requests = prompts().into_iter().zip(0..);
    let requests: Vec<_> =
        requests.map(|(prompt, seed)| GenerateRequest { prompt: prompt.prompt, seed }).collect();
    let mut drawn = Vec::new();
    for requests in requests.chunks(BATCH) {
        let batch = engine.generate_batch(requests, engine.generation(), async |_| Interrupt::flow());
        drawn.extend(batch.block_on()?);
    }
    let cells: Vec<_> = drawn.into_iter().zip(requests.into_iter().map(|r| r.prompt)).collect();
    Ok(sheet(&cells, 10, 1))
}

/// A sheet of held-out edits: the pictures before, drawn and wanted.
fn edited(engine: &Engine, domain: Domain) -> Result<RgbImage> {
    let (renderer, size) = (Renderer::new(), engine.config().image_size as u32);
    let edits: Vec<Edit> = (0..EDITS).map(|index| edit_at(domain, SEED, index)).collect();
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
    use crate::world::geneval::tests::splits;

    #[test]
    fn prompts_are_of_every_kind_and_none_is_of_the_test() {
        let prompts = prompts();
        for tag in Tag::ALL {
            assert!(prompts.iter().filter(|prompt| prompt.tag == tag).count() > 5, "{tag:?}");
        }
        for prompt in prompts {
            assert!(splits(&prompt).into_iter().all(|split| split == Split::Validation), "{prompt:?}");
        }
    }

    #[test]
    fn drawing_and_editing_count_alike() {
        let of = |scalars: &[(&'static str, f64)]| {
            mean_score(&Evaluation { scalars: scalars.to_vec(), sheets: vec![] })
        };
        assert_eq!(of(&[("geneval", 0.5), ("counting", 0.1), ("imgedit", 4.0)]), Some(0.625));
        assert_eq!(of(&[("geneval", 0.5)]), Some(0.5));
        assert_eq!(of(&[("answers right", 0.5)]), None);
        let blind = SceneValidation::open(Scope::default(), None, &Device::flex().into()).unwrap();
        assert!(!blind.judged() && blind.score(&Evaluation::default()).is_none());
    }
}
