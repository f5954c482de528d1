//! What the kinds around a decoder share.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor};
use unigen_core::config::{Config as _, DecoderConfig, ModelConfig, SpecialTokens, TokenizerConfig};
use unigen_core::sequence::AttentionLayout;
use unigen_core::weights::keys;

use crate::folder::Folder;

/// Sizes of the decoder; its head is its own where the weights have another than the token table.
pub fn decoder_config(folder: &Folder) -> Result<DecoderConfig> {
    let mut config: DecoderConfig =
        serde_json::from_value(folder.config.0.clone()).context("config.json: not a decoder")?;
    config.validate().context("config.json")?;
    keys::untie_own_head(&mut config, &folder.model)?;
    Ok(config)
}

/// Sizes of the model around the decoder. Special tokens and the image tokenizer play no part in parity folders.
pub fn model_config(folder: &Folder) -> Result<ModelConfig> {
    let codes = folder.config.size("codebook_size")?;
    ensure!(
        codes > 1 && codes.is_power_of_two(),
        "config.json: codebook_size is {codes}, no power of two above 1"
    );
    let bits = codes.ilog2() as usize;
    let config = ModelConfig {
        decoder: decoder_config(folder)?,
        vision: None,
        text_vocab: folder.config.size("text_vocab")?,
        code_groups: vec![bits],
        image_tokenizer: TokenizerConfig { z_channels: bits, ..TokenizerConfig::default() },
        special_tokens: SpecialTokens::FIRST,
        ..ModelConfig::preset("unigen-1.5b")?
    };
    config.validate().context("config.json")?;
    Ok(config)
}

/// The tokens before and after a block of codes.
pub fn delimiters(folder: &Folder, config: &ModelConfig) -> Result<[u32; 2]> {
    let token = |key| folder.config.token(key, config.decoder.vocab_size);
    Ok([token("soi")?, token("eoi")?])
}

/// The layout of square `allow` matrices of `length` rows, sequence after sequence.
pub fn layout(allow: &[i64], length: usize) -> Result<AttentionLayout> {
    let allow: Vec<bool> = allow.iter().map(|&a| a == 1).collect();
    let sequences = allow.chunks(length * length).map(|one| AttentionLayout::from_allow(one, length, length));
    Ok(AttentionLayout::concat(sequences.collect::<unigen_core::Result<Vec<_>>>()?))
}

/// Ids on a device, `[ids]`.
pub fn int_tensor(values: &[i64], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&v| v as i32).collect();
    Tensor::from_ints(values.as_slice(), device)
}
