//! The decoder in a GGUF file, under the names and in the order of Hugging Face.

use super::{Checkpoint, StoredTensor, Tensors};
use crate::error::{Error, ErrorKind, Result};

/// Where a layer's tensors are: llama.cpp's name in `blk.N.`, and Hugging Face's in `model.layers.N.`.
const LAYER: [(&str, &str); 9] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
/// The same for what is in no layer.
const OUTSIDE: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// The decoder in a GGUF file as Hugging Face has it: its names (`model.layers.0.self_attn.q_proj.weight`, `lm_head.weight`),
/// and its order of rows.
///
/// llama.cpp turns neighbouring values of a Llama's head, so files of that architecture have the two halves of every
/// head of queries and keys interleaved; here they are apart. A head that is tied to the token table is that table.
#[derive(Debug)]
pub struct GgufDecoder<'a> {
    checkpoint: &'a Checkpoint,
    /// Heads of queries and of keys, where their rows are interleaved.
    interleaved: Option<[usize; 2]>,
    tied: bool,
}

impl<'a> GgufDecoder<'a> {
    /// # Errors
    /// Where `checkpoint` is no GGUF file of a Qwen2 or a Llama; those of [`Gguf::decoder_config`](super::Gguf::decoder_config).
    pub fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let gguf = checkpoint
            .gguf()
            .ok_or_else(|| Error::new(ErrorKind::Weights, checkpoint.place(), "not a GGUF file"))?;
        let config = gguf.decoder_config()?;
        let heads = |key: &str| config[key].as_u64().and_then(|heads| heads.try_into().ok()).unwrap_or(0);
        let heads = [heads("num_attention_heads"), heads("num_key_value_heads")];
        let interleaved = (gguf.architecture() == "llama").then_some(heads);
        Ok(Self { checkpoint, interleaved, tied: gguf.tied })
    }

    /// Hugging Face's names of all tensors that belong to the decoder.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.checkpoint.names().filter_map(|name| {
            let (module, parameter) = name.rsplit_once('.')?;
            let named = |known: &[(&str, &str)], module| {
                known.iter().find(|(theirs, _)| *theirs == module).map(|(_, published)| published.to_string())
            };
            let module = match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
                Some((layer, module)) => format!("model.layers.{layer}.{}", named(&LAYER, module)?),
                None => named(&OUTSIDE, module)?,
            };
            Some(format!("{module}.{parameter}"))
        })
    }

    /// llama.cpp's name of the tensor `name`.
    fn find(&self, name: &str) -> Option<String> {
        let (module, parameter) = name.rsplit_once('.')?;
        let named = |known: &[(&str, &str)], module| {
            known.iter().find(|(_, published)| *published == module).map(|(theirs, _)| theirs.to_string())
        };
        let module = match module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
            Some((layer, module)) => format!("blk.{layer}.{}", named(&LAYER, module)?),
            None if module == "lm_head" && self.tied => OUTSIDE[0].0.into(),
            None => named(&OUTSIDE, module)?,
        };
        Some(format!("{module}.{parameter}"))
    }
}

impl Tensors for GgufDecoder<'_> {
    fn place(&self) -> &str {
        self.checkpoint.place()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.checkpoint.shape(&self.find(name)?).map(<[usize]>::to_vec)
    }

    fn stored(&self, name: &str) -> Result<StoredTensor> {
        let theirs = self.find(name).unwrap_or_else(|| name.into());
        let tensor = self.checkpoint.stored(&theirs)?;
        let Some([queries, keys]) = self.interleaved else { return Ok(tensor) };
        match name {
            _ if name.contains(".q_proj.") => halves_apart(&tensor, queries),
            _ if name.contains(".k_proj.") => halves_apart(&tensor, keys),
            _ => Ok(tensor),
        }
    }
}

/// The rows of `heads` heads, whose halves are interleaved, with the halves apart.
///
/// # Errors
/// Where the rows are not those of as many heads of even width.
fn halves_apart(tensor: &StoredTensor, heads: usize) -> Result<StoredTensor> {
    let rows = tensor.shape().first().copied().unwrap_or(0);
    if heads == 0 || !rows.is_multiple_of(2 * heads) {
        let what = format!("has {rows} rows, which are not {heads} heads of even width");
        return Err(Error::new(ErrorKind::Weights, &tensor.place, what));
    }
    let (head, half) = (rows / heads, rows / heads / 2);
    tensor.reordered((0..rows).map(|row| row / head * head + row % half * 2 + row % head / half))
}
