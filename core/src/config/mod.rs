//! Sizes of models: presets, published config.json files, and ours.
//!
//! [`ModelConfig`] is a whole model, made of a [`DecoderConfig`], a [`VisionConfig`] and a [`TokenizerConfig`]. The sizes
//! of UniGen are in arXiv 2505.14682, section 3, those of UniGen-1.5 in arXiv 2511.14760, section 3. Each reads the
//! file that comes with its published checkpoint. [`GenerationConfig`] says how a model draws.

mod bounds;
mod decoder;
mod generation;
mod image_tokenizer;
mod model;
mod presets;
mod showo;
mod special_tokens;
mod vision;

pub(crate) use bounds::MAX_IMAGE_SIZE;
pub use decoder::{DecoderConfig, DecoderKind};
pub use generation::GenerationConfig;
pub use image_tokenizer::TokenizerConfig;
pub use model::{Ability, ModelConfig};
pub use showo::ShowoConfig;
pub use special_tokens::{ChatTokens, SpecialTokens};
pub use vision::{Activation, VisionConfig};

use crate::error::{Error, ErrorKind, Result};
use crate::files::write_atomic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// A configuration that lives in a JSON file and knows whether a model can have it.
pub trait Config: Serialize + DeserializeOwned {
    /// Checks the values.
    ///
    /// # Errors
    /// `Config`, naming the key, where no model can have these values.
    fn validate(&self) -> Result<()>;

    /// Parses and validates a file's text; `place` names the file in errors.
    ///
    /// # Errors
    /// `Config` where the text is no such configuration, and those of [`validate`](Self::validate).
    fn from_json(json: &str, place: &str) -> Result<Self> {
        let error = |e| {
            Error::new(ErrorKind::Config, place, format!("not a configuration: {e}"))
                .fix("take the file that belongs to the weights")
        };
        let value: Value = serde_json::from_str(json).map_err(error)?;
        let config: Self = serde_json::from_value(Self::part(value)).map_err(error)?;
        config.validate().map_err(|e| Error { place: format!("{place}: {}", e.place), ..e })?;
        Ok(config)
    }

    /// The part of a JSON document that describes `Self`.
    fn part(document: Value) -> Value {
        document
    }

    /// Reads and validates the file at `path`, or `config.json` in the folder at `path`.
    ///
    /// # Errors
    /// `Io` where the file cannot be read, and those of [`from_json`](Self::from_json).
    fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        let place = path.display().to_string();
        let json = std::fs::read_to_string(&path).map_err(|e| {
            Error::new(ErrorKind::Io, &place, format!("cannot read it: {e}")).fix("check the path")
        })?;
        Self::from_json(&json, &place)
    }

    /// Writes the file at `path`, whole or not at all.
    ///
    /// # Errors
    /// Those of [`write_atomic`].
    fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(ErrorKind::Config, path.display(), e))?;
        write_atomic(path, |out| writeln!(out, "{json}"))
    }
}
