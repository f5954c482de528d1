//! A layer of Llama (arXiv 2302.13971, section 2.2) with grouped-query attention: RMSNorm, rotary positions, SwiGLU, no
//! biases.

use super::attention::Pass;
use super::cache::KeysValues;
use super::init_std;
use super::rope::{rope, split_heads};
use crate::config::DecoderConfig;
use crate::nn::{Linear, RmsNorm};
use crate::ops;
use crate::precision::MatmulPrecision;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

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
    fn new(config: &DecoderConfig, biases: bool, std: f64, device: &Device) -> Self {
        let (width, head) = (config.hidden_size, config.head_dim());
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let read = init_std(width);
        Self {
            q_proj: Linear::new(width, heads * head, biases, read, device),
            k_proj: Linear::new(width, kv_heads * head, biases, read, device),
            v_proj: Linear::new(width, kv_heads * head, biases, read, device),
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

/// One layer, `x + attention(norm x)` and then `x + mlp(norm x)`.
#[derive(Module, Debug)]
pub struct Layer {
    input_layernorm: RmsNorm,
    self_attn: SelfAttention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl Layer {
    /// A layer with random weights. `biases` are those of queries, keys and values.
    pub(super) fn new(config: &DecoderConfig, biases: bool, device: &Device) -> Self {
        let (width, hidden) = (config.hidden_size, config.intermediate_size);
        // Layers that write to the residual stream start smaller, as in GPT-2.
        let read = init_std(width);
        let std = read / (2.0 * config.num_hidden_layers as f64).sqrt();
        Self {
            input_layernorm: RmsNorm::new(width, config.norm_eps, device),
            self_attn: SelfAttention::new(config, biases, std, device),
            post_attention_layernorm: RmsNorm::new(width, config.norm_eps, device),
            mlp: Mlp {
                gate_proj: Linear::new(width, hidden, false, read, device),
                up_proj: Linear::new(width, hidden, false, read, device),
                down_proj: Linear::new(hidden, width, false, std, device),
            },
        }
    }

    /// The same layer with its linear maps changed.
    pub(super) fn map_linears(self, change: &impl Fn(Linear) -> Linear) -> Self {
        let SelfAttention { q_proj, k_proj, v_proj, o_proj, .. } = self.self_attn;
        let [q_proj, k_proj, v_proj, o_proj] = [q_proj, k_proj, v_proj, o_proj].map(change);
        let Mlp { gate_proj, up_proj, down_proj } = self.mlp;
        let [gate_proj, up_proj, down_proj] = [gate_proj, up_proj, down_proj].map(change);
        let self_attn = SelfAttention { q_proj, k_proj, v_proj, o_proj, ..self.self_attn };
        Layer { self_attn, mlp: Mlp { gate_proj, up_proj, down_proj }, ..self }
    }

    /// `x` `[rows, width]` → the output of the wanted rows, and the keys and values of all.
    pub(super) fn forward(&self, x: Tensor<2>, pass: &Pass) -> (Tensor<2>, KeysValues) {
        let attn = &self.self_attn;
        let h = self.input_layernorm.forward(x.clone());
        let k = rope(split_heads(attn.k_proj.forward(h.clone()), attn.kv_heads), pass.positions);
        let v = split_heads(attn.v_proj.forward(h.clone()), attn.kv_heads);
        let own = (k, v);
        let (x, h) = (pass.pick(x), pass.pick(h));
        let q = rope(split_heads(attn.q_proj.forward(h), attn.heads), pass.query_positions());
        let x = x + attn.o_proj.forward(pass.attention(q, &own, attn.precision));
        let x = x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x));
        (x, own)
    }
}
