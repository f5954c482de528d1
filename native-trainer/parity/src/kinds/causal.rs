//! Decoders: Qwen2ForCausalLM and LlamaForCausalLM of transformers.

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use unigen_core::decoder::Decoder;
use unigen_core::weights::{keys, load};

use super::language_model::{decoder_config, int_tensor, layout};
use crate::Kind;
use crate::compare::{Comparer, bounds};
use crate::folder::{Config, Folder};

/// Qwen2.
pub struct Qwen2;

/// Llama.
pub struct Llama;

impl Kind for Qwen2 {
    fn name(&self) -> &'static str {
        "Qwen2"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("qwen2")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        compare(folder, comparer)
    }
}

impl Kind for Llama {
    fn name(&self) -> &'static str {
        "Llama"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("llama")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        compare(folder, comparer)
    }
}

/// Logits under the causal mask, and hidden states and logits under another.
fn compare(folder: &Folder, comparer: &mut Comparer) -> Result<()> {
    let (io, device) = (&folder.io, &folder.device);
    let config = decoder_config(folder)?;
    let [batch, length] = io.shape::<2>("input_ids")?;
    let ids = io.ints("input_ids", &[batch, length], 0..config.vocab_size as i64)?;
    let omni = io.ints("omni_allow", &[batch, length, length], 0..2)?;
    let decoder = load(Decoder::new(&config, device), &folder.model, keys::qwen2)?;
    let positions = decoder.positions(&(0..batch * length).map(|r| r % length).collect::<Vec<_>>(), device);
    let x = decoder.embed(int_tensor(&ids, device));
    let causal: Vec<i64> =
        (0..batch * length * length).map(|i| (i % length <= i / length % length) as i64).collect();
    let run = |allow: &[i64]| -> Result<Tensor<2>> {
        Ok(decoder.forward(x.clone(), &positions, &layout(allow, length)?))
    };
    let logits = |hidden: Tensor<2>| {
        decoder.logits(hidden, 0..config.vocab_size).reshape([batch, length, config.vocab_size])
    };
    let omni = run(&omni).context("io.safetensors: omni_allow")?;
    comparer.tensor("logits_causal", logits(run(&causal)?), bounds::FEATURES)?;
    let hidden = omni.clone().reshape([batch, length, config.hidden_size]);
    comparer.tensor("hidden_omni", hidden, bounds::FEATURES)?;
    comparer.tensor("logits_omni", logits(omni), bounds::FEATURES)
}
