//! A layer of Phi-1.5 (arXiv 2309.05463, section 2) as Show-o (arXiv 2408.12528) has it: one LayerNorm in front of
//! attention and feed-forward network side by side, rotary positions over a part of each head, biases everywhere. Show-o
//! adds a LayerNorm over each head of queries and keys.

use super::attention::Pass;
use super::cache::KeysValues;
use super::init_std;
use super::rope::{Positions, rope, split_heads};
use crate::config::DecoderConfig;
use crate::nn::{LayerNorm, Linear};
use crate::ops;
use crate::precision::MatmulPrecision;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// Self-attention with normalised queries and keys.
#[derive(Module, Debug)]
pub struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    dense: Linear,
    q_layernorm: LayerNorm,
    k_layernorm: LayerNorm,
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
            dense: Linear::new(heads * head, width, true, std, device),
            q_layernorm: LayerNorm::new(head, config.norm_eps, device),
            k_layernorm: LayerNorm::new(head, config.norm_eps, device),
            heads,
            kv_heads,
            precision: MatmulPrecision::F32,
        }
    }

    /// `[rows, width]` → rotated queries `[rows, heads, head]`.
    fn queries(&self, h: Tensor<2>, positions: &Positions) -> Tensor<3> {
        rope(self.q_layernorm.forward(split_heads(self.q_proj.forward(h), self.heads)), positions)
    }

    /// `[rows, width]` → rotated keys `[rows, kv_heads, head]`.
    fn keys(&self, h: Tensor<2>, positions: &Positions) -> Tensor<3> {
        rope(self.k_layernorm.forward(split_heads(self.k_proj.forward(h), self.kv_heads)), positions)
    }
}

/// The feed-forward network: `fc2(gelu(fc1 x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(ops::gelu_tanh(self.fc1.forward(x)))
    }
}

/// One layer, `x + attention(norm x) + mlp(norm x)`.
#[derive(Module, Debug)]
pub struct Layer {
    input_layernorm: LayerNorm,
    self_attn: SelfAttention,
    mlp: Mlp,
}

impl Layer {
    /// A layer with random weights.
    pub(super) fn new(config: &DecoderConfig, device: &Device) -> Self {
        let (width, hidden) = (config.hidden_size, config.intermediate_size);
        // Layers that write to the residual stream start smaller, as in GPT-2.
        let read = init_std(width);
        let std = read / (2.0 * config.num_hidden_layers as f64).sqrt();
        Self {
            input_layernorm: LayerNorm::new(width, config.norm_eps, device),
            self_attn: SelfAttention::new(config, std, device),
            mlp: Mlp {
                fc1: Linear::new(width, hidden, true, read, device),
                fc2: Linear::new(hidden, width, true, std, device),
            },
        }
    }

    /// The same layer with its linear maps changed.
    pub(super) fn map_linears(self, change: &impl Fn(Linear) -> Linear) -> Self {
        let SelfAttention { q_proj, k_proj, v_proj, dense, .. } = self.self_attn;
        let [q_proj, k_proj, v_proj, dense] = [q_proj, k_proj, v_proj, dense].map(change);
        let mlp = Mlp { fc1: change(self.mlp.fc1), fc2: change(self.mlp.fc2) };
        let self_attn = SelfAttention { q_proj, k_proj, v_proj, dense, ..self.self_attn };
        Layer { self_attn, mlp, ..self }
    }

    /// `x` `[rows, width]` → the output of the wanted rows, and the keys and values of all.
    pub(super) fn forward(&self, x: Tensor<2>, pass: &Pass) -> (Tensor<2>, KeysValues) {
        let attn = &self.self_attn;
        let h = self.input_layernorm.forward(x.clone());
        let own = (
            attn.keys(h.clone(), pass.positions),
            split_heads(attn.v_proj.forward(h.clone()), attn.kv_heads),
        );
        let (x, h) = (pass.pick(x), pass.pick(h));
        let q = attn.queries(h.clone(), pass.query_positions());
        let mixed = attn.dense.forward(pass.attention(q, &own, attn.precision));
        (x + mixed + self.mlp.forward(h), own)
    }
}
