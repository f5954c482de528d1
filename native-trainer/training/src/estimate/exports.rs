//! Sizes of the models that runs start from, also of those that earlier runs of a recipe have not made yet.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use unigen_core::config::{Config, ModelConfig, TokenizerConfig, VisionConfig};
use unigen_core::cost::{Cost, Task};
use unigen_core::engine::ModelFolder;

use super::Adapters;
use crate::batch::Lora;

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

    /// Adapters beside the model in `folder`. An earlier run exports its weights in `f16`.
    ///
    /// # Errors
    /// As [`model_in`](Self::model_in), and if a model that exists has no weights.
    pub fn adapters(&self, folder: &Path, lora: &Lora) -> Result<Adapters> {
        let base = match self.models.get(folder) {
            Some(config) => {
                let cost = Cost::of(config, Task::Generate, 1, 0)?;
                let own = |name: &str| !["vision encoder", "image encoder", "image decoder"].contains(&name);
                let parameters = cost.parameters.iter().filter(|(name, _)| own(name));
                2.0 * parameters.map(|(_, count)| *count as f64).sum::<f64>()
            }
            None => {
                let path = folder.join(ModelFolder::MODEL);
                let file = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
                file.len() as f64
            }
        };
        Ok(Adapters { rank: lora.rank, base })
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
