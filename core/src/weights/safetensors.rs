//! The header of a safetensors file.

use super::ElementType;
use super::contents::{Contents, Listed};
use crate::error::{Error, ErrorKind, Result};
use crate::quantized::BlockFormat;
use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata, TensorInfo};
use bytes::Bytes;

/// The format's own bound on the header, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// What the safetensors file with these bytes lists.
pub(super) fn contents(place: &str, bytes: &Bytes) -> Result<Contents> {
    let broken =
        |what: String| Error::new(ErrorKind::Weights, place, what).fix("download or save the file again");
    let size = bytes.len() as u64;
    let Some((word, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(broken(format!("not a safetensors file: {size} bytes")));
    };
    let header = u64::from_le_bytes(*word);
    if header > MAX_HEADER {
        return Err(broken(format!("not a safetensors file: it claims a header of {header} bytes")));
    }
    let data = 8 + header;
    let Some(json) = rest.get(..header as usize) else {
        return Err(broken(format!("truncated: the header ends at byte {data} of {size}")));
    };
    let parsed: Metadata =
        serde_json::from_slice(json).map_err(|e| broken(format!("bad safetensors header: {e}")))?;
    let wanted = data.checked_add(parsed.data_len() as u64);
    if wanted != Some(size) {
        let what = if wanted.is_none_or(|wanted| wanted > size) { "truncated" } else { "too long" };
        let wanted = wanted.map_or("more than there can be".into(), |wanted| wanted.to_string());
        return Err(broken(format!("{what}: {size} bytes, the header says {wanted}")));
    }
    let tensors = parsed.tensors().into_iter().map(|(name, info)| {
        let (start, end) = info.data_offsets;
        let (name, element_type, shape) = meaning(&name, info);
        let data = Ok(data as usize + start..data as usize + end);
        Listed { name, element_type, shape, data }
    });
    Ok(Contents { tensors: tensors.collect(), metadata: parsed.metadata().clone().unwrap_or_default() })
}

/// Name, type and shape of what a tensor holds: its own, or those of the weight whose blocks it stores (see
/// [`weights`](super)).
fn meaning(name: &str, info: &TensorInfo) -> (String, ElementType, Vec<usize>) {
    if let (Dtype::U8, &[rows, blocks, bytes]) = (info.dtype, info.shape.as_slice()) {
        let format = BlockFormat::ALL.into_iter().find(|format| name.ends_with(format.suffix()));
        if let Some((format, weight)) = format.zip(unsuffixed(name))
            && bytes == format.block_bytes()
            && let Some(columns) = blocks.checked_mul(format.block_values())
        {
            return (weight.into(), ElementType::Blocks(format), vec![rows, columns]);
        }
    }
    let element_type = match info.dtype {
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        Dtype::I64 => ElementType::I64,
        Dtype::I32 => ElementType::I32,
        Dtype::U8 => ElementType::U8,
        Dtype::BOOL => ElementType::Bool,
        other => ElementType::Other(other.to_string()),
    };
    (name.into(), element_type, info.shape.clone())
}

/// The name of the weight whose blocks the tensor `name` stores, where it says so.
pub(super) fn unsuffixed(name: &str) -> Option<&str> {
    BlockFormat::ALL.into_iter().find_map(|format| name.strip_suffix(format.suffix()))
}
