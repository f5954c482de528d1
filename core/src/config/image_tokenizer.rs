//! Sizes of the image tokenizer.

use super::Config;
use super::bounds::MAX_CODE_BITS;
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Sizes of a MAGVITv2, in the names of its published config.json; absent keys have the values of showlab/magvitv2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenizerConfig {
    /// The unit of the channel multipliers.
    pub ch: usize,
    /// Channels of each level, finest first, in units of `ch`.
    pub encoder_ch_mult: Vec<usize>,
    /// Residual blocks of each level.
    pub encoder_num_res_blocks: Vec<usize>,
    /// Channels of each level, finest first, in units of `ch`.
    pub decoder_ch_mult: Vec<usize>,
    /// Residual blocks of each level.
    pub decoder_num_res_blocks: Vec<usize>,
    /// Bits of a code.
    pub z_channels: usize,
    /// Channels of the pixels that the encoder reads.
    pub in_ch: usize,
    /// Channels of the pixels that the decoder writes.
    pub out_ch: usize,
    /// Groups of every group norm.
    pub norm_groups: usize,
    /// Whether the encoder sees each cell of the grid alone, as a picture of `f` x `f` pixels. The same pixels then have
    /// the same code in every picture, which a small model learns from far fewer pictures; what cells have in common is
    /// left to the decoder. Published models: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encode_cells: bool,
    /// Side of the square of pixels at one position of the finest level. Its pixels are channels there (sub-pixel
    /// convolution, Shi et al. 2016, arXiv 1609.05158), so a picture of twice the side costs the same. Published models: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub patch: usize,
}

fn is_one(patch: &usize) -> bool {
    *patch == 1
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            ch: 128,
            encoder_ch_mult: vec![1, 2, 2, 4, 4],
            encoder_num_res_blocks: vec![4, 3, 4, 3, 4],
            decoder_ch_mult: vec![1, 1, 2, 2, 4],
            decoder_num_res_blocks: vec![4, 4, 3, 4, 3],
            z_channels: 13,
            in_ch: 3,
            out_ch: 3,
            norm_groups: 32,
            encode_cells: false,
            patch: 1,
        }
    }
}

impl TokenizerConfig {
    /// Pixels per code along each side, `f`.
    pub fn downsampling(&self) -> usize {
        self.patch << self.encoder_ch_mult.len().saturating_sub(1)
    }

    /// Rows and columns of codes of an image of `height` x `width` pixels.
    ///
    /// # Errors
    /// `Image` where a side is zero or no multiple of [`downsampling`](Self::downsampling).
    pub fn grid(&self, height: usize, width: usize) -> Result<[usize; 2]> {
        let f = self.downsampling();
        if height == 0 || width == 0 || !height.is_multiple_of(f) || !width.is_multiple_of(f) {
            let what = format!("is {height} pixels high and {width} wide");
            return Err(
                Error::new(ErrorKind::Image, "image", what).fix(format!("make both sides multiples of {f}"))
            );
        }
        Ok([height / f, width / f])
    }
}

impl Config for TokenizerConfig {
    fn validate(&self) -> Result<()> {
        let check = |good: bool, key: &str, what: String| {
            let error = || Error::new(ErrorKind::Config, key, what);
            if good { Ok(()) } else { Err(error().fix("choose sizes as a published MAGVITv2 has them")) }
        };
        for (key, size) in [("ch", self.ch), ("norm_groups", self.norm_groups)] {
            check((1..=1 << 16).contains(&size), key, format!("is {size}, not 1 to 65536"))?;
        }
        for (key, channels) in [("in_ch", self.in_ch), ("out_ch", self.out_ch)] {
            check(channels == 3, key, format!("is {channels}, but images are red, green and blue: 3"))?;
        }
        let z = self.z_channels;
        check((1..=MAX_CODE_BITS).contains(&z), "z_channels", format!("is {z}, not 1 to {}", MAX_CODE_BITS))?;
        let patch = self.patch;
        check((1..=16).contains(&patch), "patch", format!("is {patch}, not 1 to 16"))?;
        let levels = self.encoder_ch_mult.len();
        for (key, list) in [
            ("encoder_ch_mult", &self.encoder_ch_mult),
            ("encoder_num_res_blocks", &self.encoder_num_res_blocks),
            ("decoder_ch_mult", &self.decoder_ch_mult),
            ("decoder_num_res_blocks", &self.decoder_num_res_blocks),
        ] {
            let same = list.len() == levels && (1..=16).contains(&levels);
            check(same, key, format!("has {} levels, encoder_ch_mult has {levels} (1 to 16)", list.len()))?;
            let outside = list.iter().find(|n| !(1..=1 << 10).contains(*n));
            check(outside.is_none(), key, format!("contains {}, not 1 to 1024", outside.unwrap_or(&0)))?;
        }
        let groups = self.norm_groups;
        for mult in self.encoder_ch_mult.iter().chain(&self.decoder_ch_mult).chain([&1]) {
            let channels = self.ch * mult;
            check(channels <= 1 << 16, "ch", format!("makes {channels} channels, more than 65536"))?;
            let what = format!("is {groups}, which does not divide {channels} channels");
            check(channels.is_multiple_of(groups), "norm_groups", what)?;
        }
        Ok(())
    }

    fn part(mut document: Value) -> Value {
        match document.get_mut("image_tokenizer") {
            Some(tokenizer) => tokenizer.take(),
            None => document,
        }
    }
}
