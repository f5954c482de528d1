//! Weight files, made byte by byte.

use std::path::PathBuf;

/// A folder for one test, and a file in it.
pub fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("writes");
    (folder, path)
}

/// A safetensors file: its header and its data.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// What `torch.save` pickles.
pub mod pickle {
    pub fn text(text: &str) -> Vec<u8> {
        [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    fn tuple(sizes: &[u8]) -> Vec<u8> {
        let sizes = sizes.iter().flat_map(|&size| [b'K', size]);
        [b'('].into_iter().chain(sizes).chain([b't']).collect()
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, stride, False, OrderedDict())`.
    pub fn tensor(key: &str, kind: &str, offset: u8, shape: &[u8], stride: &[u8]) -> Vec<u8> {
        let kind = format!("ctorch\n{kind}\n");
        let storage =
            [b"(", &text("storage")[..], kind.as_bytes(), &text(key), &text("cpu"), b"K\x20tQ"].concat();
        let rest = b"\x89ccollections\nOrderedDict\n)RtR";
        let call = b"ctorch._utils\n_rebuild_tensor_v2\n(".as_slice();
        [call, &storage, &[b'K', offset], &tuple(shape), &tuple(stride), rest].concat()
    }

    /// An `OrderedDict` with these items.
    pub fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let items: Vec<u8> =
            items.iter().flat_map(|(name, item)| [text(name), item.clone()].concat()).collect();
        [b"ccollections\nOrderedDict\n)R(", &items[..], b"u"].concat()
    }

    /// A whole pickle with this object.
    pub fn whole(object: &[u8]) -> Vec<u8> {
        [b"\x80\x02", object, b"."].concat()
    }
}

/// A zip archive of stored entries.
pub fn archive(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    zip(entries, 0)
}

/// A zip archive that claims that its entries are packed by `method`.
pub fn zip(entries: &[(&str, Vec<u8>)], method: u8) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let (size, length) = ((data.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        let at = (bytes.len() as u32).to_le_bytes();
        let fields = [&[0; 4][..], &[method], &[0; 9], &size, &size, &length, &[0; 2]].concat();
        bytes.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), data].concat());
        let fields = [&[0; 6][..], &[method], &[0; 9], &size, &size, &length, &[0; 12], &at].concat();
        directory.extend([b"PK\x01\x02", &fields[..], name.as_bytes()].concat());
    }
    let (size, start) = ((directory.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    bytes.extend([&directory[..], b"PK\x05\x06", &[0; 8], &size, &start, &[0; 2]].concat());
    bytes
}

/// A GGUF file, field by field.
pub struct Gguf {
    pub version: u32,
    /// Key, number of the type, and the value's bytes.
    pub pairs: Vec<(&'static str, u32, Vec<u8>)>,
    /// Name, dimensions with the fastest first, number of the type, and data.
    pub tensors: Vec<(&'static str, Vec<u64>, u32, Vec<u8>)>,
}

pub fn gguf_text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// An array of texts.
pub fn gguf_texts(texts: &[&str]) -> Vec<u8> {
    let items: Vec<u8> = texts.iter().flat_map(|text| gguf_text(text)).collect();
    [&8_u32.to_le_bytes()[..], &(texts.len() as u64).to_le_bytes(), &items].concat()
}

impl Gguf {
    pub fn bytes(&self) -> Vec<u8> {
        let counts = [self.tensors.len() as u64, self.pairs.len() as u64].map(u64::to_le_bytes).concat();
        let mut bytes = [b"GGUF", &self.version.to_le_bytes()[..], &counts].concat();
        for (key, kind, value) in &self.pairs {
            bytes.extend([gguf_text(key), kind.to_le_bytes().to_vec(), value.clone()].concat());
        }
        let mut offset = 0_u64;
        for (name, dimensions, kind, data) in &self.tensors {
            let sizes: Vec<u8> = dimensions.iter().flat_map(|size| size.to_le_bytes()).collect();
            let count = (dimensions.len() as u32).to_le_bytes();
            bytes.extend(gguf_text(name));
            bytes.extend([&count[..], &sizes, &kind.to_le_bytes(), &offset.to_le_bytes()].concat());
            offset = (offset + data.len() as u64).next_multiple_of(32);
        }
        for (.., data) in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(32), 0);
            bytes.extend(data);
        }
        bytes
    }

    /// A tensor `a` of `[2, 3]` in `F32`, 0 to 5.
    pub fn small() -> Self {
        let values = super::files::floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let architecture = ("general.architecture", 8, gguf_text("llama"));
        Self { version: 3, pairs: vec![architecture], tensors: vec![("a", vec![3, 2], 0, values)] }
    }
}
