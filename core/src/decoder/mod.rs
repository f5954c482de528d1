//! The language model: Qwen2 (arXiv 2407.10671) over packed rows with any attention layout.
//!
//! Rows of several sequences lie one after another, without pads: `[rows, width]`. Who sees whom is the
//! [`AttentionLayout`]'s; where a row stands is [`Positions`]'.

mod attention;
mod cache;
mod rope;

pub use cache::{Cache, KeyOrder};
pub use rope::{Positions, rope};

use crate::config::DecoderConfig;
use crate::nn::{Embedding, Linear, RmsNorm};
use crate::ops::{self, AttentionRows};
use crate::precision::MatmulPrecision;
use crate::sequence::AttentionLayout;
use attention::attention_rows;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use std::sync::Arc;

/// Standard deviation of the initial weights of layers that read `width` entries: 0.04 at 256, the 0.02 of published
/// models at 1024 (small init, Nguyen & Salazar 2019, arXiv 1910.05895).
pub(crate) fn init_std(width: usize) -> f64 {
    (0.4 / width as f64).sqrt()
}

/// Grouped-query self-attention.
#[derive(Module, Debug)]
pub struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
    precision: MatmulPrecision,
}

impl SelfAttention {
    fn new(config: &DecoderConfig, std: f64, device: &Device) -> Self {
        let (width, head) = (config.hidden_size, config.head_dim());
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let read = init_std(width);
        Self {
            q_proj: Linear::new(width, heads * head, true, read, device),
            k_proj: Linear::new(width, kv_heads * head, true, read, device),
            v_proj: Linear::new(width, kv_heads * head, true, read, device),
            o_proj: Linear::new(heads * head, width, false, std, device),
            heads,
            kv_heads,
            precision: MatmulPrecision::F32,
        }
    }
}

/// The gated feed-forward network: `down(silu(gate x) * up x)`.
#[derive(Module, Debug)]
pub struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl Mlp {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gate = self.gate_proj.forward(x.clone());
        self.down_proj.forward(ops::swiglu(gate, self.up_proj.forward(x)))
    }
}

/// One pre-normalised decoder layer.
#[derive(Module, Debug)]
pub struct Layer {
    input_layernorm: RmsNorm,
    self_attn: SelfAttention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

/// Keys and values of one layer, `[rows, kv_heads, head_dim]` each, keys already rotated.
pub type KeysValues = (Tensor<3>, Tensor<3>);

impl Layer {
    fn new(config: &DecoderConfig, device: &Device) -> Self {
        let (width, hidden) = (config.hidden_size, config.intermediate_size);
        // Layers that write to the residual stream start smaller, as in GPT-2.
        let read = init_std(width);
        let std = read / (2.0 * config.num_hidden_layers as f64).sqrt();
        Self {
            input_layernorm: RmsNorm::new(width, config.rms_norm_eps, device),
            self_attn: SelfAttention::new(config, std, device),
            post_attention_layernorm: RmsNorm::new(width, config.rms_norm_eps, device),
            mlp: Mlp {
                gate_proj: Linear::new(width, hidden, false, read, device),
                up_proj: Linear::new(width, hidden, false, read, device),
                down_proj: Linear::new(hidden, width, false, std, device),
            },
        }
    }

    /// `x` `[rows, width]` → the layer's output, for `wanted` rows only where given, and its own keys and
    /// values for all rows. `past` comes before them, put in the layout's order by `order`.
    fn forward(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &Arc<AttentionRows>,
        past: Option<(&KeysValues, &KeyOrder)>,
        wanted: Option<&Wanted>,
    ) -> (Tensor<2>, KeysValues) {
        let attn = &self.self_attn;
        let h = self.input_layernorm.forward(x.clone());
        let k = rope(attn.k_proj.forward(h.clone()), attn.kv_heads, positions);
        let v = split_heads(attn.v_proj.forward(h.clone()), attn.kv_heads);
        let own = (k.clone(), v.clone());
        let (k, v) = match past {
            Some((past, order)) => order.join(past, (k, v)),
            None => (k, v),
        };
        let (x, h, positions, layout) = match wanted {
            Some(w) => (w.pick(x), w.pick(h), &w.positions, &w.layout),
            None => (x, h, positions, layout),
        };
        let q = rope(attn.q_proj.forward(h), attn.heads, positions);
        let [rows, heads, head] = q.dims();
        let mixed = ops::attention(q, k, v, layout.clone(), attn.precision).reshape([rows, heads * head]);
        let x = x + attn.o_proj.forward(mixed);
        let x = x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x));
        (x, own)
    }
}

/// The rows that the last layer computes; the others only lend it their keys and values.
#[derive(Debug, Clone)]
pub struct Wanted {
    rows: Tensor<1, Int>,
    positions: Positions,
    layout: Arc<AttentionRows>,
}

impl Wanted {
    /// `rows`: indices into the packed rows, ascending. `positions` and `layout` are those of all rows.
    pub fn new(rows: &[usize], positions: &Positions, layout: &AttentionLayout, device: &Device) -> Self {
        let indices: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        let indices = Tensor::<1, Int>::from_ints(indices.as_slice(), device);
        Self {
            positions: positions.pick(indices.clone()),
            layout: attention_rows(&layout.pick(rows)),
            rows: indices,
        }
    }

    fn pick(&self, x: Tensor<2>) -> Tensor<2> {
        ops::select_rows(x, self.rows.clone())
    }
}

/// The decoder with its token table and, where the table is not tied to it, its head.
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
            norm: RmsNorm::new(width, config.rms_norm_eps, device),
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
        let layers = self.layers.into_iter().map(|layer| {
            let SelfAttention { q_proj, k_proj, v_proj, o_proj, .. } = layer.self_attn;
            let [q_proj, k_proj, v_proj, o_proj] = [q_proj, k_proj, v_proj, o_proj].map(&change);
            let Mlp { gate_proj, up_proj, down_proj } = layer.mlp;
            let [gate_proj, up_proj, down_proj] = [gate_proj, up_proj, down_proj].map(&change);
            let self_attn = SelfAttention { q_proj, k_proj, v_proj, o_proj, ..layer.self_attn };
            Layer { self_attn, mlp: Mlp { gate_proj, up_proj, down_proj }, ..layer }
        });
        Self { layers: layers.collect(), ..self }
    }

    /// `[rows]` token ids → `[rows, width]`.
    pub fn embed(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        self.embed_tokens.forward(ids)
    }

    /// Where rows stand, for the rotations: `positions[row]`, counted from each sequence's start.
    pub fn positions(&self, positions: &[usize], device: &Device) -> Positions {
        Positions::new(positions, self.config.head_dim(), self.config.rope_theta, device)
    }

    /// All rows through all layers and the final norm: `[rows, width]` → `[rows, width]`.
    pub fn forward(&self, x: Tensor<2>, positions: &Positions, layout: &AttentionLayout) -> Tensor<2> {
        let layout = &attention_rows(layout);
        let x = self.layers.iter().fold(x, |x, layer| layer.forward(x, positions, layout, None, None).0);
        self.norm.forward(x)
    }

    /// [`Self::forward`] for the rows that carry a loss: the last layer computes no others. → `[wanted rows, width]`
    pub fn forward_wanted(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
        wanted: &Wanted,
    ) -> Tensor<2> {
        let layout = &attention_rows(layout);
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
        let layout = &attention_rows(layout);
        let mut layers = Vec::with_capacity(self.layers.len());
        let x = self.layers.iter().fold(x, |x, layer| {
            let (x, own) = layer.forward(x, positions, layout, None, None);
            layers.push(own);
            x
        });
        (self.norm.forward(x), Cache::new(layers))
    }

    /// New rows over a cached prefix; the final hidden states of the `wanted` rows (all without).
    ///
    /// `layout` has the keys in the order that `order` puts them: each sequence's cached rows, then its new ones.
    pub fn extend(
        &self,
        x: Tensor<2>,
        positions: &Positions,
        layout: &AttentionLayout,
        cache: &Cache,
        order: &KeyOrder,
        wanted: Option<&Wanted>,
    ) -> (Tensor<2>, Cache) {
        let layout = &attention_rows(layout);
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

/// `[rows, heads * head_dim]` → `[rows, heads, head_dim]`
fn split_heads(x: Tensor<2>, heads: usize) -> Tensor<3> {
    let [rows, width] = x.dims();
    x.reshape([rows, heads, width / heads])
}
