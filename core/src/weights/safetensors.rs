//! Reading safetensors: one file, a sharded folder, or bytes in memory.

use crate::error::{Error, ErrorKind, Result};
use ::safetensors::Dtype;
use ::safetensors::tensor::Metadata;
use half::{bf16, f16};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The format's own bound on the header, in bytes.
const MAX_HEADER: u64 = 100_000_000;
/// The name of an unsharded file in a folder.
const SINGLE: &str = "model.safetensors";
/// The name of the index of a sharded folder.
const INDEX: &str = "model.safetensors.index.json";

/// Named tensors of a model: headers are read on opening, data on demand.
#[derive(Debug)]
pub struct Checkpoint {
    place: String,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
    metadata: HashMap<String, String>,
}

#[derive(Debug)]
enum Shard {
    File(PathBuf),
    Bytes { place: String, bytes: Vec<u8> },
}

#[derive(Debug)]
struct Entry {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// First byte, from the start of the shard.
    start: u64,
    /// Bytes.
    len: usize,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a .safetensors file, or a folder with `model.safetensors` or `model.safetensors.index.json`.
    ///
    /// Errors name the file: missing, truncated, not safetensors, a bad header, a missing shard.
    pub fn open(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let mut checkpoint =
            Self { place, shards: vec![], tensors: BTreeMap::new(), metadata: HashMap::new() };
        let (single, index) = (path.join(SINGLE), path.join(INDEX));
        if !path.is_dir() {
            checkpoint.add(Shard::File(path.to_owned()))?;
        } else if single.is_file() {
            checkpoint.add(Shard::File(single))?;
        } else if index.is_file() {
            checkpoint.add_indexed(path, &index)?;
        } else {
            return Err(Error::new(ErrorKind::Weights, path.display(), "a folder without weights")
                .fix(format!("put {SINGLE}, or {INDEX} with its shards, there")));
        }
        Ok(checkpoint)
    }

    /// A whole .safetensors file in memory, as a browser has it; errors call it `name`.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        let place = name.to_owned();
        let mut checkpoint =
            Self { place: place.clone(), shards: vec![], tensors: BTreeMap::new(), metadata: HashMap::new() };
        checkpoint.add(Shard::Bytes { place, bytes })?;
        Ok(checkpoint)
    }

    /// Where it came from, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// All tensors' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether it has the tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Shape of the tensor `name`, where there is one.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Whether the tensor `name` is stored in `f16`.
    pub fn halves(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|entry| entry.dtype == Dtype::F16)
    }

    /// The `__metadata__` of all shards.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// Values, row-major, and shape of a floating-point tensor (F32, F16 or BF16).
    ///
    /// Errors name the tensor: missing, another type, truncated since opening, NaN or infinity (with its index).
    pub fn tensor(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let (entry, bytes) = self.bytes(name)?;
        let values: Vec<f32> = match entry.dtype {
            Dtype::F32 => words(&bytes, f32::from_le_bytes),
            Dtype::F16 => words(&bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => words(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            other => return Err(self.unsupported(name, other, "F32, F16 or BF16")),
        };
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            return Err(self
                .error(name, format!("{} at {:?}, flat index {i}", values[i], unravel(i, &entry.shape)))
                .fix("the weights are broken: take an earlier checkpoint, or download them again"));
        }
        Ok((values, entry.shape.clone()))
    }

    /// Values, row-major, and shape of an integer tensor (I64, I32, U8 or BOOL).
    ///
    /// Errors name the tensor: missing, another type, truncated since opening.
    pub fn ints(&self, name: &str) -> Result<(Vec<i64>, Vec<usize>)> {
        let (entry, bytes) = self.bytes(name)?;
        let values = match entry.dtype {
            Dtype::I64 => words(&bytes, i64::from_le_bytes),
            Dtype::I32 => words(&bytes, |b| i32::from_le_bytes(b).into()),
            Dtype::U8 | Dtype::BOOL => bytes.iter().map(|&b| b.into()).collect(),
            other => return Err(self.unsupported(name, other, "I64, I32, U8 or BOOL")),
        };
        Ok((values, entry.shape.clone()))
    }

    /// An error about the tensor `name`.
    fn error(&self, name: &str, what: impl std::fmt::Display) -> Error {
        let file = self.tensors.get(name).map(|entry| self.shards[entry.shard].place());
        let file = file.unwrap_or_else(|| self.place.clone());
        Error::new(ErrorKind::Weights, format!("{file}: {name}"), what)
    }

    fn unsupported(&self, name: &str, dtype: Dtype, wanted: &str) -> Error {
        self.error(name, format!("has type {dtype:?}")).fix(format!("convert it to {wanted}"))
    }

    fn bytes(&self, name: &str) -> Result<(&Entry, Vec<u8>)> {
        let entry = self.tensors.get(name).ok_or_else(|| self.error(name, "no such tensor"))?;
        let mut bytes = vec![0; entry.len];
        let read = self.shards[entry.shard].read(entry.start, &mut bytes);
        read.map_err(|e| self.error(name, format!("cannot read {} bytes: {e}", entry.len)))?;
        Ok((entry, bytes))
    }

    /// Reads a shard's header and takes its tensors.
    fn add(&mut self, shard: Shard) -> Result<()> {
        let place = shard.place();
        let error = |what: String| Error::new(ErrorKind::Weights, &place, what);
        let broken = |what: String| error(what).fix("download or save the file again");
        let read = |start, bytes: &mut [u8]| {
            shard.read(start, bytes).map_err(|e| broken(format!("cannot read the header: {e}")))
        };
        let size = shard.len().map_err(|e| {
            Error::new(ErrorKind::Io, &place, format!("cannot open the weights: {e}"))
                .fix("check the path and its permissions")
        })?;
        if size < 8 {
            return Err(broken(format!("not a safetensors file: {size} bytes")));
        }
        let mut word = [0; 8];
        read(0, &mut word)?;
        let header = u64::from_le_bytes(word);
        if header > MAX_HEADER {
            return Err(broken(format!("not a safetensors file: it claims a header of {header} bytes")));
        }
        let data = 8 + header;
        if data > size {
            return Err(broken(format!("truncated: the header ends at byte {data} of {size}")));
        }
        let mut json = vec![0; header as usize];
        read(8, &mut json)?;
        let parsed: Metadata =
            serde_json::from_slice(&json).map_err(|e| broken(format!("bad safetensors header: {e}")))?;
        let wanted = data + parsed.data_len() as u64;
        if wanted != size {
            let what = if wanted > size { "truncated" } else { "too long" };
            return Err(broken(format!("{what}: {size} bytes, the header says {wanted}")));
        }
        let shard_index = self.shards.len();
        for (name, info) in parsed.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                shard: shard_index,
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: data + start as u64,
                len: end - start,
            };
            if let Some(other) = self.tensors.insert(name.clone(), entry) {
                let other = self.shards[other.shard].place();
                return Err(error(format!("{name} is also in {other}")).fix("keep it in one shard"));
            }
        }
        self.metadata.extend(parsed.metadata().clone().unwrap_or_default());
        self.shards.push(shard);
        Ok(())
    }

    /// All shards of the index at `path`, which must hold what it says.
    fn add_indexed(&mut self, folder: &Path, path: &Path) -> Result<()> {
        let error = |what: String| Error::new(ErrorKind::Weights, path.display(), what);
        let text = std::fs::read(path)
            .map_err(|e| Error::new(ErrorKind::Io, path.display(), format!("cannot read it: {e}")))?;
        let index: Index =
            serde_json::from_slice(&text).map_err(|e| error(format!("not an index of shards: {e}")))?;
        let mut files: Vec<&String> = index.weight_map.values().collect();
        files.sort();
        files.dedup();
        for file in files {
            let mut parts = Path::new(file).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                return Err(error(format!("shard {file:?} is not a plain file name")));
            }
            let shard = folder.join(file);
            if !shard.is_file() {
                return Err(Error::new(ErrorKind::Weights, shard.display(), "this shard is missing")
                    .fix("download the folder again"));
            }
            self.add(Shard::File(shard))?;
        }
        match index.weight_map.iter().find(|(name, _)| !self.contains(name)) {
            Some((name, file)) => {
                Err(error(format!("{name} should be in {file}, which lacks it"))
                    .fix("download the folder again"))
            }
            None => Ok(()),
        }
    }
}

impl Shard {
    fn place(&self) -> String {
        match self {
            Shard::File(path) => path.display().to_string(),
            Shard::Bytes { place, .. } => place.clone(),
        }
    }

    fn len(&self) -> io::Result<u64> {
        match self {
            Shard::File(path) => Ok(std::fs::metadata(path)?.len()),
            Shard::Bytes { bytes, .. } => Ok(bytes.len() as u64),
        }
    }

    /// Fills `out` from the byte at `start` on.
    fn read(&self, start: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Shard::File(path) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(out)
            }
            Shard::Bytes { bytes, .. } => {
                let start = usize::try_from(start).ok();
                let from = start.and_then(|start| bytes.get(start..start.checked_add(out.len())?));
                out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// Little-endian words of `N` bytes each.
fn words<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&word| from(word)).collect()
}

/// The index along each axis of the flat, row-major index `i`.
fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let along = i % size;
            i /= size;
            along
        })
        .collect();
    at.reverse();
    at
}
