//! Pixels to the latent whose signs are the code.

use super::bands::Bands;
use super::blocks::{Conv2d, Downsample, GroupNorm, Mid, ResnetBlock, to_patches};
use crate::config::TokenizerConfig;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// One resolution of the encoder.
#[derive(Module, Debug)]
pub struct Down {
    pub block: Vec<ResnetBlock>,
    /// At every level but the last.
    pub downsample: Option<Downsample>,
}

/// Convolutional encoder; level 0 is the finest.
#[derive(Module, Debug)]
pub struct Encoder {
    pub conv_in: Conv2d,
    pub down: Vec<Down>,
    pub mid: Mid,
    pub norm_out: GroupNorm,
    pub conv_out: Conv2d,
    pub quant_conv: Conv2d,
    #[module(skip)]
    patch: usize,
}

impl Encoder {
    /// A random encoder; `config` must be valid.
    pub fn new(config: &TokenizerConfig, device: &Device) -> Self {
        let (z, groups) = (config.z_channels, config.norm_groups);
        let levels = config.encoder_ch_mult.len();
        let mut channels = config.ch;
        let down = (0..levels)
            .map(|level| {
                let c_in = std::mem::replace(&mut channels, config.ch * config.encoder_ch_mult[level]);
                let blocks = config.encoder_num_res_blocks[level];
                Down {
                    block: ResnetBlock::chain(blocks, c_in, channels, groups, device),
                    downsample: (level + 1 < levels).then(|| Downsample::new(channels, device)),
                }
            })
            .collect();
        Self {
            conv_in: Conv2d::new(config.in_ch * config.patch.pow(2), config.ch, 3, device),
            down,
            mid: Mid::new(channels, groups, device),
            norm_out: GroupNorm::new(channels, groups, device),
            conv_out: Conv2d::new(channels, z, 3, device),
            quant_conv: Conv2d::new(z, z, 1, device),
            patch: config.patch,
        }
    }

    /// `[b, h, w, in_ch]` in [-1, 1] → `[b, h/f, w/f, z]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.bands(to_patches(pixels, self.patch).into())
    }

    /// [`Self::forward`] of pixels in patches, in bands up to the coarsest level.
    pub(super) fn bands(&self, pixels: Bands) -> Tensor<4> {
        let mut h = self.conv_in.bands(pixels);
        for level in &self.down {
            h = level.block.iter().fold(h, |h, block| block.bands(h));
            if let Some(downsample) = &level.downsample {
                h = downsample.bands(h);
            }
        }
        let h = self.norm_out.swish(self.mid.forward(h.join()));
        self.quant_conv.forward(self.conv_out.forward(h))
    }
}
