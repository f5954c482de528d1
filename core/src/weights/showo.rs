//! The sizes of Show-o's decoder, which its config.json leaves out.

use super::{Checkpoint, keys};
use crate::config::{Config, DecoderConfig, DecoderKind};
use crate::error::{Error, ErrorKind, Result};

/// The sizes of a Show-o decoder from the shapes of its tensors. Constants are those of Phi-1.5, which Show-o takes whatever
/// its config.json says.
///
/// # Errors
/// `Weights` where the checkpoint holds no such decoder, `Config` where its sizes fit none.
pub fn showo_decoder(checkpoint: &Checkpoint) -> Result<DecoderConfig> {
    let (body, _) = keys::decoder_prefixes(checkpoint);
    let shape = |name: &str| -> Result<&[usize]> {
        let name = format!("{body}{name}");
        checkpoint.shape(&name).filter(|shape| !shape.contains(&0)).ok_or_else(|| {
            Error::new(ErrorKind::Weights, checkpoint.place(), format!("has no {name}, so this is no Show-o"))
                .fix("give a folder of showlab/show-o or of a model with the same keys")
        })
    };
    let matrix = |name: &str| match *shape(name)? {
        [rows, columns] => Ok((rows, columns)),
        ref found => {
            let what = format!("{body}{name} has shape {found:?}, wanted two dimensions");
            Err(Error::new(ErrorKind::Weights, checkpoint.place(), what))
        }
    };
    let (vocab_size, hidden_size) = matrix("embed_tokens.weight")?;
    let (intermediate_size, _) = matrix("layers.0.mlp.fc1.weight")?;
    let head = shape("layers.0.self_attn.q_layernorm.weight")?[0];
    let heads = |name: &str| Ok::<_, Error>(matrix(name)?.0 / head);
    let num_attention_heads = heads("layers.0.self_attn.q_proj.weight")?;
    let config = DecoderConfig {
        kind: DecoderKind::Phi,
        hidden_size,
        intermediate_size,
        num_hidden_layers: (0..).take_while(|i| shape(&format!("layers.{i}.mlp.fc1.weight")).is_ok()).count(),
        num_attention_heads,
        num_key_value_heads: heads("layers.0.self_attn.k_proj.weight")?,
        head_dim: (num_attention_heads * head != hidden_size).then_some(head),
        vocab_size,
        norm_eps: 1e-5,
        rope_theta: 1e4,
        partial_rotary_factor: 0.5,
        tie_word_embeddings: false,
    };
    config.validate()?;
    Ok(config)
}
