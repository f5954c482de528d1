//! The parts that turn pictures into codes and features.

use super::published::{Kind, Published};
use super::tensors::{NewTensor, Weights};
use std::path::Path;
use unigen_core::config::{TokenizerConfig, VisionConfig};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::vision::Tower;
use unigen_core::weights::{keys, shapes};
use unigen_core::{Device, Result};

/// The MAGVITv2 at `path`. Without a `config.json` it has the sizes of showlab/magvitv2.
pub fn image_tokenizer(path: &Path) -> Result<(TokenizerConfig, Vec<NewTensor>)> {
    let published = Published::open(path, Kind::ImageTokenizer)?;
    let config = match published.config_path().exists() {
        true => published.config()?,
        false => TokenizerConfig::default(),
    };
    let module = ImageTokenizer::new(&config, &Device::flex())?;
    let tensors = Weights::new(published.checkpoint, keys::same).tensors(shapes(&module), keys::same)?;
    Ok((config, tensors))
}

/// The understanding encoder at `path`: the vision tower alone, also where the checkpoint has a text tower beside it.
pub fn vision(path: &Path) -> Result<(VisionConfig, Vec<NewTensor>)> {
    let published = Published::open(path, Kind::Vision)?;
    let key = keys::siglip(&published.checkpoint);
    let head = key("head.probe").is_some_and(|name| published.checkpoint.contains(&name));
    let config = VisionConfig { vision_use_head: head, ..published.config()? };
    let shapes = match Tower::new(&config, &Device::flex())? {
        Tower::Siglip(tower) => shapes(&tower),
        Tower::Siglip2(tower) => shapes(&tower),
    };
    Ok((config, Weights::new(published.checkpoint, key).tensors(shapes, keys::vision_model)?))
}
