//! The pre-norm transformer encoder and the attention pooling head that both towers share (SigLIP, arXiv 2303.15343).

use crate::config::{Activation, VisionConfig};
use crate::error::Result;
use crate::nn::{self, LayerNorm, Linear};
use crate::ops::{self, AttentionLayout};
use crate::precision::MatmulPrecision;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};
use std::sync::Arc;

impl Activation {
    /// Applies it to every element.
    fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => activation::gelu(x),
            Self::GeluTanh => ops::gelu_tanh(x),
            Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
        }
    }
}

/// A linear layer of the towers, biased, with weights that keep the variance.
pub(super) fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    Linear::new(inputs, outputs, true, (inputs as f64).powf(-0.5), device)
}

/// Attention over `heads` heads, `query` `[batch, queries, width]`, `key`, `value` `[batch, keys, width]` →
/// `[batch, queries, width]`.
fn attend(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    rows: &Arc<AttentionLayout>,
    heads: usize,
    precision: MatmulPrecision,
) -> Tensor<3> {
    let shape = query.dims();
    let split = |x: Tensor<3>| {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch * tokens, heads, width / heads])
    };
    ops::attention(split(query), split(key), split(value), rows.clone(), precision).reshape(shape)
}

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[width, width]`
    pub q_proj: Linear,
    /// `[width, width]`
    pub k_proj: Linear,
    /// `[width, width]`
    pub v_proj: Linear,
    /// `[width, width]`
    pub out_proj: Linear,
    #[module(skip)]
    heads: usize,
    precision: MatmulPrecision,
}

impl Attention {
    fn new(config: &VisionConfig, device: &Device) -> Self {
        let layer = || linear(config.hidden_size, config.hidden_size, device);
        Self {
            q_proj: layer(),
            k_proj: layer(),
            v_proj: layer(),
            out_proj: layer(),
            heads: config.num_attention_heads,
            precision: MatmulPrecision::F32,
        }
    }

    fn forward(&self, x: Tensor<3>, rows: &Arc<AttentionLayout>) -> Tensor<3> {
        let query = self.q_proj.forward(x.clone());
        let key = self.k_proj.forward(x.clone());
        let value = self.v_proj.forward(x);
        self.out_proj.forward(attend(query, key, value, rows, self.heads, self.precision))
    }
}

/// The feed-forward block.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[inner, width]`
    pub fc1: Linear,
    /// `[width, inner]`
    pub fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    fn new(config: &VisionConfig, device: &Device) -> Result<Self> {
        Ok(Self {
            fc1: linear(config.hidden_size, config.intermediate_size, device),
            fc2: linear(config.intermediate_size, config.hidden_size, device),
            activation: config.activation()?,
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(self.activation.forward(self.fc1.forward(x)))
    }
}

/// `x + attention(norm x)`, then `x + mlp(norm x)`.
#[derive(Module, Debug)]
pub struct Layer {
    /// Before attention.
    pub layer_norm1: LayerNorm,
    /// Attention among the patches.
    pub self_attn: Attention,
    /// Before the feed-forward block.
    pub layer_norm2: LayerNorm,
    /// Feed-forward block.
    pub mlp: Mlp,
}

impl Layer {
    fn new(config: &VisionConfig, device: &Device) -> Result<Self> {
        let norm = || LayerNorm::new(config.hidden_size, config.layer_norm_eps, device);
        Ok(Self {
            layer_norm1: norm(),
            self_attn: Attention::new(config, device),
            layer_norm2: norm(),
            mlp: Mlp::new(config, device)?,
        })
    }

    fn forward(&self, x: Tensor<3>, rows: &Arc<AttentionLayout>) -> Tensor<3> {
        let x = x.clone() + self.self_attn.forward(self.layer_norm1.forward(x), rows);
        x.clone() + self.mlp.forward(self.layer_norm2.forward(x))
    }
}

/// The stack of layers.
#[derive(Module, Debug)]
pub struct Encoder {
    /// From input to output.
    pub layers: Vec<Layer>,
}

impl Encoder {
    /// Layers with random weights. Errors where the activation is unknown.
    pub fn new(config: &VisionConfig, device: &Device) -> Result<Self> {
        let layers = (0..config.num_hidden_layers).map(|_| Layer::new(config, device));
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// `x` `[batch, tokens, width]` → the output of all layers, same shape. `rows` says which tokens each token sees.
    pub fn forward(&self, x: Tensor<3>, rows: &Arc<AttentionLayout>) -> Tensor<3> {
        self.layers.iter().fold(x, |x, layer| layer.forward(x, rows))
    }

    /// As [`forward`](Self::forward), without running the last layer.
    pub fn penultimate(&self, x: Tensor<3>, rows: &Arc<AttentionLayout>) -> Tensor<3> {
        self.layers.iter().rev().skip(1).rev().fold(x, |x, layer| layer.forward(x, rows))
    }

    /// The last layer alone, after [`penultimate`](Self::penultimate).
    pub fn last(&self, x: Tensor<3>, rows: &Arc<AttentionLayout>) -> Tensor<3> {
        self.layers.iter().last().into_iter().fold(x, |x, layer| layer.forward(x, rows))
    }
}

/// Attention of one learned query over the patches; PyTorch's `MultiheadAttention`, with its packed weights.
#[derive(Module, Debug)]
pub struct PackedAttention {
    /// Query, key and value: `[3 width, width]`
    pub in_proj_weight: Param<Tensor<2>>,
    /// `[3 width]`
    pub in_proj_bias: Param<Tensor<1>>,
    /// `[width, width]`
    pub out_proj: Linear,
    #[module(skip)]
    heads: usize,
    precision: MatmulPrecision,
}

impl PackedAttention {
    fn forward(&self, query: Tensor<3>, memory: Tensor<3>, rows: &Arc<AttentionLayout>) -> Tensor<3> {
        let width = query.dims()[2];
        let project = |part: usize, x: Tensor<3>| {
            let weight = self.in_proj_weight.val().narrow(0, part * width, width);
            let bias = self.in_proj_bias.val().narrow(0, part * width, width);
            ops::linear(x, weight, Some(bias), self.precision)
        };
        let (key, value) = (project(1, memory.clone()), project(2, memory));
        self.out_proj.forward(attend(project(0, query), key, value, rows, self.heads, self.precision))
    }
}

/// The attention pooling head: one vector per image.
#[derive(Module, Debug)]
pub struct PoolingHead {
    /// The learned query, `[1, 1, width]`.
    pub probe: Param<Tensor<3>>,
    /// From the query to the patches.
    pub attention: PackedAttention,
    /// Before the feed-forward block.
    pub layernorm: LayerNorm,
    /// Feed-forward block.
    pub mlp: Mlp,
}

impl PoolingHead {
    pub(super) fn new(config: &VisionConfig, device: &Device) -> Result<Self> {
        let width = config.hidden_size;
        Ok(Self {
            probe: nn::normal([1, 1, width], 1.0, device),
            attention: PackedAttention {
                in_proj_weight: nn::normal([3 * width, width], (width as f64).powf(-0.5), device),
                in_proj_bias: nn::zeros([3 * width], device),
                out_proj: linear(width, width, device),
                heads: config.num_attention_heads,
                precision: MatmulPrecision::F32,
            },
            layernorm: LayerNorm::new(width, config.layer_norm_eps, device),
            mlp: Mlp::new(config, device)?,
        })
    }

    /// `hidden` `[batch, tokens, width]` after the last normalisation → `[batch, width]`. Of each picture the first `lengths`
    /// tokens count.
    pub fn forward(&self, hidden: Tensor<3>, lengths: &[usize]) -> Tensor<2> {
        let [batch, tokens, _] = hidden.dims();
        let probe = self.probe.val().repeat_dim(0, batch);
        let rows = Arc::new(AttentionLayout::padded(1, tokens, lengths));
        let x = self.attention.forward(probe, hidden, &rows);
        let x = x.clone() + self.mlp.forward(self.layernorm.forward(x));
        x.squeeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::FRAC_2_PI;

    #[test]
    fn activations_match_their_formulas() {
        let device = Device::flex();
        let points: Vec<f32> = (-60..=60).map(|i| i as f32 / 6.0).collect();
        let x = Tensor::<1>::from_floats(points.as_slice(), &device);
        let found: Vec<f32> = Activation::GeluTanh.forward(x.clone()).into_data().try_to_vec().unwrap();
        for (x, y) in points.iter().zip(found) {
            let x = f64::from(*x);
            let wanted = 0.5 * x * (1.0 + (FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3))).tanh());
            assert!((f64::from(y) - wanted).abs() < 1e-6, "{x}: {y} {wanted}");
        }
        let exact: Vec<f32> = Activation::Gelu.forward(x).into_data().try_to_vec().unwrap();
        // 1 Φ(1) = 0.8413447
        assert!((exact[66] - 0.841_344_7).abs() < 1e-6, "{}", exact[66]);
    }

    /// Whatever the scores are, attention over equal tokens returns their value.
    #[test]
    fn pooling_over_equal_tokens_ignores_their_number() {
        let device = Device::flex();
        let config = VisionConfig {
            hidden_size: 12,
            intermediate_size: 20,
            num_attention_heads: 3,
            ..VisionConfig::default()
        };
        let head = PoolingHead::new(&config, &device).unwrap();
        let token = Tensor::<3>::random([2, 1, 12], burn::tensor::Distribution::Normal(0.0, 1.0), &device);
        let weight = head.attention.in_proj_weight.val().narrow(0, 24, 12);
        let value = ops::linear(token.clone(), weight, None, MatmulPrecision::F32);
        let x = head.attention.out_proj.forward(value);
        let wanted = x.clone() + head.mlp.forward(head.layernorm.forward(x));
        let found = head.forward(token.repeat_dim(1, 5), &[5, 3]);
        let difference = (found - wanted.squeeze_dim(1)).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "{difference}");
    }
}
