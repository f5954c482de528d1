//! The language model over packed rows with any attention layout.
//!
//! Rows of several sequences lie one after another, without pads: `[rows, width]`. The [`AttentionLayout`] says who sees
//! whom, [`Positions`] where each row stands. The architectures of [`DecoderKind`](crate::config::DecoderKind) have a file
//! each; so far there is Qwen2 (arXiv 2407.10671, section 2.2).

mod cache;
mod qwen2;
mod rope;
mod wanted;

pub use cache::{Cache, KeyOrder};
pub use rope::Positions;
pub use wanted::Wanted;

use crate::config::DecoderConfig;
use crate::nn::{Embedding, Linear, RmsNorm};
use crate::ops;
use crate::precision::MatmulPrecision;
use crate::sequence::AttentionLayout;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use qwen2::Layer;
use std::sync::Arc;

/// Standard deviation of the initial weights of layers that read `width` entries: 0.04 at 256, the 0.02 of published
/// models at 1024 (small init, Nguyen & Salazar 2019, arXiv 1910.05895).
pub(crate) fn init_std(width: usize) -> f64 {
    (0.4 / width as f64).sqrt()
}

/// The decoder with its token table, and with a head where that does not share the table's weights.
#[derive(Module, Debug)]
pub struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    lm_head: Option<Linear>,
    #[module(skip)]
    config: DecoderConfig,
    /// Of the head's product.
    precision: MatmulPrecision,
}

impl Decoder {
    /// A decoder with random weights.
    pub fn new(config: &DecoderConfig, device: &Device) -> Self {
        let (vocabulary, width) = (config.vocab_size, config.hidden_size);
        Self {
            embed_tokens: Embedding::new(vocabulary, width, (width as f64).sqrt().recip(), device),
            layers: (0..config.num_hidden_layers).map(|_| Layer::new(config, device)).collect(),
            norm: RmsNorm::new(width, config.norm_eps, device),
            lm_head: (!config.tie_word_embeddings)
                .then(|| Linear::new(width, vocabulary, false, init_std(width), device)),
            config: config.clone(),
            precision: MatmulPrecision::F32,
        }
    }

    /// The precision of its matrix products.
    pub fn precision(&self) -> MatmulPrecision {
        self.precision
    }

    /// Sizes.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The same decoder with the linear maps of its layers changed.
    pub fn map_linears(self, change: impl Fn(Linear) -> Linear) -> Self {
        let layers = self.layers.into_iter().map(|layer| layer.map_linears(&change));
        Self { layers: layers.collect(), ..self }
    }

    /// `[rows]` token ids → `[rows, width]`.
    pub fn embed(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        self.embed_tokens.forward(ids)
    }

    /// The rotations of rows at `positions`, counted from the start of each sequence.
    pub fn positions(&self, positions: &[usize], device: &Device) -> Positions {
        Positions::new(positions, self.config.head_dim(), self.config.rope_theta, device)
    }

    /// All rows through all layers and the final norm: `[rows, width]` → `[rows, width]`.
    pub fn forward(&self, x: Tensor<2>, positions: &Positions, layout: &AttentionLayout) -> Tensor<2> {
        let layout = &Arc::new(layout.clone());
        let x = self.layers.iter().fold(x, |x, layer| layer.forward(x, positions, layout, None, None).0);
        self.norm.forward(x)
    }

    /// [`Self::forward`] for the rows that carry a loss, `[wanted rows, width]`: the last layer computes no others.
    pub fn forward_wanted(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
        wanted: &Wanted,
    ) -> Tensor<2> {
        let layout = &Arc::new(layout.clone());
        let last = self.layers.len() - 1;
        let x = self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
            layer.forward(x, positions, layout, None, Some(wanted).filter(|_| i == last)).0
        });
        self.norm.forward(x)
    }

    /// [`Self::forward`] that also returns every layer's keys and values.
    pub fn prefill(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
    ) -> (Tensor<2>, Cache) {
        let layout = &Arc::new(layout.clone());
        let mut layers = Vec::with_capacity(self.layers.len());
        let x = self.layers.iter().fold(x, |x, layer| {
            let (x, own) = layer.forward(x, positions, layout, None, None);
            layers.push(own);
            x
        });
        (self.norm.forward(x), Cache::new(layers))
    }

    /// New rows `x` `[rows, width]` over a cached prefix → final hidden states of the `wanted` rows, or of all, and the
    /// keys and values of the new rows.
    ///
    /// `layout` has the keys in the order of `order`: each sequence's cached rows, then its new ones.
    pub fn extend(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
        cache: &Cache,
        order: &KeyOrder,
        wanted: Option<&Wanted>,
    ) -> (Tensor<2>, Cache) {
        let layout = &Arc::new(layout.clone());
        let last = self.layers.len() - 1;
        let mut fresh = Vec::with_capacity(self.layers.len());
        let x = self.layers.iter().zip(cache.layers()).enumerate().fold(x, |x, (i, (layer, past))| {
            let wanted = wanted.filter(|_| i == last);
            let (x, own) = layer.forward(x, positions, layout, Some((past, order)), wanted);
            fresh.push(own);
            x
        });
        (self.norm.forward(x), Cache::new(fresh))
    }

    /// Logits over `columns` of the vocabulary: `[rows, width]` → `[rows, columns.len()]`.
    pub fn logits(&self, hidden: Tensor<2>, columns: std::ops::Range<usize>) -> Tensor<2> {
        let head = self.lm_head.as_ref().map_or(&self.embed_tokens.weight, |head| &head.weight).val();
        let head = if columns.len() == self.config.vocab_size { head } else { head.slice([columns]) };
        ops::linear(hidden, head, None, self.precision)
    }
}
