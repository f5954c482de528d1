//! The header of a GGUF file.

use super::metadata::Gguf;
use super::values::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::quantized::BlockFormat;
use crate::weights::ElementType;
use crate::weights::contents::{Contents, Listed};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};

/// The most dimensions that GGML knows.
const MAX_DIMENSIONS: u32 = 4;
/// The largest alignment of tensors that is believed.
const MAX_ALIGNMENT: u64 = 1 << 20;
/// The fewest bytes of a key with its value, and of a tensor's description: what bounds their number in a file.
const LEAST_PAIR: usize = 13;
const LEAST_INFO: usize = 24;

/// What the GGUF file with these bytes lists.
pub fn contents(place: &str, bytes: &Bytes) -> Result<(Contents, Gguf)> {
    let mut reader = Reader { place, bytes, at: 4 };
    let version = reader.u32()?;
    if version.swap_bytes() < 16 {
        return Err(reader.broken("a big-endian GGUF file").fix("take the little-endian one"));
    }
    if !(2..=3).contains(&version) {
        let what = format!("a GGUF file of version {version}, but 2 and 3 are known");
        return Err(reader.broken(what).fix("convert it with the llama.cpp of today"));
    }
    let tensors = reader.count(LEAST_INFO)?;
    let pairs = reader.count(LEAST_PAIR)?;
    let mut values = BTreeMap::new();
    for _ in 0..pairs {
        let key = reader.text()?;
        let kind = reader.u32()?;
        let value = reader.value(kind)?;
        if values.insert(key.clone(), value).is_some() {
            return Err(reader.broken(format!("the key {key} is there twice")));
        }
    }
    let mut gguf = Gguf { place: place.into(), values, ..Gguf::default() };
    if let Some(parts) = gguf.int("split.count").filter(|&parts| parts > 1) {
        let what = format!("one of {parts} parts of a model");
        return Err(reader.broken(what).fix("merge them with `llama-gguf-split --merge`"));
    }
    let mut infos = Vec::with_capacity(tensors);
    for _ in 0..tensors {
        infos.push(Info::read(&mut reader)?);
    }
    let alignment = gguf.int("general.alignment").unwrap_or(32);
    let alignment = u64::try_from(alignment).ok().filter(|n| n.is_power_of_two() && *n <= MAX_ALIGNMENT);
    let alignment = alignment.ok_or_else(|| reader.broken("general.alignment is no power of two"))?;
    let data = (reader.at as u64).next_multiple_of(alignment);
    let tensors =
        infos.into_iter().map(|info| info.listed(&reader, data, alignment)).collect::<Result<Vec<_>>>()?;
    apart(&reader, &tensors)?;
    let has = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
    gguf.table = has("token_embd.weight").map(|table| table.shape.clone()).unwrap_or_default();
    gguf.tied = has("output.weight").is_none();
    gguf.scaled = has("rope_freqs.weight").is_some();
    Ok((Contents { tensors, ..Contents::default() }, gguf))
}

/// Fails where two tensors share bytes or a name.
fn apart(reader: &Reader<'_>, tensors: &[Listed]) -> Result<()> {
    let mut ranges: Vec<_> =
        tensors.iter().filter_map(|tensor| Some((tensor.data.as_ref().ok()?, &tensor.name))).collect();
    ranges.sort_by_key(|(range, _)| (range.start, range.end));
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
        return Err(reader.broken(format!("{} and {} share bytes", pair[0].1, pair[1].1)));
    }
    let mut names = HashSet::new();
    match tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        Some(twice) => Err(reader.broken(format!("{} is there twice", twice.name))),
        None => Ok(()),
    }
}

/// Name, dimensions, type and place of a tensor, as the file has them.
struct Info {
    name: String,
    /// Slowest first.
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

impl Info {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let name = reader.text()?;
        let dimensions = reader.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(reader.broken(format!("{name} has {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = reader.u64()?;
            let size = usize::try_from(size);
            shape.push(size.map_err(|_| reader.broken(format!("{name} has a dimension that is too large")))?);
        }
        shape.reverse();
        Ok(Self { name, shape, kind: reader.u32()?, offset: reader.u64()? })
    }

    fn listed(self, reader: &Reader<'_>, data: u64, alignment: u64) -> Result<Listed> {
        let Self { name, shape, kind, offset } = self;
        let element_type = element_type(kind);
        let broken = |what: String| reader.broken(format!("{name}: {what}"));
        let data = if let ElementType::Other(kind) = &element_type {
            let place = format!("{}: {name}", reader.place);
            Err(Error::new(ErrorKind::Weights, place, format!("has type {kind}, which is not read"))
                .fix("take a file in F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K"))
        } else {
            let length = element_type
                .bytes(&shape)
                .ok_or_else(|| broken(format!("{shape:?} is no shape in {element_type}")))?;
            if !offset.is_multiple_of(alignment) {
                return Err(broken(format!("begins at {offset}, which is no multiple of {alignment}")));
            }
            let start = data.checked_add(offset).and_then(|start| usize::try_from(start).ok());
            let range = start.and_then(|start| Some(start..start.checked_add(length)?));
            let size = reader.bytes.len();
            Ok(range.filter(|range| range.end <= size).ok_or_else(|| {
                reader
                    .broken(format!("truncated: {size} bytes, but {name} lies beyond them"))
                    .fix("download the file again")
            })?)
        };
        Ok(Listed { name, element_type, shape, data })
    }
}

/// GGML's types by their number (`ggml.h`, `ggml_type`).
fn element_type(kind: u32) -> ElementType {
    let other = |name: &str| ElementType::Other(name.into());
    match kind {
        0 => ElementType::F32,
        1 => ElementType::F16,
        2 => ElementType::Blocks(BlockFormat::Q4_0),
        3 => ElementType::Blocks(BlockFormat::Q4_1),
        8 => ElementType::Blocks(BlockFormat::Q8_0),
        12 => ElementType::Blocks(BlockFormat::Q4K),
        14 => ElementType::Blocks(BlockFormat::Q6K),
        26 => ElementType::I32,
        27 => ElementType::I64,
        30 => ElementType::Bf16,
        6 => other("Q5_0"),
        7 => other("Q5_1"),
        9 => other("Q8_1"),
        10 => other("Q2_K"),
        11 => other("Q3_K"),
        13 => other("Q5_K"),
        15 => other("Q8_K"),
        16 => other("IQ2_XXS"),
        17 => other("IQ2_XS"),
        18 => other("IQ3_XXS"),
        19 => other("IQ1_S"),
        20 => other("IQ4_NL"),
        21 => other("IQ3_S"),
        22 => other("IQ2_S"),
        23 => other("IQ4_XS"),
        24 => other("I8"),
        25 => other("I16"),
        28 => other("F64"),
        29 => other("IQ1_M"),
        34 => other("TQ1_0"),
        35 => other("TQ2_0"),
        39 => other("MXFP4"),
        kind => ElementType::Other(format!("number {kind} of GGML")),
    }
}
