//! Validation on a user's own samples: sheets that show what the model makes of them, and numbers that need no judge.

use anyhow::Result;
use burn::tensor::Device;
use image::RgbImage;
use pollster::FutureExt;
use std::collections::HashMap;
use std::sync::Arc;
use unigen_core::engine::{EditRequest, Engine, GenerateRequest};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_evaluation::reconstruction::Reconstructions;
use unigen_evaluation::understanding::{self, Asked};
use unigen_runs::{Interrupt, sheet};

use super::Validation;
use crate::data::{Captioned, Edit, Edits, Files, Pictures, Prompts};
use crate::train::Evaluation;

/// How many samples of each kind are shown, drawn together, and reconstructed.
const SHOWN: u64 = 16;
const BATCH: usize = 8;
const RECONSTRUCTED: u64 = 64;

/// The user's held-out samples. A kind that is missing is not validated.
#[derive(Default)]
pub struct OwnValidation {
    pub pictures: Option<Arc<dyn Pictures>>,
    pub prompts: Option<Arc<dyn Prompts>>,
    pub edits: Option<Arc<dyn Edits>>,
    pub questions: Option<Arc<Files>>,
}

impl OwnValidation {
    /// Captions and prompts, with the real picture of a caption.
    fn texts(&self, size: u32) -> Result<Vec<(String, Option<RgbImage>)>> {
        let mut texts = Vec::new();
        if let Some(pictures) = &self.pictures {
            for index in 0..pictures.count().unwrap_or(SHOWN).min(SHOWN) {
                let Captioned { picture, annotation } = pictures.square(index, size)?;
                texts.push((annotation.caption(index), Some(picture)));
            }
        }
        if let Some(prompts) = &self.prompts {
            for index in 0..SHOWN {
                let text = prompts.get(index)?.text;
                if texts.iter().all(|(other, _)| *other != text) {
                    texts.push((text, None));
                }
            }
        }
        Ok(texts)
    }

    /// What the model draws for held-out texts, beside the real pictures.
    fn drawn(&self, engine: &Engine, found: &mut Evaluation) -> Result<()> {
        let texts = self.texts(engine.config().image_size as u32)?;
        let mut cells = Vec::new();
        for (texts, first) in texts.chunks(BATCH).zip((0..).step_by(BATCH)) {
            let requests = texts.iter().zip(first..);
            let requests: Vec<_> = requests
                .map(|((prompt, _), seed)| GenerateRequest { prompt: prompt.clone(), seed })
                .collect();
            let draw = engine.generate_batch(&requests, engine.generation(), async |_| Interrupt::flow());
            for (drawn, (text, real)) in draw.block_on()?.into_iter().zip(texts) {
                cells.push((drawn, text.clone()));
                cells.extend(real.clone().map(|real| (real, "(the real picture)".to_owned())));
            }
        }
        if !cells.is_empty() {
            found.sheets.push(("samples", sheet(&cells, 8, 1)));
        }
        Ok(())
    }

    /// Held-out edits: the pictures before, drawn and wanted.
    fn edited(&self, engine: &Engine, found: &mut Evaluation) -> Result<()> {
        let Some(edits) = &self.edits else { return Ok(()) };
        let size = engine.config().image_size as u32;
        let count = edits.count().unwrap_or(SHOWN).min(SHOWN);
        let edits: Vec<Edit> = (0..count).map(|index| edits.read(index, size)).collect::<Result<_>>()?;
        let mut cells = Vec::new();
        for (edits, first) in edits.chunks(BATCH).zip((0..).step_by(BATCH)) {
            let request = |(edit, seed): (&Edit, u64)| EditRequest {
                image: edit.before.clone(),
                instruction: edit.instruction.clone(),
                seed,
                mask: None,
            };
            let requests: Vec<_> = edits.iter().zip(first..).map(request).collect();
            let draw = engine.edit_batch(&requests, engine.generation(), async |_| Interrupt::flow());
            for (drawn, edit) in draw.block_on()?.into_iter().zip(edits) {
                cells.push((edit.before.clone(), edit.instruction.clone()));
                cells.push((drawn, "drawn".to_owned()));
                cells.push((edit.after.clone(), edit.description.clone()));
            }
        }
        found.sheets.push(("edits", sheet(&cells, 6, 1)));
        Ok(())
    }

    /// The share of held-out questions that are answered to the letter.
    fn answered(&self, engine: &Engine, found: &mut Evaluation) -> Result<()> {
        let Some(questions) = &self.questions else { return Ok(()) };
        let asked = (0..questions.len().min(SHOWN)).map(|index| {
            questions.usable(index, |record| {
                let wanted = record.text("answer")?.to_lowercase();
                let (image, question) = (record.picture("image")?, record.text("question")?);
                Ok(Asked { kind: "own".to_owned(), question, wanted, image })
            })
        });
        let answers =
            understanding::evaluate(engine, asked.collect::<Result<_>>()?, &HashMap::new(), |_| ())?;
        found.scalars.push(("answers right", answers.overall));
        found.sheets.push(("answers", answers.sheet()));
        Ok(())
    }
}

impl Validation for OwnValidation {
    fn judged(&self) -> bool {
        false
    }

    fn drawing(&self, engine: &Engine) -> Result<Evaluation> {
        let mut found = Evaluation::default();
        self.drawn(engine, &mut found)?;
        Ok(found)
    }

    /// Drawings too: one's own samples are seen whole.
    fn editing(&self, engine: &Engine) -> Result<Evaluation> {
        let mut found = self.drawing(engine)?;
        self.edited(engine, &mut found)?;
        self.answered(engine, &mut found)?;
        Ok(found)
    }

    fn reconstruction(
        &self,
        tokenizer: &ImageTokenizer,
        bits: usize,
        size: u32,
        device: &Device,
    ) -> Result<Evaluation> {
        let Some(pictures) = &self.pictures else { return Ok(Evaluation::default()) };
        let count = pictures.count().unwrap_or(RECONSTRUCTED).min(RECONSTRUCTED);
        let originals = (0..count).map(|index| pictures.picture(index, size)).collect::<Result<_>>()?;
        let found = Reconstructions::run(tokenizer, bits, originals, device, |_| ())?;
        let scalars = vec![("psnr", found.psnr), ("ssim", found.ssim), ("bits used", found.bits_used)];
        Ok(Evaluation { scalars, sheets: vec![("reconstructions", found.sheet())] })
    }

    fn score(&self, _: &Evaluation) -> Option<f64> {
        None
    }
}
