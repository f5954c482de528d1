//! The understanding encoder of one resolution: SiglipVisionModel of transformers.

use anyhow::Result;
use unigen_core::config::{Config as _, VisionConfig};
use unigen_core::vision;
use unigen_core::weights::{keys, load};

use crate::Kind;
use crate::compare::{Comparer, bounds};
use crate::folder::{Config, Folder};

/// The last layer but one, which UniGen takes, and the last.
pub struct Siglip;

impl Kind for Siglip {
    fn name(&self) -> &'static str {
        "SigLIP"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("siglip_vision_model")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let config = VisionConfig::from_json(&folder.config.0.to_string(), "config.json")?;
        let tower = vision::Siglip::new(&config, &folder.device)?;
        let tower = load(tower, &folder.model, keys::siglip(&folder.model))?;
        let pixels = folder.io.input::<4>("pixel_values", &folder.device)?;
        comparer.tensor("penultimate", tower.penultimate(pixels.clone())?, bounds::FEATURES)?;
        comparer.tensor("last_hidden_state", tower.last_hidden_state(pixels)?, bounds::FEATURES)
    }
}
