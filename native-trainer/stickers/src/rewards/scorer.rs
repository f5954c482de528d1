//! Three rewards with one image tower: a cosine, a verdict and a preference.

use anyhow::{Result, ensure};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};
use unigen_core::config::{Config, DecoderConfig};
use unigen_core::decoder::{Decoder, Wanted};
use unigen_core::image_tokenizer::blocks::{Conv2d, GroupNorm};
use unigen_core::nn::{self, Linear};
use unigen_core::ops::conv::swish;
use unigen_core::sequence::{AttentionLayout, Piece, Sequence};
use unigen_rewards::clip::unit;

use crate::judge::{DetectorNet, Level, MULTIPLE, STRIDE, space_to_depth};

/// Sizes of the image tower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TowerConfig {
    /// Channels at cells of 4, 8 and 16 pixels.
    pub widths: [usize; 3],
    /// Residual blocks at cells of 8 and 16 pixels.
    pub blocks: [usize; 2],
    /// Groups of the group norms.
    pub groups: usize,
}

impl Default for TowerConfig {
    fn default() -> Self {
        Self { widths: [48, 96, 128], blocks: [1, 2], groups: 8 }
    }
}

/// Turns pixels into a grid of tokens, one for each 16 x 16 pixels.
#[derive(Module, Debug)]
pub struct ImageTower {
    stem: Conv2d,
    middle: Level,
    coarse: Level,
    norm: GroupNorm,
    out: Conv2d,
    /// `[cells, width]`
    positions: Param<Tensor<2>>,
}

impl ImageTower {
    fn new(config: &TowerConfig, size: u32, width: usize, device: &Device) -> Result<Self> {
        let (TowerConfig { widths, blocks, groups }, size) = (config, size as usize);
        ensure!(
            *groups > 0
                && widths.iter().all(|width| *width > 0 && *width <= 4096 && width.is_multiple_of(*groups)),
            "tower: widths is {widths:?}; choose multiples of groups = {groups} up to 4096"
        );
        ensure!(
            blocks.iter().all(|blocks| (1..=64).contains(blocks)),
            "tower: blocks is {blocks:?}; choose 1 to 64 each"
        );
        ensure!(size > 0 && size.is_multiple_of(MULTIPLE), "size is {size}; choose a multiple of {MULTIPLE}");
        let ([fine, middle, coarse], cells) = (*widths, (size / MULTIPLE).pow(2));
        Ok(Self {
            stem: Conv2d::new(3 * STRIDE * STRIDE, fine, 3, device),
            middle: Level::new(blocks[0], fine, middle, *groups, device),
            coarse: Level::new(blocks[1], middle, coarse, *groups, device),
            norm: GroupNorm::new(coarse, *groups, device),
            out: Conv2d::new(coarse, width, 1, device),
            positions: nn::normal([cells, width], 0.02, device),
        })
    }

    /// Pixels `[b, size, size, 3]` in [-1, 1] → `[b, cells, width]`
    fn forward(&self, pixels: &Tensor<4>) -> Tensor<3> {
        let x = swish(self.stem.forward(space_to_depth(pixels.clone())));
        let x = self.coarse.forward(self.middle.forward(x));
        let x = self.out.forward(swish(self.norm.forward(x)));
        let [batch, rows, columns, width] = x.dims();
        x.reshape([batch, rows * columns, width]) + self.positions.val().unsqueeze::<3>()
    }
}

/// The networks of three rewards.
#[derive(Module, Debug)]
pub struct Scorer {
    images: ImageTower,
    /// Projects a picture for the cosine.
    image_head: Linear,
    texts: Decoder,
    text_head: Linear,
    /// The logarithm of the inverse temperature, `[1]`
    pub logit_scale: Param<Tensor<1>>,
    /// Reads a picture followed by a text.
    reader: Decoder,
    /// Maps the text's last token to the verdict and the preference.
    verdict: Linear,
}

/// Column of [`Scorer::read`]: the log odds that the text describes the picture.
pub const MATCH: usize = 0;
/// Column of [`Scorer::read`]: how good the picture is for the text.
pub const PREFERENCE: usize = 1;

impl Scorer {
    /// Random weights for square pictures of `size` pixels a side.
    pub(super) fn new(
        tower: &TowerConfig,
        decoder: &DecoderConfig,
        size: u32,
        device: &Device,
    ) -> Result<Self> {
        decoder.validate()?;
        let width = decoder.hidden_size;
        let linear = |outputs: usize| Linear::new(width, outputs, true, (width as f64).powf(-0.5), device);
        Ok(Self {
            images: ImageTower::new(tower, size, width, device)?,
            image_head: linear(width),
            texts: Decoder::new(decoder, device),
            text_head: linear(width),
            logit_scale: Param::from_tensor(Tensor::from_floats([10_f32.ln()], device)),
            reader: Decoder::new(decoder, device),
            verdict: linear(2),
        })
    }

    /// Copies the layers down to cells of 16 pixels from a detector.
    pub(super) fn start_from(&mut self, detector: DetectorNet) {
        let DetectorNet { stem, middle, coarse, .. } = detector;
        self.images = ImageTower { stem, middle, coarse, ..self.images.clone() };
    }

    /// Pixels `[b, size, size, 3]` in [-1, 1] → tokens `[b, cells, width]`.
    pub fn look(&self, pixels: &Tensor<4>) -> Tensor<3> {
        self.images.forward(pixels)
    }

    /// Embeds pictures in the space that they share with texts: tokens `[b, cells, width]` → `[b, width]` of length 1.
    pub fn image_embeds(&self, tokens: Tensor<3>) -> Tensor<2> {
        unit(self.image_head.forward(tokens.mean_dim(1).squeeze_dim::<2>(1)))
    }

    /// Embeds texts in the same space, from their tokens: `[texts, width]` of length 1. No text may be empty.
    pub fn text_embeds(&self, texts: &[Vec<u32>], device: &Device) -> Tensor<2> {
        let x = self.texts.embed(ids(texts, device));
        let sequences: Vec<Sequence> = texts.iter().map(|text| sequence(0, text)).collect();
        unit(self.text_head.forward(last_rows(&self.texts, x, &sequences, device)))
    }

    /// Reads each `(picture, text)` of `pairs` together: tokens `[b, cells, width]` of the pictures and tokens of the
    /// texts → `[pairs, 2]`. The columns are `MATCH` and `PREFERENCE`.
    pub fn read(
        &self,
        tokens: Tensor<3>,
        texts: &[Vec<u32>],
        pairs: &[(usize, usize)],
        device: &Device,
    ) -> Tensor<2> {
        let [pictures, cells, width] = tokens.dims();
        let words = self.reader.embed(ids(texts, device));
        let all = Tensor::cat(vec![tokens.reshape([pictures * cells, width]), words], 0);
        let starts: Vec<usize> = texts
            .iter()
            .scan(pictures * cells, |at, text| {
                *at += text.len();
                Some(*at - text.len())
            })
            .collect();
        let rows = pairs.iter().flat_map(|&(picture, text)| {
            (picture * cells..(picture + 1) * cells).chain(starts[text]..starts[text] + texts[text].len())
        });
        let rows: Vec<i32> = rows.map(|row| row as i32).collect();
        let sequences: Vec<Sequence> = pairs.iter().map(|&(_, text)| sequence(cells, &texts[text])).collect();
        let x = all.select(0, Tensor::<1, Int>::from_ints(rows.as_slice(), device));
        self.verdict.forward(last_rows(&self.reader, x, &sequences, device))
    }
}

fn ids(texts: &[Vec<u32>], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = texts.iter().flatten().map(|&id| id as i32).collect();
    Tensor::from_ints(ids.as_slice(), device)
}

/// A sequence of a picture's tokens and then a text. All tokens see each other.
fn sequence(cells: usize, text: &[u32]) -> Sequence {
    let pieces = vec![Piece::Semantic(cells), Piece::Tokens(text.to_vec())];
    let mut sequence = Sequence { pieces, ..Sequence::default() };
    sequence.blocks.push(0..sequence.len());
    sequence
}

/// The last row of each sequence, after all layers: `[rows, width]` → `[sequences, width]`.
fn last_rows(decoder: &Decoder, x: Tensor<2>, sequences: &[Sequence], device: &Device) -> Tensor<2> {
    let places: Vec<usize> = sequences.iter().flat_map(|sequence| 0..sequence.len()).collect();
    let ends = sequences.iter().scan(0, |end, sequence| {
        *end += sequence.len();
        Some(*end - 1)
    });
    let ends: Vec<usize> = ends.collect();
    let (layout, positions) = (AttentionLayout::full(sequences), decoder.positions(&places, device));
    let last = Wanted::new(&ends, &positions, &layout, device);
    decoder.forward_wanted(x, &positions, &layout, &last)
}
