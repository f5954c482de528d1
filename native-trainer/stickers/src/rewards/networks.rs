//! The networks of all four rewards.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::Path;
use unigen_core::config::DecoderConfig;

use super::scorer::{Scorer, TowerConfig};
use super::verifier::Verifier;
use crate::judge::{Detector, DetectorConfig};

/// Sizes of all networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NanoConfig {
    /// Side of the pictures in pixels, a multiple of 16.
    pub size: u32,
    /// The scorer's image tower.
    pub tower: TowerConfig,
    /// The scorer's text tower, which also reads picture and text together.
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
    /// If the sizes are invalid.
    pub fn new(config: &NanoConfig, device: &Device) -> Result<Self> {
        Ok(Self {
            scorer: Scorer::new(&config.tower, &config.decoder, config.size, device)?,
            verifier: Verifier::new(&config.verifier, device)?,
        })
    }

    /// Copies the weights of the detector at `path` into the image tower and the verifier.
    ///
    /// # Errors
    /// If there is no detector at `path`, or its sizes differ.
    pub(super) fn start_from(&mut self, path: &Path, config: &NanoConfig, device: &Device) -> Result<()> {
        let Detector { config: found, net, .. } = Detector::open(path, &device.clone().into())?;
        let NanoConfig { tower: TowerConfig { widths, blocks, groups }, verifier, .. } = config;
        ensure!(
            found == *verifier && (found.widths, found.blocks, found.groups) == (*widths, *blocks, *groups),
            "the teacher in {} has the sizes {}; give model.tower and model.verifier the same sizes, or use no teacher",
            path.display(),
            serde_json::to_string(&found)?
        );
        self.scorer.start_from(net.clone());
        self.verifier.start_from(net);
        Ok(())
    }
}
