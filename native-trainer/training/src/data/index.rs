//! The samples of shards and of jsonl files by number.

use anyhow::{Context, ensure};
use image::RgbImage;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use unigen_core::file_kind::recognise;

use super::error::ShardError;
use super::paths::expand;
use super::record::{Parts, Record, utf8};
use super::tar_index::Shard;

/// A picture with its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub key: String,
    pub image: RgbImage,
    pub caption: String,
    /// Content of the sample's .json file, if it has one.
    pub json: Option<Value>,
}

/// The samples of shards and of jsonl files by number.
pub struct ShardIndex {
    files: Arc<[Samples]>,
    /// For each sample: its file, and its number in that file, from 0.
    samples: Vec<(usize, usize)>,
    /// What tells these samples from others of the same files; `None` for all of them.
    part: Option<u32>,
    /// Samples that could not be used.
    bad: Mutex<BTreeSet<usize>>,
}

enum Samples {
    Shard(Shard),
    Lines {
        path: PathBuf,
        /// The lines that are not empty, with their line numbers from 1.
        lines: Vec<(usize, String)>,
    },
}

/// How many samples in a row may be unusable.
const PATIENCE: u64 = 100;
/// How many samples may be unusable in total. In large sets, one in a hundred may be.
const MAX_UNUSABLE: usize = 100;

impl ShardIndex {
    /// Lists the samples of the files that `paths` mean (folders, globs and brace ranges too), in this order, without
    /// reading the files whole. Files called `.jsonl` have a sample on each line; all others are shards.
    ///
    /// # Errors
    /// If a path means no file, or a file is of another kind or cannot be read to its end.
    pub fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (mut files, mut samples) = (Vec::new(), Vec::new());
        for path in expand(paths)? {
            let file = Samples::open(&path).map_err(|what| ShardError::File { file: path, what })?;
            samples.extend((0..file.len()).map(|sample| (files.len(), sample)));
            files.push(file);
        }
        Ok(Self { files: files.into(), samples, part: None, bad: Mutex::default() })
    }

    /// The samples for which `keep` is true, in their order.
    pub fn part(&self, keep: impl Fn(usize) -> bool) -> Self {
        let numbers: Vec<usize> = (0..self.len()).filter(|&index| keep(index)).collect();
        let mark = numbers.iter().fold(0, |crc, number| crc32c::crc32c_append(crc, &number.to_le_bytes()));
        let samples = numbers.iter().map(|&number| self.samples[number]).collect();
        Self { files: self.files.clone(), samples, part: Some(mark), bad: Mutex::default() }
    }

    /// The files' paths and sizes, and for a part of their samples a mark of that part.
    pub fn name(&self) -> String {
        let name = |file: &Samples| {
            let (Samples::Shard(Shard { path, .. }) | Samples::Lines { path, .. }) = file;
            format!("{} ({})", path.display(), file.len())
        };
        let names = self.files.iter().map(name).collect::<Vec<_>>().join(", ");
        self.part.map_or(names.clone(), |mark| format!("{} of {names}, {mark:08x}", self.len()))
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
    /// If the sample cannot be used.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn read(&self, index: usize) -> Result<Sample, ShardError> {
        let record = self.record(index);
        let (image, caption) = (record.picture("image")?, record.text("caption")?);
        let key = match &record.parts {
            Parts::Files(_, entry) => entry.key.clone(),
            Parts::Line(_) => record.key.clone(),
        };
        // The caller needs no JSON, so a broken file does not matter.
        let json = record.json().ok().filter(|json| !json.is_null());
        Ok(Sample { key, image, caption, json })
    }

    /// Sample number `index`, with nothing read yet.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn record(&self, index: usize) -> Record<'_> {
        let (file, inside) = self.samples[index];
        match &self.files[file] {
            Samples::Shard(shard) => {
                let entry = &shard.samples[inside];
                let key = format!("sample {:?}", entry.key);
                Record { file: &shard.path, key, parts: Parts::Files(shard, entry) }
            }
            Samples::Lines { path, lines } => {
                let (number, line) = &lines[inside];
                Record { file: path, key: format!("line {number}"), parts: Parts::Line(line) }
            }
        }
    }

    /// Reads sample number `index` by `read`. If it is unusable, the next usable sample takes its place, and the
    /// unusable one is reported. An index beyond the last sample wraps around.
    ///
    /// # Errors
    /// If too many samples in a row, or too many in total, are unusable. The error gives the reason for one of them.
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
            eprintln!("skipped: {error}");
        }
        let limit = MAX_UNUSABLE.max(self.len() / 100);
        ensure!(bad.len() <= limit, "more than {limit} samples cannot be used; the last of them: {error}");
        Ok(())
    }
}

impl Samples {
    fn open(path: &Path) -> Result<Self, String> {
        if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("jsonl")) {
            return Ok(Self::Shard(Shard::open(path)?));
        }
        let text = utf8(fs::read(path).map_err(|e| format!("cannot be read: {e}"))?)?;
        let start = text.trim_start();
        if !start.is_empty() && !start.starts_with('{') {
            return Err(match recognise(start.as_bytes()) {
                _ if start.starts_with('[') => {
                    "is one JSON array; a .jsonl file has one object per line".into()
                }
                Some(kind) => {
                    format!("is {}, not a .jsonl file, which has one JSON object per line", kind.name)
                }
                None => "is not a .jsonl file, which has one JSON object per line".into(),
            });
        }
        let lines = (1..).zip(text.lines().map(str::to_owned));
        let lines = lines.filter(|(_, line)| !line.trim().is_empty()).collect();
        Ok(Self::Lines { path: path.to_owned(), lines })
    }

    fn len(&self) -> usize {
        match self {
            Self::Shard(shard) => shard.samples.len(),
            Self::Lines { lines, .. } => lines.len(),
        }
    }
}

/// Takes a lock, even if a thread panicked while it held the lock.
fn unlocked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::ShardWriter;
    use super::*;
    use image::ImageFormat;
    use std::io::Cursor;

    fn encode_png(image: &RgbImage) -> Result<Vec<u8>, image::ImageError> {
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, ImageFormat::Png)?;
        Ok(png.into_inner())
    }

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
        let mut tar = tar::Builder::new(fs::File::create(path).expect("a file"));
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

    /// Pictures are decoded as those of jsonl files: transparency on white, upright, and never half of one.
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
            let record = index.record(sample);
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
        // The archive lacks its end, two blocks, and the only block of the last file.
        fs::write(&path, &bytes[..bytes.len() - 3 * 512]).expect("room on the disk");
        let error = ShardIndex::open(&[path]).err().expect("half a shard").to_string();
        assert!(error.contains("some-000000.tar") && error.contains("complete tar file"), "{error}");
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
            let record = index.record(sample);
            assert_eq!(record.picture("before").expect("a picture"), picture(3));
            assert_eq!(record.picture("after").expect("a picture"), picture(3));
            assert_eq!(record.text("description").expect("a text"), "a dog");
        }
        let read = |sample| {
            let record = index.record(sample);
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
}
