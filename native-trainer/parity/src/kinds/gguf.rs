//! A GGUF file: what its tensors hold, and the logits of the decoder that they make.

use anyhow::{Context, Result, ensure};
use burn::tensor::Tensor;
use unigen_core::config::{Config as _, DecoderConfig};
use unigen_core::decoder::Decoder;
use unigen_core::sequence::AttentionLayout;
use unigen_core::weights::{GgufDecoder, keys, load};
use unigen_runs::floats;

use super::language_model::int_tensor;
use crate::Kind;
use crate::compare::{Comparer, bounds, largest_difference};
use crate::folder::{Config, Folder};

/// Columns of the vocabulary that a folder of a large model keeps of every row's logits: 0, 512, ..
const EVERY: usize = 512;

/// Dequantised values and causal logits of a Qwen2 or Llama, which the file itself describes.
pub struct Gguf;

impl Kind for Gguf {
    fn name(&self) -> &'static str {
        "GGUF"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.is_gguf()
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let (io, device) = (&folder.io, &folder.device);
        for name in io.names() {
            let Some(tensor) = name.strip_prefix("value.") else { continue };
            let (found, shape) = folder.model.tensor(tensor)?;
            let wanted = io.values(name, &shape)?;
            let largest = wanted.iter().fold(f32::MIN_POSITIVE, |max, value| max.max(value.abs()));
            let difference = largest_difference(&found, &wanted) / f64::from(largest);
            comparer.difference(name, difference, bounds::VALUES);
        }

        let file = folder.model.gguf().context("model.gguf is no GGUF file")?;
        let config: DecoderConfig = serde_json::from_value(file.decoder_config()?).context("model.gguf")?;
        config.validate().context("model.gguf")?;
        let vocabulary = config.vocab_size;
        let tensors = GgufDecoder::new(&folder.model)?;
        let decoder = load(Decoder::new(&config, device), &tensors, keys::qwen2)?;
        let [batch, length] = io.shape::<2>("input_ids")?;
        let ids = io.ints("input_ids", &[batch, length], 0..vocabulary as i64)?;
        let places: Vec<usize> = (0..batch * length).map(|row| row % length).collect();
        let causal = AttentionLayout::causal(&vec![length; batch]);
        let x = decoder.embed(int_tensor(&ids, device));
        let hidden = decoder.forward(x, &decoder.positions(&places, device), &causal);
        let logits = decoder.logits(hidden, 0..vocabulary);
        if io.contains("logits") {
            let logits = logits.reshape([batch, length, vocabulary]);
            return comparer.tensor("logits", logits, bounds::FEATURES);
        }
        ensure!(batch == 1, "io.safetensors: input_ids: {batch} texts, wanted 1 beside every_512th");
        let last: Tensor<1> = logits.clone().slice([length - 1..length]).reshape([vocabulary]);
        comparer.tensor("last_logits", last, bounds::LARGE_LOGITS)?;
        let rows = floats(logits)?;
        let found: Vec<f32> =
            rows.chunks(vocabulary).flat_map(|row| row.iter().copied().step_by(EVERY)).collect();
        let wanted = io.values("every_512th", &[length, vocabulary.div_ceil(EVERY)])?;
        comparer.difference("every_512th", largest_difference(&found, &wanted), bounds::LARGE_LOGITS);
        Ok(())
    }
}
