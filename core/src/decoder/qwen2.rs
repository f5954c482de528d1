//! A layer of Qwen2 (arXiv 2407.10671, section 2.2): that of Llama with biases on queries, keys and values.

use super::llama::Layer;
use crate::config::DecoderConfig;
use burn::tensor::Device;

/// A layer with random weights.
pub(super) fn layer(config: &DecoderConfig, device: &Device) -> Layer {
    Layer::new(config, true, device)
}
