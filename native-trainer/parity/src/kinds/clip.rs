//! CLIP: CLIPModel of transformers.

use anyhow::{Context, Result, ensure};
use unigen_rewards::clip::{Clip, ClipConfig};

use crate::Kind;
use crate::compare::{Comparer, bounds};
use crate::folder::{Config, Folder};

/// Normalised embeddings of pictures and texts, and how well they agree.
pub struct HuggingFaceClip;

impl Kind for HuggingFaceClip {
    fn name(&self) -> &'static str {
        "CLIP"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("clip")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        towers(folder, comparer, |config| Clip::load(config, &folder.model, &folder.device))
    }
}

/// Compares both towers, which `load` makes.
pub fn towers(
    folder: &Folder,
    comparer: &mut Comparer,
    load: impl FnOnce(&ClipConfig) -> Result<Clip>,
) -> Result<()> {
    let (io, device) = (&folder.io, &folder.device);
    let config = ClipConfig::from_json(&folder.config.0)?;
    let ([_, channels, height, width], side) = (io.shape::<4>("pixel_values")?, config.image_size());
    ensure!(
        [channels, height, width] == [3, side, side],
        "io.safetensors: pixel_values: pictures of {channels} x {height} x {width}, wanted 3 x {side} x {side}"
    );
    let [count, length] = io.shape::<2>("input_ids")?;
    let ids = io.ints("input_ids", &[count, length], 0..config.text.vocab_size as i64)?;
    let clip = load(&config)?;
    let texts: Vec<Vec<u32>> =
        ids.chunks(length).map(|text| text.iter().map(|&id| id as u32).collect()).collect();
    let images = clip.image_embeds(io.input("pixel_values", device)?);
    let texts = clip.text_embeds(&texts, device).context("io.safetensors: input_ids")?;
    comparer.tensor("image_embeds", images.clone(), bounds::FEATURES)?;
    comparer.tensor("text_embeds", texts.clone(), bounds::FEATURES)?;
    if io.contains("logits_per_image") {
        comparer.tensor("logits_per_image", clip.logits_per_image(images, texts), bounds::FEATURES)?;
    }
    Ok(())
}
