//! The network: a small feature pyramid (Lin et al. 2017, arXiv 1612.03144) with one head.

use anyhow::{Result, ensure};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use unigen_core::image_tokenizer::blocks::{Conv2d, Downsample, GroupNorm, ResnetBlock, to_patches};
use unigen_core::ops::conv::{swish, upsample2};
use unigen_training::world::Perception;

use crate::world::{Class, Color};

/// Pixels along the side of an output cell.
pub const STRIDE: usize = 4;
/// Sides of pictures must be multiples of this, so that every level has whole cells.
pub const MULTIPLE: usize = 16;

/// Output channel: the logit that an object's middle lies in the cell.
pub(super) const OBJECT: usize = 0;
/// Output channels: the offset of the box's middle from the cell's, right and down, in cells, and the logarithms of the
/// box's width and height in cells.
pub(super) const BOX: Range<usize> = 1..5;
/// Number of colours: the ten, and the natural ones.
const COLORS: usize = Color::ALL.len() + 1;

/// The columns of the logits in an output of `channels` channels: the classes, and after them the colours.
pub(super) fn logits(channels: usize) -> [Range<usize>; 2] {
    [BOX.end..channels - COLORS, channels - COLORS..channels]
}

/// The most channels of a layer.
const MAX_WIDTH: usize = 4096;
/// The most residual blocks of a level.
const MAX_BLOCKS: usize = 64;

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorConfig {
    /// Channels at cells of 4, 8 and 16 pixels.
    pub widths: [usize; 3],
    /// Residual blocks at cells of 8 and 16 pixels.
    pub blocks: [usize; 2],
    /// Channels of the head's hidden layer.
    pub head: usize,
    /// Groups of the group norms.
    pub groups: usize,
    /// Side in pixels of the pictures that it has learned from. Larger ones are made smaller first.
    pub size: u32,
    /// Number of things that it tells apart, in the order of the table of things.
    pub things: usize,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            widths: [48, 96, 128],
            blocks: [1, 2],
            head: 64,
            groups: 8,
            size: 96,
            things: Class::GENEVAL.len(),
        }
    }
}

impl DetectorConfig {
    /// Refuses sizes that no network can have. The error names the key.
    pub fn validate(&self) -> Result<()> {
        ensure!(self.groups > 0, "detector groups is 0; choose at least 1");
        for (key, width) in self.widths.iter().map(|width| ("widths", width)).chain([("head", &self.head)]) {
            ensure!(
                (1..=MAX_WIDTH).contains(width) && width.is_multiple_of(self.groups),
                "detector {key}: {width} channels; choose a multiple of groups = {} up to {MAX_WIDTH}",
                self.groups
            );
        }
        let things = 1..=Class::all().len();
        ensure!(
            things.contains(&self.things),
            "detector things is {}; choose 1 to {}",
            self.things,
            things.end()
        );
        ensure!(
            self.blocks.iter().all(|blocks| (1..=MAX_BLOCKS).contains(blocks)),
            "detector blocks is {:?}; choose 1 to {MAX_BLOCKS} for each level",
            self.blocks
        );
        Ok(())
    }

    /// Number of output channels.
    pub(super) fn channels(&self) -> usize {
        BOX.end + self.things + COLORS
    }

    /// Floating-point operations (a multiply and an add are two) of the convolutions of one forward pass over a picture
    /// of `height` x `width` pixels; a training step costs three times as many.
    pub fn flops(&self, height: usize, width: usize) -> usize {
        let [fine, middle, coarse] = self.widths;
        let block = |from, to| 9 * to * (from + to) + if from == to { 0 } else { from * to };
        let level =
            |blocks: usize, from, to| 9 * from * from + block(from, to) + (blocks - 1) * block(to, to);
        // Multiplications per cell of the finest level. Each next level has a quarter as many cells.
        let at_fine = 9 * 3 * STRIDE * STRIDE * fine + 9 * fine * self.head + self.head * self.channels();
        let at_middle = level(self.blocks[0], fine, middle) + middle * fine;
        let at_coarse = level(self.blocks[1], middle, coarse) + coarse * middle;
        let cells = height * width / (STRIDE * STRIDE);
        2 * (cells * at_fine + cells / 4 * at_middle + cells / 16 * at_coarse)
    }
}

/// Halves the resolution, then applies residual blocks.
#[derive(Module, Debug)]
pub struct Level {
    pub downsample: Downsample,
    pub blocks: Vec<ResnetBlock>,
}

impl Level {
    /// `blocks` residual blocks, the first from `c_in` to `c_out` channels.
    pub(crate) fn new(blocks: usize, c_in: usize, c_out: usize, groups: usize, device: &Device) -> Self {
        let block = |i| ResnetBlock::new(if i == 0 { c_in } else { c_out }, c_out, groups, device);
        Self { downsample: Downsample::new(c_in, device), blocks: (0..blocks).map(block).collect() }
    }

    /// `[b, h, w, c_in]` → `[b, h/2, w/2, c_out]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.iter().fold(self.downsample.forward(x), |x, block| block.forward(x))
    }
}

/// Maps pixels to objects: down to cells of 4, 8 and 16 pixels, and back up to 4.
#[derive(Module, Debug)]
pub struct DetectorNet {
    pub stem: Conv2d,
    pub middle: Level,
    pub coarse: Level,
    /// Maps the coarse level's channels to the middle level's.
    pub coarse_up: Conv2d,
    /// Maps the middle level's channels to the fine level's.
    pub middle_up: Conv2d,
    pub head_norm: GroupNorm,
    pub head: Conv2d,
    pub out_norm: GroupNorm,
    pub out: Conv2d,
}

impl DetectorNet {
    /// Random weights. Fails if `config` is not [valid](DetectorConfig::validate).
    pub fn new(config: &DetectorConfig, device: &Device) -> Result<Self> {
        config.validate()?;
        let ([fine, middle, coarse], groups) = (config.widths, config.groups);
        let channels = config.channels();
        let mut out = Conv2d::new(config.head, channels, 1, device);
        // At first an object is unlikely everywhere, so that empty cells do not dominate the loss (Lin et al. 2017,
        // arXiv 1708.02002).
        let bias: Vec<f32> = (0..channels).map(|c| if c == OBJECT { -4.6 } else { 0. }).collect();
        out.bias = Param::from_tensor(Tensor::from_floats(bias.as_slice(), device));
        Ok(Self {
            stem: Conv2d::new(3 * STRIDE * STRIDE, fine, 3, device),
            middle: Level::new(config.blocks[0], fine, middle, groups, device),
            coarse: Level::new(config.blocks[1], middle, coarse, groups, device),
            coarse_up: Conv2d::new(coarse, middle, 1, device),
            middle_up: Conv2d::new(middle, fine, 1, device),
            head_norm: GroupNorm::new(fine, groups, device),
            head: Conv2d::new(fine, config.head, 3, device),
            out_norm: GroupNorm::new(config.head, groups, device),
            out,
        })
    }

    /// Number of things that it tells apart.
    pub fn things(&self) -> usize {
        logits(self.out.weight.dims()[0])[0].len()
    }

    /// The bottom-up activations of pixels `[b, h, w, 3]` in [-1, 1], fine to coarse: `[b, h/4, w/4, c]`,
    /// `[b, h/8, w/8, c']` and `[b, h/16, w/16, c'']`. Sides must be multiples of [`MULTIPLE`].
    pub fn features(&self, pixels: &Tensor<4>) -> Vec<Tensor<4>> {
        self.levels(pixels.clone()).into()
    }

    fn levels(&self, pixels: Tensor<4>) -> [Tensor<4>; 3] {
        let fine = swish(self.stem.forward(space_to_depth(pixels)));
        let middle = self.middle.forward(fine.clone());
        let coarse = self.coarse.forward(middle.clone());
        [fine, middle, coarse]
    }

    /// Pixels `[b, h, w, 3]` in [-1, 1] → `[b, h/4, w/4, channels]`: an object's logit, its box, logits of the classes and of
    /// the colours in each cell. Sides must be multiples of [`MULTIPLE`].
    pub fn forward(&self, pixels: &Tensor<4>) -> Tensor<4> {
        self.out.forward(self.cells(self.levels(pixels.clone())))
    }

    /// [`Self::forward`] together with the head's hidden layer `[b, h/4, w/4, head]` and the [`Self::features`].
    pub fn forward_with_features(&self, pixels: &Tensor<4>) -> (Tensor<4>, Tensor<4>, [Tensor<4>; 3]) {
        let levels = self.levels(pixels.clone());
        let cells = self.cells(levels.clone());
        (self.out.forward(cells.clone()), cells, levels)
    }

    fn cells(&self, [fine, middle, coarse]: [Tensor<4>; 3]) -> Tensor<4> {
        let middle = middle + upsample2(self.coarse_up.forward(coarse));
        let x = fine + upsample2(self.middle_up.forward(middle));
        let x = self.head.forward(swish(self.head_norm.forward(x)));
        swish(self.out_norm.forward(x))
    }
}

/// A detector as a teacher.
pub struct Teacher {
    pub net: DetectorNet,
    /// [`DetectorConfig::size`]
    pub size: usize,
}

impl Perception for Teacher {
    /// The bottom-up activations ([`DetectorNet::features`]). A picture of twice the size or more is made smaller first, since
    /// the network knows things at the size that it has learned.
    fn features(&self, pixels: &Tensor<4>) -> Vec<Tensor<4>> {
        let [batch, height, width, channels] = pixels.dims();
        let factor = height.min(width) / self.size;
        if factor < 2 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            return self.net.features(pixels);
        }
        let [rows, columns] = [height / factor, width / factor];
        let squares = to_patches(pixels.clone(), factor);
        let squares = squares.reshape([batch * rows * columns, factor * factor, channels]);
        self.net.features(&squares.mean_dim(1).reshape([batch, rows, columns, channels]))
    }
}

/// Puts the pixels of a cell side by side: `[b, h, w, 3]` → `[b, h/4, w/4, 48]`.
pub(crate) fn space_to_depth(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let (rows, columns) = (height / STRIDE, width / STRIDE);
    x.reshape([batch, rows, STRIDE, columns, STRIDE * channels]).swap_dims(2, 3).reshape([
        batch,
        rows,
        columns,
        STRIDE * STRIDE * channels,
    ])
}
