//! The cosine similarity of a picture and its description as a reward.

use anyhow::{Context, Result};
use burn::tensor::{Device, Int, Tensor};
use serde_json::Value;
use std::fs;
use std::path::Path;
use unigen_core::precision::WithPrecision;
use unigen_core::weights::Checkpoint;

use super::{Clip, ClipConfig, ClipTokenizer, Framing, OpenClip, Preprocess};
use crate::{Item, Reward, Score, in_batches};
use unigen_runs::{Compute, floats};

/// Number of pictures that are embedded together.
const BATCH: usize = 16;

/// The cosine similarity of picture and description by CLIP or HPSv2, -1 to 1.
pub struct ClipReward {
    name: String,
    model: Clip,
    tokenizer: ClipTokenizer,
    preprocess: Preprocess,
    device: Device,
}

impl ClipReward {
    /// Opens a CLIP model in Hugging Face's layout, such as laion/CLIP-ViT-H-14-laion2B-s32B-b79K: a folder with
    /// config.json, weights as safetensors, tokenizer.json and optionally preprocessor_config.json.
    ///
    /// # Errors
    /// The error names the file that is missing, damaged, or does not fit the others.
    pub fn clip(folder: &Path, compute: &Compute) -> Result<Self> {
        let Compute { device, precision } = compute;
        let config = ClipConfig::from_json(&json(&folder.join("config.json"))?)?;
        let model = Clip::load(&config, &Checkpoint::open(folder)?, device)?;
        let mut preprocess = Preprocess::new(config.image_size(), Framing::Crop);
        let constants = folder.join("preprocessor_config.json");
        if constants.is_file() {
            preprocess = preprocess.with_constants(&json(&constants)?)?;
        }
        let tokenizer =
            ClipTokenizer::open(&folder.join("tokenizer.json"), config.text.max_position_embeddings)?;
        let model = model.with_precision(*precision);
        Ok(Self { name: "clip".into(), model, tokenizer, preprocess, device: device.clone() })
    }

    /// Opens HPSv2 as published (xswu/HPSv2): a folder with one OpenCLIP state dict (.pt or .safetensors) and CLIP's
    /// tokenizer.json. If the model is not ViT-H-14, the folder also needs OpenCLIP's config as
    /// open_clip_config.json.
    ///
    /// # Errors
    /// The errors of [`Self::clip`].
    pub fn hpsv2(folder: &Path, compute: &Compute) -> Result<Self> {
        let Compute { device, precision } = compute;
        let sizes = folder.join("open_clip_config.json");
        let config = match sizes.is_file() {
            true => ClipConfig::from_json(&json(&sizes)?)?,
            false => ClipConfig::vit_h_14(),
        };
        let weights = Checkpoint::open(folder)?;
        let model = Clip::load(&config, &OpenClip::new(&weights, weights.names())?, device)?;
        let preprocess = Preprocess::new(config.image_size(), Framing::Pad);
        let tokenizer =
            ClipTokenizer::open(&folder.join("tokenizer.json"), config.text.max_position_embeddings)?;
        let model = model.with_precision(*precision);
        Ok(Self { name: "hpsv2".into(), model, tokenizer, preprocess, device: device.clone() })
    }

    /// Cosine similarities of items, all of which have pixels.
    fn cosines(&self, items: &[&Item]) -> Result<Vec<f32>> {
        let mut texts: Vec<&str> = items.iter().map(|item| item.description.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        let rows = items.iter().filter_map(|item| texts.binary_search(&item.description.as_str()).ok());
        let rows: Vec<i32> = rows.map(|row| row as i32).collect();
        let tokens = texts.iter().map(|text| self.tokenizer.encode(text)).collect::<Result<Vec<_>>>()?;
        let texts = self.model.text_embeds(&tokens, &self.device)?;
        let texts = texts.select(0, Tensor::<1, Int>::from_ints(rows.as_slice(), &self.device));
        let pictures: Vec<_> = items.iter().map(|item| &item.image).collect();
        let images = self.model.image_embeds(self.preprocess.pixels(&pictures, &self.device)?);
        floats((images * texts).sum_dim(1))
    }
}

impl Reward for ClipReward {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        in_batches(items, BATCH, |batch| Ok(self.cosines(batch)?.into_iter().map(Ok).collect()))
    }
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}
