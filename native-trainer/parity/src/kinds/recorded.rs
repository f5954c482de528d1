//! Masked decoding on recorded noise, whoever's loop it is: the inputs in a folder, and the comparison of every step.

use anyhow::{Result, ensure};
use pollster::FutureExt;
use unigen_core::model::UniGen;
use unigen_core::sampling::{Branch, Flow, MaskedDecoding, Noise, Path, Prefix, StepReport};
use unigen_runs::floats;

use super::language_model::int_tensor;
use crate::compare::{Comparer, bounds, largest_difference};
use crate::folder::Folder;

/// A decoding that a reference has recorded.
pub struct Recorded {
    /// Its settings, but for the path.
    pub decoding: MaskedDecoding,
    /// The terms of the guidance.
    pub branches: Vec<Branch>,
    /// What each image starts with.
    pub targets: Vec<Vec<Option<u32>>>,
    /// The tokens before and after the codes.
    pub delimiters: [u32; 2],
}

impl Recorded {
    /// Compares the guided logits of the first step, every draw and every re-masking, with the prefix cached and without.
    pub fn compare(self, folder: &Folder, model: &UniGen, comparer: &mut Comparer) -> Result<()> {
        let Self { decoding, branches, targets, delimiters } = self;
        let (io, steps, images) = (&folder.io, decoding.steps, targets.len());
        let tokens = targets.first().map_or(0, Vec::len);
        let classes = model.config().codebook_size();
        let all = [steps, images, tokens, classes];
        let codes = 0..classes as i64;
        let noise = RecordedNoise {
            tokens: io.values("gumbel_tokens", &all)?,
            confidence: io.values("gumbel_confidence", &all[..3])?,
            images,
            positions: tokens,
            classes,
        };
        let step_ids = io.ints("step_ids", &all[..3], codes.clone())?;
        let step_masked = io.ints("step_masked", &all[..3], 0..2)?;
        let final_ids = io.ints("final_ids", &all[1..3], codes)?;
        // Logits of codes that are given say nothing.
        let unknown: Vec<bool> = targets.iter().flatten().map(Option::is_none).collect();
        let reference = io.values("guided_logits_step0", &all[1..])?;
        let wanted: Vec<f32> = rows(&reference, classes, &unknown);
        for (path, label) in [(Path::Cached, "cached"), (Path::Naive, "naive")] {
            let settings = MaskedDecoding { path, ..decoding };
            let logits = settings.first_logits(model, &branches, &targets, delimiters)?;
            let difference = largest_difference(&floats(logits)?, &wanted);
            comparer.difference(format!("guided_logits_step0[{label}]"), difference, bounds::FEATURES);
            let (mut ids, mut masked) = (Vec::new(), Vec::new());
            let on_step = async |report: StepReport<'_>| {
                let Ok(step) = report.preview().await else { return Flow::Cancel };
                ids.extend(step.codes.iter().flatten().map(|&c| c as i64));
                masked.extend(step.masked.iter().flatten().map(|&m| m as i64));
                Flow::Continue
            };
            let decoded = settings.decode(model, &branches, targets.clone(), delimiters, &noise, on_step);
            let found: Vec<i64> = decoded.block_on()?.iter().flatten().map(|&c| c as i64).collect();
            comparer.ids(&format!("step_ids[{label}]"), &ids, &step_ids);
            // The last re-masking is never used; what it masks depends on a rounding of cos(pi / 2).
            masked.truncate((steps - 1) * images * tokens);
            let wanted = &step_masked[..(steps - 1) * images * tokens];
            comparer.ids(&format!("step_masked[{label}]"), &masked, wanted);
            comparer.ids(&format!("final_ids[{label}]"), &found, &final_ids);
        }
        Ok(())
    }
}

/// The rows that `keep` wants.
fn rows(values: &[f32], width: usize, keep: &[bool]) -> Vec<f32> {
    values.chunks(width).zip(keep).filter(|(_, keep)| **keep).flat_map(|(row, _)| row.to_vec()).collect()
}

/// A causal prefix from each of the texts, embedded by `model`.
pub fn prefixes(model: &UniGen, texts: &[Vec<i64>], folder: &Folder) -> Vec<Prefix> {
    let rows = texts.iter().map(|text| model.llm.embed(int_tensor(text, &folder.device)));
    rows.map(Prefix::causal).collect()
}

/// The texts in the rows of a tensor, without the padding before them.
pub fn texts(folder: &Folder, name: &str, images: usize, vocabulary: usize) -> Result<Vec<Vec<i64>>> {
    let pad = folder.config.number("pad")? as i64;
    let [_, length] = folder.io.shape::<2>(name)?;
    let ids = folder.io.ints(name, &[images, length], 0..vocabulary as i64)?;
    let texts = ids.chunks(length).map(|row| {
        let text: Vec<i64> = row.iter().copied().skip_while(|&id| id == pad).collect();
        ensure!(!text.is_empty(), "io.safetensors: {name}: a row has nothing but padding");
        Ok(text)
    });
    texts.collect()
}

/// Gumbel noise from a file.
pub struct RecordedNoise {
    /// `[steps, images, positions, classes]`
    tokens: Vec<f32>,
    /// `[steps, images, positions]`
    confidence: Vec<f32>,
    images: usize,
    positions: usize,
    classes: usize,
}

impl Noise for RecordedNoise {
    fn token(&self, step: usize, image: usize, position: usize, class: usize) -> f32 {
        self.tokens[((step * self.images + image) * self.positions + position) * self.classes + class]
    }

    fn confidence(&self, step: usize, image: usize, position: usize) -> f32 {
        self.confidence[(step * self.images + image) * self.positions + position]
    }
}
