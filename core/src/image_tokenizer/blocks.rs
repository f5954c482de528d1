//! The blocks that encoder and decoder share, with the parameter names of showlab/magvitv2.
//! All images are `[batch, height, width, channels]`.

use super::bands::Bands;
use crate::nn::{normal, ones, zeros};
use crate::ops::conv::{conv2d, group_norm, group_norm_swish, group_norm_swish_bands, upsample2_conv2d};
use crate::precision::MatmulPrecision;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor, activation::softmax};

/// A square convolution, see [`conv2d`].
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[c_out, c_in, k, k]`
    pub weight: Param<Tensor<4>>,
    /// `[c_out]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    stride: usize,
    /// Top, bottom, left, right.
    #[module(skip)]
    padding: [usize; 4],
    precision: MatmulPrecision,
}

impl Conv2d {
    /// A convolution that keeps the size of the image, `k` odd.
    pub fn new(c_in: usize, c_out: usize, k: usize, device: &Device) -> Self {
        let std = ((c_in * k * k) as f64).sqrt().recip();
        Self {
            weight: normal([c_out, c_in, k, k], std, device),
            bias: zeros([c_out], device),
            stride: 1,
            padding: [k / 2; 4],
            precision: MatmulPrecision::F32,
        }
    }

    /// A convolution with a stride; `padding` is top, bottom, left, right.
    pub fn strided(
        c_in: usize,
        c_out: usize,
        k: usize,
        stride: usize,
        padding: [usize; 4],
        device: &Device,
    ) -> Self {
        Self { stride, padding, ..Self::new(c_in, c_out, k, device) }
    }

    /// `[b, h, w, c_in]` → `[b, h', w', c_out]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv2d(x, self.weight(), self.bias.val(), self.stride, self.padding, self.precision)
    }

    /// The kernel in `f32`. One that is stored in half precision is widened for the time of one convolution.
    fn weight(&self) -> Tensor<4> {
        let weight = self.weight.val();
        if weight.dtype() == DType::F32 { weight } else { weight.cast(FloatDType::F32) }
    }

    /// [`Self::forward`] in bands, for a convolution that keeps the size.
    pub(super) fn bands(&self, x: Bands) -> Bands {
        x.convolve(1, self.channels(), |x| self.forward(x))
    }

    /// The larger number of channels, in or out.
    fn channels(&self) -> usize {
        let [c_out, c_in, ..] = self.weight.dims();
        c_in.max(c_out)
    }
}

/// Group normalisation, see [`group_norm`].
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`
    pub weight: Param<Tensor<1>>,
    /// `[channels]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    groups: usize,
}

impl GroupNorm {
    const EPS: f64 = 1e-6;

    /// The identity scale and no shift.
    pub fn new(channels: usize, groups: usize, device: &Device) -> Self {
        Self { weight: ones([channels], device), bias: zeros([channels], device), groups }
    }

    /// `[b, h, w, channels]` → same
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        group_norm(x, self.weight.val(), self.bias.val(), self.groups, Self::EPS)
    }

    /// [`Self::forward`], then swish.
    pub fn swish(&self, x: Tensor<4>) -> Tensor<4> {
        group_norm_swish(x, self.weight.val(), self.bias.val(), self.groups, Self::EPS)
    }

    /// [`Self::swish`] in bands.
    pub(super) fn swish_bands(&self, x: Bands) -> Bands {
        let [weight, bias] = [&self.weight, &self.bias].map(Param::val);
        x.together(|bands| group_norm_swish_bands(bands, weight, bias, self.groups, Self::EPS))
    }
}

/// Norm, swish, convolution, twice, around a shortcut.
#[derive(Module, Debug)]
pub struct ResnetBlock {
    pub norm1: GroupNorm,
    pub conv1: Conv2d,
    pub norm2: GroupNorm,
    pub conv2: Conv2d,
    /// A 1 × 1 convolution where the channels change.
    pub nin_shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    /// A block from `c_in` to `c_out` channels.
    pub fn new(c_in: usize, c_out: usize, groups: usize, device: &Device) -> Self {
        Self {
            norm1: GroupNorm::new(c_in, groups, device),
            conv1: Conv2d::new(c_in, c_out, 3, device),
            norm2: GroupNorm::new(c_out, groups, device),
            conv2: Conv2d::new(c_out, c_out, 3, device),
            nin_shortcut: (c_in != c_out).then(|| Conv2d::new(c_in, c_out, 1, device)),
        }
    }

    /// `[b, h, w, c_in]` → `[b, h, w, c_out]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.bands(x.into()).join()
    }

    /// [`Self::forward`] in bands.
    pub(super) fn bands(&self, x: Bands) -> Bands {
        let h = self.conv1.bands(self.norm1.swish_bands(x.clone()));
        let h = self.conv2.bands(self.norm2.swish_bands(h));
        h.add(match &self.nin_shortcut {
            Some(shortcut) => x.map(|x| shortcut.forward(x)),
            None => x,
        })
    }

    /// `blocks` blocks, the first from `c_in` to `c_out` channels.
    pub(super) fn chain(
        blocks: usize,
        c_in: usize,
        c_out: usize,
        groups: usize,
        device: &Device,
    ) -> Vec<Self> {
        (0..blocks).map(|i| Self::new(if i == 0 { c_in } else { c_out }, c_out, groups, device)).collect()
    }
}

/// Attention with a single head over all pixels, residual.
#[derive(Module, Debug)]
pub struct AttnBlock {
    pub norm: GroupNorm,
    pub q: Conv2d,
    pub k: Conv2d,
    pub v: Conv2d,
    pub proj_out: Conv2d,
}

impl AttnBlock {
    /// A block of `channels`.
    pub fn new(channels: usize, groups: usize, device: &Device) -> Self {
        let conv = || Conv2d::new(channels, channels, 1, device);
        Self {
            norm: GroupNorm::new(channels, groups, device),
            q: conv(),
            k: conv(),
            v: conv(),
            proj_out: conv(),
        }
    }

    /// `[b, h, w, channels]` → same: `x + proj(softmax(q kᵀ / √channels) v)`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let h = self.norm.forward(x.clone());
        let [q, k, v] = [&self.q, &self.k, &self.v]
            .map(|conv| conv.forward(h.clone()).reshape([batch, height * width, channels]));
        let scores = (q * (channels as f64).powf(-0.5)).matmul(k.transpose());
        let h = softmax(scores, 2).matmul(v).reshape([batch, height, width, channels]);
        x + self.proj_out.forward(h)
    }
}

/// The coarsest level: block, attention, block.
#[derive(Module, Debug)]
pub struct Mid {
    pub block_1: ResnetBlock,
    pub attn_1: AttnBlock,
    pub block_2: ResnetBlock,
}

impl Mid {
    /// A level of `channels`.
    pub fn new(channels: usize, groups: usize, device: &Device) -> Self {
        Self {
            block_1: ResnetBlock::new(channels, channels, groups, device),
            attn_1: AttnBlock::new(channels, groups, device),
            block_2: ResnetBlock::new(channels, channels, groups, device),
        }
    }

    /// `[b, h, w, channels]` → same
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.block_2.forward(self.attn_1.forward(self.block_1.forward(x)))
    }
}

/// Halves the image: 3 × 3, stride 2, padded at the right and the bottom only.
#[derive(Module, Debug)]
pub struct Downsample {
    pub conv: Conv2d,
}

impl Downsample {
    /// A halving of `channels`.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { conv: Conv2d::strided(channels, channels, 3, 2, [0, 1, 0, 1], device) }
    }

    /// `[b, h, w, channels]` → `[b, h/2, w/2, channels]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }

    /// [`Self::forward`] in bands.
    pub(super) fn bands(&self, x: Bands) -> Bands {
        x.halve(|x| self.conv.forward(x))
    }
}

/// Doubles the image: nearest neighbour, then 3 × 3.
#[derive(Module, Debug)]
pub struct Upsample {
    pub conv: Conv2d,
}

impl Upsample {
    /// A doubling of `channels`.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { conv: Conv2d::new(channels, channels, 3, device) }
    }

    /// `[b, h, w, channels]` → `[b, 2h, 2w, channels]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        upsample2_conv2d(x, self.conv.weight(), self.conv.bias.val(), self.conv.precision)
    }

    /// [`Self::forward`] in bands.
    pub(super) fn bands(&self, x: Bands) -> Bands {
        x.convolve(2, self.conv.channels(), |x| self.forward(x))
    }
}

/// Puts each square of `patch` x `patch` pixels into channels: `[b, p h, p w, c]` → `[b, h, w, p p c]`.
pub fn to_patches(pixels: Tensor<4>, patch: usize) -> Tensor<4> {
    if patch == 1 {
        return pixels;
    }
    let [batch, height, width, channels] = pixels.dims();
    let [rows, columns] = [height / patch, width / patch];
    let split = pixels.reshape([batch, rows, patch, columns, patch * channels]).swap_dims(2, 3);
    split.reshape([batch, rows, columns, patch * patch * channels])
}

/// Takes each square of `patch` x `patch` pixels out of the channels: `[b, h, w, p p c]` → `[b, p h, p w, c]`.
pub fn from_patches(positions: Tensor<4>, patch: usize) -> Tensor<4> {
    if patch == 1 {
        return positions;
    }
    let [batch, rows, columns, channels] = positions.dims();
    let split = positions.reshape([batch, rows, columns, patch, channels / patch]).swap_dims(2, 3);
    split.reshape([batch, rows * patch, columns * patch, channels / (patch * patch)])
}
