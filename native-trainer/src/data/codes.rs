//! Image codes, computed once and kept in a file: the tokenizer is frozen in every stage after its own.

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use unigen_core::image_tokenizer::{ImageTokenizer, lfq, pixels_from_images};

use super::{Caption, Source};
use crate::run::Progress;
use unigen_core::files::write_atomic;

/// Pictures encoded together.
const BATCH: u64 = 32;

/// The first pictures of a source as codes, with their captions.
pub struct CodeCache {
    tokens: usize,
    codes: Vec<u32>,
    captions: Vec<Caption>,
}

/// What the codes in a file were made from: its first line, as JSON. The codes follow, four bytes each.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Origin {
    /// Checksum of the tokenizer's weights.
    tokenizer: u32,
    source: String,
    size: u32,
    tokens: usize,
    captions: Vec<Caption>,
}

impl CodeCache {
    /// The codes of the first `count` pictures of `source`, `size` pixels a side, by the tokenizer whose weights are the
    /// file `weights`: read from the file `cache` where they are there, else computed and written there.
    ///
    /// # Errors
    /// Where pictures cannot be read or `cache` cannot be written.
    pub fn open(
        cache: &Path,
        source: &Source,
        count: u64,
        size: u32,
        tokenizer: &ImageTokenizer,
        weights: &Path,
        device: &Device,
    ) -> Result<Self> {
        let count = source.len().map_or(count, |len| len.min(count));
        ensure!(count > 0, "no pictures are asked for");
        let bytes = fs::read(weights).with_context(|| format!("cannot read {}", weights.display()))?;
        let side = size as usize / tokenizer.downsampling();
        let mut origin = Origin {
            tokenizer: crc32c::crc32c(&bytes),
            source: source.name(),
            size,
            tokens: side * side,
            captions: Vec::new(),
        };
        if let Some(found) = Self::read(cache, &origin, count) {
            return Ok(found);
        }
        // Before the work, not after it.
        if let Some(folder) = cache.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {} for image codes", folder.display()))?;
        }
        let mut progress = Progress::new("image codes", 0, count);
        let mut codes = Vec::with_capacity(count as usize * origin.tokens);
        for first in (0..count).step_by(BATCH as usize) {
            let batch: Vec<_> = (first..count.min(first + BATCH))
                .into_par_iter()
                .map(|index| source.captioned(index, size))
                .collect::<Result<_>>()?;
            let (pictures, captions): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|one| (one.picture, one.caption)).unzip();
            let encoded = tokenizer.encode(pixels_from_images(&pictures, device)?);
            for image in lfq::codes_from_data(encoded.try_into_data().context("reading image codes")?)? {
                codes.extend(image);
            }
            origin.captions.extend(captions);
            let done = count.min(first + BATCH);
            progress.step(done, done - first, f64::NAN);
        }
        progress.finish();
        let header = serde_json::to_string(&origin)?;
        write_atomic(cache, |out| {
            writeln!(out, "{header}")?;
            out.write_all(bytemuck::cast_slice(&codes))
        })
        .with_context(|| format!("cannot keep the image codes in {}", cache.display()))?;
        Ok(Self { tokens: origin.tokens, codes, captions: origin.captions })
    }

    /// What is in the file, if it is there, whole, and as wanted.
    fn read(cache: &Path, wanted: &Origin, count: u64) -> Option<Self> {
        let mut file = BufReader::new(File::open(cache).ok()?);
        let mut header = String::new();
        file.read_line(&mut header).ok()?;
        let found: Origin = serde_json::from_str(&header).ok()?;
        let captions = found.captions.clone();
        if captions.len() as u64 != count || (Origin { captions: vec![], ..found }) != *wanted {
            return None;
        }
        let mut codes = vec![0_u32; captions.len() * wanted.tokens];
        file.read_exact(bytemuck::cast_slice_mut(&mut codes)).ok()?;
        Some(Self { tokens: wanted.tokens, codes, captions })
    }

    /// Number of pictures.
    pub fn len(&self) -> u64 {
        self.captions.len() as u64
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.captions.is_empty()
    }

    /// The codes, row-major, and the caption of picture `index`; beyond the last it begins anew.
    pub fn get(&self, index: u64) -> (&[u32], &Caption) {
        let index = (index % self.len()) as usize;
        (&self.codes[index * self.tokens..(index + 1) * self.tokens], &self.captions[index])
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::shard;
    use super::*;
    use std::path::PathBuf;
    use tempfile::TempDir;
    use unigen_core::image_tokenizer::TokenizerConfig;

    /// Three pictures of 2 x 2 codes, one of them broken, and a tokenizer.
    struct Setting {
        folder: TempDir,
        source: Source,
        tokenizer: ImageTokenizer,
        weights: PathBuf,
    }

    impl Setting {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let source = Source::open(&shard(folder.path(), &[Some(10), None, Some(200)])).unwrap();
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

        fn open(&self, count: u64) -> CodeCache {
            let (tokenizer, device) = (&self.tokenizer, Device::flex());
            CodeCache::open(&self.cache(), &self.source, count, 8, tokenizer, &self.weights, &device).unwrap()
        }

        /// The codes of the last picture, which a changed byte at the end of the file changes.
        fn last(&self) -> Vec<u32> {
            self.open(10).get(2).0.to_vec()
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
            let picture = setting.source.captioned(index, 8).unwrap();
            let pixels = pixels_from_images(&[picture.picture], &Device::flex()).unwrap();
            let alone = lfq::codes_from_data(setting.tokenizer.encode(pixels).into_data()).unwrap();
            assert_eq!(codes.get(index), (&alone[0][..], &picture.caption));
            assert_eq!(codes.get(index), codes.get(index + 3_000_000));
        }
        assert_eq!(codes.get(1), codes.get(2), "the broken picture is passed over");
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
}
