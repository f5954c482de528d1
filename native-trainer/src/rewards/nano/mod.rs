//! Small rewards for the sticker world, trained together by the stage `rewards`:
//!
//! | Reward | In the role of | Trained on |
//! |---|---|---|
//! | contrastive | CLIP | pictures and their captions |
//! | preference | HPSv2 | pairs of a better and a worse picture |
//! | matcher | ORM, which answers yes or no | right and subtly wrong descriptions |
//! | verifier | UnifiedReward | what scenes show; it checks a description's facts one by one |
//!
//! The first three share the image tower of the [`Scorer`]; the [`Verifier`] is a network of its own. The detector that
//! judges evaluations is none of them.

mod agreement;
mod damage;
mod pairs;
mod reward;
mod scorer;
mod stage;
mod verifier;

pub use agreement::{Agreement, HeldOut};
pub use damage::Damage;
pub use pairs::{Pair, pair_at};
pub use reward::{NanoReward, Nets, Role};
pub use scorer::{Scorer, TowerConfig};
pub use stage::{RewardsStage, Settings};
pub use verifier::{Seen, Verifier};

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::Path;
use unigen_core::config::DecoderConfig;

use crate::eval::detector::{Detector, DetectorConfig};

/// Sizes of all networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NanoConfig {
    /// Side of the pictures in pixels, a multiple of 16.
    pub size: u32,
    /// The scorer's image tower.
    pub tower: TowerConfig,
    /// The scorer's text tower, and what reads picture and text together.
    pub decoder: DecoderConfig,
    pub verifier: DetectorConfig,
}

/// All networks.
#[derive(Module, Debug)]
pub struct NanoRewards {
    pub scorer: Scorer,
    pub verifier: Verifier,
}

impl NanoRewards {
    /// Random weights.
    ///
    /// # Errors
    /// Where the sizes cannot work.
    pub fn new(config: &NanoConfig, device: &Device) -> Result<Self> {
        Ok(Self { scorer: Scorer::new(config, device)?, verifier: Verifier::new(&config.verifier, device)? })
    }

    /// Takes what the detector at `path` has learned to see into the image tower and the verifier.
    ///
    /// # Errors
    /// Where there is no detector or it has other sizes.
    fn start_from(&mut self, path: &Path, config: &NanoConfig, device: &Device) -> Result<()> {
        let Detector { config: found, net, .. } = Detector::open(path, &device.clone().into())?;
        let NanoConfig { tower: TowerConfig { widths, blocks, groups }, verifier, .. } = config;
        ensure!(
            found == *verifier && (found.widths, found.blocks, found.groups) == (*widths, *blocks, *groups),
            "the teacher in {} has the sizes {found:?}; give model.tower and model.verifier the same, or take no teacher",
            path.display()
        );
        self.scorer.start_from(net.clone());
        self.verifier.start_from(net);
        Ok(())
    }
}
