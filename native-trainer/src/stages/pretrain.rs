//! Pre-training: generation, captioning from codes and plain text, as UniGen's first stages mix them.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor};
use rand::{Rng, RngExt, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use unigen_core::config::{Config, GenerationConfig, ModelConfig};
use unigen_core::engine::{Engine, GenerateRequest, ModelFolder, layouts};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::model::UniGen;
use unigen_core::sampling::Flow;
use unigen_core::sequence::ImageRows;
use unigen_core::text::{TextTokenizer, train_bpe};
use unigen_core::weights::Precision;

use super::batch::{Example, hidden};
use crate::data::codes::CodeCache;
use crate::data::stickers::{geneval_prompts, rng_at};
use crate::data::{Caption, Source, SourceSettings, pick_at};
use crate::eval::detector::Detector;
use crate::eval::geneval::{Prompt, Tag};
use crate::eval::{self, Detect, MIN_ACCURACY};
use crate::run::sheet;
use crate::train::{Evaluation, Loss, Stage, Training};

/// What captions are asked for with.
const QUESTIONS: [&str; 5] = [
    "describe the picture.",
    "describe this image.",
    "what does the picture show?",
    "write a caption.",
    "what is in this image?",
];
/// Texts that the vocabulary is learned from.
const TEXTS: u64 = 40_000;
/// The longest text, in tokens.
const MAX_TEXT: usize = 96;
/// What the prompts of validation are drawn from.
const VALIDATION_SEED: u64 = 0x5EED_9E7A;
/// Validation draws every so manieth of the held-out prompts.
const SKIPPED: usize = 7;

/// Settings of the stage `pretrain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of a trained image tokenizer, as the stage `tokenizer` exports it.
    pub image_tokenizer: PathBuf,
    /// File where the codes of the pictures are kept; made where it is missing.
    pub codes: PathBuf,
    /// Different pictures, each seen many times under other masks and captions.
    pub pictures: u64,
    /// Shares of generation, captioning and text.
    pub mix: [u64; 3],
    /// Weights of their losses.
    pub weights: [f64; 3],
    /// Share of generation without text, for guidance.
    pub drop_text: f64,
    /// The detector that scores samples; none: no such score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    pub data: SourceSettings,
    /// Sizes; those of the image tokenizer are taken from its folder.
    pub model: ModelConfig,
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            image_tokenizer: "runs/tokenizer/export".into(),
            codes: "runs/codes".into(),
            pictures: 65_536,
            mix: [3, 2, 1],
            weights: [1.0, 0.3, 0.3],
            drop_text: 0.1,
            judge: None,
            data: SourceSettings { seed: 3, ..SourceSettings::default() },
            model: nano(),
            training: Training {
                steps: 20_000,
                batch: 30,
                learning_rate: 1.5e-3,
                warmup_steps: 300,
                final_rate: 0.05,
                weight_decay: 0.05,
                betas: [0.9, 0.98],
                clip_norm: 1.0,
                ema_decay: 0.999,
                seed: 4,
                ..Training::default()
            },
        }
    }
}

fn nano() -> ModelConfig {
    #[allow(clippy::expect_used, reason = "a preset of this program")]
    ModelConfig::preset("nano").expect("the preset nano")
}

/// The stage `pretrain`.
pub struct PretrainStage {
    settings: Settings,
    text: TextTokenizer,
    text_json: Vec<u8>,
    image_tokenizer: ImageTokenizer,
    codes: CodeCache,
    judge: Option<Detector>,
    device: Device,
}

/// What one sequence teaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Generate,
    Describe,
    Text,
}

impl PretrainStage {
    /// Sample `index`.
    fn example(&self, index: u64) -> Result<Example> {
        let mut rng = rng_at(self.settings.training.seed, index);
        let (codes, caption) = self.codes.get(index);
        self.teach(task(self.settings.mix, index), codes, caption, index, &mut rng)
    }

    fn teach(
        &self,
        task: Task,
        codes: &[u32],
        caption: &Caption,
        visit: u64,
        rng: &mut impl Rng,
    ) -> Result<Example> {
        let layouts = layouts(&self.text);
        let mut caption = self.text.encode(&caption.text(visit))?;
        caption.truncate(MAX_TEXT);
        let plain = |sequence, source: &[u32]| Example {
            sequence,
            source: source.to_vec(),
            target: vec![],
            masked: vec![],
        };
        Ok(match task {
            Task::Generate => {
                let text = if rng.random_bool(self.settings.drop_text) { &[][..] } else { &caption };
                let masked = mask(codes.len(), rng);
                Example {
                    sequence: layouts.generate(text, codes.len()),
                    source: vec![],
                    target: codes.to_vec(),
                    masked,
                }
            }
            Task::Describe => {
                let question = self.text.encode(pick_at::<&str>(&QUESTIONS, visit))?;
                plain(layouts.describe(ImageRows::Codes(codes.len()), &question, Some(&caption)), codes)
            }
            Task::Text => plain(layouts.text(&caption), &[]),
        })
    }

    /// The losses of each task over a batch: generation, captioning, text.
    fn losses(
        &self,
        model: &UniGen,
        batch: [Vec<Example>; 3],
        device: &Device,
    ) -> Result<[Option<Tensor<1>>; 3]> {
        let [generate, describe, text] = batch.each_ref().map(Vec::len);
        let examples: Vec<Example> = batch.into_iter().flatten().collect();
        let hidden = hidden(model, &examples, device)?;
        let all = generate + describe + text;
        Ok([
            hidden.code_loss(model, &examples, 0..generate),
            hidden.answer_loss(model, &examples, generate..generate + describe),
            hidden.answer_loss(model, &examples, generate + describe..all),
        ])
    }

    /// Draws held-out prompts and, with a judge, scores what was drawn.
    fn samples(&self, model: &UniGen) -> Result<Evaluation> {
        let device = self.device.clone().without_autodiff();
        let text = TextTokenizer::from_bytes(&self.text_json)?;
        let images = self.image_tokenizer.clone();
        let engine = Engine::of(text, model.clone(), images, &device)?;
        let draw = |requests: &[GenerateRequest]| -> Result<_> {
            Ok(engine.generate_batch(requests, engine.generation(), |_| Flow::Continue)?)
        };
        let prompts = geneval_prompts(VALIDATION_SEED);
        let prompts: Vec<Prompt> = prompts.into_iter().step_by(SKIPPED).collect();
        let Some(judge) = &self.judge else {
            let requests: Vec<_> = (0..)
                .zip(&prompts)
                .map(|(seed, prompt)| GenerateRequest { prompt: prompt.prompt.clone(), seed })
                .collect();
            let mut drawn = Vec::new();
            for requests in requests.chunks(eval::BATCH) {
                drawn.extend(draw(requests)?);
            }
            let cells: Vec<_> = drawn.into_iter().zip(requests.into_iter().map(|r| r.prompt)).collect();
            return Ok(Evaluation { scalars: vec![], sheets: vec![("samples", sheet(&cells, 10, 1))] });
        };
        let judged = eval::Evaluation::run(&prompts, 1, 0, judge, draw, |_| {})?;
        let mut scalars = vec![("geneval", judged.overall.unwrap_or_default())];
        scalars.extend(Tag::ALL.iter().filter_map(|&tag| Some((tag.name(), judged.scores.tag(tag)?))));
        Ok(Evaluation { scalars, sheets: vec![("samples", judged.sheet())] })
    }
}

/// The task of sample `index`: the shares of the mix, spread evenly.
fn task([generate, describe, text]: [u64; 3], index: u64) -> Task {
    let total = generate + describe + text;
    // A step that has no divisor in common with the total visits every place once.
    let place = index * coprime(total) % total;
    if place < generate {
        Task::Generate
    } else if place < generate + describe {
        Task::Describe
    } else {
        Task::Text
    }
}

/// The smallest number above 1 without a common divisor with `total`; 1 where `total` is small.
fn coprime(total: u64) -> u64 {
    fn divisor(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    (2..total).find(|&step| divisor(step, total) == 1).unwrap_or(1)
}

/// A mask as MaskGIT draws it (Chang et al., arXiv 2202.04200, section 3.3): `⌈cos(π u / 2) codes⌉` of them, at least one.
fn mask(codes: usize, rng: &mut impl Rng) -> Vec<bool> {
    let share = (rng.random_range(0.0..1.0_f64) * std::f64::consts::FRAC_PI_2).cos();
    let count = ((share * codes as f64).ceil() as usize).clamp(1.min(codes), codes);
    let mut masked: Vec<bool> = (0..codes).map(|i| i < count).collect();
    masked.shuffle(rng);
    masked
}

impl Stage for PretrainStage {
    type Settings = Settings;
    type Model = UniGen;
    const NAME: &'static str = "pretrain";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn open(settings: &Settings, device: &Device) -> Result<(Self, UniGen)> {
        ensure!(
            settings.mix.iter().sum::<u64>() > 0,
            "mix is {:?}; one of its shares must not be 0",
            settings.mix
        );
        ensure!((0.0..=1.0).contains(&settings.drop_text), "drop_text is {}, not 0 to 1", settings.drop_text);
        let plain = device.clone().without_autodiff();
        let judge = settings.judge.as_ref().map(|path| Detector::open(path, &plain)).transpose()?;
        if let Some(judge) = &judge {
            let accuracy = judge.accuracy();
            ensure!(
                accuracy >= MIN_ACCURACY,
                "the judge's accuracy is {accuracy}, below {MIN_ACCURACY}: train it longer"
            );
        }
        let source = Source::open(&settings.data)?;
        let folder = ModelFolder::at(&settings.image_tokenizer);
        let (sizes, image_tokenizer) = folder.image_tokenizer(&plain)?;
        let config = ModelConfig { image_tokenizer: sizes, ..settings.model.clone() };
        config.validate()?;
        let weights = settings.image_tokenizer.join(ModelFolder::IMAGE_TOKENIZER);
        let codes = CodeCache::open(
            &settings.codes,
            &source,
            settings.pictures,
            config.image_size as u32,
            &image_tokenizer,
            &weights,
            &plain,
        )?;
        let text_json = train_bpe(source.texts(TEXTS)?, config.text_vocab)?;
        let text = TextTokenizer::from_bytes(&text_json)?;
        let model = UniGen::new(&config, device);
        let (settings, device) = (settings.clone(), device.clone());
        Ok((Self { settings, text, text_json, image_tokenizer, codes, judge, device }, model))
    }

    fn loss(&self, model: &UniGen, step: u64) -> Result<Loss> {
        let count = self.settings.training.batch as u64;
        let mut batch: [Vec<Example>; 3] = Default::default();
        for index in step * count..(step + 1) * count {
            batch[task(self.settings.mix, index) as usize].push(self.example(index)?);
        }
        let names = ["generate", "describe", "text"];
        let losses = self.losses(model, batch, &self.device)?;
        let mut total = Tensor::<1>::zeros([1], &self.device);
        let mut parts = Vec::new();
        for ((name, loss), weight) in names.into_iter().zip(losses).zip(self.settings.weights) {
            if let Some(loss) = loss {
                total = total + loss.clone() * weight;
                parts.push((name, loss));
            }
        }
        Ok(Loss { total, parts })
    }

    fn evaluate(&self, model: &UniGen) -> Result<Evaluation> {
        self.samples(model)
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        let folder = ModelFolder::create(folder)?;
        let generation = GenerationConfig::of(model.config().image_tokens());
        Ok(folder.write(&self.text_json, model, &self.image_tokenizer, &generation, Precision::F16)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_has_the_shares_of_the_mix() {
        for mix in [[3, 2, 1], [1, 1, 0], [0, 0, 1], [5, 0, 2], [10, 4, 1]] {
            let window: u64 = mix.iter().sum();
            for start in 0..3 * window {
                let mut counts = [0; 3];
                (start..start + window).for_each(|index| counts[task(mix, index) as usize] += 1);
                assert_eq!(counts, mix, "from {start}");
            }
        }
    }

    #[test]
    fn masks_hide_one_code_at_least_and_the_cosine_share_on_average() {
        for codes in [1, 2, 144] {
            let mut hidden = 0;
            for index in 0..2000 {
                let masked = mask(codes, &mut rng_at(1, index));
                let count = masked.iter().filter(|&&masked| masked).count();
                assert!(masked.len() == codes && (1..=codes).contains(&count), "{count} of {codes}");
                hidden += count;
            }
            // The mean of cos(π u / 2) is 2 / π; rounding up adds half a code.
            let mean = hidden as f64 / 2000.0;
            let wanted = codes as f64 * std::f64::consts::FRAC_2_PI;
            assert!(mean > wanted - 2.0 && mean < wanted + 3.0, "{mean}, wanted {wanted}");
        }
        assert!(mask(0, &mut rng_at(1, 0)).is_empty());
    }
}
