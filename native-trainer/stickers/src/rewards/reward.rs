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

/// Name of the file of weights.
const WEIGHTS: &str = "rewards.safetensors";
/// Name of the file of the text tokenizer.
const TEXT: &str = "tokenizer.json";
/// Key of the weights' metadata: the [`NanoConfig`] as JSON.
const CONFIG: &str = "config";
/// Pictures scored together.
const BATCH: usize = 64;
/// The longest text, in tokens.
const MAX_TEXT: usize = 96;

/// The networks with what goes into them, for all four rewards.
pub struct Nets {
    pub config: NanoConfig,
    pub model: NanoRewards,
    pub words: Words,
    pub device: Device,
}

/// From text to tokens.
pub struct Words {
    text: TextTokenizer,
    json: Vec<u8>,
}

impl Words {
    /// # Errors
    /// Where `json` is no tokenizer.
    pub fn new(json: Vec<u8>) -> Result<Self> {
        Ok(Self { text: TextTokenizer::from_bytes(&json)?, json })
    }

    /// `im_start TEXT im_end`.
    ///
    /// # Errors
    /// Where the text is longer than any model reads.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = self.text.encode(text)?;
        tokens.truncate(MAX_TEXT);
        let sequence = layouts(&self.text).text(&tokens);
        Ok(sequence.rows().filter_map(|row| if let Row::Token(id) = row { Some(id) } else { None }).collect())
    }
}

impl Nets {
    /// Loads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// Name the file that is missing, damaged, or does not fit the other.
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
            "{} has {found} tokens, the rewards in {} know {wanted}; take both from the same folder",
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
    /// Where a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let metadata = HashMap::from([(CONFIG.to_owned(), serde_json::to_string(&self.config)?)]);
        save(&self.model, &folder.join(WEIGHTS), Precision::F16, keys::same, metadata)?;
        Ok(write_atomic(&folder.join(TEXT), |out| out.write_all(&self.words.json))?)
    }

    /// Pictures at the networks' size, `[b, size, size, 3]` in [-1, 1].
    ///
    /// # Errors
    /// Where a picture has no pixels.
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

/// What a reward looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The cosine of picture and text, -1 to 1.
    Contrastive,
    /// How good the picture is for the text, without unit.
    Preference,
    /// The log odds that the text is right.
    Matcher,
    /// The mean of how sure each of the text's facts is, 0 to 1.
    Verifier,
}

impl Role {
    /// All four.
    pub const ALL: [Role; 4] = [Role::Contrastive, Role::Preference, Role::Matcher, Role::Verifier];

    /// Their names.
    pub const NAMES: [&str; 4] = ["contrastive", "preference", "matcher", "verifier"];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The role of a name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// One of the four.
pub struct NanoReward {
    pub role: Role,
    pub nets: Arc<Nets>,
}

impl NanoReward {
    /// All four of the same networks.
    pub fn all(nets: &Arc<Nets>) -> [Self; 4] {
        Role::ALL.map(|role| Self { role, nets: nets.clone() })
    }

    /// Scores of items, all of which can be looked at.
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
