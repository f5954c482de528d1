//! Sizes of the models that runs start from, also of those that earlier runs of a recipe have not made yet.

use anyhow::Result;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use unigen_core::config::{Config, ModelConfig, TokenizerConfig, VisionConfig};
use unigen_core::engine::ModelFolder;

/// Sizes by the folder of a model. A folder that exists says its own sizes.
#[derive(Debug, Default)]
pub struct Exports {
    models: HashMap<PathBuf, ModelConfig>,
    images: HashMap<PathBuf, TokenizerConfig>,
    towers: HashMap<PathBuf, VisionConfig>,
}

impl Exports {
    /// The model that a run exports into `folder`.
    pub fn model(&mut self, folder: &Path, config: ModelConfig) {
        self.models.insert(folder.to_owned(), config);
    }

    /// The image tokenizer that a run exports into `folder`.
    pub fn image_tokenizer(&mut self, folder: &Path, config: TokenizerConfig) {
        self.images.insert(folder.to_owned(), config);
    }

    /// The understanding encoder that a run exports into `folder`.
    pub fn vision(&mut self, folder: &Path, config: VisionConfig) {
        self.towers.insert(folder.to_owned(), config);
    }

    /// The sizes of the model in `folder`.
    ///
    /// # Errors
    /// If the folder has no readable configuration and no earlier run makes it.
    pub fn model_in(&self, folder: &Path) -> Result<ModelConfig> {
        match self.models.get(folder) {
            Some(config) => Ok(config.clone()),
            None => Ok(ModelConfig::read(&folder.join(ModelFolder::CONFIG))?),
        }
    }

    /// The sizes of the image tokenizer in `folder`. Errors as [`model_in`](Self::model_in).
    pub fn image_tokenizer_in(&self, folder: &Path) -> Result<TokenizerConfig> {
        match (self.images.get(folder), self.models.get(folder)) {
            (Some(config), _) => Ok(config.clone()),
            (None, Some(model)) => Ok(model.image_tokenizer.clone()),
            (None, None) => Ok(TokenizerConfig::read(&folder.join(ModelFolder::CONFIG))?),
        }
    }

    /// The sizes of the understanding encoder in `folder`. Errors as [`model_in`](Self::model_in).
    pub fn vision_in(&self, folder: &Path) -> Result<VisionConfig> {
        let model = self.models.get(folder).and_then(|model| model.vision.clone());
        match self.towers.get(folder).cloned().or(model) {
            Some(config) => Ok(config),
            None => Ok(VisionConfig::read(&folder.join(ModelFolder::CONFIG))?),
        }
    }
}
