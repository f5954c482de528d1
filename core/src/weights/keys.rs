//! From a parameter's path in a module to its name in published checkpoints.
//!
//! A key map is any `Fn(&str) -> Option<String>`, as [`load`](super::load) and [`save`](super::save) take it.

use super::Checkpoint;
use crate::config::DecoderConfig;
use crate::error::Result;

/// The head, both in a module and in a checkpoint.
const HEAD: &str = "lm_head.weight";
/// What the parameters of a head start with.
const HEADS: &str = "lm_head.";
/// The token table, both in a module and in a checkpoint.
const TABLE: &str = "embed_tokens.weight";
/// How many rows of the two are compared at a time.
const ROWS: usize = 256;

/// The path itself: our own files, and showlab/magvitv2, whose names the image tokenizer has.
pub fn same(path: &str) -> Option<String> {
    Some(path.into())
}

/// Qwen2.5 and Llama: `model.embed_tokens.weight`, `model.layers.0.self_attn.q_proj.weight`, .., `lm_head.weight`.
pub fn qwen2(path: &str) -> Option<String> {
    Some(if path.starts_with(HEADS) { path.into() } else { format!("model.{path}") })
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

/// A decoder in any checkpoint that has one, under whatever prefix: `llm.model.` (UniGen), `model.` (Qwen2.5), `showo.model.`
/// (Show-o), `model.language_model.` (models with a vision tower as transformers 5 writes them), or none.
///
/// Where there is no head, the head's name is the token table's: they are tied. Phi publishes the norm after its last layer as
/// `final_layernorm`, which is `norm` here as everywhere else.
pub fn decoder(checkpoint: &Checkpoint) -> impl Fn(&str) -> Option<String> + use<> {
    let (body, head) = decoder_prefixes(checkpoint);
    let tied = !checkpoint.contains(&format!("{head}{HEAD}"));
    let phi = checkpoint.contains(&format!("{body}final_layernorm.weight"));
    move |path| {
        Some(match path {
            HEAD if tied => format!("{body}{TABLE}"),
            path if path.starts_with(HEADS) => format!("{head}{path}"),
            path => match path.strip_prefix("norm.") {
                Some(parameter) if phi => format!("{body}final_layernorm.{parameter}"),
                _ => format!("{body}{path}"),
            },
        })
    }
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
    let (body, head) = decoder_prefixes(checkpoint);
    let head = format!("{head}{HEAD}");
    if !checkpoint.contains(&head) {
        return Ok(true);
    }
    let (head, table) = (checkpoint.stored(&head)?, checkpoint.stored(&format!("{body}{TABLE}"))?);
    if head.shape() != table.shape() {
        return Ok(false);
    }
    let same_type = head.element_type() == table.element_type();
    // Some rows at a time, since two whole tables may not fit into memory.
    let count = head.shape().first().copied().unwrap_or(0);
    for start in (0..count).step_by(ROWS) {
        let rows = start..count.min(start + ROWS);
        let (head, table) = (head.rows(rows.clone())?, table.rows(rows)?);
        let same = match same_type {
            true => head.bytes() == table.bytes(),
            false => head.values::<f32>()? == table.values::<f32>()?,
        };
        head.release();
        table.release();
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What stands before the names of the layers, and before the head's.
pub(super) fn decoder_prefixes(checkpoint: &Checkpoint) -> (String, String) {
    let body = prefix(checkpoint, TABLE).unwrap_or("model.");
    let above = body.strip_suffix("model.").filter(|above| above.is_empty() || above.ends_with('.'));
    let above = above.unwrap_or(body);
    let has = |head: &&str| checkpoint.contains(&format!("{head}{HEAD}"));
    let head = [above, body, ""].into_iter().find(has).unwrap_or(above);
    (body.into(), head.into())
}

/// What stands before `name` in the checkpoint, where it has a tensor of that name.
fn prefix<'a>(checkpoint: &'a Checkpoint, name: &str) -> Option<&'a str> {
    let mut prefixes = checkpoint.names().filter_map(|full| full.strip_suffix(name));
    prefixes.find(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

/// A SigLIP or SigLIP2 vision tower as published with its text tower: `vision_model.embeddings..`.
pub fn vision_model(path: &str) -> Option<String> {
    Some(format!("vision_model.{path}"))
}

/// A SigLIP or SigLIP2 vision tower, with the names of its own module (`embeddings..`, `encoder.layers..`,
/// `post_layernorm..`), in any checkpoint that has one, under whatever prefix: `vision_model.` (both towers, or the tower
/// before transformers 5), none (the tower as transformers 5 writes it), `vision_tower.vision_tower.vision_model.` (an unfrozen tower
/// in UniGen).
pub fn siglip(checkpoint: &Checkpoint) -> impl Fn(&str) -> Option<String> + use<> {
    let prefix = prefix(checkpoint, "embeddings.patch_embedding.weight").unwrap_or("").to_owned();
    move |path| Some(format!("{prefix}{path}"))
}
