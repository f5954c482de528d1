//! One front for all kinds of weight files.

use super::contents::{Contents, Listed};
use super::file_kind::{FileKind, HEAD};
use super::gguf::Gguf;
use super::mapped::{Mapped, map};
use super::{ElementType, StoredTensor, gguf, pytorch, safetensors};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// The most bytes of an index: one line a tensor.
const MAX_INDEX: u64 = 64 << 20;

/// Named tensors of a model. Opening reads headers; the data stay in the file, which is mapped into memory, until a tensor is
/// asked for.
///
/// | Kind | Files |
/// |---|---|
/// | safetensors | `.safetensors`, one or shards with an index |
/// | PyTorch archives | `.bin`, `.pt`, `.pth` of PyTorch 1.6 and later, one or shards with an index; nothing in them is run |
/// | GGUF, versions 2 and 3 | `.gguf`, one |
pub struct Checkpoint {
    place: String,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
    metadata: HashMap<String, String>,
    gguf: Option<Gguf>,
}

/// One file.
struct Shard {
    place: String,
    bytes: Bytes,
    /// Where `bytes` are, unless they are in memory.
    mapped: Option<Mapped>,
}

struct Entry {
    shard: usize,
    element_type: ElementType,
    shape: Vec<usize>,
    data: Result<Range<usize>>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} tensors", self.place, self.tensors.len())
    }
}

impl Checkpoint {
    /// Names of a model's weights in a folder, the first that is there counts; each may be one file or shards with an index,
    /// whose name has [`INDEX`](Self::INDEX) appended.
    pub const NAMES: [&str; 4] = [
        "model.safetensors",
        "pytorch_model.safetensors",
        "diffusion_pytorch_model.safetensors",
        "pytorch_model.bin",
    ];
    /// What the index of shards appends to the name.
    pub const INDEX: &str = ".index.json";

    /// Opens a file of weights, an index of shards, or a folder with either, as Hugging Face lays it out.
    ///
    /// The file must not be changed in place while it is open. Files of this project are replaced as a whole, which is fine.
    ///
    /// # Errors
    /// Name the file: missing, truncated, with a bad header, a missing shard, or something else than weights, with what it is.
    pub fn open(path: &Path) -> Result<Self> {
        let mut checkpoint = Self::empty(path.display().to_string());
        let path = if path.is_dir() { in_folder(path)? } else { path.to_owned() };
        if path.as_os_str().to_string_lossy().ends_with(Self::INDEX) {
            checkpoint.add_indexed(&path)?;
        } else {
            let (bytes, mapped) = map(&path)?;
            checkpoint.add(path.display().to_string(), bytes, mapped)?;
        }
        Ok(checkpoint)
    }

    /// A whole file of weights in memory, as a browser has it; errors call it `name`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(name: &str, bytes: impl Into<Bytes>) -> Result<Self> {
        let mut checkpoint = Self::empty(name.to_owned());
        checkpoint.add(name.to_owned(), bytes.into(), None)?;
        Ok(checkpoint)
    }

    fn empty(place: String) -> Self {
        let (shards, tensors, metadata) = (vec![], BTreeMap::new(), HashMap::new());
        Self { place, shards, tensors, metadata, gguf: None }
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

    /// Type of the tensor `name`, where there is one.
    pub fn element_type(&self, name: &str) -> Option<&ElementType> {
        self.tensors.get(name).map(|entry| &entry.element_type)
    }

    /// The `__metadata__` of all safetensors shards.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// What a GGUF file says beside its tensors; nothing for other files.
    pub fn gguf(&self) -> Option<&Gguf> {
        self.gguf.as_ref()
    }

    /// The file that holds the tensor `name`, where the weights are in shards.
    pub fn shard(&self, name: &str) -> Option<&str> {
        let entry = self.tensors.get(name).filter(|_| self.shards.len() > 1)?;
        Some(&self.shards[entry.shard].place)
    }

    /// The tensor `name` as it lies in the file, unread.
    ///
    /// # Errors
    /// Name the tensor: missing, or out of reach in a PyTorch archive (strides, a storage that is absent or too short).
    pub fn stored(&self, name: &str) -> Result<StoredTensor> {
        let entry = self.tensors.get(name).ok_or_else(|| {
            Error::new(ErrorKind::Weights, format!("{}: {name}", self.place), "no such tensor")
        })?;
        let shard = &self.shards[entry.shard];
        Ok(StoredTensor {
            place: format!("{}: {name}", shard.place),
            element_type: entry.element_type.clone(),
            shape: entry.shape.clone(),
            bytes: shard.bytes.slice(entry.data.clone()?),
            mapped: shard.mapped.clone(),
        })
    }

    /// Values, row-major, and shape of a floating-point or quantised tensor.
    ///
    /// # Errors
    /// Those of [`stored`](Self::stored) and [`StoredTensor::values`].
    pub fn tensor(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let tensor = self.stored(name)?;
        Ok((tensor.values()?, tensor.shape))
    }

    /// Values, row-major, and shape of an integer tensor (I64, I32, U8 or BOOL).
    ///
    /// # Errors
    /// Those of [`stored`](Self::stored) and [`StoredTensor::ints`].
    pub fn ints(&self, name: &str) -> Result<(Vec<i64>, Vec<usize>)> {
        let tensor = self.stored(name)?;
        Ok((tensor.ints()?, tensor.shape))
    }

    /// Reads a file's header and takes its tensors.
    fn add(&mut self, place: String, bytes: Bytes, mapped: Option<Mapped>) -> Result<()> {
        let (contents, gguf) = contents(&place, &bytes)?;
        let shard = self.shards.len();
        for Listed { name, element_type, shape, data } in contents.tensors {
            let entry = Entry { shard, element_type, shape, data };
            if let Some(other) = self.tensors.insert(name.clone(), entry) {
                let other = self.shards.get(other.shard).map_or(&place, |shard| &shard.place);
                let what = format!("{name} is also in {other}");
                return Err(Error::new(ErrorKind::Weights, &place, what).fix("keep it in one shard"));
            }
        }
        self.metadata.extend(contents.metadata);
        self.gguf = gguf;
        self.shards.push(Shard { place, bytes, mapped });
        Ok(())
    }

    /// All shards of the index at `path`, which must hold what it says.
    fn add_indexed(&mut self, path: &Path) -> Result<()> {
        let error = |what: String| Error::new(ErrorKind::Weights, path.display(), what);
        let unreadable = |e| {
            Error::new(ErrorKind::Io, path.display(), format!("cannot read it: {e}"))
                .fix("check the path and its permissions")
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_INDEX {
            return Err(error(format!("not an index of shards: it has {size} bytes")));
        }
        let text = std::fs::read(path).map_err(unreadable)?;
        let index: Index = serde_json::from_slice(&text).map_err(|e| match kind(&text) {
            FileKind::Other { what, fix } if !what.starts_with("JSON") => {
                error(format!("not an index of shards, but {what}")).fix(fix)
            }
            _ => error(format!("not an index of shards: {e}")).fix("download it again"),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
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
            let (bytes, mapped) = map(&shard)?;
            self.add(shard.display().to_string(), bytes, mapped)?;
        }
        for (name, file) in &index.weight_map {
            // The index has the names of the files' own headers.
            let ours = safetensors::unsuffixed(name).unwrap_or(name);
            let entry = self.tensors.get(ours).or_else(|| self.tensors.get(name));
            let lacks = match entry.map(|entry| self.shards[entry.shard].place.as_str()) {
                Some(found) if Path::new(found).file_name() == Some(file.as_ref()) => continue,
                Some(found) => format!("{name} should be in {file}, but is in {found}"),
                None => format!("{name} should be in {file}, which lacks it"),
            };
            return Err(error(lacks).fix("the shard may belong to another model: download the folder again"));
        }
        Ok(())
    }
}

/// The kind of the file with these bytes.
fn kind(bytes: &[u8]) -> FileKind {
    FileKind::of(&bytes[..bytes.len().min(HEAD)])
}

/// What the file with these bytes lists; its name must say what it is, or nothing.
fn contents(place: &str, bytes: &Bytes) -> Result<(Contents, Option<Gguf>)> {
    let extension = Path::new(place).extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
    let wanted = match extension.as_deref() {
        Some("safetensors") => Some((FileKind::Safetensors, "safetensors file")),
        Some("gguf") => Some((FileKind::Gguf, "GGUF file")),
        Some("bin" | "pt" | "pth" | "ckpt") => Some((FileKind::Zip, "PyTorch archive")),
        _ => None,
    };
    let found = kind(bytes);
    let broken = |found: Option<&str>, fix: &str| {
        let wanted = wanted.as_ref().map_or("file of weights", |(_, name)| name);
        let what = match found {
            Some(found) => format!("not a {wanted}, but {found}"),
            None => format!("not a {wanted}: its first bytes are unknown"),
        };
        Err(Error::new(ErrorKind::Weights, place, what).fix(fix))
    };
    let (name, ending) = match &found {
        FileKind::Other { what, fix } => return broken(Some(what), fix),
        FileKind::Unknown => return broken(None, "download or save the file again"),
        FileKind::Zip => ("a zip archive, as torch.save writes it", "pt"),
        FileKind::Gguf => ("a GGUF file", "gguf"),
        FileKind::Safetensors => ("a safetensors file", "safetensors"),
    };
    if wanted.as_ref().is_some_and(|(wanted, _)| *wanted != found) {
        return broken(Some(name), &format!("rename it to .{ending}, or download the right file"));
    }
    match found {
        FileKind::Zip => Ok((pytorch::contents(place, bytes)?, None)),
        FileKind::Gguf => gguf::contents(place, bytes).map(|(contents, gguf)| (contents, Some(gguf))),
        _ => Ok((safetensors::contents(place, bytes)?, None)),
    }
}

/// The weights in a folder: those under a usual name, else the only ones.
fn in_folder(folder: &Path) -> Result<PathBuf> {
    const INDEX: &str = Checkpoint::INDEX;
    for name in Checkpoint::NAMES {
        for name in [name.to_owned(), format!("{name}{INDEX}")] {
            let path = folder.join(name);
            // A link that leads nowhere is found, too: opening it says what is wrong.
            if path.symlink_metadata().is_ok() {
                return Ok(path);
            }
        }
    }
    let error = |what: String| Error::new(ErrorKind::Weights, folder.display(), what);
    let entries = std::fs::read_dir(folder).map_err(|e| {
        Error::new(ErrorKind::Io, folder.display(), format!("cannot read the folder: {e}"))
            .fix("check its permissions")
    })?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let known = ["safetensors", "gguf", "bin", "pt", "pth"];
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            !hidden && path.extension().is_some_and(|end| known.iter().any(|known| end == *known))
        })
        .collect();
    found.sort();
    match found.as_slice() {
        [] => Err(error("a folder without weights".into())
            .fix(format!("put {0}, or {0}{INDEX} with its shards, there", Checkpoint::NAMES[0]))),
        [path] => Ok(path.clone()),
        [first, ..] if first.to_string_lossy().contains("-of-") => {
            Err(error(format!("{} shards without the index that belongs to them", found.len()))
                .fix(format!("put {}{INDEX} there", Checkpoint::NAMES[0])))
        }
        _ => {
            let names: Vec<_> =
                found.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
            Err(error(format!("several files of weights: {}", names.join(", "))).fix("name one of them"))
        }
    }
}
