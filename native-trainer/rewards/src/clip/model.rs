//! The two towers of CLIP. Field names follow the keys of Hugging Face's checkpoints.

use anyhow::{Context, Result, ensure};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use std::sync::Arc;
use unigen_core::config::VisionConfig;
use unigen_core::nn::{self, Embedding, LayerNorm, Linear};
use unigen_core::ops::AttentionLayout;
use unigen_core::precision::MatmulPrecision;
use unigen_core::vision::encoder::Encoder;
use unigen_core::vision::siglip::PatchConvolution;
use unigen_core::weights::{Tensors, load};

use super::{ClipConfig, TextConfig};

/// A class token, patches and their positions.
#[derive(Module, Debug)]
pub struct VisionEmbeddings {
    /// `[width]`
    pub class_embedding: Param<Tensor<1>>,
    pub patch_embedding: PatchConvolution,
    /// `[1 + patches, width]`
    pub position_embedding: Embedding,
}

/// The vision tower: pixels to a vector.
#[derive(Module, Debug)]
pub struct VisionTower {
    pub embeddings: VisionEmbeddings,
    /// The checkpoint's own spelling.
    pub pre_layrnorm: LayerNorm,
    pub encoder: Encoder,
    pub post_layernorm: LayerNorm,
}

impl VisionTower {
    fn new(config: &VisionConfig, device: &Device) -> Result<Self> {
        let (width, patch) = (config.hidden_size, config.patch_size);
        let side = config.position_grid();
        let inputs = config.num_channels * patch * patch;
        let norm = || LayerNorm::new(width, config.layer_norm_eps, device);
        Ok(Self {
            embeddings: VisionEmbeddings {
                class_embedding: nn::normal([width], (width as f64).powf(-0.5), device),
                patch_embedding: PatchConvolution {
                    weight: nn::normal(
                        [width, config.num_channels, patch, patch],
                        (inputs as f64).powf(-0.5),
                        device,
                    ),
                    bias: None,
                    precision: MatmulPrecision::F32,
                },
                position_embedding: Embedding::new(1 + side * side, width, 0.02, device),
            },
            pre_layrnorm: norm(),
            encoder: Encoder::new(config, device)?,
            post_layernorm: norm(),
        })
    }

    /// `pixels` `[batch, 3, image_size, image_size]` → the class token's feature `[batch, width]`.
    fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let Self { embeddings, .. } = self;
        let patches = embeddings.patch_embedding.forward(pixels);
        let [batch, _, width] = patches.dims();
        let class = embeddings.class_embedding.val().reshape([1, 1, width]).expand([batch, 1, width]);
        let positions = embeddings.position_embedding.weight.values().unsqueeze::<3>();
        let x = self.pre_layrnorm.forward(Tensor::cat(vec![class, patches], 1) + positions);
        let tokens = x.dims()[1];
        let rows = Arc::new(AttentionLayout::padded(tokens, tokens, &vec![tokens; batch]));
        let x = self.encoder.forward(x, &rows).narrow(1, 0, 1).squeeze_dim::<2>(1);
        self.post_layernorm.forward(x)
    }
}

/// Tokens and their positions.
#[derive(Module, Debug)]
pub struct TextEmbeddings {
    /// `[vocabulary, width]`
    pub token_embedding: Embedding,
    /// `[longest text, width]`
    pub position_embedding: Embedding,
}

/// The text tower: tokens to a vector.
#[derive(Module, Debug)]
pub struct TextTower {
    pub embeddings: TextEmbeddings,
    pub encoder: Encoder,
    pub final_layer_norm: LayerNorm,
    #[module(skip)]
    eos: Option<u32>,
}

impl TextTower {
    fn new(config: &TextConfig, device: &Device) -> Result<Self> {
        let (width, std) = (config.hidden_size, 0.02);
        Ok(Self {
            embeddings: TextEmbeddings {
                token_embedding: Embedding::new(config.vocab_size, width, std, device),
                position_embedding: Embedding::new(config.max_position_embeddings, width, std, device),
            },
            encoder: Encoder::new(&config.encoder(), device)?,
            final_layer_norm: LayerNorm::new(width, config.layer_norm_eps, device),
            eos: config.eos_token_id,
        })
    }

    /// Position of the token whose feature stands for the text, from 0.
    fn end(&self, text: &[u32]) -> usize {
        let first = |id: u32| text.iter().position(|&other| other == id);
        let marked = self.eos.and_then(first);
        marked.or_else(|| text.iter().max().and_then(|&id| first(id))).unwrap_or(0)
    }

    /// The feature of each text's end token, `[texts, width]`. Attention is causal, so tokens after the end change
    /// nothing.
    fn forward(&self, texts: &[Vec<u32>], device: &Device) -> Result<Tensor<2>> {
        let [vocabulary, width] = self.embeddings.token_embedding.weight.dims();
        let [longest, _] = self.embeddings.position_embedding.weight.dims();
        let ends: Vec<usize> = texts.iter().map(|text| self.end(text)).collect();
        let length = ends.iter().max().context("no texts")? + 1;
        ensure!(length <= longest, "a text has {length} tokens, but the model takes at most {longest}");
        let mut ids = Vec::with_capacity(texts.len() * length);
        for text in texts {
            let padding = length.saturating_sub(text.len());
            ids.extend(text.iter().take(length).map(|&id| id as i32));
            ids.extend(vec![0; padding]);
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            anyhow::bail!(
                "token {id} is beyond the vocabulary of {vocabulary}; use the model's own tokenizer"
            );
        }
        let tokens =
            self.embeddings.token_embedding.forward(Tensor::<1, Int>::from_ints(ids.as_slice(), device));
        let positions =
            self.embeddings.position_embedding.weight.values().narrow(0, 0, length).unsqueeze::<3>();
        let x = tokens.reshape([texts.len(), length, width]) + positions;
        let causal = Arc::new(AttentionLayout::causal(&vec![length; texts.len()]));
        let x = self.encoder.forward(x, &causal).reshape([texts.len() * length, width]);
        let rows: Vec<i32> =
            ends.iter().enumerate().map(|(text, end)| (text * length + end) as i32).collect();
        let x = x.select(0, Tensor::<1, Int>::from_ints(rows.as_slice(), device));
        Ok(self.final_layer_norm.forward(x))
    }
}

/// Both towers and their projections into the shared space.
#[derive(Module, Debug)]
pub struct Clip {
    pub text_model: TextTower,
    pub vision_model: VisionTower,
    pub text_projection: Linear,
    pub visual_projection: Linear,
    /// Logarithm of the inverse temperature.
    #[module(skip)]
    logit_scale: f32,
}

impl Clip {
    /// A model with the weights of a checkpoint under Hugging Face's names.
    ///
    /// # Errors
    /// The error names every tensor that is missing or has another shape.
    pub fn load(config: &ClipConfig, weights: &impl Tensors, device: &Device) -> Result<Self> {
        let (text, vision) = (config.text.hidden_size, config.vision.hidden_size);
        let project = |width: usize| {
            Linear::new(width, config.projection_dim, false, (width as f64).powf(-0.5), device)
        };
        let (scale, _) = weights.tensor("logit_scale")?;
        let model = Self {
            text_model: TextTower::new(&config.text, device)?,
            vision_model: VisionTower::new(&config.vision, device)?,
            text_projection: project(text),
            visual_projection: project(vision),
            logit_scale: *scale.first().context("logit_scale has no value")?,
        };
        Ok(load(model, weights, |path| Some(path.into()))?)
    }

    /// Pictures in the shared space: `pixels` `[batch, 3, image_size, image_size]`, normalised → `[batch, width]` of
    /// length 1.
    pub fn image_embeds(&self, pixels: Tensor<4>) -> Tensor<2> {
        unit(self.visual_projection.forward(self.vision_model.forward(pixels)))
    }

    /// Texts in the shared space, from their tokens → `[texts, width]` of length 1.
    ///
    /// # Errors
    /// If a text is too long or a token is unknown.
    pub fn text_embeds(&self, texts: &[Vec<u32>], device: &Device) -> Result<Tensor<2>> {
        Ok(unit(self.text_projection.forward(self.text_model.forward(texts, device)?)))
    }

    /// Cosine similarities times the inverse temperature: `[images, width]`, `[texts, width]` → `[images, texts]`.
    pub fn logits_per_image(&self, images: Tensor<2>, texts: Tensor<2>) -> Tensor<2> {
        images.matmul(texts.transpose()) * self.logit_scale.exp()
    }
}

/// Scales rows to length 1: `[n, width]` → `[n, width]`.
pub fn unit(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().square().sum_dim(1).sqrt() + 1e-8;
    x / length
}
