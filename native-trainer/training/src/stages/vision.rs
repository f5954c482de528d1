//! The understanding encoder: a SigLIP2-style tower that takes pictures of any size and aspect ratio (NaFlex, arXiv
//! 2502.14786). It is trained against a small text tower with the sigmoid loss (Zhai et al. 2023, arXiv 2303.15343).
//! Where the regions of pictures are known, it also learns to name what each patch shows.

use anyhow::{Context, Result, ensure};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, activation};
use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use unigen_core::config::{Config, DecoderConfig, ModelConfig, VisionConfig};
use unigen_core::decoder::{Decoder, Wanted};
use unigen_core::engine::{ModelFolder, layouts};
use unigen_core::nn::Linear;
use unigen_core::sequence::{AttentionLayout, Row, Sequence};
use unigen_core::text::{TextTokenizer, train_bpe};
use unigen_core::vision::{Siglip2, Tower, preprocess};
use unigen_core::weights::Precision;

use super::grounding::{Grounding, PatchLabels};
use super::sources::{self, Origin};
use crate::batch::{Reading, VOCABULARY_TEXTS};
use crate::data::{Annotation, Captioned, MAX_SIDE, Order, Pictures, SourceSettings, any_shape, rng_at};
use crate::estimate::{Estimate, Exports, siglip};
use crate::train::{Best, Counted, Evaluation, Loss, Stage, Training};
use crate::world::{World, WorldSettings};
use unigen_rewards::clip::unit;
use unigen_runs::{Compute, floats};

/// Number of held-out pairs in validation, their seed, and how many are embedded together.
const PAIRS: u64 = 256;
const PAIRS_SEED: u64 = 0x5EED_51A1;
const CHUNK: u64 = 64;

/// The score of validation: the share of pictures that find their text.
const FOUND: &str = "image to text";

/// Settings of the stage `vision`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Side of the square pictures in pixels. Each side of the other pictures is a third smaller to a half larger.
    pub size: u32,
    /// Sizes of the vision tower. `num_patches` is the largest number of patches of a picture.
    pub vision: VisionConfig,
    /// Sizes of the text tower. Its vocabulary is learned from the captions.
    pub text: DecoderConfig,
    /// Weights of the caption loss and of the patch loss.
    pub weights: [f64; 2],
    pub data: SourceSettings,
    /// What the world shows, if it gives the material.
    #[serde(skip_serializing_if = "WorldSettings::is_empty")]
    pub world: WorldSettings,
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "a preset of this program")]
        let nano = ModelConfig::preset("nano").expect("the preset nano");
        #[allow(clippy::expect_used, reason = "a preset of this program")]
        let vision = nano.vision.expect("an encoder in the preset nano");
        Self {
            size: nano.image_size as u32,
            text: DecoderConfig {
                hidden_size: vision.hidden_size,
                intermediate_size: vision.intermediate_size,
                num_hidden_layers: 4,
                num_attention_heads: vision.num_attention_heads,
                num_key_value_heads: vision.num_attention_heads,
                ..nano.decoder
            },
            vision,
            weights: [1.0, 2.0],
            data: SourceSettings { seed: 3, ..SourceSettings::default() },
            world: WorldSettings::default(),
            training: Training {
                steps: 6000,
                batch: 64,
                learning_rate: 1e-3,
                warmup_steps: 300,
                final_rate: 0.05,
                weight_decay: 0.05,
                betas: [0.9, 0.95],
                seed: 7,
                ..Training::default()
            },
        }
    }
}

/// The two towers, with the parameter names of a published SigLIP, and the classifiers of patches.
#[derive(Module, Debug)]
pub struct Siglip {
    pub vision_model: Siglip2,
    pub text_model: TextTower,
    /// `t' = log t`, `[1]`
    pub logit_scale: Param<Tensor<1>>,
    /// `b`, `[1]`
    pub logit_bias: Param<Tensor<1>>,
    pub grounding: Grounding,
}

/// A transformer with full attention. The last token's vector stands for the text.
#[derive(Module, Debug)]
pub struct TextTower {
    pub encoder: Decoder,
    /// `[width of the pictures, width]`
    pub head: Linear,
}

impl TextTower {
    /// The texts' vectors, `[texts, width of the pictures]`.
    fn forward(&self, texts: &[Sequence], device: &Device) -> Tensor<2> {
        let tokens = texts.iter().flat_map(Sequence::rows).filter_map(|row| match row {
            Row::Token(id) => Some(id as i32),
            _ => None,
        });
        let ids: Vec<i32> = tokens.collect();
        let places: Vec<usize> = texts.iter().flat_map(|text| 0..text.len()).collect();
        let ends = texts.iter().scan(0, |end, text| {
            *end += text.len();
            Some(*end - 1)
        });
        let ends: Vec<usize> = ends.collect();
        let (layout, positions) = (AttentionLayout::full(texts), self.encoder.positions(&places, device));
        let last = Wanted::new(&ends, &positions, &layout, device);
        let x = self.encoder.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device));
        self.head.forward(self.encoder.forward_wanted(x, &positions, &layout, &last))
    }
}

impl Siglip {
    /// Towers with random weights for pictures whose regions have `labels` (`Region::labels`); `t' = log 10` and `b =
    /// -10` (section 3.2).
    ///
    /// # Errors
    /// If the sizes cannot work.
    pub fn new(
        vision: &VisionConfig,
        text: &DecoderConfig,
        labels: [usize; 2],
        device: &Device,
    ) -> Result<Self> {
        let (inputs, width) = (text.hidden_size, vision.hidden_size);
        let number = |value: f32| Param::from_tensor(Tensor::from_floats([value], device));
        Ok(Self {
            vision_model: Siglip2::new(vision, device)?,
            text_model: TextTower {
                encoder: Decoder::new(text, device),
                head: Linear::new(inputs, width, true, (inputs as f64).powf(-0.5), device),
            },
            logit_scale: number(10_f32.ln()),
            logit_bias: number(-10.0),
            grounding: Grounding::new(width, labels, device),
        })
    }

    /// `-1/n Σᵢⱼ log σ(zᵢⱼ (t xᵢ·yⱼ + b))` with `z = 1` for a picture and its own text, else -1 (algorithm 1). `images` and
    /// `texts` `[n, width]` of length 1 → `[1]`.
    fn loss(&self, images: Tensor<2>, texts: Tensor<2>) -> Tensor<1> {
        let [n, _] = images.dims();
        let scale = self.logit_scale.val().exp().unsqueeze::<2>();
        let logits = images.matmul(texts.transpose()) * scale + self.logit_bias.val().unsqueeze::<2>();
        let labels = Tensor::<2>::eye(n, &logits.device()) * 2.0 - 1.0;
        activation::log_sigmoid(logits * labels).sum().neg() / n as f64
    }
}

/// The stage `vision`.
pub struct VisionStage<W> {
    settings: Settings,
    pictures: Arc<dyn Pictures>,
    held_out: Option<Arc<dyn Pictures>>,
    order: Order,
    origin: Origin,
    reading: Reading,
    text: TextTokenizer,
    device: Device,
    world: W,
}

/// Pictures of many shapes and their captions.
struct Pairs {
    pictures: Vec<RgbImage>,
    annotations: Vec<Arc<dyn Annotation>>,
    texts: Vec<String>,
}

impl Pairs {
    fn read(
        from: &dyn Pictures,
        order: Order,
        size: u32,
        seed: u64,
        samples: std::ops::Range<u64>,
    ) -> Result<Self> {
        let count = from.count().unwrap_or(u64::MAX);
        let read = |index| {
            let Captioned { picture, annotation } =
                from.captioned(order.at(index, count), any_shape(size, &mut rng_at(seed, index)))?;
            Ok((picture, annotation))
        };
        let pairs: Vec<_> = samples.clone().into_par_iter().map(read).collect::<Result<_>>()?;
        let texts = pairs.iter().zip(samples).map(|((_, known), index)| known.caption(index)).collect();
        let (pictures, annotations) = pairs.into_iter().unzip();
        Ok(Self { pictures, annotations, texts })
    }
}

/// The outputs of the towers for [`Pairs`].
struct Embedded {
    /// Vectors of length 1, `[n, width]`.
    images: Tensor<2>,
    texts: Tensor<2>,
    /// Features of the patches, `[n, patches, width]`, which the language model reads.
    features: Tensor<3>,
    shown: PatchLabels,
}

impl<W: World> VisionStage<W> {
    fn embed(&self, model: &Siglip, pairs: &Pairs, device: &Device) -> Result<Embedded> {
        let vision = &self.settings.vision;
        let patches = preprocess::naflex(&pairs.pictures, vision.patch_size, vision.max_tokens(), device)?;
        let (features, images) = model.vision_model.penultimate_and_pooled(&patches)?;
        let layouts = layouts(&self.text);
        let text = |text: &String| -> Result<Sequence> {
            let tokens = self.reading.tokens(&self.text, text)?;
            let mut sequence = layouts.text(&tokens);
            sequence.blocks = vec![0..sequence.len()];
            Ok(sequence)
        };
        let texts: Vec<Sequence> = pairs.texts.iter().map(text).collect::<Result<_>>()?;
        let sizes: Vec<_> = pairs.pictures.iter().map(RgbImage::dimensions).collect();
        let regions = pairs.annotations.iter().zip(&sizes).map(|(known, &(w, h))| known.regions([w, h]));
        Ok(Embedded {
            images: unit(images.context("the tower has no pooling head")?),
            texts: unit(model.text_model.forward(&texts, device)),
            features,
            shown: PatchLabels::new(&regions.collect::<Vec<_>>(), &sizes, &patches, self.world.labels()),
        })
    }
}

/// The share of `queries` whose nearest vector in `found` has the same name in `names`. All vectors have length 1 and
/// `width` elements.
fn recall(queries: &[f32], found: &[f32], width: usize, names: &[String]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let nearest = |query: &[f32]| {
        let near = found.chunks(width).map(|other| dot(query, other)).enumerate();
        near.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(place, _)| place)
    };
    let hits = queries.chunks(width).zip(names).filter(|(query, name)| names[nearest(query)] == **name);
    hits.count() as f64 / names.len() as f64
}

impl<W: World> Stage for VisionStage<W> {
    type Settings = Settings;
    type Model = Siglip;
    const NAME: &'static str = "vision";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn estimate(settings: &Settings, exports: &mut Exports, export: &Path) -> Result<Option<Estimate>> {
        let Settings { size, vision, text, training, .. } = settings;
        vision.validate()?;
        ensure!((1..=MAX_SIDE).contains(size), "size is {size}; choose 1 to {MAX_SIDE} pixels");
        let tokens = sources::caption_tokens(&W::open(&settings.world)?, &settings.data)?;
        let found = siglip(vision, text, *size, tokens, [training.batch as u64, training.accumulate]);
        exports.vision(export, vision.clone());
        Ok(Some(found))
    }

    fn open(settings: &Settings, Compute { device, .. }: &Compute) -> Result<(Self, Siglip)> {
        let Settings { size, vision, text: sizes, .. } = settings;
        ensure!((1..=MAX_SIDE).contains(size), "size is {size}; choose 1 to {MAX_SIDE} pixels");
        vision.validate()?;
        sizes.validate()?;
        ensure!(vision.naflex(), "vision.num_patches is missing; give a square number, such as 144");
        ensure!(vision.num_channels == 3, "vision.num_channels is {}; pictures have 3", vision.num_channels);
        let reading = Reading::new(settings.data.max_text)?;
        let (world, origin) = (W::open(&settings.world)?, Origin::of(&[&settings.data.shards]));
        let sources = sources::pictures(&world, &settings.data, PAIRS_SEED, origin)?;
        sources::check_held_out(&settings.data.validation, &[sources.held_out.is_some()])?;
        let (pictures, held_out) = (sources.training, sources.held_out);
        let text =
            TextTokenizer::from_bytes(&train_bpe(pictures.texts(VOCABULARY_TEXTS)?, sizes.vocab_size)?)?;
        let model = Siglip::new(vision, sizes, world.labels(), device)?;
        let order = origin.order(true, settings.training.seed);
        let (settings, device) = (settings.clone(), device.clone());
        Ok((Self { settings, pictures, held_out, order, origin, reading, text, device, world }, model))
    }

    fn loss(&self, model: &Siglip, step: u64) -> Result<Loss> {
        let Settings { size, weights, training, .. } = &self.settings;
        let batch = training.batch as u64;
        let samples = step * batch..(step + 1) * batch;
        let pairs =
            self.reading.timed(|| Pairs::read(&*self.pictures, self.order, *size, training.seed, samples))?;
        let Embedded { images, texts, features, shown } = self.embed(model, &pairs, &self.device)?;
        let losses = [Some(model.loss(images, texts)), model.grounding.loss(features, &shown)?];
        let mut loss = Loss::weighted(["captions", "patches"], losses, *weights, &self.device);
        loss.parts.push(("temperature", model.logit_scale.val().exp()));
        loss.parts.push(("bias", model.logit_bias.val()));
        Ok(loss)
    }

    fn evaluate(&self, model: &Siglip) -> Result<Evaluation> {
        let device = self.device.clone().without_autodiff();
        let Some(pictures) = &self.held_out else { return Ok(Evaluation::default()) };
        let count = pictures.count().unwrap_or(PAIRS).min(PAIRS);
        let (mut images, mut texts, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let [mut named, mut objects] = [0; 2];
        for first in (0..count).step_by(CHUNK as usize) {
            let samples = first..count.min(first + CHUNK);
            let pairs = Pairs::read(&**pictures, Order::Given, self.settings.size, PAIRS_SEED, samples)?;
            let seen = self.embed(model, &pairs, &device)?;
            let [right, all] = model.grounding.named(seen.features, &seen.shown);
            (named, objects) = (named + right, objects + all);
            images.extend(floats(seen.images)?);
            texts.extend(floats(seen.texts)?);
            names.extend(pairs.texts);
        }
        let width = self.settings.vision.hidden_size;
        let mut scalars = vec![
            (FOUND, recall(&images, &texts, width, &names)),
            ("text to image", recall(&texts, &images, width, &names)),
        ];
        scalars.extend((objects > 0).then(|| ("patches named", named as f64 / objects as f64)));
        Ok(Evaluation { scalars, sheets: vec![] })
    }

    fn best(&self) -> Option<Best> {
        (self.origin == Origin::Own && self.held_out.is_some()).then_some(Best::Highest(FOUND))
    }

    fn counted(&self) -> Counted {
        self.reading.counted()
    }

    fn export(&self, model: &Siglip, folder: &Path) -> Result<()> {
        let tower = Tower::Siglip2(model.vision_model.clone());
        Ok(ModelFolder::create(folder)?.write_vision(&tower, &self.settings.vision, Precision::F16)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::Shapes;

    fn tiny() -> Settings {
        let mut settings = Settings { size: 16, ..Settings::default() };
        let vision = &mut settings.vision;
        (vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers) = (16, 24, 2);
        (vision.num_attention_heads, vision.num_patches, vision.patch_size) = (2, Some(16), 4);
        let text = &mut settings.text;
        (text.hidden_size, text.intermediate_size, text.num_hidden_layers) = (16, 24, 1);
        (text.num_attention_heads, text.num_key_value_heads, text.vocab_size) = (2, 2, 300);
        settings
    }

    #[test]
    fn the_loss_is_that_of_the_paper() {
        let (settings, device) = (tiny(), Device::flex());
        let model = Siglip::new(&settings.vision, &settings.text, [2, 3], &device).unwrap();
        let images = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
        let texts = Tensor::<2>::from_floats([[1.0, 0.0], [0.6, 0.8]], &device);
        let loss = f64::from(model.loss(images, texts).into_scalar::<f32>());
        let term = |z: f64, dot: f64| (1.0 + (-z * (10.0 * dot - 10.0)).exp()).ln();
        let wanted = (term(1.0, 1.0) + term(-1.0, 0.6) + term(-1.0, 0.0) + term(1.0, 0.8)) / 2.0;
        assert!((loss - wanted).abs() < 1e-5, "{loss} {wanted}");
    }

    #[test]
    fn recall_counts_the_same_text_as_found() {
        let names = ["a", "b", "a"].map(String::from);
        let (x, y) = ([1.0, 0.0, 0.0, 1.0, 0.7, 0.7], [0.0, 1.0, 0.5, 0.9, 1.0, 0.0]);
        // The first picture finds the third text, which reads like its own. The second finds the first, and the third
        // the second.
        assert_eq!(recall(&x, &y, 2, &names), 1.0 / 3.0);
        assert_eq!(recall(&x, &x, 2, &names), 1.0);
    }

    /// The embedding of a text or picture does not depend on the rest of its batch.
    #[test]
    fn pairs_of_many_shapes_are_embedded_one_by_one_or_together() {
        let (settings, device) = (tiny(), Device::flex());
        let (stage, model) = VisionStage::<Shapes>::open(&settings, &device.clone().into()).unwrap();
        let pairs = Pairs::read(&*stage.pictures, Order::Given, 16, 1, 0..6).unwrap();
        let shapes: std::collections::BTreeSet<_> = pairs.pictures.iter().map(|p| p.dimensions()).collect();
        assert!(shapes.len() > 1);
        let together = stage.embed(&model, &pairs, &device).unwrap();
        for i in 0..6 {
            let one = Pairs::read(&*stage.pictures, Order::Given, 16, 1, i as u64..i as u64 + 1).unwrap();
            let alone = stage.embed(&model, &one, &device).unwrap();
            for (together, alone) in [(&together.images, alone.images), (&together.texts, alone.texts)] {
                let difference = together.clone().slice([i..i + 1]) - alone;
                assert!(difference.abs().max().into_scalar::<f32>() < 1e-4);
            }
        }
    }
}
