//! Image codes that are computed once and kept in files. This works because every later stage freezes the image
//! tokenizer.
//!
//! A cache is a folder: `origin.json` says what the codes are of, and each file holds the codes of a few thousand
//! samples with what else is known about them. A file is complete or absent, so work that was stopped goes on with the
//! next one. Files are mapped, so that a large set takes no memory.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use image::RgbImage;
use image::imageops::crop_imm;
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unigen_core::files::write_atomic;
use unigen_core::image_tokenizer::{ImageTokenizer, lfq, pixels_from_images};

use super::{Annotation, Captioned, Pictures};
use unigen_runs::{Interrupt, Progress};

/// Number of samples whose pictures are encoded together.
const BATCH: u64 = 32;
/// Number of samples of a file.
const FILE: u64 = 4096;
/// The first bytes of a file.
const MAGIC: [u8; 8] = *b"UGCODES1";
/// Bytes of the numbers at the start of a file: the magic, the samples, their pictures, and codes of a picture.
const START: usize = 24;
const DAMAGED: &str = "a file of image codes is damaged; remove its folder";
/// The file that says what the codes are of.
const ORIGIN: &str = "origin.json";

/// Samples of `PICTURES` pictures each, as codes, with other data of each sample, such as a caption or an
/// instruction.
pub struct CodeCache<T, const PICTURES: usize = 1> {
    tokens: usize,
    count: u64,
    parts: Vec<Part>,
    read: Box<Read<T>>,
}

/// Makes the other data of a sample from its JSON.
type Read<T> = dyn Fn(&[u8]) -> Result<T> + Send + Sync;

/// The image tokenizer that encodes pictures.
#[derive(Clone, Copy)]
pub struct Encoder<'a> {
    pub tokenizer: &'a ImageTokenizer,
    /// Side of the square pictures in pixels.
    pub size: u32,
    pub device: &'a Device,
}

/// The origin of the codes in a folder.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Origin {
    /// Checksum of the tokenizer's weights.
    tokenizer: u32,
    source: String,
    size: u32,
    tokens: usize,
    pictures: usize,
}

/// The samples of a file, mapped or in memory.
struct Part {
    bytes: Bytes,
    samples: usize,
    /// Codes of a sample.
    codes: usize,
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl CodeCache<Arc<dyn Annotation>> {
    /// The codes and annotations of the first `count` pictures, or of all, see [`open`](CodeCache::open).
    ///
    /// # Errors
    /// The errors of [`open`](CodeCache::open); if pictures cannot be read.
    pub fn captioned(
        cache: &Path,
        pictures: &Arc<dyn Pictures>,
        count: u64,
        encoder: Encoder,
        weights: &Path,
    ) -> Result<Self> {
        let count = pictures.count().map_or(count, |len| len.min(count));
        let draw = |index| record(&**pictures, index, encoder);
        Ok(CodeCache::<Value>::open(cache, pictures.name(), count, encoder, weights, draw)?
            .annotated(pictures))
    }

    /// The same without a folder, see [`encode`](CodeCache::encode).
    ///
    /// # Errors
    /// The errors of [`encode`](CodeCache::encode); if pictures cannot be read.
    pub fn captioned_in_memory(pictures: &Arc<dyn Pictures>, count: u64, encoder: Encoder) -> Result<Self> {
        let draw = |index| record(&**pictures, index, encoder);
        Ok(CodeCache::<Value>::encode(count, encoder, draw)?.annotated(pictures))
    }
}

/// Picture `index` and the record of its annotation.
fn record(pictures: &dyn Pictures, index: u64, encoder: Encoder) -> Result<([RgbImage; 1], Value)> {
    let Captioned { picture, annotation } = pictures.square(index, encoder.size)?;
    Ok(([picture], annotation.record()))
}

impl CodeCache<Value> {
    fn annotated(self, pictures: &Arc<dyn Pictures>) -> CodeCache<Arc<dyn Annotation>> {
        let Self { tokens, count, parts, read } = self;
        let pictures = pictures.clone();
        let read = move |json: &[u8]| pictures.annotation(read(json)?);
        CodeCache { tokens, count, parts, read: Box::new(read) }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static, const PICTURES: usize> CodeCache<T, PICTURES> {
    /// The codes of `count` samples, which `draw` makes from the source called `source`. The tokenizer has the
    /// weights of the file `weights`. What the folder `cache` holds of these codes is read from there; the rest is
    /// computed and written there.
    ///
    /// # Errors
    /// The errors of `draw`; if `weights` cannot be read or `cache` cannot be written; after Ctrl-C, with all whole
    /// files kept.
    pub fn open(
        cache: &Path,
        source: String,
        count: u64,
        encoder: Encoder,
        weights: &Path,
        draw: impl Fn(u64) -> Result<([RgbImage; PICTURES], T)> + Sync,
    ) -> Result<Self> {
        ensure!(count > 0, "the number of pictures to encode is 0; ask for 1 at least");
        let bytes = fs::read(weights).with_context(|| format!("cannot read {}", weights.display()))?;
        let (tokenizer, size, tokens) = (crc32c::crc32c(&bytes), encoder.size, encoder.tokens());
        prepare(cache, &Origin { tokenizer, source, size, tokens, pictures: PICTURES })?;
        let mut progress: Option<Progress> = None;
        let parts = (0..count).step_by(FILE as usize).map(|first| {
            let wanted = first..count.min(first + FILE);
            let path = cache.join(format!("{:06}.codes", first / FILE));
            let samples = (wanted.end - wanted.start) as usize;
            if let Some(part) = Part::open(&path, samples, PICTURES, tokens) {
                return Ok(part);
            }
            let progress = progress.get_or_insert_with(|| Progress::new("image codes", first, count));
            let bytes = encode_part(wanted, encoder, &draw, progress)?;
            write_atomic(&path, |out| out.write_all(&bytes))
                .with_context(|| format!("cannot write image codes to {}", path.display()))?;
            Part::open(&path, samples, PICTURES, tokens)
                .with_context(|| format!("cannot read the image codes in {} again", path.display()))
        });
        let parts = parts.collect::<Result<_>>()?;
        progress.into_iter().for_each(Progress::finish);
        Ok(Self::of(tokens, count, parts))
    }

    /// The codes of `count` samples, which `draw` makes, in memory.
    ///
    /// # Errors
    /// The errors of `draw`; if `count` is 0; after Ctrl-C.
    pub fn encode(
        count: u64,
        encoder: Encoder,
        draw: impl Fn(u64) -> Result<([RgbImage; PICTURES], T)> + Sync,
    ) -> Result<Self> {
        ensure!(count > 0, "the number of pictures to encode is 0; ask for 1 at least");
        let (tokens, mut progress) = (encoder.tokens(), Progress::new("image codes", 0, count));
        let parts = (0..count).step_by(FILE as usize).map(|first| {
            let wanted = first..count.min(first + FILE);
            let samples = (wanted.end - wanted.start) as usize;
            let bytes = encode_part(wanted, encoder, &draw, &mut progress)?;
            Part::of(Bytes::Owned(bytes), samples, PICTURES, tokens).context("codes do not fit their part")
        });
        let parts = parts.collect::<Result<_>>()?;
        progress.finish();
        Ok(Self::of(tokens, count, parts))
    }

    fn of(tokens: usize, count: u64, parts: Vec<Part>) -> Self {
        Self { tokens, count, parts, read: Box::new(|json| Ok(serde_json::from_slice(json)?)) }
    }
}

impl<T, const PICTURES: usize> CodeCache<T, PICTURES> {
    /// Number of samples.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The codes of each picture of sample `index`, row-major, and the sample's other data. An index beyond the last
    /// sample wraps around.
    ///
    /// # Errors
    /// If the file of the sample is damaged.
    pub fn get(&self, index: u64) -> Result<([Vec<u32>; PICTURES], T)> {
        let index = index % self.count;
        let part = &self.parts[(index / FILE) as usize];
        let (codes, json) = part.sample((index % FILE) as usize).context(DAMAGED)?;
        let code = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        let of = |picture: usize| codes[picture * self.tokens..][..self.tokens].iter().map(code).collect();
        Ok((std::array::from_fn(of), (self.read)(json).context(DAMAGED)?))
    }
}

/// Makes the folder `cache` ready for codes of `origin`. Codes of another origin are removed.
fn prepare(cache: &Path, origin: &Origin) -> Result<()> {
    let cannot = || format!("cannot make the folder {} for image codes", cache.display());
    if cache.is_file() {
        // Earlier versions kept all codes in one file, which begins with its origin.
        let old = fs::read(cache).is_ok_and(|bytes| bytes.starts_with(b"{\"tokenizer\":"));
        ensure!(old, "{} is a file, but image codes take a folder; choose another place", cache.display());
        fs::remove_file(cache).with_context(cannot)?;
    }
    let path = cache.join(ORIGIN);
    let found = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Origin>(&text).ok());
    if found.as_ref() == Some(origin) {
        return Ok(());
    }
    fs::create_dir_all(cache).with_context(cannot)?;
    let files: Vec<PathBuf> =
        fs::read_dir(cache).with_context(cannot)?.flatten().map(|file| file.path()).collect();
    for file in files {
        match file.extension().is_some_and(|ending| ending == "codes") {
            true => fs::remove_file(&file).with_context(cannot)?,
            false if file == path => {}
            false => bail!("{} has other files than image codes; choose another place", cache.display()),
        }
    }
    let json = serde_json::to_vec(origin)?;
    Ok(write_atomic(&path, |out| out.write_all(&json))?)
}

/// The bytes of a file with the samples `wanted`: their codes, where the JSON of each begins, and all JSON.
fn encode_part<T: Serialize + Send, const PICTURES: usize>(
    wanted: std::ops::Range<u64>,
    encoder: Encoder,
    draw: &(impl Fn(u64) -> Result<([RgbImage; PICTURES], T)> + Sync),
    progress: &mut Progress,
) -> Result<Vec<u8>> {
    let samples = wanted.end - wanted.start;
    let mut bytes = MAGIC.to_vec();
    for number in [samples, PICTURES as u64] {
        bytes.extend((number as u32).to_le_bytes());
    }
    bytes.extend((encoder.tokens() as u64).to_le_bytes());
    let (mut json, mut starts) = (Vec::new(), vec![0_u64]);
    for first in wanted.clone().step_by(BATCH as usize) {
        Interrupt::check()?;
        let batch = first..wanted.end.min(first + BATCH);
        let (count, done) = (batch.end - batch.start, batch.end);
        let batch: Vec<_> = batch.into_par_iter().map(draw).collect::<Result<_>>()?;
        let (pictures, others): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        bytes.extend(encoder.codes(pictures.as_flattened())?.iter().flat_map(|code| code.to_le_bytes()));
        for other in others {
            serde_json::to_writer(&mut json, &other)?;
            starts.push(json.len() as u64);
        }
        progress.step(done, count, f64::NAN);
    }
    bytes.extend(starts.iter().flat_map(|start| start.to_le_bytes()));
    bytes.extend(json);
    Ok(bytes)
}

impl Part {
    /// The file at `path` if it is complete and holds at least `samples` samples.
    fn open(path: &Path, samples: usize, pictures: usize, tokens: usize) -> Option<Self> {
        let file = File::open(path).ok()?;
        // SAFETY: files appear whole under their names and nobody changes them; a program that cut one short while it is
        // mapped would end this one, as with every mapped file.
        let bytes = unsafe { Mmap::map(&file) }.ok()?;
        Self::of(Bytes::Mapped(bytes), samples, pictures, tokens)
    }

    fn of(bytes: Bytes, samples: usize, pictures: usize, tokens: usize) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let (there, codes) = (number(8)?, pictures * tokens);
        let fits = bytes.starts_with(&MAGIC) && number(12)? == pictures && number(16)? == tokens;
        if !fits || there < samples || there as u64 > FILE {
            return None;
        }
        let part = Self { samples: there, codes, bytes };
        // The last start is the length of all JSON, which ends the file.
        let json = usize::try_from(part.start(there)?).ok()?;
        let end = (part.starts() + 8 * (there + 1)).checked_add(json)?;
        (end == part.bytes.len()).then_some(part)
    }

    /// Where the starts of JSON begin.
    fn starts(&self) -> usize {
        START + 4 * self.samples * self.codes
    }

    fn start(&self, sample: usize) -> Option<u64> {
        let at = self.starts() + 8 * sample;
        Some(u64::from_le_bytes(self.bytes.get(at..at + 8)?.try_into().ok()?))
    }

    /// The codes of a sample and its JSON.
    fn sample(&self, sample: usize) -> Option<(&[[u8; 4]], &[u8])> {
        let at = START + 4 * sample * self.codes;
        let codes = self.bytes.get(at..at + 4 * self.codes)?.as_chunks().0;
        let json = self.starts() + 8 * (self.samples + 1);
        let [start, end] = [self.start(sample)?, self.start(sample + 1)?];
        let [start, end] = [start, end].map(|at| json.checked_add(usize::try_from(at).ok()?));
        Some((codes, self.bytes.get(start?..end?)?))
    }
}

impl Encoder<'_> {
    /// Number of codes of a picture.
    fn tokens(&self) -> usize {
        (self.size as usize / self.tokenizer.downsampling()).pow(2)
    }

    /// The codes of pictures, row-major, one picture after another. If the tokenizer sees each cell alone, cells that
    /// look the same (most of a background) are encoded once.
    fn codes(&self, pictures: &[RgbImage]) -> Result<Vec<u32>> {
        if !self.tokenizer.encodes_cells() {
            return self.encode(pictures);
        }
        let side = self.tokenizer.downsampling() as u32;
        let cells = pictures.iter().flat_map(|picture| {
            let starts = move |length: u32| (0..length).step_by(side as usize);
            let corners =
                starts(picture.height()).flat_map(move |y| starts(picture.width()).map(move |x| (x, y)));
            corners.map(move |(x, y)| crop_imm(picture, x, y, side, side).to_image())
        });
        let (mut places, mut different) = (HashMap::new(), Vec::new());
        let order: Vec<usize> = cells
            .map(|cell| {
                *places.entry(cell.into_raw()).or_insert_with_key(|raw| {
                    different.extend(RgbImage::from_raw(side, side, raw.clone()));
                    different.len() - 1
                })
            })
            .collect();
        let codes = self.encode(&different)?;
        Ok(order.into_iter().map(|place| codes[place]).collect())
    }

    fn encode(&self, pictures: &[RgbImage]) -> Result<Vec<u32>> {
        let codes = self.tokenizer.encode(pixels_from_images(pictures, self.device)?)?;
        let codes =
            lfq::codes_from_data(codes.try_into_data().context("cannot read image codes from the device")?)?;
        Ok(codes.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Files;
    use super::super::files::tests::shard;
    use super::*;
    use std::path::PathBuf;
    use tempfile::TempDir;
    use unigen_core::config::TokenizerConfig;

    /// Three pictures of 2 x 2 codes, one of which is broken, and a tokenizer.
    struct Setting {
        folder: TempDir,
        source: Arc<dyn Pictures>,
        tokenizer: ImageTokenizer,
        weights: PathBuf,
    }

    impl Setting {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = shard(folder.path(), &[Some(10), None, Some(200)]);
            let source = Arc::new(Files::open(&files, "data.shards").unwrap());
            let config = TokenizerConfig {
                ch: 4,
                encoder_ch_mult: vec![1, 1, 1],
                encoder_num_res_blocks: vec![1; 3],
                decoder_ch_mult: vec![1, 1, 1],
                decoder_num_res_blocks: vec![1; 3],
                norm_groups: 2,
                z_channels: 6,
                ..TokenizerConfig::default()
            };
            let tokenizer = ImageTokenizer::new(&config, &Device::flex()).unwrap();
            let weights = folder.path().join("weights");
            fs::write(&weights, "the first tokenizer").unwrap();
            Self { folder, source, tokenizer, weights }
        }

        fn cache(&self) -> PathBuf {
            self.folder.path().join("a/new/folder/codes")
        }

        fn open(&self, count: u64) -> CodeCache<Arc<dyn Annotation>> {
            let encoder = Encoder { tokenizer: &self.tokenizer, size: 8, device: &Device::flex() };
            CodeCache::captioned(&self.cache(), &self.source, count, encoder, &self.weights).unwrap()
        }

        /// The codes of the last picture.
        fn last(&self) -> Vec<u32> {
            let ([codes], _) = self.open(10).get(2).unwrap();
            codes
        }

        fn part(&self) -> PathBuf {
            self.cache().join("000000.codes")
        }

        /// Changes the last code of the last of `samples` samples in the file.
        fn damage(&self, samples: usize) {
            let mut bytes = fs::read(self.part()).unwrap();
            bytes[START + 4 * 4 * samples - 4..][..4].copy_from_slice(&77_u32.to_le_bytes());
            fs::remove_file(self.part()).unwrap();
            fs::write(self.part(), bytes).unwrap();
        }
    }

    #[test]
    fn codes_are_those_of_the_pictures_and_begin_anew() {
        let setting = Setting::new();
        let codes = setting.open(10);
        assert_eq!((codes.len(), codes.is_empty()), (3, false));
        for index in 0..3 {
            let picture = setting.source.square(index, 8).unwrap();
            let pixels = pixels_from_images(&[picture.picture], &Device::flex()).unwrap();
            let alone = lfq::codes_from_data(setting.tokenizer.encode(pixels).unwrap().into_data()).unwrap();
            let found = |index| {
                let (codes, annotation) = codes.get(index).unwrap();
                (codes, annotation.record())
            };
            assert_eq!(found(index), ([alone[0].clone()], picture.annotation.record()));
            assert_eq!(found(index), found(index + 3_000_000));
        }
        assert_eq!(codes.get(1).unwrap().0, codes.get(2).unwrap().0, "the broken picture is skipped");
    }

    #[test]
    fn a_file_is_used_again_until_the_tokenizer_changes() {
        let setting = Setting::new();
        let first = setting.last();
        setting.damage(3);
        assert_eq!(setting.last()[3], 77, "read from the file");
        assert_eq!(setting.open(2).len(), 2, "some of the samples are enough");
        assert_eq!(setting.last()[3], 77);
        fs::write(&setting.weights, "the second tokenizer").unwrap();
        assert_eq!(setting.last(), first, "made anew");
        fs::write(setting.cache().join("notes.txt"), "mine").unwrap();
        fs::write(&setting.weights, "the third tokenizer").unwrap();
        let encoder = Encoder { tokenizer: &setting.tokenizer, size: 8, device: &Device::flex() };
        let error = CodeCache::captioned(&setting.cache(), &setting.source, 10, encoder, &setting.weights);
        assert!(format!("{:#}", error.err().unwrap()).contains("other files than image codes"));
    }

    #[test]
    fn a_truncated_file_is_made_anew() {
        let setting = Setting::new();
        let first = setting.last();
        let whole = fs::read(setting.part()).unwrap();
        for length in [0, 5, START, whole.len() - 1] {
            fs::remove_file(setting.part()).unwrap();
            fs::write(setting.part(), &whole[..length]).unwrap();
            assert_eq!(setting.last(), first);
            assert_eq!(fs::read(setting.part()).unwrap(), whole);
        }
        // A file of an earlier version gives way to the folder; a file of the user's does not.
        fs::remove_dir_all(setting.cache()).unwrap();
        fs::write(setting.cache(), "{\"tokenizer\":1}\n").unwrap();
        assert_eq!(setting.last(), first);
        fs::remove_dir_all(setting.cache()).unwrap();
        fs::write(setting.cache(), "my notes").unwrap();
        let encoder = Encoder { tokenizer: &setting.tokenizer, size: 8, device: &Device::flex() };
        let error = CodeCache::captioned(&setting.cache(), &setting.source, 10, encoder, &setting.weights);
        assert!(format!("{:#}", error.err().unwrap()).contains("image codes take a folder"));
    }

    #[test]
    fn encoding_goes_on_with_the_file_where_it_stopped() {
        let setting = Setting::new();
        let encoder = Encoder { tokenizer: &setting.tokenizer, size: 8, device: &Device::flex() };
        let drawn = std::sync::Mutex::new(Vec::new());
        let open = |count: u64, until: u64| {
            CodeCache::<u64, 1>::open(
                &setting.cache(),
                "grey".into(),
                count,
                encoder,
                &setting.weights,
                |index| {
                    ensure!(index < until, "stopped");
                    drawn.lock().unwrap().push(index);
                    Ok(([RgbImage::from_pixel(8, 8, image::Rgb([index as u8; 3]))], index))
                },
            )
        };
        assert!(open(FILE + 40, FILE + 3).err().unwrap().to_string().contains("stopped"));
        drawn.lock().unwrap().clear();
        let codes = open(FILE + 40, u64::MAX).unwrap();
        assert!(drawn.lock().unwrap().iter().all(|index| *index >= FILE), "the first file is whole");
        assert_eq!(codes.len(), FILE + 40);
        for index in [0, FILE - 1, FILE, FILE + 39] {
            assert_eq!(codes.get(index).unwrap().1, index);
            assert_eq!(codes.get(index + FILE + 40).unwrap().1, index);
        }
        // More samples keep what is there.
        drawn.lock().unwrap().clear();
        drop(codes);
        assert_eq!(open(2 * FILE + 1, u64::MAX).unwrap().len(), 2 * FILE + 1);
        assert!(drawn.lock().unwrap().iter().all(|index| *index >= FILE));
    }

    #[test]
    fn samples_may_have_several_pictures() {
        let setting = Setting::new();
        let encoder = Encoder { tokenizer: &setting.tokenizer, size: 8, device: &Device::flex() };
        let grey = |level: u64| RgbImage::from_pixel(8, 8, image::Rgb([level as u8 * 80; 3]));
        let pairs = CodeCache::encode(3, encoder, |i| Ok(([grey(i), grey(3 - i)], i))).unwrap();
        let single = CodeCache::encode(4, encoder, |i| Ok(([grey(i)], i))).unwrap();
        for index in 0..6 {
            let (i, (found, kept)) = (index % 3, pairs.get(index).unwrap());
            assert_eq!(kept, i);
            let [before, after] = [i, 3 - i].map(|i| single.get(i).unwrap().0);
            assert_eq!(found, [before[0].clone(), after[0].clone()]);
        }
        assert!(CodeCache::<u64, 1>::encode(0, encoder, |i| Ok(([grey(i)], i))).is_err());
    }
}
