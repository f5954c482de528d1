//! SigLIP2 NaFlex: any resolution and aspect ratio (arXiv 2502.14786, section 2.4).

use super::encoder::{self, Encoder, PoolingHead};
use super::{positions, shape_error};
use crate::config::{Config, VisionConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::{Embedding, LayerNorm, Linear};
use crate::ops::AttentionLayout;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::sync::Arc;

/// Pictures cut into patches, padded to one length.
#[derive(Clone, Debug)]
pub struct Patches {
    /// `[batch, patches, patch_size * patch_size * channels]` in -1 to 1: patches row by row, within a patch (y, x,
    /// channel), zeros after the last.
    pub pixels: Tensor<3>,
    /// Rows and columns of patches of each picture.
    pub shapes: Vec<[usize; 2]>,
}

impl Patches {
    /// Whether each row of `pixels` is a patch, `batch * patches` values.
    pub fn mask(&self) -> Vec<bool> {
        let length = self.pixels.dims()[1];
        self.shapes.iter().flat_map(|[rows, columns]| (0..length).map(move |i| i < rows * columns)).collect()
    }

    /// Patches of each picture.
    fn lengths(&self) -> Vec<usize> {
        self.shapes.iter().map(|[rows, columns]| rows * columns).collect()
    }

    /// All rows see the patches of their picture.
    fn rows(&self) -> Arc<AttentionLayout> {
        let length = self.pixels.dims()[1];
        Arc::new(AttentionLayout::padded(length, length, &self.lengths()))
    }
}

/// Patches and their positions.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[width, patch_size * patch_size * channels]`
    pub patch_embedding: Linear,
    /// A square table, row by row: `[num_patches, width]`.
    pub position_embedding: Embedding,
}

/// The tower.
#[derive(Module, Debug)]
pub struct Siglip2 {
    /// Patches and their positions.
    pub embeddings: Embeddings,
    /// Transformer layers.
    pub encoder: Encoder,
    /// Last normalisation.
    pub post_layernorm: LayerNorm,
    /// Attention pooling, where the checkpoint has it.
    pub head: Option<PoolingHead>,
    #[module(skip)]
    patch_size: usize,
}

impl Siglip2 {
    /// A tower with random weights. Errors where the sizes cannot work.
    pub fn new(config: &VisionConfig, device: &Device) -> Result<Self> {
        config.validate()?;
        let (width, patch) = (config.hidden_size, config.patch_size);
        let std = (width as f64).powf(-0.5);
        let entries = config.num_patches.ok_or_else(|| {
            Error::new(ErrorKind::Config, "num_patches", "is missing from a tower for any resolution")
                .fix("take the config.json of a SigLIP2 NaFlex")
        })?;
        Ok(Self {
            embeddings: Embeddings {
                patch_embedding: encoder::linear(config.num_channels * patch * patch, width, device),
                position_embedding: Embedding::new(entries, width, std, device),
            },
            encoder: Encoder::new(config, device)?,
            post_layernorm: LayerNorm::new(width, config.layer_norm_eps, device),
            head: config.vision_use_head.then(|| PoolingHead::new(config, device)).transpose()?,
            patch_size: patch,
        })
    }

    /// Side of a patch in pixels.
    pub fn patch_size(&self) -> usize {
        self.patch_size
    }

    /// Tokens with positions, `[batch, patches, width]`: the position table is resized to each picture's shape, and
    /// padding takes the first position.
    ///
    /// Errors where the shapes do not fit `pixels`, or `pixels` do not fit the tower.
    pub fn embeddings(&self, patches: &Patches) -> Result<Tensor<3>> {
        let [batch, length, inputs] = patches.pixels.dims();
        let wanted = self.embeddings.patch_embedding.weight.dims()[1];
        if inputs != wanted || batch != patches.shapes.len() {
            let wanted = format!("[{}, patches, {wanted}]", patches.shapes.len());
            return Err(shape_error("pixel_values", &[batch, length, inputs], &wanted));
        }
        if let Some(shape) =
            patches.shapes.iter().find(|shape| !(1..=length).contains(&(shape[0] * shape[1])))
        {
            return Err(Error::new(ErrorKind::Image, "spatial_shapes", format!("{shape:?} is out of range"))
                .fix(format!("rows times columns must be 1 to {length}")));
        }
        let table = self.embeddings.position_embedding.weight.values();
        let positions = positions::resize(table, &patches.shapes, length);
        Ok(self.embeddings.patch_embedding.forward(patches.pixels.clone()) + positions)
    }

    /// Output of the last layer but one, before the last normalisation: what UniGen projects.
    ///
    /// → `[batch, patches, width]`, where rows of padding mean nothing. The last layer is not run. Errors as
    /// [`embeddings`](Self::embeddings).
    pub fn penultimate(&self, patches: &Patches) -> Result<Tensor<3>> {
        Ok(self.encoder.penultimate(self.embeddings(patches)?, &patches.rows()))
    }

    /// Output of all layers after the last normalisation, `[batch, patches, width]`.
    pub fn last_hidden_state(&self, patches: &Patches) -> Result<Tensor<3>> {
        let hidden = self.encoder.forward(self.embeddings(patches)?, &patches.rows());
        Ok(self.post_layernorm.forward(hidden))
    }

    /// One vector per image, `[batch, width]`, or `None` without a head. Errors as [`embeddings`](Self::embeddings).
    pub fn pooled(&self, patches: &Patches) -> Result<Option<Tensor<2>>> {
        Ok(self.penultimate_and_pooled(patches)?.1)
    }

    /// Both [`penultimate`](Self::penultimate) and [`pooled`](Self::pooled), in one pass.
    pub fn penultimate_and_pooled(&self, patches: &Patches) -> Result<(Tensor<3>, Option<Tensor<2>>)> {
        let rows = patches.rows();
        let features = self.encoder.penultimate(self.embeddings(patches)?, &rows);
        let pooled = self.head.as_ref().map(|head| {
            let last = self.encoder.last(features.clone(), &rows);
            head.forward(self.post_layernorm.forward(last), &patches.lengths())
        });
        Ok((features, pooled))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    #[test]
    fn matches_the_published_model() {
        let fixture = Fixture::open("siglip2");
        let device = Device::flex();
        let tower = fixture.load(Siglip2::new(&fixture.config, &device).unwrap());
        let shapes =
            fixture.io["spatial_shapes"].0.chunks(2).map(|s| [s[0] as usize, s[1] as usize]).collect();
        let mut patches = Patches { pixels: fixture.tensor("pixel_values", &device), shapes };
        let mask: Vec<bool> = fixture.io["pixel_mask"].0.iter().map(|&m| m == 1.0).collect();
        assert_eq!(patches.mask(), mask);
        let lengths = patches.lengths();
        let whole = [patches.pixels.dims()[1]; 3];
        let embeddings = tower.embeddings(&patches).unwrap();
        assert!(fixture.difference("embeddings", embeddings, &whole) < 1e-4);
        let penultimate = tower.penultimate(&patches).unwrap();
        assert!(fixture.difference("penultimate", penultimate, &lengths) < 1e-4);
        let last = tower.last_hidden_state(&patches).unwrap();
        assert!(fixture.difference("last_hidden_state", last, &lengths) < 1e-4);
        assert_eq!(tower.pooled(&patches).unwrap().unwrap().dims(), [3, 24]);
        patches.shapes[0] = [7, 3];
        assert!(tower.penultimate(&patches).is_err());
    }
}
