//! Weights that `torch.save` wrote: a zip archive of stored entries, `data.pkl` with names and shapes, and one entry a
//! storage (PyTorch 1.6 and later).

use anyhow::{Context, Result, bail, ensure};
use half::{bf16, f16};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use unigen_core::weights::Tensors;
use unigen_core::{Error, ErrorKind};

use super::pickle::{self, Saved};

/// The tensors of a .pt file, under their dotted path (`state_dict.visual.proj`), read on demand. Nothing in the file is
/// run.
pub struct PytorchFile {
    path: PathBuf,
    place: String,
    tensors: BTreeMap<String, Saved>,
    /// First byte and number of bytes of each storage.
    storages: HashMap<String, (u64, u64)>,
}

/// The most bytes of `data.pkl`: a state dict's takes some 100 bytes a tensor.
const MAX_PICKLE: u64 = 64 << 20;
/// The most bytes of the archive's directory.
const MAX_DIRECTORY: u64 = 64 << 20;

impl PytorchFile {
    /// # Errors
    /// Where the file is missing, damaged, or none that `torch.save` wrote.
    pub fn open(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let (tensors, storages) = read(path).with_context(|| {
            format!(
                "{place} is not a checkpoint that torch.save wrote; download it again, or convert it to safetensors"
            )
        })?;
        ensure!(!tensors.is_empty(), "{place} holds no tensors; download it again");
        Ok(Self { path: path.to_owned(), place, tensors, storages })
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

impl Tensors for PytorchFile {
    fn place(&self) -> &str {
        &self.place
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|tensor| tensor.shape.clone())
    }

    fn tensor(&self, name: &str) -> unigen_core::Result<(Vec<f32>, Vec<usize>)> {
        let error = |what: String| Error::new(ErrorKind::Weights, format!("{}: {name}", self.place), what);
        let tensor = self.tensors.get(name).ok_or_else(|| error("no such tensor".into()))?;
        let width: u64 = match tensor.storage_type.as_str() {
            "FloatStorage" => 4,
            "HalfStorage" | "BFloat16Storage" => 2,
            other => {
                return Err(error(format!("is a {other}")).fix("save it in float32, float16 or bfloat16"));
            }
        };
        if !tensor.is_contiguous() {
            return Err(error(format!("has strides {:?}", tensor.stride)).fix("save a contiguous copy"));
        }
        let (start, stored) = *self
            .storages
            .get(&tensor.storage)
            .ok_or_else(|| error(format!("its storage {} is not in the file", tensor.storage)))?;
        let sizes = tensor.shape.iter().try_fold(width, |size, &n| size.checked_mul(n as u64));
        let first = tensor.offset.checked_mul(width);
        let range = sizes
            .zip(first)
            .filter(|(size, first)| first.checked_add(*size).is_some_and(|end| end <= stored));
        let (size, first) =
            range.ok_or_else(|| error(format!("reaches beyond its storage of {stored} bytes")))?;
        let bytes = bytes(&self.path, start + first, size).map_err(|e| error(format!("{e:#}")))?;
        let values: Vec<f32> = match tensor.storage_type.as_str() {
            "FloatStorage" => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            "HalfStorage" => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            _ => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                Err(error(format!("{} at flat index {at}", values[at])).fix("download the weights again"))
            }
            None => Ok((values, tensor.shape.clone())),
        }
    }
}

fn bytes(path: &Path, start: u64, size: u64) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 == size, "the file ends {} bytes early", size - bytes.len() as u64);
    Ok(bytes)
}

type Contents = (BTreeMap<String, Saved>, HashMap<String, (u64, u64)>);

fn read(path: &Path) -> Result<Contents> {
    let entries = directory(path)?;
    let find = |end: &str| entries.iter().find(|entry| entry.name.ends_with(end));
    let pickled = find("/data.pkl").context("the archive has no data.pkl")?;
    ensure!(pickled.size <= MAX_PICKLE, "data.pkl has {} bytes", pickled.size);
    if let Some(order) = find("/byteorder") {
        let order = bytes(path, data(path, order)?, order.size.min(16))?;
        ensure!(order == b"little", "the byte order is {:?}", String::from_utf8_lossy(&order));
    }
    let tensors = pickle::tensors(&bytes(path, data(path, pickled)?, pickled.size)?)?;
    let mut storages = HashMap::new();
    let root = pickled.name.trim_end_matches("data.pkl");
    for entry in &entries {
        if let Some(key) = entry.name.strip_prefix(root).and_then(|name| name.strip_prefix("data/")) {
            storages.insert(key.to_owned(), (data(path, entry)?, entry.size));
        }
    }
    Ok((tensors, storages))
}

/// An entry of the archive (PKWARE's APPNOTE, sections 4.3.7 and 4.3.12).
struct Entry {
    name: String,
    /// Where its local header begins.
    header: u64,
    size: u64,
}

/// Where an entry's bytes begin: behind its local header, name and extra field.
fn data(path: &Path, entry: &Entry) -> Result<u64> {
    let header = bytes(path, entry.header, 30)?;
    ensure!(header.starts_with(b"PK\x03\x04"), "{} has no local header", entry.name);
    Ok(entry.header + 30 + number(&header, 26, 2)? + number(&header, 28, 2)?)
}

fn number(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let digits = bytes.get(at..at + width).context("the archive's directory is damaged")?;
    Ok(digits.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn directory(path: &Path) -> Result<Vec<Entry>> {
    let length = std::fs::metadata(path)?.len();
    // The end record has 22 bytes and a comment of at most 65535; a locator of 20 may stand before it.
    let tail_length = length.min(22 + 65_535 + 20);
    let tail = bytes(path, length - tail_length, tail_length)?;
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06").context("it is no zip archive")?;
    let (mut size, mut start) = (number(&tail, end + 12, 4)?, number(&tail, end + 16, 4)?);
    if let Some(locator) = end.checked_sub(20).filter(|&at| tail[at..].starts_with(b"PK\x06\x07")) {
        let wide = bytes(path, number(&tail, locator + 8, 8)?, 56)?;
        ensure!(wide.starts_with(b"PK\x06\x06"), "the archive's directory is damaged");
        (size, start) = (number(&wide, 40, 8)?, number(&wide, 48, 8)?);
    }
    ensure!(size <= MAX_DIRECTORY, "the archive's directory has {size} bytes");
    let directory = bytes(path, start, size)?;
    let mut entries = Vec::new();
    let mut at = 0;
    while directory.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x01\x02")) {
        let field = |offset: usize, width: usize| number(&directory, at + offset, width);
        let [name, extra, comment] = [field(28, 2)?, field(30, 2)?, field(32, 2)?].map(|n| n as usize);
        let part = |from: usize, length: usize| {
            directory.get(at + from..at + from + length).context("the archive's directory is damaged")
        };
        let name_text = String::from_utf8_lossy(part(46, name)?).into_owned();
        let (packed, size, header) =
            wide_fields(part(46 + name, extra)?, [field(24, 4)?, field(20, 4)?, field(42, 4)?])?;
        ensure!(field(10, 2)? == 0 && packed == size, "{name_text} is compressed");
        entries.push(Entry { name: name_text, header, size });
        at += 46 + name + extra + comment;
    }
    Ok(entries)
}

/// `(packed size, size, header)` with those that do not fit into 32 bits from the extra field, where they stand in the
/// order size, packed size, header.
fn wide_fields(mut extra: &[u8], mut fields: [u64; 3]) -> Result<(u64, u64, u64)> {
    while extra.len() >= 4 {
        let (kind, length) = (number(extra, 0, 2)?, number(extra, 2, 2)? as usize);
        if kind == 1 {
            let mut at = 4;
            for field in fields.iter_mut().filter(|field| **field == u64::from(u32::MAX)) {
                *field = number(extra, at, 8)?;
                at += 8;
            }
        }
        match extra.get(4 + length..) {
            Some(rest) => extra = rest,
            None => bail!("the archive's directory is damaged"),
        }
    }
    let [size, packed, header] = fields;
    Ok((packed, size, header))
}

#[cfg(test)]
mod tests {
    use super::super::OpenClip;
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    fn tuple(sizes: &[u8]) -> Vec<u8> {
        let sizes = sizes.iter().flat_map(|&size| [b'K', size]);
        [b'('].into_iter().chain(sizes).chain([b't']).collect()
    }

    /// As torch.save pickles it: `_rebuild_tensor_v2(storage, offset, shape, stride, False, OrderedDict())`.
    fn tensor(key: &str, kind: &str, offset: u8, shape: &[u8], stride: &[u8]) -> Vec<u8> {
        let kind = format!("ctorch\n{kind}\n");
        let storage =
            [b"(", &text("storage")[..], kind.as_bytes(), &text(key), &text("cpu"), b"K\x20tQ"].concat();
        let rest = b"\x89ccollections\nOrderedDict\n)RtR";
        let call = b"ctorch._utils\n_rebuild_tensor_v2\n(".as_slice();
        [call, &storage, &[b'K', offset], &tuple(shape), &tuple(stride), rest].concat()
    }

    /// A zip archive of stored entries.
    fn archive(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, data) in entries {
            let (size, length) = ((data.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
            let at = (bytes.len() as u32).to_le_bytes();
            let fields = [&[0; 14][..], &size, &size, &length, &[0; 2]].concat();
            bytes.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), data].concat());
            let fields = [&[0; 16][..], &size, &size, &length, &[0; 12], &at].concat();
            directory.extend([b"PK\x01\x02", &fields[..], name.as_bytes()].concat());
        }
        let (size, start) = ((directory.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        bytes.extend([&directory[..], b"PK\x05\x06", &[0; 8], &size, &start, &[0; 2]].concat());
        bytes
    }

    /// `{"epoch": 3, "state_dict": OrderedDict(..)}` of a CLIP one wide.
    fn checkpoint() -> Vec<u8> {
        let tensors = [
            ("visual.class_embedding", tensor("0", "FloatStorage", 1, &[2], &[1])),
            ("visual.proj", tensor("0", "FloatStorage", 0, &[2, 3], &[3, 1])),
            (
                "visual.transformer.resblocks.0.attn.in_proj_weight",
                tensor("1", "HalfStorage", 0, &[3, 1], &[1, 1]),
            ),
            ("steps", tensor("1", "LongStorage", 0, &[1], &[1])),
            ("turned", tensor("0", "FloatStorage", 0, &[2, 3], &[1, 2])),
            ("beyond", tensor("1", "HalfStorage", 2, &[2], &[1])),
        ];
        let pairs: Vec<u8> =
            tensors.iter().flat_map(|(name, tensor)| [text(name), tensor.clone()].concat()).collect();
        let dict = [b"ccollections\nOrderedDict\n)R(", &pairs[..], b"u"].concat();
        let pickle =
            [b"\x80\x02}q\x00(", &text("epoch")[..], b"K\x03", &text("state_dict"), &dict, b"u."].concat();
        let floats = (0..6).flat_map(|x| (x as f32).to_le_bytes()).collect();
        let halves = [0.5, 1.5, 2.5].iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
        archive(&[
            ("hps/data.pkl", pickle),
            ("hps/byteorder", b"little".to_vec()),
            ("hps/data/0", floats),
            ("hps/data/1", halves),
        ])
    }

    #[test]
    fn a_state_dict_is_read_under_either_kind_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pt");
        std::fs::write(&path, checkpoint()).unwrap();
        let file = PytorchFile::open(&path).unwrap();
        assert_eq!(file.names().count(), 6);
        assert_eq!(file.tensor("state_dict.visual.class_embedding").unwrap(), (vec![1.0, 2.0], vec![2]));
        for (name, part) in
            [("steps", "LongStorage"), ("turned", "strides"), ("beyond", "beyond"), ("x", "no such")]
        {
            let error = file.tensor(&format!("state_dict.{name}")).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("a.pt"), "{error}");
        }
        let clip = OpenClip::new(&file, file.names()).unwrap();
        let turned = (vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0], vec![3, 2]);
        assert_eq!(clip.shape("visual_projection.weight"), Some(vec![3, 2]));
        assert_eq!(clip.tensor("visual_projection.weight").unwrap(), turned);
        for (part, value) in [("q", 0.5), ("k", 1.5), ("v", 2.5)] {
            let name = format!("vision_model.encoder.layers.0.self_attn.{part}_proj.weight");
            assert_eq!(clip.tensor(&name).unwrap(), (vec![value], vec![1, 1]));
        }
        assert!(OpenClip::new(&file, ["a.b"].into_iter()).is_err());
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pt");
        let whole = checkpoint();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            // An error here, or where a tensor is read; never a panic.
            if let Ok(file) = PytorchFile::open(&path) {
                file.names().for_each(|name| drop(file.tensor(name)));
            }
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xFF;
            std::fs::write(&path, bytes).unwrap();
            // Some bytes do not matter; none may panic.
            if let Ok(file) = PytorchFile::open(&path) {
                file.names().for_each(|name| drop(file.tensor(name)));
            }
        }
    }
}
