//! Masked decoding with guidance: the loop that UniGen publishes (arXiv 2505.14682), on recorded noise.

use anyhow::{Result, ensure};
use pollster::FutureExt;
use unigen_core::model::UniGen;
use unigen_core::sampling::{self, Flow, MaskedDecoding, Noise, Order, Path, Prefix, StepReport};
use unigen_core::weights::{keys, load};
use unigen_runs::floats;

use super::language_model::{delimiters, int_tensor, model_config};
use crate::Kind;
use crate::compare::{Comparer, bounds};
use crate::folder::{Config, Folder};

/// Guided logits of the first step, then every draw and every re-masking, with the prefix cached and without.
pub struct Decoding;

impl Kind for Decoding {
    fn name(&self) -> &'static str {
        "UniGen decoding"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("qwen2") && config.has("guidance")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let io = &folder.io;
        let config = model_config(folder)?;
        let delimiters = delimiters(folder, &config)?;
        let (steps, tokens) = (folder.config.size("steps")?, folder.config.size("num_image_tokens")?);
        let guidance = folder.config.number("guidance")? as f32;
        let temperature = folder.config.number("temperature")? as f32;
        let [images, _] = io.shape::<2>("cond_ids")?;
        let all = [steps, images, tokens, config.codebook_size()];
        let codes = 0..config.codebook_size() as i64;
        let noise = RecordedNoise {
            tokens: io.values("gumbel_tokens", &all)?,
            confidence: io.values("gumbel_confidence", &all[..3])?,
            images,
            positions: tokens,
            classes: config.codebook_size(),
        };
        let step_ids = io.ints("step_ids", &all[..3], codes.clone())?;
        let step_masked = io.ints("step_masked", &all[..3], 0..2)?;
        let final_ids = io.ints("final_ids", &all[1..3], codes)?;
        let vocabulary = config.decoder.vocab_size;
        let (cond, uncond) = (
            texts(folder, "cond_ids", images, vocabulary)?,
            texts(folder, "uncond_ids", images, vocabulary)?,
        );

        let model = load(UniGen::new(&config, &folder.device), &folder.model, keys::unigen)?;
        let prefixes = |texts: &[Vec<i64>]| -> Vec<Prefix> {
            let rows = texts.iter().map(|text| model.llm.embed(int_tensor(text, &folder.device)));
            rows.map(Prefix::causal).collect()
        };
        let branches = sampling::text_guidance(guidance, prefixes(&cond), prefixes(&uncond));
        for (path, label) in [(Path::Cached, "cached"), (Path::Naive, "naive")] {
            let settings = MaskedDecoding { steps, order: Order::Confidence { temperature }, path };
            let targets = vec![vec![None; tokens]; images];
            let logits = settings.first_logits(&model, &branches, &targets, delimiters)?;
            comparer.values("guided_logits_step0", label, &floats(logits)?, &all[1..], bounds::FEATURES)?;
            let (mut ids, mut masked) = (Vec::new(), Vec::new());
            let on_step = async |report: StepReport<'_>| {
                let Ok(step) = report.preview().await else { return Flow::Cancel };
                ids.extend(step.codes.iter().flatten().map(|&c| c as i64));
                masked.extend(step.masked.iter().flatten().map(|&m| m as i64));
                Flow::Continue
            };
            let result =
                settings.decode(&model, &branches, targets, delimiters, &noise, on_step).block_on()?;
            let result: Vec<i64> = result.iter().flatten().map(|&c| c as i64).collect();
            comparer.ids(&format!("step_ids[{label}]"), &ids, &step_ids);
            // The last re-masking is never used; what it masks depends on a rounding of cos(pi / 2).
            masked.truncate((steps - 1) * images * tokens);
            let wanted = &step_masked[..(steps - 1) * images * tokens];
            comparer.ids(&format!("step_masked[{label}]"), &masked, wanted);
            comparer.ids(&format!("final_ids[{label}]"), &result, &final_ids);
        }
        Ok(())
    }
}

/// The texts in the rows of a tensor, without the padding before them.
fn texts(folder: &Folder, name: &str, images: usize, vocabulary: usize) -> Result<Vec<Vec<i64>>> {
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
struct RecordedNoise {
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
