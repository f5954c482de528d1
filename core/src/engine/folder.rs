//! The files of a model.

use super::{check_config, check_text, load_image_tokenizer};
use crate::config::{Config, GenerationConfig, ModelConfig, TokenizerConfig, VisionConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::files::write_atomic;
use crate::image_tokenizer::ImageTokenizer;
use crate::model::UniGen;
use crate::text::TextTokenizer;
use crate::vision::Tower;
use crate::weights::{Bytes, Checkpoint, Precision, keys, save};
use burn::tensor::Device;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Everything that an [`Engine`](super::Engine) is made of. The headers of weights are read, their data not yet.
pub struct ModelParts {
    /// Sizes, from `config.json`. The weights have the last word about the head: where they have one that differs from the
    /// token table, `tie_word_embeddings` is false, because published models may have it true all the same.
    pub config: ModelConfig,
    /// How the model draws unless told otherwise, from `generation.json`.
    pub generation: GenerationConfig,
    /// `tokenizer.json`.
    pub text: TextTokenizer,
    /// Weights of [`UniGen`] under the published names: `model.safetensors`.
    pub model: Checkpoint,
    /// Weights of [`ImageTokenizer`] under the published names: `image_tokenizer.safetensors`.
    pub image_tokenizer: Checkpoint,
    /// Weights of the understanding encoder under the published names: `vision.safetensors`. A model without it draws, but
    /// it cannot see pictures.
    pub vision: Option<Checkpoint>,
}

impl ModelParts {
    /// The parts from the bytes of their files, as a browser has them. `file` gives the bytes of the file with a name, or
    /// nothing where there is none. Weights are in one file, not in shards. Errors as [`ModelFolder::parts`].
    pub fn from_files<B: Into<Bytes>>(mut file: impl FnMut(&str) -> Option<B>) -> Result<Self> {
        let mut file = |name: &str| -> Option<Bytes> { file(name).map(Into::into) };
        let missing = |name| Error::new(ErrorKind::Io, name, "is missing").fix("download the model again");
        let config = file(ModelFolder::CONFIG).ok_or_else(|| missing(ModelFolder::CONFIG))?;
        let mut config = ModelConfig::from_json(&String::from_utf8_lossy(&config), ModelFolder::CONFIG)?;
        let generation = match file(ModelFolder::GENERATION) {
            Some(json) => {
                GenerationConfig::from_json(&String::from_utf8_lossy(&json), ModelFolder::GENERATION)?
            }
            None => GenerationConfig::of(config.image_codes()),
        };
        let text = file(ModelFolder::TEXT).ok_or_else(|| missing(ModelFolder::TEXT))?;
        let text = read_text(&config, &text)?;
        let mut weights = |name| -> Result<Option<Checkpoint>> {
            file(name).map(|bytes| Checkpoint::from_bytes(name, bytes)).transpose()
        };
        let model = weights(ModelFolder::MODEL)?.ok_or_else(|| missing(ModelFolder::MODEL))?;
        let image_tokenizer = weights(ModelFolder::IMAGE_TOKENIZER)?;
        let image_tokenizer = image_tokenizer.ok_or_else(|| missing(ModelFolder::IMAGE_TOKENIZER))?;
        let vision = if config.vision.is_some() { weights(ModelFolder::VISION)? } else { None };
        keys::untie_own_head(&mut config.decoder, &model)?;
        Ok(Self { config, generation, text, model, image_tokenizer, vision })
    }
}

/// The text tokenizer in `json`.
///
/// # Errors
/// `Text` where it is not the model's.
fn read_text(config: &ModelConfig, json: &[u8]) -> Result<TextTokenizer> {
    let text = TextTokenizer::of_model(json, &config.special_tokens)?;
    check_text(config, &text)?;
    Ok(text)
}

/// A folder with the files of [`ModelParts`], or with some of them.
///
/// Every file is written whole or not at all. Errors name the file.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
}

impl ModelFolder {
    /// Sizes of the model, or of the image tokenizer alone.
    pub const CONFIG: &str = "config.json";
    /// How the model draws; optional.
    pub const GENERATION: &str = "generation.json";
    /// Text tokenizer.
    pub const TEXT: &str = "tokenizer.json";
    /// Weights of the model.
    pub const MODEL: &str = "model.safetensors";
    /// Names the shards of the weights, where there are several.
    pub const MODEL_INDEX: &str = "model.safetensors.index.json";
    /// Weights of the image tokenizer.
    pub const IMAGE_TOKENIZER: &str = "image_tokenizer.safetensors";
    /// Weights of the understanding encoder; optional.
    pub const VISION: &str = "vision.safetensors";

    /// The folder at `path`, which need not exist.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The folder at `path`, made where there is none.
    ///
    /// # Errors
    /// `Io` where it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| {
            Error::new(ErrorKind::Io, path.display(), format!("cannot make the folder: {e}"))
                .fix("choose another place, or allow writing there")
        })?;
        Ok(Self::at(path))
    }

    /// Opens all files.
    ///
    /// # Errors
    /// They name the file that is missing, damaged or of another model. `generation.json` and `vision.safetensors` may be
    /// missing.
    pub fn parts(&self) -> Result<ModelParts> {
        self.exists()?;
        let mut config = ModelConfig::read(&self.file(Self::CONFIG))?;
        let generation = self.file(Self::GENERATION);
        let text = self.file(Self::TEXT);
        let json = std::fs::read(&text).map_err(|e| {
            Error::new(ErrorKind::Io, text.display(), format!("cannot read it: {e}"))
                .fix("copy it from where the weights come from")
        })?;
        // A large model may come in shards, which the folder's index names.
        let sharded = self.file(Self::MODEL_INDEX).exists();
        let model = if sharded { self.path.clone() } else { self.file(Self::MODEL) };
        let text = read_text(&config, &json)
            .map_err(|e| Error { place: format!("{}: {}", self.path.display(), e.place), ..e })?;
        let vision = self.file(Self::VISION);
        let sees = config.vision.is_some() && vision.exists();
        let model = Checkpoint::open(&model)?;
        keys::untie_own_head(&mut config.decoder, &model)?;
        Ok(ModelParts {
            generation: match generation.exists() {
                true => GenerationConfig::read(&generation)?,
                false => GenerationConfig::of(config.image_codes()),
            },
            config,
            text,
            model,
            image_tokenizer: Checkpoint::open(&self.file(Self::IMAGE_TOKENIZER))?,
            vision: sees.then(|| Checkpoint::open(&vision)).transpose()?,
        })
    }

    /// The image tokenizer alone and its sizes, from a whole model's folder or one that holds nothing else.
    pub fn image_tokenizer(&self, device: &Device) -> Result<(TokenizerConfig, ImageTokenizer)> {
        self.exists()?;
        let config = TokenizerConfig::read(&self.file(Self::CONFIG))?;
        let checkpoint = Checkpoint::open(&self.file(Self::IMAGE_TOKENIZER))?;
        let tokenizer = load_image_tokenizer(&config, &checkpoint, device)?;
        Ok((config, tokenizer))
    }

    /// The understanding encoder alone and its sizes, from a whole model's folder or one that holds nothing else.
    pub fn vision(&self, device: &Device) -> Result<(VisionConfig, Tower)> {
        self.exists()?;
        let config = VisionConfig::read(&self.file(Self::CONFIG))?;
        let tower = Tower::open(&config, &Checkpoint::open(&self.file(Self::VISION))?, device)?;
        Ok((config, tower))
    }

    /// Checks that the parts of a model fit together and writes them all, with the understanding encoder where there is
    /// one.
    pub fn write(
        &self,
        tokenizer_json: &[u8],
        model: &UniGen,
        image_tokenizer: &ImageTokenizer,
        vision: Option<&Tower>,
        generation: &GenerationConfig,
        precision: Precision,
    ) -> Result<()> {
        let config = model.config();
        check_config(config)?;
        read_text(config, tokenizer_json)?;
        generation.check(config.image_codes())?;
        write_atomic(&self.file(Self::TEXT), |out| out.write_all(tokenizer_json))?;
        self.write_model(model, precision)?;
        self.write_image_tokenizer_weights(image_tokenizer, precision)?;
        if let Some(vision) = vision {
            vision.save(&self.file(Self::VISION), precision)?;
        }
        generation.write(&self.file(Self::GENERATION))?;
        config.write(&self.file(Self::CONFIG))
    }

    /// Writes the weights of the model: `model.safetensors`.
    pub fn write_model(&self, model: &UniGen, precision: Precision) -> Result<()> {
        save(model, &self.file(Self::MODEL), precision, keys::unigen, HashMap::new())
    }

    /// Writes an image tokenizer alone: its weights, and its sizes as `config.json`.
    pub fn write_image_tokenizer(
        &self,
        tokenizer: &ImageTokenizer,
        config: &TokenizerConfig,
        precision: Precision,
    ) -> Result<()> {
        self.write_image_tokenizer_weights(tokenizer, precision)?;
        config.write(&self.file(Self::CONFIG))
    }

    /// Writes an understanding encoder alone: its weights, and its sizes as `config.json`.
    pub fn write_vision(&self, tower: &Tower, config: &VisionConfig, precision: Precision) -> Result<()> {
        tower.save(&self.file(Self::VISION), precision)?;
        config.write(&self.file(Self::CONFIG))
    }

    fn write_image_tokenizer_weights(&self, tokenizer: &ImageTokenizer, precision: Precision) -> Result<()> {
        save(tokenizer, &self.file(Self::IMAGE_TOKENIZER), precision, keys::same, HashMap::new())
    }

    fn exists(&self) -> Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Io, self.path.display(), "there is no such folder")
            .fix("give the folder of a model"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
