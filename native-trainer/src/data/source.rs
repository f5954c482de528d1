//! Captioned pictures by index: the sticker world, drawn on the fly, or a user's own shards.

use anyhow::{Context, Result, ensure};
use image::{RgbImage, imageops};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::shards::ShardIndex;
use super::stickers::{Renderer, Scene, Split, caption, edit_at, questions, rng_at, scene_at};

/// Where captioned pictures come from, the section `[data]` of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    /// WebDataset shards (picture and .txt a sample); none: the sticker world's training split.
    pub shards: Vec<PathBuf>,
    /// What the sticker world's scenes are drawn from.
    pub seed: u64,
}

/// Captioned pictures by index; an index beyond the last begins anew.
pub enum Source {
    /// Scenes without end.
    Stickers { renderer: Renderer, seed: u64 },
    /// Samples of shards.
    Shards(ShardIndex),
}

/// Samples in a row that may be unusable before a source counts as broken.
const PATIENCE: u64 = 100;

impl Source {
    /// Opens what `settings` name.
    ///
    /// # Errors
    /// Where a shard cannot be read or none has a sample.
    pub fn open(settings: &SourceSettings) -> Result<Self> {
        if settings.shards.is_empty() {
            return Ok(Self::Stickers { renderer: Renderer::new(), seed: settings.seed });
        }
        let index = ShardIndex::open(&settings.shards)?;
        ensure!(index.len() > 0, "the shards have no samples; check data.shards");
        Ok(Self::Shards(index))
    }

    /// What tells this source from others.
    pub fn name(&self) -> String {
        match self {
            Self::Stickers { seed, .. } => format!("stickers {seed}"),
            Self::Shards(index) => index.name(),
        }
    }

    /// Number of samples, none where there is no end.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Stickers { .. } => None,
            Self::Shards(index) => Some(index.len() as u64),
        }
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Picture `index`, square, of `size` pixels a side. Of four sticker pictures three are scenes and one is what an
    /// edit makes of a scene. An unusable sample of a shard is passed over for the next.
    ///
    /// # Errors
    /// Where many samples in a row are unusable: the first one's reason.
    pub fn picture(&self, index: u64, size: u32) -> Result<RgbImage> {
        match self {
            Self::Stickers { renderer, seed } => {
                let scene = match index % 4 {
                    3 => edit_at(Split::Train, *seed, index).after,
                    _ => scene_at(Split::Train, *seed, index),
                };
                Ok(renderer.render(&scene, size, size))
            }
            Self::Shards(_) => Ok(self.captioned(index, size)?.picture),
        }
    }

    /// Picture `index` with its caption; errors as [`Self::picture`].
    pub fn captioned(&self, index: u64, size: u32) -> Result<Captioned> {
        match self {
            Self::Stickers { renderer, seed } => {
                let scene = scene_at(Split::Train, *seed, index);
                Ok(Captioned { picture: renderer.render(&scene, size, size), caption: Caption::Scene(scene) })
            }
            Self::Shards(shards) => {
                let mut first = None;
                for index in index..index + PATIENCE {
                    match shards.read((index % shards.len() as u64) as usize) {
                        Ok(sample) => {
                            let (picture, caption) = (square(&sample.image, size), sample.caption);
                            return Ok(Captioned { picture, caption: Caption::Text(caption) });
                        }
                        Err(error) => _ = first.get_or_insert(error),
                    }
                }
                Err(first.context("no sample")?)
                    .context(format!("{PATIENCE} samples in a row cannot be used"))
            }
        }
    }

    /// About `count` texts to learn a vocabulary from: captions, and for stickers questions and instructions too.
    ///
    /// # Errors
    /// As [`Self::picture`].
    pub fn texts(&self, count: u64) -> Result<Vec<String>> {
        match self {
            Self::Stickers { seed, .. } => Ok((0..count / 4)
                .flat_map(|index| {
                    let mut rng = rng_at(!seed, index);
                    let scene = scene_at(Split::Train, *seed, index);
                    let edit = edit_at(Split::Train, *seed, index);
                    let mut texts = vec![caption(&scene, &mut rng), edit.instruction, edit.description];
                    texts.extend(
                        questions(&scene, &mut rng)
                            .into_iter()
                            .take(1)
                            .flat_map(|qa| [qa.question, qa.answer]),
                    );
                    texts
                })
                .collect()),
            Self::Shards(shards) => {
                let usable = (0..count.min(shards.len() as u64)).filter_map(|i| shards.read(i as usize).ok());
                Ok(usable.map(|sample| sample.caption).collect())
            }
        }
    }
}

/// A picture with what can be said about it.
pub struct Captioned {
    pub picture: RgbImage,
    pub caption: Caption,
}

/// What can be said about a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Caption {
    /// A text.
    Text(String),
    /// A scene, put into other words at each visit.
    Scene(Scene),
}

impl Caption {
    /// The caption of visit number `visit`.
    pub fn text(&self, visit: u64) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Scene(scene) => caption(scene, &mut rng_at(0x5EED_CA97, visit)),
        }
    }
}

/// One of `from`, drawn for `visit`.
pub fn pick_at<'a, T>(from: &'a [T], visit: u64) -> &'a T {
    &from[rng_at(0x5EED_91C4, visit).random_range(0..from.len())]
}

/// The middle of a picture, `size` pixels a side.
fn square(image: &RgbImage, size: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let side = width.min(height);
    let middle = imageops::crop_imm(image, (width - side) / 2, (height - side) / 2, side, side).to_image();
    if side == size {
        middle
    } else {
        imageops::resize(&middle, size, size, imageops::FilterType::CatmullRom)
    }
}
