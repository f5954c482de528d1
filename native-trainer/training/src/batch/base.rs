//! The starting point of supervised training: a model and its two frozen front-ends, the image tokenizer and the
//! understanding encoder.

use anyhow::{Context, Result, bail, ensure};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use unigen_core::config::{Config, GenerationConfig, ModelConfig};
use unigen_core::engine::{Engine, ModelFolder, layouts};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::model::UniGen;
use unigen_core::nn::blocks_in;
use unigen_core::precision::WithPrecision;
use unigen_core::sequence::{ImageRows, Sequence};
use unigen_core::text::{TextTokenizer, train_bpe};
use unigen_core::vision::Tower;
use unigen_core::weights::{Precision, keys, load};

use super::{Example, Reading};
use crate::data::codes::Encoder;
use unigen_runs::Compute;

/// The section `[lora]`: low-rank adapters are trained beside frozen weights (LoRA, Hu et al., arXiv 2106.09685).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lora {
    /// Rank of each weight's update.
    pub rank: usize,
    /// The update is multiplied by `alpha / rank`.
    pub alpha: f64,
}

impl Default for Lora {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0 }
    }
}

impl Lora {
    fn check(&self) -> Result<()> {
        ensure!((1..=1024).contains(&self.rank), "lora.rank is {}; choose 1 to 1024", self.rank);
        ensure!(
            self.alpha.is_finite() && self.alpha > 0.0,
            "lora.alpha is {}; choose a number above 0",
            self.alpha
        );
        Ok(())
    }
}

/// The frozen parts of a model.
pub struct Base {
    pub text: TextTokenizer,
    pub reading: Reading,
    text_json: Vec<u8>,
    image_tokenizer: ImageTokenizer,
    weights: PathBuf,
    vision: Option<Tower>,
    config: ModelConfig,
    generation: GenerationConfig,
    device: Device,
}

/// An example whose picture is not encoded yet.
pub struct Sample {
    pub example: Example,
    pub picture: Option<RgbImage>,
}

impl Base {
    /// Opens the model in the folder `model`, and its frozen parts, on `device`. The understanding encoder comes from
    /// the folder `vision`, which may be the same folder; without it the model only generates. If the model had no
    /// encoder before, its projector starts with random weights. With `lora`, only the adapters and a new projector
    /// are trained; the other weights stay as they are stored, also in half precision or in blocks. Texts have at most
    /// `max_text` tokens.
    ///
    /// # Errors
    /// The error names the file that is missing, damaged, or does not fit the others. Weights in blocks have no
    /// gradient, so all weights of a quantised model cannot be trained.
    pub fn open(
        model: &Path,
        vision: Option<&Path>,
        lora: Option<&Lora>,
        max_text: usize,
        compute: &Compute,
    ) -> Result<(Self, UniGen)> {
        lora.map_or(Ok(()), Lora::check)?;
        let reading = Reading::new(max_text)?;
        let Compute { device, precision } = compute;
        let plain = device.clone().without_autodiff();
        let folder = ModelFolder::at(model);
        let parts = folder.parts()?;
        let vision = vision.map(|folder| ModelFolder::at(folder).vision(&plain)).transpose()?;
        let (sizes, vision) = vision.unzip();
        let vision = vision.map(|tower: Tower| tower.with_precision(*precision));
        let config = ModelConfig { vision: sizes, ..parts.config };
        config.validate()?;
        let (key, had_vision) = (keys::model(&parts.model), parts.vision.is_some());
        let trained = |name: &str| key(name).filter(|_| had_vision || !name.starts_with("mm_projector."));
        // Without gradients, weights stay as they are stored; with them, they are widened.
        let of = if lora.is_some() { &plain } else { device };
        let mut weights = load(UniGen::new(&config, of), &parts.model, trained)?.with_precision(*precision);
        match (lora, blocks_in(&weights)) {
            (Some(&Lora { rank, alpha }), _) => {
                let projector = weights.mm_projector.clone();
                weights = weights.adapted(rank, alpha);
                if !had_vision {
                    weights.mm_projector = projector;
                }
                if device.is_autodiff() {
                    weights = weights.train().map(&mut Checkpointed(device));
                }
            }
            (None, Some(format)) => bail!(
                "the model in {} is quantised ({}), and such weights cannot be trained: train adapters beside them with \
                 --set lora.rank=8, or import the model with --quantize none",
                model.display(),
                format.name()
            ),
            (None, None) => {}
        }
        let base = Self {
            text: parts.text,
            reading,
            text_json: read(&model.join(ModelFolder::TEXT))?,
            image_tokenizer: folder.image_tokenizer(&plain)?.1.with_precision(*precision),
            weights: model.join(ModelFolder::IMAGE_TOKENIZER),
            vision,
            config,
            generation: parts.generation,
            device: plain,
        };
        Ok((base, weights))
    }

    /// A model with random weights of these sizes, and the image tokenizer in the folder `images`. The text tokenizer is
    /// that of the file `text`; without one, one is learned from `texts`.
    ///
    /// # Errors
    /// The error names the file that is missing or damaged, or what is wrong with the sizes.
    pub fn begin(
        sizes: &ModelConfig,
        images: &Path,
        text: Option<&Path>,
        texts: impl FnOnce() -> Result<Vec<String>>,
        max_text: usize,
        compute: &Compute,
    ) -> Result<(Self, UniGen)> {
        let reading = Reading::new(max_text)?;
        let Compute { device: plain, precision } = compute.without_autodiff();
        let (image_sizes, image_tokenizer) = ModelFolder::at(images).image_tokenizer(&plain)?;
        let config = ModelConfig { image_tokenizer: image_sizes, ..sizes.clone() };
        config.validate()?;
        let text_json = match text {
            Some(path) => read(path)?,
            None => train_bpe(texts()?, config.text_vocab)?,
        };
        let base = Self {
            text: TextTokenizer::of_model(&text_json, &config.special_tokens)?,
            reading,
            text_json,
            image_tokenizer: image_tokenizer.with_precision(precision),
            weights: images.join(ModelFolder::IMAGE_TOKENIZER),
            vision: None,
            generation: GenerationConfig::of(config.image_codes()),
            device: plain,
            config,
        };
        let model = UniGen::new(&base.config, &compute.device);
        Ok((base, model))
    }

    /// Side of generated images in pixels.
    pub fn size(&self) -> u32 {
        self.config.image_size as u32
    }

    /// Number of codes of a generated image.
    pub fn image_tokens(&self) -> usize {
        self.config.image_codes()
    }

    /// The encoder of images, and the file of its weights.
    pub fn encoder(&self) -> (Encoder<'_>, &Path) {
        let encoder = Encoder { tokenizer: &self.image_tokenizer, size: self.size(), device: &self.device };
        (encoder, &self.weights)
    }

    /// The tokens of a text, up to the limit of the settings.
    ///
    /// # Errors
    /// If the text is longer than any model reads.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.reading.tokens(&self.text, text)
    }

    /// Number of features of a picture.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn feature_count(&self, picture: &RgbImage) -> Result<usize> {
        Ok(self.tower()?.tokens(picture.width(), picture.height(), self.max_features())?)
    }

    /// The sequence of a picture and a conversation of `[question, answer]` turns about it. The answers are
    /// predicted.
    ///
    /// # Errors
    /// If the picture has no pixels or a text is longer than any model reads.
    pub fn conversation(&self, picture: &RgbImage, turns: &[[String; 2]]) -> Result<Sequence> {
        let turns = turns.iter().map(|[question, answer]| Ok([self.tokens(question)?, self.tokens(answer)?]));
        let turns = turns.collect::<Result<Vec<_>>>()?;
        let rows = ImageRows::Semantic(self.feature_count(picture)?);
        let turns = turns.iter().map(|[question, answer]| [&question[..], &answer[..]]);
        Ok(layouts(&self.text).conversation(rows, turns))
    }

    /// Whether the model has an understanding encoder.
    pub fn has_vision(&self) -> bool {
        self.vision.is_some()
    }

    fn tower(&self) -> Result<&Tower> {
        self.vision.as_ref().context("the model has no understanding encoder; the stage `sft` gives it one")
    }

    fn max_features(&self) -> usize {
        self.config.vision.as_ref().map_or(0, |vision| vision.max_tokens())
    }

    /// The samples with the features of their pictures, on `device`. The frozen tower encodes all pictures together.
    ///
    /// # Errors
    /// If a picture has no pixels.
    pub fn encode(&self, samples: Vec<Sample>, device: &Device) -> Result<Vec<Example>> {
        let (pictures, mut examples): (Vec<_>, Vec<_>) =
            samples.into_iter().map(|sample| (sample.picture, sample.example)).unzip();
        let seeing = examples.iter_mut().zip(&pictures).filter_map(|(e, p)| p.is_some().then_some(e));
        let seeing: Vec<&mut Example> = seeing.collect();
        let pictures: Vec<RgbImage> = pictures.into_iter().flatten().collect();
        if pictures.is_empty() {
            return Ok(examples);
        }
        let features = self.tower()?.features(&pictures, self.max_features(), &self.device)?;
        for (example, features) in seeing.into_iter().zip(features) {
            let data = features.try_into_data().context("cannot read the features of a picture")?;
            example.semantic = Some(Tensor::from_data(data, device));
        }
        Ok(examples)
    }

    /// An engine of these parts and `model`, which must be on a device without autodiff.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn engine(&self, model: &UniGen) -> Result<Engine> {
        let text = TextTokenizer::of_model(&self.text_json, &self.config.special_tokens)?;
        let (images, vision) = (self.image_tokenizer.clone(), self.vision.clone());
        Ok(Engine::of(text, model.clone(), images, vision, &self.device)?)
    }

    /// Writes a complete model folder in `f16`, in which adapters are merged into the weights. Quantised weights become
    /// `f16`, too.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        let (folder, vision) = (ModelFolder::create(folder)?, self.vision.as_ref());
        let (images, generation) = (&self.image_tokenizer, &self.generation);
        let model = &model.clone().merged();
        Ok(folder.write(&self.text_json, model, images, vision, generation, Precision::F16)?)
    }
}

/// Parameters with gradients that take part in gradient checkpointing as their device does.
struct Checkpointed<'a>(&'a Device);

impl ModuleMapper for Checkpointed<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| match self.0.gradient_checkpointing_strategy() {
            Some(strategy) => tensor.with_gradient_checkpointing_strategy(strategy),
            None => tensor,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
