//! CLIP of OpenCLIP, in the layout that HPSv2 ships.

use anyhow::Result;
use unigen_rewards::clip::{Clip, OpenClip as Names};

use super::clip::towers;
use crate::Kind;
use crate::compare::Comparer;
use crate::folder::{Config, Folder};

/// As CLIP, with OpenCLIP's names, and the text's feature at its highest id.
pub struct OpenClip;

impl Kind for OpenClip {
    fn name(&self) -> &'static str {
        "OpenCLIP"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type().is_none() && (config.has("vision_cfg") || config.has("embed_dim"))
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        towers(folder, comparer, |config| {
            Clip::load(config, &Names::new(&folder.model, folder.model.names())?, &folder.device)
        })
    }
}
