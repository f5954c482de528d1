//! The understanding encoder of any resolution: Siglip2VisionModel (NaFlex) of transformers.

use anyhow::Result;
use unigen_core::config::{Config as _, VisionConfig};
use unigen_core::vision::{self, Patches};
use unigen_core::weights::{keys, load};

use crate::Kind;
use crate::compare::{Comparer, bounds};
use crate::folder::{Config, Folder};

/// Patches with their resized positions, the last layer but one, which UniGen takes, and the last.
pub struct Siglip2;

impl Kind for Siglip2 {
    fn name(&self) -> &'static str {
        "SigLIP2"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("siglip2_vision_model")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let io = &folder.io;
        let [batch, length, _] = io.shape::<3>("pixel_values")?;
        let mask = io.ints("pixel_mask", &[batch, length], 0..2)?;
        let shapes = io.ints("spatial_shapes", &[batch, 2], 1..length as i64 + 1)?;
        let config = VisionConfig::from_json(&folder.config.0.to_string(), "config.json")?;
        let tower = vision::Siglip2::new(&config, &folder.device)?;
        let tower = load(tower, &folder.model, keys::siglip(&folder.model))?;
        let shapes = shapes.chunks(2).map(|s| [s[0] as usize, s[1] as usize]).collect();
        let patches = Patches { pixels: io.input("pixel_values", &folder.device)?, shapes };
        // Padding means nothing after the first layer.
        let keep = |row: usize| mask[row] == 1;
        comparer.tensor("embeddings", tower.embeddings(&patches)?, bounds::FEATURES)?;
        comparer.rows("penultimate", tower.penultimate(&patches)?, bounds::FEATURES, keep)?;
        comparer.rows("last_hidden_state", tower.last_hidden_state(&patches)?, bounds::FEATURES, keep)
    }
}
