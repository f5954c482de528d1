//! Code bits to pixels.

use super::bands::Bands;
use super::blocks::{Conv2d, GroupNorm, Mid, ResnetBlock, Upsample, from_patches};
use crate::config::TokenizerConfig;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// One resolution of the decoder.
#[derive(Module, Debug)]
pub struct Up {
    pub block: Vec<ResnetBlock>,
    /// At every level but 0.
    pub upsample: Option<Upsample>,
}

/// Convolutional decoder; level 0 is the finest and comes last.
#[derive(Module, Debug)]
pub struct Decoder {
    pub post_quant_conv: Conv2d,
    pub conv_in: Conv2d,
    pub mid: Mid,
    pub up: Vec<Up>,
    pub norm_out: GroupNorm,
    pub conv_out: Conv2d,
    #[module(skip)]
    patch: usize,
}

impl Decoder {
    /// A random decoder; `config` must be valid.
    pub fn new(config: &TokenizerConfig, device: &Device) -> Self {
        let (z, groups) = (config.z_channels, config.norm_groups);
        let widths: Vec<_> = config.decoder_ch_mult.iter().map(|mult| config.ch * mult).collect();
        let coarsest = widths[widths.len() - 1];
        let up = (0..widths.len())
            .map(|level| {
                let c_in = *widths.get(level + 1).unwrap_or(&coarsest);
                let blocks = config.decoder_num_res_blocks[level];
                Up {
                    block: ResnetBlock::chain(blocks, c_in, widths[level], groups, device),
                    upsample: (level > 0).then(|| Upsample::new(widths[level], device)),
                }
            })
            .collect();
        Self {
            post_quant_conv: Conv2d::new(z, z, 1, device),
            conv_in: Conv2d::new(z, coarsest, 3, device),
            mid: Mid::new(coarsest, groups, device),
            up,
            norm_out: GroupNorm::new(widths[0], groups, device),
            conv_out: Conv2d::new(widths[0], config.out_ch * config.patch.pow(2), 3, device),
            patch: config.patch,
        }
    }

    /// `[b, h, w, z]` of ±1 → `[b, f h, f w, out_ch]`, about [-1, 1], not clamped
    pub fn forward(&self, bits: Tensor<4>) -> Tensor<4> {
        self.bands(bits, Bands::from)
    }

    /// [`Self::forward`], in bands after the coarsest level, as `cut` begins them.
    pub(super) fn bands(&self, bits: Tensor<4>, cut: impl FnOnce(Tensor<4>) -> Bands) -> Tensor<4> {
        let mut h = cut(self.mid.forward(self.conv_in.forward(self.post_quant_conv.forward(bits))));
        for level in self.up.iter().rev() {
            h = level.block.iter().fold(h, |h, block| block.bands(h));
            if let Some(upsample) = &level.upsample {
                h = upsample.bands(h);
            }
        }
        from_patches(self.conv_out.bands(self.norm_out.swish_bands(h)).join(), self.patch)
    }
}
