//! From a parameter's path in a module to its name in published checkpoints.
//!
//! A key map is any `Fn(&str) -> Option<String>`, as [`load`](super::load) and [`save`](super::save) take it.

use super::Checkpoint;
use crate::config::DecoderConfig;
use crate::error::Result;

/// The head, both in a module and in a checkpoint.
const HEAD: &str = "lm_head.weight";
/// The token table, both in a module and in a checkpoint.
const TABLE: &str = "embed_tokens.weight";

/// The path itself: our own files, and showlab/magvitv2, whose names the image tokenizer has.
pub fn same(path: &str) -> Option<String> {
    Some(path.into())
}

/// Qwen2.5: `model.embed_tokens.weight`, `model.layers.0.self_attn.q_proj.weight`, .., `lm_head.weight`.
pub fn qwen2(path: &str) -> Option<String> {
    Some(if path == HEAD { HEAD.into() } else { format!("model.{path}") })
}

/// UniGen, from the whole model: `llm.model.layers.0..`, `llm.lm_head.weight`, `mm_projector.0.weight`,
/// `mm_projector.2.weight`; bit-group parameters (`code_bits..`), which UniGen lacks, by their own names.
pub fn unigen(path: &str) -> Option<String> {
    match path.strip_prefix("llm.") {
        Some(decoder) => qwen2(decoder).map(|name| format!("llm.{name}")),
        None => match path.strip_prefix("mm_projector.") {
            Some(layer) => projector(layer),
            None => same(path),
        },
    }
}

/// [`unigen`] in any checkpoint: the decoder's names as [`decoder`] finds them, so that a tied head is found too.
pub fn model(checkpoint: &Checkpoint) -> impl Fn(&str) -> Option<String> + use<> {
    let decoder = decoder(checkpoint);
    move |path| match path.strip_prefix("llm.") {
        Some(path) => decoder(path),
        None => unigen(path),
    }
}

/// UniGen's projector, from the projector alone. The checkpoint numbers the two linear layers 0 and 2 (1 is
/// the GELU); the module may number them 0 and 1, or 0 and 2, or name them `first` and `second` or `fc1` and `fc2`.
pub fn projector(path: &str) -> Option<String> {
    let (layer, parameter) = path.rsplit_once('.')?;
    let number = match layer.rsplit('.').next()? {
        "0" | "first" | "fc1" => 0,
        "1" | "2" | "second" | "fc2" => 2,
        _ => return None,
    };
    Some(format!("mm_projector.{number}.{parameter}"))
}

/// A Qwen2 decoder in any checkpoint that has one: `llm.model.` (UniGen), `model.` (Qwen2.5) or no prefix.
///
/// Where there is no head, the head's name is the token table's: they are tied.
pub fn decoder(checkpoint: &Checkpoint) -> impl Fn(&str) -> Option<String> + use<> {
    let (body, head) = decoder_names(checkpoint);
    let head = if checkpoint.contains(&head) { head } else { format!("{body}{TABLE}") };
    move |path| Some(if path == HEAD { head.clone() } else { format!("{body}{path}") })
}

/// Unties the head of `config` from the token table where the checkpoint holds another: a UniGen checkpoint may, whatever
/// its config says.
///
/// # Errors
/// Where the two cannot be compared.
pub fn untie_own_head(config: &mut DecoderConfig, checkpoint: &Checkpoint) -> Result<()> {
    config.tie_word_embeddings = config.tie_word_embeddings && head_is_tied(checkpoint)?;
    Ok(())
}

/// Whether the checkpoint's head is its token table: absent, or equal in every element.
fn head_is_tied(checkpoint: &Checkpoint) -> Result<bool> {
    let (body, head) = decoder_names(checkpoint);
    if !checkpoint.contains(&head) {
        return Ok(true);
    }
    let (head, table) = (checkpoint.stored(&head)?, checkpoint.stored(&format!("{body}{TABLE}"))?);
    if head.shape() != table.shape() || head.element_type() == table.element_type() {
        return Ok(head.shape() == table.shape() && head.bytes() == table.bytes());
    }
    // Row by row, since a whole table in f32 may not fit into memory.
    for row in 0..head.shape().first().copied().unwrap_or(0) {
        if head.rows(row..row + 1)?.values::<f32>()? != table.rows(row..row + 1)?.values::<f32>()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The prefix of the layers and the name of the head.
fn decoder_names(checkpoint: &Checkpoint) -> (&'static str, String) {
    let known = [("llm.model.", "llm."), ("model.", ""), ("", "")];
    let has = |body: &str| checkpoint.contains(&format!("{body}{TABLE}"));
    let (body, before) = known.into_iter().find(|(body, _)| has(body)).unwrap_or(known[1]);
    (body, format!("{before}{HEAD}"))
}

/// A SigLIP or SigLIP2 vision tower as published with its text tower: `vision_model.embeddings..`.
pub fn vision_model(path: &str) -> Option<String> {
    Some(format!("vision_model.{path}"))
}

/// A SigLIP or SigLIP2 vision tower, with the names of its own module (`embeddings..`, `encoder.layers..`,
/// `post_layernorm..`), in any checkpoint that has one: alone, under `vision_model.` (the whole SigLIP), or
/// under `vision_tower.vision_tower.vision_model.` (an unfrozen tower in UniGen).
pub fn siglip(checkpoint: &Checkpoint) -> impl Fn(&str) -> Option<String> + use<> {
    let known =
        ["vision_model.", "vision_tower.vision_tower.vision_model.", "vision_tower.vision_model.", ""];
    let has = |prefix: &&str| checkpoint.contains(&format!("{prefix}embeddings.patch_embedding.weight"));
    let prefix = known.into_iter().find(has).unwrap_or("");
    move |path| Some(format!("{prefix}{path}"))
}
