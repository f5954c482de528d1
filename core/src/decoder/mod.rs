//! The language model over packed rows with any attention layout.
//!
//! Rows of several sequences lie one after another, without pads: `[rows, width]`. The [`AttentionLayout`] says who sees
//! whom, [`Positions`] where each row stands. The architectures of [`DecoderKind`] have a file
//! each.

mod attention;
mod cache;
mod llama;
mod phi;
mod qwen2;
mod rope;
mod wanted;

pub use cache::{Cache, KeyOrder};
pub use rope::Positions;
pub use wanted::Wanted;

use crate::config::{DecoderConfig, DecoderKind};
use crate::nn::{Embedding, LayerNorm, Linear, RmsNorm};
use crate::ops;
use crate::precision::MatmulPrecision;
use crate::sequence::AttentionLayout;
use attention::Pass;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use cache::KeysValues;
use std::sync::Arc;

/// Standard deviation of the initial weights of layers that read `width` entries: 0.04 at 256, the 0.02 of published
/// models at 1024 (small init, Nguyen & Salazar 2019, arXiv 1910.05895).
pub(crate) fn init_std(width: usize) -> f64 {
    (0.4 / width as f64).sqrt()
}

/// A layer of any architecture. Qwen2's differs from Llama's in its biases alone.
#[derive(Module, Debug)]
enum Layer {
    Llama(llama::Layer),
    Phi(phi::Layer),
}

impl Layer {
    fn new(config: &DecoderConfig, device: &Device) -> Self {
        match config.kind {
            DecoderKind::Qwen2 => Self::Llama(qwen2::layer(config, device)),
            DecoderKind::Llama => Self::Llama(llama::Layer::new(config, false, device)),
            DecoderKind::Phi => Self::Phi(phi::Layer::new(config, device)),
        }
    }

    fn map_linears(self, change: &impl Fn(Linear) -> Linear) -> Self {
        match self {
            Self::Llama(layer) => Self::Llama(layer.map_linears(change)),
            Self::Phi(layer) => Self::Phi(layer.map_linears(change)),
        }
    }

    fn forward(&self, x: Tensor<2>, pass: &Pass) -> (Tensor<2>, KeysValues) {
        match self {
            Self::Llama(layer) => layer.forward(x, pass),
            Self::Phi(layer) => layer.forward(x, pass),
        }
    }
}

/// The norm after the last layer.
#[derive(Module, Debug)]
enum Norm {
    Rms(RmsNorm),
    Layer(LayerNorm),
}

impl Norm {
    fn new(config: &DecoderConfig, device: &Device) -> Self {
        let (width, eps) = (config.hidden_size, config.norm_eps);
        match config.kind {
            DecoderKind::Qwen2 | DecoderKind::Llama => Self::Rms(RmsNorm::new(width, eps, device)),
            DecoderKind::Phi => Self::Layer(LayerNorm::new(width, eps, device)),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Rms(norm) => norm.forward(x),
            Self::Layer(norm) => norm.forward(x),
        }
    }
}

/// The decoder with its token table, and with a head where that does not share the table's weights.
#[derive(Module, Debug)]
pub struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Layer>,
    norm: Norm,
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
            norm: Norm::new(config, device),
            lm_head: (!config.tie_word_embeddings).then(|| {
                let bias = config.kind == DecoderKind::Phi;
                Linear::new(width, vocabulary, bias, init_std(width), device)
            }),
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
        Positions::new(positions, self.config.rotary_dim(), self.config.rope_theta, device)
    }

    /// All rows through all layers and the final norm: `[rows, width]` → `[rows, width]`.
    pub fn forward(&self, x: Tensor<2>, positions: &Positions, layout: &AttentionLayout) -> Tensor<2> {
        self.run(x, positions, layout, None, None, |_| ())
    }

    /// [`Self::forward`] for the rows that carry a loss, `[wanted rows, width]`: the last layer computes no others.
    pub fn forward_wanted(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
        wanted: &Wanted,
    ) -> Tensor<2> {
        self.run(x, positions, layout, None, Some(wanted), |_| ())
    }

    /// [`Self::forward`] that also returns every layer's keys and values.
    pub fn prefill(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
    ) -> (Tensor<2>, Cache) {
        let mut layers = Vec::with_capacity(self.layers.len());
        let x = self.run(x, positions, layout, None, None, |own| layers.push(own));
        (x, Cache::new(layers))
    }

    /// New rows `x` `[rows, width]` over a cached prefix → their final hidden states, and their keys and values.
    ///
    /// `layout` has the keys in the order of `order`: each sequence's cached rows, then its new ones.
    pub fn extend(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
        cache: &Cache,
        order: &KeyOrder,
    ) -> (Tensor<2>, Cache) {
        let mut layers = Vec::with_capacity(self.layers.len());
        let x = self.run(x, positions, layout, Some((cache, order)), None, |own| layers.push(own));
        (x, Cache::new(layers))
    }

    /// [`Self::extend`] for the `wanted` rows, whose hidden states are all that is kept: keys and values of the new rows would
    /// take more memory than the rest of a step.
    pub fn extend_wanted(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
        cache: &Cache,
        order: &KeyOrder,
        wanted: &Wanted,
    ) -> Tensor<2> {
        self.run(x, positions, layout, Some((cache, order)), Some(wanted), |_| ())
    }

    /// The rows through all layers and the final norm. `keep` gets each layer's keys and values.
    fn run(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
        past: Option<(&Cache, &KeyOrder)>,
        wanted: Option<&Wanted>,
        mut keep: impl FnMut(KeysValues),
    ) -> Tensor<2> {
        let layout = &Arc::new(layout.clone());
        let last = self.layers.len() - 1;
        let x = self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
            let past = past.map(|(cache, order)| (&cache.layers()[i], order));
            let pass = Pass { positions, layout, past, wanted: wanted.filter(|_| i == last) };
            let (x, own) = layer.forward(x, &pass);
            keep(own);
            x
        });
        self.norm.forward(x)
    }

    /// Logits over `columns` of the vocabulary: `[rows, width]` → `[rows, columns.len()]`.
    pub fn logits(&self, hidden: Tensor<2>, columns: std::ops::Range<usize>) -> Tensor<2> {
        let (weight, bias) = match &self.lm_head {
            Some(head) => (head.weight.val(), head.bias.as_ref().map(|bias| bias.val())),
            None => (self.embed_tokens.weight.val(), None),
        };
        let all = columns.len() == self.config.vocab_size;
        let bias = bias.map(|bias| if all { bias } else { bias.slice([columns.clone()]) });
        ops::linear(hidden, weight.rows(columns), bias, self.precision)
    }
}
