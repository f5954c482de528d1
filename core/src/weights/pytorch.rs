//! Weights that `torch.save` wrote: a zip archive of stored entries, `data.pkl` with names and shapes, and one entry a
//! storage (PyTorch 1.6 and later).
//!
//! The crate `pytorch-reader` reads more kinds of such files, but an archive of 100 kB, in which `data.pkl` is compressed, makes it
//! take 9 GB of memory; entries that are compressed, which PyTorch never writes, are refused here.

use super::ElementType;
use super::contents::{Contents, Listed};
use super::pickle::{self, Fault, Saved};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;

/// The most bytes of `data.pkl`: a state dict's takes some 100 bytes a tensor.
const MAX_PICKLE: usize = 64 << 20;

/// What the archive with these bytes lists: tensors under their dotted path (`state_dict.visual.proj`).
pub(super) fn contents(place: &str, bytes: &Bytes) -> Result<Contents> {
    let (tensors, storages) = read(bytes).map_err(|fault| {
        Error::new(ErrorKind::Weights, place, format!("not a checkpoint that torch.save wrote: {fault}"))
            .fix("download it again, or convert it to safetensors")
    })?;
    let tensors = tensors.into_iter().map(|(name, saved)| {
        let element_type = element_type(&saved.storage_type);
        let data = range(&saved, &element_type, &storages).map_err(|(what, fix)| {
            let error = Error::new(ErrorKind::Weights, format!("{place}: {name}"), what);
            if fix.is_empty() { error } else { error.fix(fix) }
        });
        Listed { name, element_type, shape: saved.shape, data }
    });
    Ok(Contents { tensors: tensors.collect(), ..Contents::default() })
}

fn element_type(storage: &str) -> ElementType {
    match storage {
        "FloatStorage" => ElementType::F32,
        "HalfStorage" => ElementType::F16,
        "BFloat16Storage" => ElementType::Bf16,
        "LongStorage" => ElementType::I64,
        "IntStorage" => ElementType::I32,
        "ByteStorage" => ElementType::U8,
        "BoolStorage" => ElementType::Bool,
        other => ElementType::Other(other.into()),
    }
}

/// Where a tensor's bytes are in the file; else what is wrong, and what helps.
fn range(
    saved: &Saved,
    element_type: &ElementType,
    storages: &HashMap<String, Range<usize>>,
) -> std::result::Result<Range<usize>, (String, &'static str)> {
    if let ElementType::Other(kind) = element_type {
        return Err((format!("is a {kind}"), "save it in float32, float16 or bfloat16"));
    }
    if !saved.is_contiguous() {
        return Err((format!("has strides {:?}", saved.stride), "save a contiguous copy"));
    }
    let storage = storages
        .get(&*saved.storage)
        .ok_or_else(|| (format!("its storage {} is not in the file", saved.storage), ""))?;
    let width = element_type.bytes(&[1]).unwrap_or(1);
    let first = usize::try_from(saved.offset).ok().and_then(|offset| offset.checked_mul(width));
    let range = first.zip(element_type.bytes(&saved.shape)).and_then(|(first, size)| {
        let start = storage.start.checked_add(first)?;
        Some(start..start.checked_add(size)?)
    });
    range
        .filter(|range| range.end <= storage.end)
        .ok_or_else(|| (format!("reaches beyond its storage of {} bytes", storage.len()), ""))
}

type Found = (std::collections::BTreeMap<String, Saved>, HashMap<String, Range<usize>>);

fn read(bytes: &[u8]) -> std::result::Result<Found, Fault> {
    let entries = directory(bytes)?;
    let find = |end: &str| entries.iter().find(|entry| entry.name.ends_with(end));
    let pickled = find("/data.pkl").ok_or("the archive has no data.pkl")?;
    if pickled.size > MAX_PICKLE {
        return Err(format!("data.pkl has {} bytes", pickled.size));
    }
    if let Some(order) = find("/byteorder") {
        let order = &bytes[data(bytes, order)?];
        if order != b"little" {
            let order = String::from_utf8_lossy(&order[..order.len().min(16)]);
            return Err(format!("the byte order is {order:?}"));
        }
    }
    let tensors = pickle::tensors(&bytes[data(bytes, pickled)?])?;
    let mut storages = HashMap::new();
    let root = pickled.name.trim_end_matches("data.pkl");
    for entry in &entries {
        if let Some(key) = entry.name.strip_prefix(root).and_then(|name| name.strip_prefix("data/")) {
            storages.insert(key.to_owned(), data(bytes, entry)?);
        }
    }
    Ok((tensors, storages))
}

/// An entry of the archive (PKWARE's APPNOTE, sections 4.3.7 and 4.3.12).
struct Entry {
    name: String,
    /// Where its local header begins.
    header: usize,
    size: usize,
}

const DAMAGED: &str = "the archive's directory is damaged";

/// Where an entry's bytes are: behind its local header, name and extra field.
fn data(bytes: &[u8], entry: &Entry) -> std::result::Result<Range<usize>, Fault> {
    let header = bytes.get(entry.header..).filter(|header| header.starts_with(b"PK\x03\x04"));
    let header = header.ok_or_else(|| format!("{} has no local header", entry.name))?;
    let start = entry.header + 30 + number(header, 26, 2)? + number(header, 28, 2)?;
    let end = start.checked_add(entry.size).filter(|&end| end <= bytes.len());
    Ok(start..end.ok_or_else(|| format!("the file ends within {}", entry.name))?)
}

fn number(bytes: &[u8], at: usize, width: usize) -> std::result::Result<usize, Fault> {
    let digits = at.checked_add(width).and_then(|end| bytes.get(at..end)).ok_or(DAMAGED)?;
    let value = digits.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
    value.try_into().map_err(|_| DAMAGED.into())
}

fn directory(bytes: &[u8]) -> std::result::Result<Vec<Entry>, Fault> {
    // The end record has 22 bytes and a comment of at most 65535; a locator of 20 may stand before it.
    let tail = &bytes[bytes.len() - bytes.len().min(22 + 65_535 + 20)..];
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06");
    let end = end.ok_or("the archive has no directory, as when a download breaks off")?;
    let (mut size, mut start) = (number(tail, end + 12, 4)?, number(tail, end + 16, 4)?);
    if let Some(locator) = end.checked_sub(20).filter(|&at| tail[at..].starts_with(b"PK\x06\x07")) {
        let wide = bytes.get(number(tail, locator + 8, 8)?..).unwrap_or_default();
        if !wide.starts_with(b"PK\x06\x06") {
            return Err(DAMAGED.into());
        }
        (size, start) = (number(wide, 40, 8)?, number(wide, 48, 8)?);
    }
    let directory = start.checked_add(size).and_then(|end| bytes.get(start..end)).ok_or(DAMAGED)?;
    let mut entries = Vec::new();
    let mut at = 0;
    while directory.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x01\x02")) {
        let field = |offset: usize, width: usize| number(directory, at + offset, width);
        let (name, extra, comment) = (field(28, 2)?, field(30, 2)?, field(32, 2)?);
        let part = |from: usize, length: usize| directory.get(at + from..at + from + length).ok_or(DAMAGED);
        let name_text = String::from_utf8_lossy(part(46, name)?).into_owned();
        let (packed, size, header) =
            wide_fields(part(46 + name, extra)?, [field(24, 4)?, field(20, 4)?, field(42, 4)?])?;
        if field(10, 2)? != 0 || packed != size {
            return Err(format!("{name_text} is compressed"));
        }
        entries.push(Entry { name: name_text, header, size });
        at += 46 + name + extra + comment;
    }
    Ok(entries)
}

/// `(packed size, size, header)` with those that do not fit into 32 bits from the extra field, where they stand in the
/// order size, packed size, header.
fn wide_fields(
    mut extra: &[u8],
    mut fields: [usize; 3],
) -> std::result::Result<(usize, usize, usize), Fault> {
    while extra.len() >= 4 {
        let (kind, length) = (number(extra, 0, 2)?, number(extra, 2, 2)?);
        if kind == 1 {
            let mut at = 4;
            for field in fields.iter_mut().filter(|field| **field == u32::MAX as usize) {
                *field = number(extra, at, 8)?;
                at += 8;
            }
        }
        extra = extra.get(4 + length..).ok_or(DAMAGED)?;
    }
    let [size, packed, header] = fields;
    Ok((packed, size, header))
}
