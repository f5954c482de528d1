//! Captioned pictures by index: the sticker world, drawn on the fly, or a user's own shards.

use anyhow::{Result, ensure};
use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use unigen_core::picture::Picture;
use unigen_core::text::MAX_TEXT_BYTES;

use super::shards::ShardIndex;
use super::stickers::{Renderer, Scene, Split, caption, edit_at, questions, rng_at, scene_at};

/// The version of the sticker world: raised when a seed gives other scenes, so that codes of the old ones are not used.
const WORLD: u32 = 4;

/// Where captioned pictures come from, the section `[data]` of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    /// Captioned pictures as WebDataset shards or jsonl files ([`super::record`]); none: the sticker world's training split.
    pub shards: Vec<PathBuf>,
    /// What the sticker world's scenes are drawn from.
    pub seed: u64,
}

/// Captioned pictures by index; an index beyond the last begins anew.
pub enum Source {
    /// Scenes of a split, without end.
    Stickers { renderer: Renderer, split: Split, seed: u64 },
    /// Samples of shards.
    Shards(ShardIndex),
}

impl Source {
    /// Opens what `settings` name.
    ///
    /// # Errors
    /// Where a shard cannot be read or none has a sample.
    pub fn open(settings: &SourceSettings) -> Result<Self> {
        if settings.shards.is_empty() {
            let (split, seed) = (Split::Train, settings.seed);
            return Ok(Self::Stickers { renderer: Renderer::new(), split, seed });
        }
        let index = ShardIndex::open(&settings.shards)?;
        ensure!(!index.is_empty(), "the shards have no samples; check data.shards");
        Ok(Self::Shards(index))
    }

    /// Scenes that no training shows.
    pub fn held_out(seed: u64) -> Self {
        Self::Stickers { renderer: Renderer::new(), split: Split::Validation, seed }
    }

    /// What tells this source from others.
    pub fn name(&self) -> String {
        match self {
            Self::Stickers { seed, split: Split::Train, .. } => format!("stickers {WORLD} {seed}"),
            Self::Stickers { seed, split, .. } => format!("stickers {WORLD} {seed} {split:?}"),
            Self::Shards(index) => index.name(),
        }
    }

    /// Number of samples, none where there is no end.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Stickers { .. } => None,
            Self::Shards(index) => Some(index.len() as u64),
        }
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Picture `index`, square, of `size` pixels a side. Of four sticker pictures three are scenes and one is what an
    /// edit makes of a scene. An unusable sample of a shard is reported and passed over for the next.
    ///
    /// # Errors
    /// Those of [`ShardIndex::usable`].
    pub fn picture(&self, index: u64, size: u32) -> Result<RgbImage> {
        match self {
            Self::Stickers { renderer, split, seed } => {
                let scene = match index % 4 {
                    3 => edit_at(*split, *seed, index).after,
                    _ => scene_at(*split, *seed, index),
                };
                Ok(renderer.render(&scene, size, size))
            }
            Self::Shards(_) => Ok(self.captioned(index, size)?.picture),
        }
    }

    /// Picture `index`, square, of `size` pixels a side, with its caption; errors as [`Self::picture`].
    pub fn captioned(&self, index: u64, size: u32) -> Result<Captioned> {
        let Captioned { picture, caption } = self.uncut(index, [size; 2])?;
        Ok(Captioned { picture: Picture::square(&picture, size), caption })
    }

    /// Picture `index` with its caption: a scene drawn in `[width, height]` pixels, or a shard's picture as it is. Errors
    /// as [`Self::picture`].
    pub fn uncut(&self, index: u64, [width, height]: [u32; 2]) -> Result<Captioned> {
        match self {
            Self::Stickers { renderer, split, seed } => {
                let scene = scene_at(*split, *seed, index);
                let picture = renderer.render(&scene, width, height);
                Ok(Captioned { picture, caption: Caption::Scene(scene) })
            }
            Self::Shards(shards) => {
                let sample = shards.usable(index, |index| shards.read(index))?;
                let mut caption = sample.caption;
                // No model reads so far.
                caption.truncate(caption.floor_char_boundary(MAX_TEXT_BYTES));
                Ok(Captioned { picture: sample.image, caption: Caption::Text(caption) })
            }
        }
    }

    /// About `count` texts to learn a vocabulary from: captions, and for stickers questions and instructions too.
    ///
    /// # Errors
    /// As [`Self::picture`].
    pub fn texts(&self, count: u64) -> Result<Vec<String>> {
        match self {
            Self::Stickers { split, seed, .. } => Ok((0..count / 4)
                .flat_map(|index| {
                    let mut rng = rng_at(!seed, index);
                    let scene = scene_at(*split, *seed, index);
                    let edit = edit_at(*split, *seed, index);
                    let mut texts = vec![caption(&scene, &mut rng), edit.instruction, edit.description];
                    texts.extend(
                        questions(&scene, &mut rng)
                            .into_iter()
                            .take(1)
                            .flat_map(|qa| [qa.question, qa.answer]),
                    );
                    texts
                })
                .collect()),
            Self::Shards(shards) => {
                let usable = (0..count.min(shards.len() as u64)).filter_map(|i| shards.read(i as usize).ok());
                Ok(usable.map(|sample| sample.caption).collect())
            }
        }
    }
}

/// A picture with what can be said about it.
pub struct Captioned {
    pub picture: RgbImage,
    pub caption: Caption,
}

/// What can be said about a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Caption {
    /// A text.
    Text(String),
    /// A scene, put into other words at each visit.
    Scene(Scene),
}

impl Caption {
    /// The caption of visit number `visit`.
    pub fn text(&self, visit: u64) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Scene(scene) => caption(scene, &mut rng_at(0x5EED_CA97, visit)),
        }
    }
}

/// One of `from`, drawn for `visit`.
pub fn pick_at<T>(from: &[T], visit: u64) -> &T {
    &from[rng_at(0x5EED_91C4, visit).random_range(0..from.len())]
}

/// Width and height of a picture in pixels: half of the time a square of `size`, else each side alone two thirds to three
/// halves of it.
pub fn any_shape(size: u32, rng: &mut impl Rng) -> [u32; 2] {
    if rng.random_bool(0.5) {
        return [size; 2];
    }
    [(); 2].map(|()| ((size as f32 * rng.random_range(2.0 / 3.0..1.5)) as u32).max(1))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::shards::ShardWriter;
    use super::*;
    use std::path::Path;

    /// A shard in `folder` of grey pictures, 12 x 8 pixels, captioned by their number; `None` is a broken one.
    pub fn shard(folder: &Path, pictures: &[Option<u8>]) -> SourceSettings {
        let mut writer = ShardWriter::create(folder, "own", 100).unwrap();
        for (number, picture) in pictures.iter().enumerate() {
            let mut png = std::io::Cursor::new(Vec::new());
            let image = RgbImage::from_pixel(12, 8, image::Rgb([picture.unwrap_or(0); 3]));
            image.write_to(&mut png, image::ImageFormat::Png).unwrap();
            let mut png = png.into_inner();
            png.truncate(if picture.is_some() { png.len() } else { 20 });
            writer.write(&format!("{number:03}"), &png, &format!("picture {number}"), &()).unwrap();
        }
        writer.finish().unwrap();
        SourceSettings { shards: vec![folder.join("own-000000.tar")], seed: 0 }
    }

    fn seen(source: &Source, index: u64) -> (u8, String) {
        let Captioned { picture, caption } = source.captioned(index, 8).unwrap();
        assert_eq!(picture.dimensions(), (8, 8));
        assert_eq!(source.picture(index, 8).unwrap(), picture);
        (picture.get_pixel(4, 4)[0], caption.text(index))
    }

    #[test]
    fn an_index_beyond_the_last_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::open(&shard(folder.path(), &[Some(10), Some(20), Some(30)])).unwrap();
        assert_eq!((source.len(), source.is_empty()), (Some(3), false));
        for index in [1, 4, 3_000_001] {
            assert_eq!(seen(&source, index), (20, "picture 1".into()));
        }
        assert_eq!(source.texts(100).unwrap(), ["picture 0", "picture 1", "picture 2"]);
        assert_eq!(Source::open(&SourceSettings::default()).unwrap().len(), None);
    }

    #[test]
    fn a_bad_sample_is_passed_over_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::open(&shard(folder.path(), &[Some(10), None, None, Some(40), None])).unwrap();
        for (index, wanted) in [(0, 0), (1, 3), (2, 3), (3, 3), (4, 0), (6, 3)] {
            assert_eq!(seen(&source, index).1, format!("picture {wanted}"), "{index}");
        }
        assert_eq!(source.texts(100).unwrap(), ["picture 0", "picture 3"]);
        let broken = tempfile::tempdir().unwrap();
        let source = Source::open(&shard(broken.path(), &[None, None])).unwrap();
        let error = format!("{:#}", source.captioned(1, 8).err().unwrap());
        for part in ["samples in a row", "own-000000.tar", "\"001\"", "cannot be decoded"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn shards_without_samples_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.tar");
        std::fs::write(&path, [0; 1024]).unwrap();
        let error = Source::open(&SourceSettings { shards: vec![path], seed: 0 }).err().unwrap();
        assert!(error.to_string().contains("data.shards"), "{error}");
    }

    #[test]
    fn a_caption_is_cut_where_no_model_reads_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = shard(folder.path(), &[Some(1)]);
        let png = {
            let mut png = std::io::Cursor::new(Vec::new());
            RgbImage::new(8, 8).write_to(&mut png, image::ImageFormat::Png).unwrap();
            png.into_inner()
        };
        let mut writer = ShardWriter::create(folder.path(), "long", 1).unwrap();
        // Not a whole number of these fits.
        writer.write("a", &png, &"果".repeat(MAX_TEXT_BYTES), &()).unwrap();
        writer.finish().unwrap();
        settings.shards = vec![folder.path().join("long-000000.tar")];
        let caption = Source::open(&settings).unwrap().captioned(0, 8).unwrap().caption.text(0);
        assert_eq!(caption, "果".repeat(MAX_TEXT_BYTES / 3));
    }
}
