//! Image codes that are computed once and kept in a file. This works because every later stage freezes the image
//! tokenizer.

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use image::RgbImage;
use image::imageops::crop_imm;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use unigen_core::files::write_atomic;
use unigen_core::image_tokenizer::{ImageTokenizer, lfq, pixels_from_images};

use super::{Annotation, Captioned, Pictures};
use unigen_runs::{Interrupt, Progress};

/// Number of samples whose pictures are encoded together.
const BATCH: u64 = 32;

/// Samples of `PICTURES` pictures each, as codes, with other data of each sample, such as a caption or an
/// instruction.
pub struct CodeCache<T, const PICTURES: usize = 1> {
    tokens: usize,
    codes: Vec<u32>,
    samples: Vec<T>,
}

/// The image tokenizer that encodes pictures.
#[derive(Clone, Copy)]
pub struct Encoder<'a> {
    pub tokenizer: &'a ImageTokenizer,
    /// Side of the square pictures in pixels.
    pub size: u32,
    pub device: &'a Device,
}

/// The origin of the codes in a file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Origin {
    /// Checksum of the tokenizer's weights.
    tokenizer: u32,
    source: String,
    size: u32,
    tokens: usize,
}

/// The first line of a file, as JSON. The codes follow, four bytes each.
#[derive(Serialize, Deserialize)]
struct Header<T> {
    #[serde(flatten)]
    origin: Origin,
    #[serde(rename = "captions")]
    samples: Vec<T>,
}

impl CodeCache<Arc<dyn Annotation>> {
    /// The codes and annotations of the first `count` pictures, see [`open`](CodeCache::open).
    ///
    /// # Errors
    /// The errors of [`open`](CodeCache::open); if pictures cannot be read.
    pub fn captioned(
        cache: &Path,
        pictures: &dyn Pictures,
        count: u64,
        encoder: Encoder,
        weights: &Path,
    ) -> Result<Self> {
        let count = pictures.count().map_or(count, |len| len.min(count));
        CodeCache::open(cache, pictures.name(), count, encoder, weights, |index| {
            record(pictures, index, encoder)
        })?
        .annotated(pictures)
    }

    /// The same without a file, see [`encode`](CodeCache::encode).
    ///
    /// # Errors
    /// The errors of [`encode`](CodeCache::encode); if pictures cannot be read.
    pub fn captioned_in_memory(pictures: &dyn Pictures, count: u64, encoder: Encoder) -> Result<Self> {
        CodeCache::encode(count, encoder, |index| record(pictures, index, encoder))?.annotated(pictures)
    }
}

/// Picture `index` and the record of its annotation.
fn record(pictures: &dyn Pictures, index: u64, encoder: Encoder) -> Result<([RgbImage; 1], Value)> {
    let Captioned { picture, annotation } = pictures.square(index, encoder.size)?;
    Ok(([picture], annotation.record()))
}

impl CodeCache<Value> {
    fn annotated(self, pictures: &dyn Pictures) -> Result<CodeCache<Arc<dyn Annotation>>> {
        let samples =
            self.samples.into_iter().map(|record| pictures.annotation(record)).collect::<Result<_>>()?;
        Ok(CodeCache { tokens: self.tokens, codes: self.codes, samples })
    }
}

impl<T: Serialize + DeserializeOwned + Send, const PICTURES: usize> CodeCache<T, PICTURES> {
    /// The codes of `count` samples, which `draw` makes from the source called `source`. The tokenizer has the
    /// weights of the file `weights`. If the file `cache` holds these codes, they are read from there; otherwise they
    /// are computed and written there.
    ///
    /// # Errors
    /// The errors of `draw`; if `weights` cannot be read or `cache` cannot be written.
    pub fn open(
        cache: &Path,
        source: String,
        count: u64,
        encoder: Encoder,
        weights: &Path,
        draw: impl Fn(u64) -> Result<([RgbImage; PICTURES], T)> + Sync,
    ) -> Result<Self> {
        let bytes = fs::read(weights).with_context(|| format!("cannot read {}", weights.display()))?;
        let (tokenizer, size, tokens) = (crc32c::crc32c(&bytes), encoder.size, encoder.tokens());
        let origin = Origin { tokenizer, source, size, tokens };
        if let Some(found) = Self::read(cache, &origin, count) {
            return Ok(found);
        }
        // A folder that cannot be made ends the run before the work, not after it.
        if let Some(folder) = cache.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {} for image codes", folder.display()))?;
        }
        let Self { tokens, codes, samples } = Self::encode(count, encoder, draw)?;
        let header = Header { origin, samples };
        let line = serde_json::to_string(&header)?;
        write_atomic(cache, |out| {
            writeln!(out, "{line}")?;
            out.write_all(bytemuck::cast_slice(&codes))
        })
        .with_context(|| format!("cannot write the image codes to {}", cache.display()))?;
        Ok(Self { tokens, codes, samples: header.samples })
    }

    /// The codes of `count` samples, which `draw` makes, without a file.
    ///
    /// # Errors
    /// The errors of `draw`; if `count` is 0; after Ctrl-C.
    pub fn encode(
        count: u64,
        encoder: Encoder,
        draw: impl Fn(u64) -> Result<([RgbImage; PICTURES], T)> + Sync,
    ) -> Result<Self> {
        ensure!(count > 0, "the number of pictures to encode is 0; ask for 1 at least");
        let mut progress = Progress::new("image codes", 0, count);
        let tokens = encoder.tokens();
        let mut codes = Vec::with_capacity(count as usize * PICTURES * tokens);
        let mut samples = Vec::with_capacity(count as usize);
        for first in (0..count).step_by(BATCH as usize) {
            Interrupt::check()?;
            let batch: Vec<_> =
                (first..count.min(first + BATCH)).into_par_iter().map(&draw).collect::<Result<_>>()?;
            let (pictures, batch): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            codes.extend(encoder.codes(pictures.as_flattened())?);
            samples.extend(batch);
            let done = count.min(first + BATCH);
            progress.step(done, done - first, f64::NAN);
        }
        progress.finish();
        Ok(Self { tokens, codes, samples })
    }

    /// The content of the file if it exists, is complete and has the wanted origin.
    fn read(cache: &Path, wanted: &Origin, count: u64) -> Option<Self> {
        let mut file = BufReader::new(File::open(cache).ok()?);
        let mut header = String::new();
        file.read_line(&mut header).ok()?;
        let Header { origin, samples } = serde_json::from_str::<Header<T>>(&header).ok()?;
        if samples.len() as u64 != count || origin != *wanted {
            return None;
        }
        let mut codes = vec![0_u32; samples.len() * PICTURES * wanted.tokens];
        file.read_exact(bytemuck::cast_slice_mut(&mut codes)).ok()?;
        Some(Self { tokens: wanted.tokens, codes, samples })
    }
}

impl<T, const PICTURES: usize> CodeCache<T, PICTURES> {
    /// Number of samples.
    pub fn len(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The codes of each picture of sample `index`, row-major, and the sample's other data. An index beyond the last
    /// sample wraps around.
    pub fn get(&self, index: u64) -> ([&[u32]; PICTURES], &T) {
        let index = (index % self.len()) as usize;
        let codes = std::array::from_fn(|picture| {
            let first = (index * PICTURES + picture) * self.tokens;
            &self.codes[first..first + self.tokens]
        });
        (codes, &self.samples[index])
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
        let codes = self.tokenizer.encode(pixels_from_images(pictures, self.device)?);
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
        source: Files,
        tokenizer: ImageTokenizer,
        weights: PathBuf,
    }

    impl Setting {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let source =
                Files::open(&shard(folder.path(), &[Some(10), None, Some(200)]), "data.shards").unwrap();
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

        /// The codes of the last picture, which a changed byte at the end of the file changes.
        fn last(&self) -> Vec<u32> {
            self.open(10).get(2).0[0].to_vec()
        }

        fn damage(&self) {
            let mut bytes = fs::read(self.cache()).unwrap();
            let end = bytes.len();
            bytes[end - 4..].copy_from_slice(&77_u32.to_ne_bytes());
            fs::write(self.cache(), bytes).unwrap();
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
            let alone = lfq::codes_from_data(setting.tokenizer.encode(pixels).into_data()).unwrap();
            let found = |index| (codes.get(index).0, codes.get(index).1.record());
            assert_eq!(found(index), ([&alone[0][..]], picture.annotation.record()));
            assert_eq!(found(index), found(index + 3_000_000));
        }
        assert_eq!(codes.get(1).0, codes.get(2).0, "the broken picture is skipped");
    }

    #[test]
    fn a_file_is_used_again_until_the_tokenizer_changes() {
        let setting = Setting::new();
        let first = setting.last();
        setting.damage();
        assert_eq!(setting.last()[3], 77, "read from the file");
        fs::write(&setting.weights, "the second tokenizer").unwrap();
        assert_eq!(setting.last(), first, "made anew");
        setting.damage();
        assert_eq!(setting.open(2).len(), 2);
        assert_eq!(setting.last(), first, "made anew for other pictures");
    }

    #[test]
    fn a_truncated_file_is_made_anew() {
        let setting = Setting::new();
        let first = setting.last();
        let whole = fs::read(setting.cache()).unwrap();
        for length in [0, 5, whole.len() - 1] {
            fs::write(setting.cache(), &whole[..length]).unwrap();
            assert_eq!(setting.last(), first);
            assert_eq!(fs::read(setting.cache()).unwrap(), whole);
        }
    }

    #[test]
    fn samples_may_have_several_pictures() {
        let setting = Setting::new();
        let encoder = Encoder { tokenizer: &setting.tokenizer, size: 8, device: &Device::flex() };
        let grey = |level: u64| RgbImage::from_pixel(8, 8, image::Rgb([level as u8 * 80; 3]));
        let pairs = CodeCache::encode(3, encoder, |i| Ok(([grey(i), grey(3 - i)], i))).unwrap();
        let single = CodeCache::encode(4, encoder, |i| Ok(([grey(i)], i))).unwrap();
        for index in 0..6 {
            let (i, ([before, after], &kept)) = (index % 3, pairs.get(index));
            assert_eq!(kept, i);
            assert_eq!([before, after], [single.get(i).0[0], single.get(3 - i).0[0]]);
        }
        assert!(CodeCache::encode(0, encoder, |i| Ok(([grey(i)], i))).is_err());
    }
}
