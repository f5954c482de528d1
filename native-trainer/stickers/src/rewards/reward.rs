//! The trained networks as rewards.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use image::{RgbImage, imageops};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use unigen_core::engine::layouts;
use unigen_core::files::write_atomic;
use unigen_core::image_tokenizer::pixels_from_images;
use unigen_core::precision::WithPrecision;
use unigen_core::sequence::Row;
use unigen_core::text::TextTokenizer;
use unigen_core::weights::{Checkpoint, Precision, keys, load, save};
use unigen_rewards::{Item, Missing, Reward, Score, in_batches};
use unigen_runs::{Compute, floats};

use super::networks::{NanoConfig, NanoRewards};
use super::scorer::{MATCH, PREFERENCE};
use crate::world::Facts;

/// Name of the weights file.
const WEIGHTS: &str = "rewards.safetensors";
/// Name of the text tokenizer's file.
const TEXT: &str = "tokenizer.json";
/// Metadata key of the weights, under which the [`NanoConfig`] stands as JSON.
const CONFIG: &str = "config";
/// Number of pictures that are scored together.
const BATCH: usize = 64;
/// The longest text, in tokens.
const MAX_TEXT: usize = 96;

/// The networks of all four rewards, with the text tokenizer.
pub struct Nets {
    pub config: NanoConfig,
    pub model: NanoRewards,
    pub words: Words,
    pub device: Device,
}

/// Encodes texts as tokens.
pub struct Words {
    text: TextTokenizer,
    json: Vec<u8>,
}

impl Words {
    /// # Errors
    /// If `json` is not a tokenizer.
    pub fn new(json: Vec<u8>) -> Result<Self> {
        Ok(Self { text: TextTokenizer::from_bytes(&json)?, json })
    }

    /// The tokens of `im_start TEXT im_end`.
    ///
    /// # Errors
    /// If the text is longer than any model reads.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = self.text.encode(text)?;
        tokens.truncate(MAX_TEXT);
        let sequence = layouts(&self.text).text(&tokens);
        Ok(sequence.rows().filter_map(|row| if let Row::Token(id) = row { Some(id) } else { None }).collect())
    }
}

impl Nets {
    /// Loads the files that [`Self::save`] wrote.
    ///
    /// # Errors
    /// Errors name the file that is missing or damaged, or that does not fit the other.
    pub fn open(folder: &Path, Compute { device, precision }: &Compute) -> Result<Self> {
        let (weights, text) = (folder.join(WEIGHTS), folder.join(TEXT));
        let checkpoint = Checkpoint::open(&weights)?;
        let config = checkpoint.metadata().get(CONFIG).with_context(|| {
            format!("{} holds no nano rewards: its metadata lack \"{CONFIG}\"", weights.display())
        })?;
        let config: NanoConfig = serde_json::from_str(config)
            .with_context(|| format!("the rewards' config in {}", weights.display()))?;
        let json = fs::read(&text).with_context(|| format!("cannot read {}", text.display()))?;
        let words = Words::new(json)?;
        let (found, wanted) = (words.text.vocab_size(), config.decoder.vocab_size);
        ensure!(
            found <= wanted,
            "{} has {found} tokens, but the rewards in {} know {wanted}; take both files from the same folder",
            text.display(),
            weights.display()
        );
        let model = load(NanoRewards::new(&config, device)?, &checkpoint, keys::same)?;
        let model = model.with_precision(*precision);
        Ok(Self { config, model, words, device: device.clone() })
    }

    /// Writes weights in half precision, and the tokenizer.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let metadata = HashMap::from([(CONFIG.to_owned(), serde_json::to_string(&self.config)?)]);
        save(&self.model, &folder.join(WEIGHTS), Precision::F16, keys::same, metadata)?;
        Ok(write_atomic(&folder.join(TEXT), |out| out.write_all(&self.words.json))?)
    }

    /// Pictures at the networks' size, `[b, size, size, 3]` in [-1, 1].
    ///
    /// # Errors
    /// If a picture has no pixels.
    fn pixels(&self, items: &[&Item]) -> Result<Tensor<4>> {
        let size = self.config.size;
        let fit = |item: &&Item| -> Result<RgbImage> {
            ensure!(!item.image.is_empty(), "a picture has no pixels");
            let filter = imageops::FilterType::CatmullRom;
            Ok(match item.image.dimensions() == (size, size) {
                true => item.image.clone(),
                false => imageops::resize(&item.image, size, size, filter),
            })
        };
        let pictures = items.iter().map(fit).collect::<Result<Vec<_>>>()?;
        Ok(pixels_from_images(&pictures, &self.device)?)
    }
}

/// The four rewards, by what they measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The cosine of picture and text, -1 to 1.
    Contrastive,
    /// How good the picture is for the text, without a unit.
    Preference,
    /// The log odds that the text describes the picture.
    Matcher,
    /// The mean probability of the text's facts, 0 to 1.
    Verifier,
}

impl Role {
    /// All four roles.
    pub const ALL: [Role; 4] = [Role::Contrastive, Role::Preference, Role::Matcher, Role::Verifier];

    /// The names of [`Self::ALL`].
    pub const NAMES: [&str; 4] = ["contrastive", "preference", "matcher", "verifier"];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The role with a name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// One of the four rewards.
pub struct NanoReward {
    pub role: Role,
    pub nets: Arc<Nets>,
}

impl NanoReward {
    /// All four rewards of the same networks.
    pub fn all(nets: &Arc<Nets>) -> [Self; 4] {
        Role::ALL.map(|role| Self { role, nets: nets.clone() })
    }

    /// Scores of items that all have pictures of a valid size.
    fn scores(&self, items: &[&Item]) -> Result<Vec<Score>> {
        let Nets { model, words, device, .. } = &*self.nets;
        let pixels = self.nets.pixels(items)?;
        if self.role == Role::Verifier {
            let seen = model.verifier.see(&pixels)?;
            let unknown = || Missing("the description states nothing that the verifier knows".into());
            let checked = seen.iter().zip(items);
            return Ok(checked
                .map(|(seen, item)| seen.agrees(&Facts::of(&item.description)).ok_or_else(unknown))
                .collect());
        }
        let tokens = model.scorer.look(&pixels);
        let texts = items.iter().map(|item| words.encode(&item.description)).collect::<Result<Vec<_>>>()?;
        let column = match self.role {
            Role::Matcher => MATCH,
            Role::Preference => PREFERENCE,
            _ => {
                let cosines = model.scorer.image_embeds(tokens) * model.scorer.text_embeds(&texts, device);
                return Ok(floats(cosines.sum_dim(1))?.into_iter().map(Ok).collect());
            }
        };
        let pairs: Vec<(usize, usize)> = (0..items.len()).map(|i| (i, i)).collect();
        let read = floats(model.scorer.read(tokens, &texts, &pairs, device))?;
        Ok(read.chunks(2).map(|row| Ok(row[column])).collect())
    }
}

impl Reward for NanoReward {
    fn name(&self) -> &str {
        self.role.name()
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        in_batches(items, BATCH, |batch| self.scores(batch))
    }
}
