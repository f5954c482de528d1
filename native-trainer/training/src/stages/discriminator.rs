//! A small patch discriminator (Isola et al. 2017, arXiv 1611.07004) with the hinge loss (Lim & Ye 2017), which gives
//! reconstructions the edges that pixel losses blur.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use unigen_core::image_tokenizer::blocks::{Conv2d, GroupNorm};

/// Tells real from reconstructed pictures, patch by patch.
#[derive(Module, Debug)]
pub struct Discriminator {
    conv_in: Conv2d,
    down: Vec<Conv2d>,
    norm: Vec<GroupNorm>,
    conv_out: Conv2d,
}

impl Discriminator {
    /// Groups of the normalisations.
    const GROUPS: usize = 8;
    /// The smallest side of pictures in pixels. Each side is halved three times.
    pub const MIN_SIDE: u32 = 8;

    /// A discriminator with `width` channels after the first convolution. Each of three halvings doubles the
    /// channels.
    ///
    /// # Errors
    /// If `width` does not fit the groups of the normalisations.
    pub fn new(width: usize, device: &Device) -> Result<Self> {
        let multiple = Self::GROUPS / 2;
        ensure!(
            (1..=1024).contains(&width) && width.is_multiple_of(multiple),
            "discriminator_width is {width}; choose a multiple of {multiple} up to 1024"
        );
        let widths = [width, 2 * width, 4 * width];
        Ok(Self {
            conv_in: Conv2d::strided(3, width, 4, 2, [1; 4], device),
            down: (0..2).map(|i| Conv2d::strided(widths[i], widths[i + 1], 4, 2, [1; 4], device)).collect(),
            norm: (0..2).map(|i| GroupNorm::new(widths[i + 1], Self::GROUPS, device)).collect(),
            conv_out: Conv2d::new(widths[2], 1, 3, device),
        })
    }

    /// Pixels `[batch, height, width, 3]` in [-1, 1] → `[batch, height/8, width/8, 1]`, positive where they look
    /// real.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        let h = unigen_core::ops::conv::swish(self.conv_in.forward(pixels));
        let h = self.down.iter().zip(&self.norm).fold(h, |h, (down, norm)| norm.swish(down.forward(h)));
        self.conv_out.forward(h)
    }

    /// The loss of the discriminator, given pixels of both kinds: scalar `[1]`.
    pub fn loss(&self, real: Tensor<4>, reconstructed: Tensor<4>) -> Tensor<1> {
        let real = relu(-self.forward(real) + 1.0).mean();
        let reconstructed = relu(self.forward(reconstructed.detach()) + 1.0).mean();
        (real + reconstructed) * 0.5
    }

    /// The adversarial loss of the tokenizer: scalar `[1]`. The discriminator gets no gradient.
    pub fn adversarial_loss(&self, reconstructed: Tensor<4>) -> Tensor<1> {
        -self.clone().no_grad().forward(reconstructed).mean()
    }
}
