//! The index of a WebDataset shard, a tar file that may be packed with gzip.

use flate2::read::MultiGzDecoder;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use unigen_core::file_kind::{ENOUGH, recognise};

/// Endings of pictures in lower case. The content decides the format.
pub(super) const PICTURES: [&str; 9] = ["png", "jpg", "jpeg", "jfif", "webp", "bmp", "gif", "tif", "tiff"];
/// Names of parts that stand before an ending, as in `KEY.before.png`.
const PARTS: [&str; 3] = ["image", "before", "after"];

/// A shard with the list of its samples.
pub(super) struct Shard {
    pub path: PathBuf,
    file: Mutex<File>,
    pub samples: Vec<Entry>,
}

/// The files of a sample.
pub(super) struct Entry {
    pub key: String,
    pub files: Vec<Part>,
}

/// A file of a sample.
pub(super) struct Part {
    /// The part of the name after the key and a dot, in lower case.
    pub ending: String,
    offset: u64,
    length: u64,
}

impl Shard {
    /// Lists the samples of a shard without reading it whole. The files of a sample may lie anywhere in it. Files
    /// that systems and programs add are ignored: names that begin with a dot, and folders called `__MACOSX`.
    ///
    /// # Errors
    /// The error says what the file is if it is not a tar file, or names the system's error.
    pub fn open(path: &Path) -> Result<Self, String> {
        let unreadable = |e: io::Error| format!("cannot be read: {e}");
        if path.is_dir() {
            return Err("is a folder".into());
        }
        let mut file = File::open(path).map_err(unreadable)?;
        let mut start = Vec::new();
        (&mut file).take(ENOUGH as u64).read_to_end(&mut start).map_err(unreadable)?;
        if start.starts_with(&[0x1f, 0x8b]) {
            // Samples are read in any order, so a packed file is unpacked first.
            let mut unpacked = tempfile::tempfile().map_err(unreadable)?;
            file.rewind().map_err(unreadable)?;
            io::copy(&mut MultiGzDecoder::new(BufReader::new(&mut file)), &mut unpacked).map_err(|e| {
                format!("cannot be unpacked: {e}; check that the download is complete and the disk has room")
            })?;
            file = unpacked;
        }
        if start.is_empty() {
            return Err("is empty".into());
        }
        file.rewind().map_err(unreadable)?;
        let samples = list(&file).map_err(|e| match recognise(&start) {
            Some(kind) if kind.name != "a tar archive" && kind.name != "a gzip file" => {
                let fix = kind.fix.map(|fix| format!(" ({fix})")).unwrap_or_default();
                format!("is {}{fix}, not a tar file (WebDataset) or a .jsonl file", kind.name)
            }
            _ => format!("cannot be read: {e}; is it a complete tar file?"),
        })?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), samples })
    }

    /// The content of a file in the shard, of at most `most` bytes.
    ///
    /// # Errors
    /// If the file is larger, or if reading fails.
    pub fn read(&self, part: &Part, most: u64) -> Result<Vec<u8>, String> {
        if part.length > most {
            return Err(format!("the .{} file has {} bytes, more than {most}", part.ending, part.length));
        }
        let mut bytes = Vec::new();
        // A panic leaves nothing half done, because every read first seeks to its place.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file
            .seek(SeekFrom::Start(part.offset))
            .and_then(|_| (&*file).take(part.length).read_to_end(&mut bytes));
        read.map_err(|e| format!("the .{} file cannot be read: {e}", part.ending))?;
        Ok(bytes)
    }
}

fn list(file: &File) -> io::Result<Vec<Entry>> {
    let length = file.metadata()?.len();
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut found = Found::default();
    // The places of contents, by name in the archive; links refer to them.
    let mut places: HashMap<String, (u64, u64)> = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = normal(&String::from_utf8_lossy(&entry.path_bytes()));
        let kind = entry.header().entry_type();
        let place = if kind.is_file() {
            let place = (entry.raw_file_position(), entry.size());
            if place.0.saturating_add(place.1) > length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            place
        } else if kind.is_hard_link() || kind.is_symlink() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = String::from_utf8_lossy(&target).into_owned();
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = if kind.is_symlink() { format!("{folder}/{target}") } else { target };
            match places.get(&normal(&target)) {
                Some(place) => *place,
                None => continue,
            }
        } else {
            continue;
        };
        let foreign = |part: &str| part.starts_with('.') || part == "__MACOSX";
        if !name.split('/').any(foreign) {
            found.add(&name, place);
        }
        places.insert(name, place);
    }
    Ok(found.into_samples())
}

/// A name with forward slashes only, and without `.` and `..`.
fn normal(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Samples in the order of their first files.
#[derive(Default)]
struct Found {
    samples: Vec<Entry>,
    /// The latest sample of a key.
    by_key: HashMap<String, usize>,
}

impl Found {
    /// Adds a file to its sample. A second file with the same ending begins another sample with that key.
    fn add(&mut self, name: &str, (offset, length): (u64, u64)) {
        let (key, ending) = split(name);
        let part = Part { ending: ending.to_lowercase(), offset, length };
        match self.by_key.get(key).map(|&at| &mut self.samples[at]) {
            Some(sample) if sample.files.iter().all(|file| file.ending != part.ending) => {
                sample.files.push(part)
            }
            _ => {
                self.by_key.insert(key.to_owned(), self.samples.len());
                self.samples.push(Entry { key: key.to_owned(), files: vec![part] });
            }
        }
    }

    /// The list of samples. A single file whose key continues the key of another sample after a dot (`a.mask.png`
    /// beside `a.png` and `a.txt`) is an unnamed part of that sample.
    fn into_samples(mut self) -> Vec<Entry> {
        for at in 0..self.samples.len() {
            let Entry { key, files } = &self.samples[at];
            let folder = key.rfind('/').map_or(0, |slash| slash + 1);
            let mut dots = key[folder..].match_indices('.').map(|(dot, _)| folder + dot);
            let owner = dots.find_map(|dot| Some((*self.by_key.get(&key[..dot])?, dot)));
            if let (Some((owner, dot)), [part]) = (owner, &files[..]) {
                let ending = format!("{}.{}", &key[dot + 1..], part.ending);
                let part = Part { ending, ..*part };
                self.samples[at].files.clear();
                self.samples[owner].files.push(part);
            }
        }
        self.samples.retain(|sample| !sample.files.is_empty());
        self.samples
    }
}

/// The key of a file and its ending, which includes the name of a part before it. Keys may have dots.
fn split(name: &str) -> (&str, &str) {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let Some(dot) = name[file..].rfind('.').map(|dot| file + dot).filter(|&dot| dot > file) else {
        return (name, "");
    };
    let part = name[file..dot].rfind('.').map(|dot| file + dot);
    match part.filter(|&part| PARTS.contains(&name[part + 1..dot].to_lowercase().as_str())) {
        Some(part) => (&name[..part], &name[part + 1..]),
        None => (&name[..dot], &name[dot + 1..]),
    }
}
