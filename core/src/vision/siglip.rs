//! SigLIP at its fixed resolution (arXiv 2303.15343). SigLIP2 checkpoints of fixed resolution are the same network.

use super::encoder::{Encoder, PoolingHead};
use super::shape_error;
use crate::config::{Config, VisionConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::{self, Embedding, LayerNorm};
use crate::ops::{self, AttentionLayout};
use crate::precision::MatmulPrecision;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use std::sync::Arc;

/// Convolution with a stride of its own size, as one matrix product over the patches.
#[derive(Module, Debug)]
pub struct PatchConvolution {
    /// `[width, channels, patch, patch]`
    pub weight: Param<Tensor<4>>,
    /// `[width]`; CLIP has none.
    pub bias: Option<Param<Tensor<1>>>,
    /// Of the product.
    pub precision: MatmulPrecision,
}

impl PatchConvolution {
    /// `[batch, channels, height, width]` → `[batch, patches, width]`, row by row. Pixels beyond the last whole patch are
    /// dropped.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<3> {
        let [batch, channels, height, width] = pixels.dims();
        let [outputs, _, patch, _] = self.weight.dims();
        let (rows, columns) = (height / patch, width / patch);
        let patches = pixels
            .narrow(2, 0, rows * patch)
            .narrow(3, 0, columns * patch)
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * patch * patch]);
        let weight = self.weight.val().reshape([outputs, channels * patch * patch]);
        ops::linear(patches, weight, self.bias.as_ref().map(Param::val), self.precision)
    }
}

/// Patches and their positions.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// From pixels to tokens.
    pub patch_embedding: PatchConvolution,
    /// `[patches, width]`
    pub position_embedding: Embedding,
}

/// The tower.
#[derive(Module, Debug)]
pub struct Siglip {
    /// Patches and their positions.
    pub embeddings: Embeddings,
    /// Transformer layers.
    pub encoder: Encoder,
    /// Last normalisation.
    pub post_layernorm: LayerNorm,
    /// Attention pooling, where the checkpoint has it.
    pub head: Option<PoolingHead>,
    #[module(skip)]
    image_size: usize,
}

impl Siglip {
    /// A tower with random weights. Errors where the sizes cannot work.
    pub fn new(config: &VisionConfig, device: &Device) -> Result<Self> {
        config.validate()?;
        let (width, patch) = (config.hidden_size, config.patch_size);
        let inputs = config.num_channels * patch * patch;
        let weight = [width, config.num_channels, patch, patch];
        let image_size = config.image_size.ok_or_else(|| {
            Error::new(ErrorKind::Config, "image_size", "is missing from a tower with a fixed resolution")
                .fix("take the config.json of a SigLIP")
        })?;
        let side = image_size / patch;
        Ok(Self {
            embeddings: Embeddings {
                patch_embedding: PatchConvolution {
                    weight: nn::normal(weight, (inputs as f64).powf(-0.5), device),
                    bias: Some(nn::zeros([width], device)),
                    precision: MatmulPrecision::F32,
                },
                position_embedding: Embedding::new(side * side, width, (width as f64).powf(-0.5), device),
            },
            encoder: Encoder::new(config, device)?,
            post_layernorm: LayerNorm::new(width, config.layer_norm_eps, device),
            head: config.vision_use_head.then(|| PoolingHead::new(config, device)).transpose()?,
            image_size,
        })
    }

    /// Side of the square input in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    /// `pixels` `[batch, channels, image_size, image_size]` in -1 to 1 → tokens with positions
    /// `[batch, patches, width]`. Errors on any other shape.
    pub fn embeddings(&self, pixels: Tensor<4>) -> Result<Tensor<3>> {
        let channels = self.embeddings.patch_embedding.weight.dims()[1];
        let wanted = [channels, self.image_size, self.image_size];
        if pixels.dims()[1..] != wanted {
            return Err(shape_error("pixel_values", &pixels.dims(), &format!("[batch, {wanted:?}]")));
        }
        let positions = self.embeddings.position_embedding.weight.values().unsqueeze();
        Ok(self.embeddings.patch_embedding.forward(pixels) + positions)
    }

    /// Output of the last layer but one, before the last normalisation: what UniGen projects.
    ///
    /// `pixels` as in [`embeddings`](Self::embeddings) → `[batch, patches, width]`; the last layer is not run.
    pub fn penultimate(&self, pixels: Tensor<4>) -> Result<Tensor<3>> {
        let x = self.embeddings(pixels)?;
        let rows = all(&x);
        Ok(self.encoder.penultimate(x, &rows))
    }

    /// Output of all layers after the last normalisation, `[batch, patches, width]`.
    pub fn last_hidden_state(&self, pixels: Tensor<4>) -> Result<Tensor<3>> {
        let x = self.embeddings(pixels)?;
        let rows = all(&x);
        Ok(self.post_layernorm.forward(self.encoder.forward(x, &rows)))
    }

    /// One vector per image, `[batch, width]`, or `None` without a head. Errors as [`embeddings`](Self::embeddings).
    pub fn pooled(&self, pixels: Tensor<4>) -> Result<Option<Tensor<2>>> {
        let Some(head) = &self.head else { return Ok(None) };
        let hidden = self.last_hidden_state(pixels)?;
        let [batch, tokens, _] = hidden.dims();
        Ok(Some(head.forward(hidden, &vec![tokens; batch])))
    }
}

/// The layout in which all tokens of a picture see each other, for `x` `[batch, tokens, width]`.
fn all(x: &Tensor<3>) -> Arc<AttentionLayout> {
    let [batch, tokens, _] = x.dims();
    Arc::new(AttentionLayout::padded(tokens, tokens, &vec![tokens; batch]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    #[test]
    fn matches_the_published_model() {
        let fixture = Fixture::open("siglip");
        let device = Device::flex();
        let tower = fixture.load(Siglip::new(&fixture.config, &device).unwrap());
        let pixels = fixture.tensor::<4>("pixel_values", &device);
        let lengths = [16, 16];
        let penultimate = tower.penultimate(pixels.clone()).unwrap();
        assert!(fixture.difference("penultimate", penultimate, &lengths) < 1e-4);
        let last = tower.last_hidden_state(pixels.clone()).unwrap();
        assert!(fixture.difference("last_hidden_state", last, &lengths) < 1e-4);
        assert_eq!(tower.pooled(pixels.clone()).unwrap().unwrap().dims(), [2, 24]);
        assert!(tower.penultimate(pixels.narrow(2, 0, 21)).is_err());
    }
}
