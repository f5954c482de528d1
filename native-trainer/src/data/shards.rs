//! WebDataset shards: tar files in which the files of a sample share a name up to its first dot (`000012.png`,
//! `000012.txt`, `000012.json`). Any such shards with a picture and a text per sample can be read; the sticker world's are
//! written here.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Cursor, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use image::{ImageFormat, RgbImage};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use unigen_core::picture::Picture;

use super::MAX_SIDE;
use super::record::Record;
use super::stickers::{Renderer, Scene, Split, contact_sheet, description, example_at};

/// Samples a shard of the sticker world.
const STICKERS_PER_SHARD: usize = 4096;
/// Samples drawn and packed at a time.
const BATCH: u64 = 256;
/// The sheet of first samples: columns, pictures, and the pixels a side of each.
const PREVIEW: (u32, u64, u32) = (8, 48, 160);

/// Extensions of pictures.
pub(super) const PICTURES: [&str; 5] = ["png", "jpg", "jpeg", "webp", "bmp"];

/// Why a sample or a shard cannot be used.
#[derive(Debug, Error)]
pub enum ShardError {
    #[error("shard {shard}: cannot be read: {cause}; is it a whole tar file?")]
    Shard { shard: PathBuf, cause: io::Error },
    #[error("shard {shard}, sample \"{key}\": has no .{missing} file")]
    Missing { shard: PathBuf, key: String, missing: &'static str },
    #[error("shard {shard}, sample \"{key}\": the picture cannot be decoded: {cause}")]
    Picture { shard: PathBuf, key: String, cause: Box<unigen_core::Error> },
    #[error("shard {shard}, sample \"{key}\": the .{part} file is broken: {what}")]
    Text { shard: PathBuf, key: String, part: &'static str, what: String },
    #[error("{shard}, {key}: {what}")]
    Sample { shard: PathBuf, key: String, what: String },
}

/// A picture with its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub key: String,
    pub image: RgbImage,
    pub caption: String,
    /// What the sample's .json says, if it has one.
    pub json: Option<serde_json::Value>,
}

/// Writes samples into `DIR/PREFIX-000000.tar` and on. A shard has its name only when it is whole.
pub struct ShardWriter {
    dir: PathBuf,
    prefix: String,
    per_shard: usize,
    shard: usize,
    written: usize,
    tar: Option<tar::Builder<BufWriter<File>>>,
}

impl ShardWriter {
    /// Starts in a folder, which is made if need be, with at most `per_shard` samples a shard.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn create(dir: &Path, prefix: &str, per_shard: usize) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (dir, prefix) = (dir.to_owned(), prefix.to_owned());
        Ok(ShardWriter { dir, prefix, per_shard: per_shard.max(1), shard: 0, written: 0, tar: None })
    }

    /// Adds a sample: an encoded PNG, its caption and whatever else is known of it.
    ///
    /// # Errors
    /// If the disk does not take it; the shards before stay whole.
    pub fn write(&mut self, key: &str, png: &[u8], caption: &str, json: &impl Serialize) -> io::Result<()> {
        let json = serde_json::to_vec(json)?;
        let tar = match &mut self.tar {
            Some(tar) => tar,
            none => none.insert(tar::Builder::new(BufWriter::new(File::create(part(
                &self.dir,
                &self.prefix,
                self.shard,
            ))?))),
        };
        for (extension, bytes) in [("png", png), ("txt", caption.as_bytes()), ("json", &json)] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{key}.{extension}"), bytes)?;
        }
        self.written += 1;
        if self.written == self.per_shard { self.close_shard() } else { Ok(()) }
    }

    /// Closes the last shard.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn finish(mut self) -> io::Result<()> {
        self.close_shard()
    }

    fn close_shard(&mut self) -> io::Result<()> {
        if let Some(tar) = self.tar.take() {
            let mut file = tar.into_inner()?;
            file.flush()?;
            file.get_ref().sync_all()?;
            fs::rename(
                part(&self.dir, &self.prefix, self.shard),
                whole(&self.dir, &self.prefix, self.shard),
            )?;
            self.shard += 1;
            self.written = 0;
        }
        Ok(())
    }
}

impl Drop for ShardWriter {
    /// An unfinished shard is taken away.
    fn drop(&mut self) {
        if self.tar.take().is_some() {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(part(&self.dir, &self.prefix, self.shard));
        }
    }
}

fn whole(dir: &Path, prefix: &str, shard: usize) -> PathBuf {
    dir.join(format!("{prefix}-{shard:06}.tar"))
}

fn part(dir: &Path, prefix: &str, shard: usize) -> PathBuf {
    dir.join(format!("{prefix}-{shard:06}.tar.part"))
}

struct OpenShard {
    path: PathBuf,
    file: BufReader<File>,
    samples: Vec<Entry>,
}

/// The files of a sample: extension, offset and length.
struct Entry {
    key: String,
    files: Vec<(String, u64, u64)>,
}

/// The samples of shards and of jsonl files by number.
pub struct ShardIndex {
    files: Vec<Samples>,
    /// Of each sample its file and its number there, from 0.
    samples: Vec<(usize, usize)>,
    /// Samples that could not be used.
    bad: Mutex<BTreeSet<usize>>,
}

enum Samples {
    Shard(Mutex<OpenShard>),
    Lines {
        path: PathBuf,
        /// The lines that are not empty, with their numbers from 1.
        lines: Vec<(usize, String)>,
    },
}

/// Samples in a row that may be unusable before an index counts as broken.
const PATIENCE: u64 = 100;
/// Samples that may be unusable in all: so many, or one in a hundred where that is more.
const BAD: usize = 100;

impl ShardIndex {
    /// Lists what is in these files (those called `.jsonl` and others, which are shards), in this order, without reading it
    /// all.
    ///
    /// # Errors
    /// Where one cannot be read to its end.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ShardError> {
        let mut index = ShardIndex { files: Vec::new(), samples: Vec::new(), bad: Mutex::default() };
        for path in paths {
            let file =
                Samples::open(path).map_err(|cause| ShardError::Shard { shard: path.clone(), cause })?;
            let number = index.files.len();
            index.samples.extend((0..file.len()).map(|sample| (number, sample)));
            index.files.push(file);
        }
        Ok(index)
    }

    /// The files' paths and sizes.
    pub fn name(&self) -> String {
        let name = |file: &Samples| {
            let path = match file {
                Samples::Shard(shard) => unlocked(shard).path.clone(),
                Samples::Lines { path, .. } => path.clone(),
            };
            format!("{} ({})", path.display(), file.len())
        };
        self.files.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The captioned picture of sample number `index`.
    ///
    /// # Errors
    /// Where it cannot be used.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn read(&self, index: usize) -> Result<Sample, ShardError> {
        let (file, inside) = self.samples[index];
        match &self.files[file] {
            Samples::Shard(shard) => {
                let OpenShard { path, file, samples } = &mut *unlocked(shard);
                read_sample(file, path, &samples[inside])
            }
            Samples::Lines { .. } => {
                let record = self.record(index)?;
                let (image, caption) = (record.picture("image")?, record.text("caption")?);
                Ok(Sample { key: record.key, image, caption, json: None })
            }
        }
    }

    /// Sample number `index` by the names of its parts.
    ///
    /// # Errors
    /// Where it cannot be read.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn record(&self, index: usize) -> Result<Record, ShardError> {
        let (file, inside) = self.samples[index];
        match &self.files[file] {
            Samples::Shard(shard) => {
                let OpenShard { path, file, samples } = &mut *unlocked(shard);
                let entry = &samples[inside];
                let files = entry.files.iter().map(|(extension, offset, length)| {
                    let bytes = contents(file, path, *offset, *length)?;
                    Ok((extension.clone(), bytes))
                });
                let files = files.collect::<Result<Vec<_>, ShardError>>()?;
                let json = files.iter().find(|(extension, _)| extension == "json").map(|(_, bytes)| bytes);
                let json = match json {
                    None => Value::Null,
                    Some(bytes) => serde_json::from_slice(bytes).map_err(|error| ShardError::Text {
                        shard: path.clone(),
                        key: entry.key.clone(),
                        part: "json",
                        what: error.to_string(),
                    })?,
                };
                Ok(Record { file: path.clone(), key: format!("sample {:?}", entry.key), files, json })
            }
            Samples::Lines { path, lines } => {
                let (number, line) = &lines[inside];
                let (file, key) = (path.clone(), format!("line {number}"));
                match serde_json::from_str(line) {
                    Ok(json) => Ok(Record { file, key, files: vec![], json }),
                    Err(error) => {
                        Err(ShardError::Sample { shard: file, key, what: format!("is not JSON: {error}") })
                    }
                }
            }
        }
    }

    /// What `read` makes of sample number `index` (beyond the last it begins anew), or of the next that can be used; one
    /// that cannot is reported.
    ///
    /// # Errors
    /// Where many samples in a row, or many in all, cannot be used: the reason for one of them.
    pub fn usable<T>(&self, index: u64, read: impl Fn(usize) -> Result<T, ShardError>) -> anyhow::Result<T> {
        let mut first = None;
        for index in index..index.saturating_add(PATIENCE) {
            let index = (index % self.len() as u64) as usize;
            match read(index) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.report(index, &error)?;
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.context("no sample")?).context(format!("{PATIENCE} samples in a row cannot be used"))
    }

    fn report(&self, index: usize, error: &ShardError) -> anyhow::Result<()> {
        let mut bad = unlocked(&self.bad);
        if bad.insert(index) {
            eprintln!("passed over: {error}");
        }
        let limit = BAD.max(self.len() / 100);
        anyhow::ensure!(
            bad.len() <= limit,
            "more than {limit} samples cannot be used; the last of them: {error}"
        );
        Ok(())
    }
}

impl Samples {
    fn open(path: &Path) -> io::Result<Self> {
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let text = fs::read_to_string(path)?;
            let lines = (1..).zip(text.trim_start_matches('\u{feff}').lines().map(str::to_owned));
            let lines = lines.filter(|(_, line)| !line.trim().is_empty()).collect();
            return Ok(Self::Lines { path: path.to_owned(), lines });
        }
        Ok(Self::Shard(Mutex::new(OpenShard::open(path)?)))
    }

    fn len(&self) -> usize {
        match self {
            Self::Shard(shard) => unlocked(shard).samples.len(),
            Self::Lines { lines, .. } => lines.len(),
        }
    }
}

/// What a lock guards, though another thread may have panicked with it.
fn unlocked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenShard {
    /// Lists what is in a shard without reading it all.
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut samples: Vec<Entry> = Vec::new();
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            if entry.raw_file_position().saturating_add(entry.size()) > length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (folder, file) =
                name.rsplit_once('/').map_or(("", &name[..]), |(folder, file)| (folder, file));
            let (stem, extension) = file.split_once('.').unwrap_or((file, ""));
            let key = if folder.is_empty() { stem.to_owned() } else { format!("{folder}/{stem}") };
            let file = (extension.to_ascii_lowercase(), entry.raw_file_position(), entry.size());
            match samples.last_mut() {
                Some(sample) if sample.key == key => sample.files.push(file),
                _ => samples.push(Entry { key, files: vec![file] }),
            }
        }
        Ok(OpenShard { path: path.to_owned(), file: archive.into_inner(), samples })
    }
}

fn contents(
    file: &mut BufReader<File>,
    shard: &Path,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, ShardError> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.take(length).read_to_end(&mut bytes))
        .map_err(|cause| ShardError::Shard { shard: shard.to_owned(), cause })?;
    Ok(bytes)
}

fn read_sample(file: &mut BufReader<File>, shard: &Path, entry: &Entry) -> Result<Sample, ShardError> {
    let key = || entry.key.clone();
    let mut read = |extensions: &[&str]| {
        let found = entry.files.iter().find(|(extension, ..)| extensions.contains(&extension.as_str()));
        let Some(&(_, offset, length)) = found else { return Ok(None) };
        contents(file, shard, offset, length).map(Some)
    };
    let missing = |missing| ShardError::Missing { shard: shard.to_owned(), key: key(), missing };
    let broken = |part, what: String| ShardError::Text { shard: shard.to_owned(), key: key(), part, what };

    let picture = read(&PICTURES)?.ok_or_else(|| missing("png"))?;
    let caption = read(&["txt"])?.ok_or_else(|| missing("txt"))?;
    let json = read(&["json"])?;
    let image = Picture::decode(&picture).map_err(|cause| ShardError::Picture {
        shard: shard.to_owned(),
        key: key(),
        cause: Box::new(cause),
    })?;
    let caption =
        String::from_utf8(caption).map_err(|error| broken("txt", error.to_string()))?.trim().to_owned();
    let json = json
        .map(|bytes| serde_json::from_slice(&bytes).map_err(|error| broken("json", error.to_string())))
        .transpose()?;
    Ok(Sample { key: key(), image, caption, json })
}

/// What the .json of a sticker sample says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StickerRecord {
    pub seed: u64,
    pub index: u64,
    pub scene: Scene,
    /// `[left, top, right, bottom]` of each object, 0 to 1, y down.
    pub boxes: Vec<[f32; 4]>,
    /// The full canonical description.
    pub description: String,
}

/// Writes `count` training scenes of the sticker world, `size` x `size` pixels, as shards `stickers-000000.tar` and on,
/// and `preview.png`, a sheet of the first ones. Calls `progress` with the number of samples written so far.
///
/// # Errors
/// If the disk does not take them, `size` is not 1 to [`MAX_SIDE`], or there are shards in the folder already: more of them
/// than are written now would stay among the new ones.
pub fn write_stickers(
    out: &Path,
    count: u64,
    seed: u64,
    size: u32,
    mut progress: impl FnMut(u64),
) -> anyhow::Result<()> {
    anyhow::ensure!(
        (1..=MAX_SIDE).contains(&size),
        "the size of the pictures is {size}; choose 1 to {MAX_SIDE} pixels, such as 96"
    );
    let renderer = Renderer::new();
    let mut writer = ShardWriter::create(out, "stickers", STICKERS_PER_SHARD)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    let present = fs::read_dir(out).with_context(|| format!("cannot read the folder {}", out.display()))?;
    for entry in present {
        let path = entry.with_context(|| format!("cannot read the folder {}", out.display()))?.path();
        anyhow::ensure!(
            path.extension().is_none_or(|extension| extension != "tar"),
            "there are shards already, such as {}; choose another folder, or remove them first",
            path.display()
        );
    }
    for start in (0..count).step_by(BATCH as usize) {
        let end = (start + BATCH).min(count);
        let batch: Vec<_> = (start..end)
            .into_par_iter()
            .map(|index| {
                let (scene, caption) = example_at(Split::Train, seed, index);
                let png = encode_png(&renderer.render(&scene, size, size))?;
                let (boxes, description) = (scene.boxes(), description(&scene));
                Ok((png, caption, StickerRecord { seed, index, scene, boxes, description }))
            })
            .collect::<Result<_, image::ImageError>>()?;
        for (png, caption, record) in batch {
            writer
                .write(&format!("{:09}", record.index), &png, &caption, &record)
                .with_context(|| format!("cannot write sample {} to {}", record.index, out.display()))?;
        }
        progress(end);
    }
    writer.finish().with_context(|| format!("cannot finish the last shard in {}", out.display()))?;

    let (columns, pictures, side) = PREVIEW;
    let cells: Vec<_> = (0..count.min(pictures))
        .map(|index| {
            let (scene, caption) = example_at(Split::Train, seed, index);
            (renderer.render(&scene, side, side), caption)
        })
        .collect();
    let preview = out.join("preview.png");
    fs::write(&preview, encode_png(&contact_sheet(&cells, columns))?)
        .with_context(|| format!("cannot write {}", preview.display()))
}

fn encode_png(image: &RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(dir: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = fs::read_dir(dir)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "tar"))
            .collect();
        paths.sort();
        paths
    }

    fn picture(value: u8) -> RgbImage {
        RgbImage::from_pixel(5, 3, image::Rgb([value, 7, 200]))
    }

    fn write_some(dir: &Path, per_shard: usize, count: u8) {
        let mut writer = ShardWriter::create(dir, "some", per_shard).expect("a folder");
        for value in 0..count {
            let png = encode_png(&picture(value)).expect("a PNG");
            writer
                .write(&format!("{value:03}"), &png, &format!("picture {value}"), &value)
                .expect("room on the disk");
        }
        writer.finish().expect("room on the disk");
    }

    /// A shard of these files.
    fn write_shard(path: &Path, files: &[(&str, &[u8])]) {
        let mut tar = tar::Builder::new(File::create(path).expect("a file"));
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, *bytes).expect("room on the disk");
        }
        tar.into_inner().expect("room on the disk");
    }

    fn read_all(paths: &[PathBuf]) -> Vec<Result<Sample, ShardError>> {
        let index = ShardIndex::open(paths).expect("whole shards");
        (0..index.len()).map(|sample| index.read(sample)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        write_some(dir.path(), 3, 8);
        let paths = shards(dir.path());
        assert_eq!(paths.len(), 3);
        let samples: Vec<Sample> =
            read_all(&paths).into_iter().collect::<Result<_, _>>().expect("whole samples");
        assert_eq!(samples.len(), 8);
        for (value, sample) in (0u8..).zip(samples) {
            let caption = format!("picture {value}");
            let expected = Sample {
                key: format!("{value:03}"),
                image: picture(value),
                caption,
                json: Some(value.into()),
            };
            assert_eq!(sample, expected);
        }
    }

    #[test]
    fn bad_samples_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("own.tar");
        let png = encode_png(&picture(1)).expect("a PNG");
        let files: [(&str, &[u8]); 7] = [
            ("a/one.png", &png),
            ("a/one.txt", b"one\n"),
            ("a/two.png", &png[..40]),
            ("a/two.txt", b"two"),
            ("a/three.png", &png),
            ("a/four.PNG", &png),
            ("a/four.txt", b"four"),
        ];
        write_shard(&path, &files);
        let read = read_all(std::slice::from_ref(&path));
        let keys: Vec<_> = read.iter().flatten().map(|sample| sample.key.as_str()).collect();
        assert_eq!(keys, ["a/one", "a/four"]);
        let errors: Vec<String> =
            read.iter().filter_map(|sample| sample.as_ref().err()).map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].contains("own.tar") && errors[0].contains("a/two"), "{}", errors[0]);
        assert!(errors[1].contains("a/three") && errors[1].contains(".txt"), "{}", errors[1]);
        let absent = ShardIndex::open(&[path, dir.path().join("absent.tar")]).err().expect("no such file");
        assert!(absent.to_string().contains("absent.tar"), "{absent}");
    }

    /// As pictures of jsonl files are: transparency over white, upright, no half ones.
    #[test]
    fn pictures_are_decoded_with_care() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("own.tar");
        let encode = |picture: image::DynamicImage, format| {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format).expect("a picture");
            bytes.into_inner()
        };
        let clear = image::RgbaImage::from_pixel(2, 1, image::Rgba([200, 0, 0, 0]));
        let clear = encode(clear.into(), ImageFormat::Png);
        let jpeg = encode(RgbImage::new(16, 8).into(), ImageFormat::Jpeg);
        // An APP1 segment of EXIF: a quarter turn right.
        let tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = [&[0xFF, 0xD8, 0xFF, 0xE1, 0, tiff.len() as u8 + 2][..], &tiff[..], &jpeg[2..]].concat();
        write_shard(
            &path,
            &[
                ("clear.png", &clear),
                ("clear.txt", b"clear"),
                ("turned.jpg", &turned),
                ("turned.txt", b"turned"),
                ("cut.jpg", &jpeg[..jpeg.len() - 4]),
                ("cut.txt", b"cut"),
            ],
        );
        let index = ShardIndex::open(&[path]).expect("a shard");
        let size = |sample: usize| index.read(sample).expect("a picture").image.dimensions();
        assert_eq!(index.read(0).expect("a picture").image.get_pixel(1, 0).0, [255; 3]);
        assert_eq!(size(1), (8, 16));
        let cut = index.read(2).expect_err("half a picture").to_string();
        assert!(cut.contains("own.tar") && cut.contains("\"cut\"") && cut.contains("truncated"), "{cut}");
        for sample in 0..2 {
            let record = index.record(sample).expect("a record");
            assert_eq!(
                record.picture("image").expect("a picture"),
                index.read(sample).expect("a picture").image
            );
        }
    }

    #[test]
    fn a_cut_shard_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        write_some(dir.path(), 8, 8);
        let path = shards(dir.path()).remove(0);
        let bytes = fs::read(&path).expect("the shard");
        // Without the end of the archive, two blocks, and the last file's only one.
        fs::write(&path, &bytes[..bytes.len() - 3 * 512]).expect("room on the disk");
        let error = ShardIndex::open(&[path]).err().expect("half a shard").to_string();
        assert!(error.contains("some-000000.tar") && error.contains("whole tar file"), "{error}");
    }

    #[test]
    fn jsonl_files_and_shards_have_the_same_parts() {
        let dir = tempfile::tempdir().expect("a folder");
        let png = encode_png(&picture(3)).expect("a PNG");
        fs::create_dir(dir.path().join("in")).expect("a folder");
        fs::write(dir.path().join("in/a.png"), &png).expect("room on the disk");
        let words = r#""instruction": "add a dog", "description": "a dog""#;
        let lines = format!(
            "{{\"before\": \"in/a.png\", \"after\": \"in/a.png\", {words}}}\n\n{{\"before\": \"in/b.png\", {words}}}\n{{"
        );
        fs::write(dir.path().join("own.jsonl"), lines).expect("room on the disk");
        let shard = dir.path().join("own.tar");
        let json = format!("{{{words}}}");
        write_shard(
            &shard,
            &[
                ("x.before.png", &png),
                ("x.after.png", &png),
                ("x.json", json.as_bytes()),
                ("y.before.png", &png),
            ],
        );

        let index = ShardIndex::open(&[dir.path().join("own.jsonl"), shard]).expect("two files");
        assert_eq!(index.len(), 5);
        for sample in [0, 3] {
            let record = index.record(sample).expect("a record");
            assert_eq!(record.picture("before").expect("a picture"), picture(3));
            assert_eq!(record.picture("after").expect("a picture"), picture(3));
            assert_eq!(record.text("description").expect("a text"), "a dog");
        }
        let read = |sample| {
            let record = index.record(sample)?;
            record.picture("before").and(record.picture("after")).and(record.text("instruction"))
        };
        for (sample, words) in [
            (1, ["own.jsonl, line 3", "cannot read", "in/b.png"]),
            (2, ["own.jsonl, line 4", "is not JSON", "line 4"]),
            (4, ["own.tar, sample \"y\"", "no picture", "\"after\""]),
        ] {
            let error = read(sample).expect_err("a bad sample").to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        assert_eq!(index.usable(1, read).expect("the next"), "add a dog");
        assert_eq!(unlocked(&index.bad).iter().copied().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn an_unfinished_shard_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = ShardWriter::create(dir.path(), "some", 9).expect("a folder");
        writer.write("0", b"png", "caption", &0).expect("room on the disk");
        drop(writer);
        assert_eq!(fs::read_dir(dir.path()).expect("the folder").count(), 0);
    }

    #[test]
    fn sticker_shards_hold_their_scenes() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut seen = 0;
        write_stickers(dir.path(), 20, 9, 48, |done| seen = done).expect("room on the disk");
        assert_eq!(seen, 20);
        assert!(dir.path().join("preview.png").is_file());
        for (index, sample) in (0..).zip(read_all(&shards(dir.path()))) {
            let sample = sample.expect("a whole sample");
            let (scene, caption) = example_at(Split::Train, 9, index);
            let record: StickerRecord =
                serde_json::from_value(sample.json.expect("a .json")).expect("a record");
            assert_eq!((record.scene, sample.caption), (scene.clone(), caption));
            assert_eq!(sample.image, Renderer::new().render(&scene, 48, 48));
        }
    }

    #[test]
    fn shards_of_another_run_are_neither_mixed_nor_lost() {
        let dir = tempfile::tempdir().expect("a folder");
        write_some(dir.path(), 3, 8);
        let before = shards(dir.path());
        let error = write_stickers(dir.path(), 2, 9, 48, |_| ()).expect_err("shards are there").to_string();
        assert!(error.contains("some-00000") && error.contains("another folder"), "{error}");
        assert_eq!(shards(dir.path()), before);
        assert!(read_all(&before).iter().all(Result::is_ok));
    }
}
