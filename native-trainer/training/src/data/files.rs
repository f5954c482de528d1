//! A user's own files as pictures, edits and prompts.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use unigen_core::picture::Picture;

use super::held_out::{HeldOut, Split, drawn};
use super::index::ShardIndex;
use super::paths::expand;
use super::{Annotation, Captioned, Edit, Edits, Pictures, Prompt, Prompts};

/// The samples of WebDataset shards and jsonl files ([`super::record`]).
pub struct Files(ShardIndex);

impl Files {
    /// Opens `files`, which the setting `setting` lists.
    ///
    /// # Errors
    /// If a file cannot be read or none has a sample.
    pub fn open(files: &[PathBuf], setting: &str) -> Result<Self> {
        let index = ShardIndex::open(files)?;
        ensure!(!index.is_empty(), "the files of {setting} have no samples");
        Ok(Self(index))
    }

    /// About `count` texts called `text` of the first of `files`, which is opened alone because there may be many.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn texts_of(files: &[PathBuf], text: &str, count: u64) -> Result<Vec<String>> {
        let first = expand(files)?.into_iter().take(1).collect::<Vec<_>>();
        let index = ShardIndex::open(&first)?;
        let count = index.len().min(count as usize);
        Ok((0..count).filter_map(|number| index.record(number).text(text).ok()).collect())
    }

    /// Opens `files`, which the setting `setting` lists, without the samples that `held_out` takes for validation.
    /// Of files of their own, those samples are held out that have the text `text`, such as `caption`.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open); if the share is out of range.
    pub fn split(files: &[PathBuf], setting: &str, held_out: &HeldOut, text: &str) -> Result<Split<Self>> {
        held_out.check()?;
        let Self(all) = Self::open(files, setting)?;
        let (training, validation) = match held_out {
            HeldOut::Share(share) => {
                let identity = |index| all.record(index).identity();
                let held = drawn((0..all.len()).map(identity), *share);
                (all.part(|index| !held[index]), all.part(|index| held[index]))
            }
            HeldOut::Files(files) => {
                let own = ShardIndex::open(files)?;
                let validation = own.part(|index| own.record(index).text(text).is_ok());
                (all, validation)
            }
        };
        if let HeldOut::Share(share) = held_out
            && *share > 0.0
            && validation.is_empty()
        {
            eprintln!(
                "{setting}: data.validation = {share} holds out none of {} samples, so they are not validated; set it \
                 higher to see how the model does on others",
                training.len()
            );
        }
        let held_out = (!validation.is_empty()).then(|| Arc::new(Self(validation)));
        Ok(Split { training: Arc::new(Self(training)), held_out })
    }

    /// Number of samples.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads sample `index` by `read`, see [`ShardIndex::usable`].
    ///
    /// # Errors
    /// The errors of [`ShardIndex::usable`].
    pub fn usable<T>(
        &self,
        index: u64,
        read: impl Fn(&super::record::Record) -> Result<T, super::ShardError>,
    ) -> Result<T> {
        self.0.usable(index, |index| read(&self.0.record(index)))
    }
}

/// A caption from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text(String);

/// The key of a caption in [`Annotation::record`].
const TEXT: &str = "Text";

impl Annotation for Text {
    fn caption(&self, _: u64) -> String {
        self.0.clone()
    }

    fn record(&self) -> Value {
        json!({ TEXT: self.0 })
    }
}

impl Pictures for Files {
    fn name(&self) -> String {
        self.0.name()
    }

    fn count(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    /// An unusable sample is reported and skipped.
    fn captioned(&self, index: u64, _: [u32; 2]) -> Result<Captioned> {
        let sample = self.0.usable(index, |index| self.0.read(index))?;
        Ok(Captioned { picture: sample.image, annotation: Arc::new(Text(sample.caption)) })
    }

    fn texts(&self, count: u64) -> Result<Vec<String>> {
        let captions =
            (0..count.min(self.len())).filter_map(|index| self.0.record(index as usize).text("caption").ok());
        Ok(captions.collect())
    }

    fn annotation(&self, record: Value) -> Result<Arc<dyn Annotation>> {
        let text = record.get(TEXT).and_then(Value::as_str).context("the record is not a caption")?;
        Ok(Arc::new(Text(text.to_owned())))
    }
}

impl Edits for Files {
    fn name(&self) -> String {
        self.0.name()
    }

    fn count(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn read(&self, index: u64, size: u32) -> Result<Edit> {
        self.usable(index, |record| {
            Ok(Edit {
                before: Picture::square(&record.picture("before")?, size),
                instruction: record.text("instruction")?,
                after: Picture::square(&record.picture("after")?, size),
                description: record.text("description")?,
            })
        })
    }
}

impl Prompts for Files {
    fn count(&self) -> Option<u64> {
        Some(self.len())
    }

    fn get(&self, index: u64) -> Result<Prompt> {
        self.usable(index, |record| {
            let text = record.text("prompt")?;
            let description = record.text("description").unwrap_or_else(|_| text.clone());
            Ok(Prompt { text, description })
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ShardWriter;
    use super::*;
    use image::RgbImage;
    use std::path::Path;
    use unigen_core::text::MAX_TEXT_BYTES;

    /// A shard in `folder` of grey pictures, 12 x 8 pixels, each captioned by its number; `None` is a broken picture.
    pub fn shard(folder: &Path, pictures: &[Option<u8>]) -> Vec<PathBuf> {
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
        vec![folder.join("own-000000.tar")]
    }

    fn open(files: &[PathBuf]) -> Result<Box<dyn Pictures>> {
        Ok(Box::new(Files::open(files, "data.shards")?))
    }

    fn seen(source: &dyn Pictures, index: u64) -> (u8, String) {
        let Captioned { picture, annotation } = source.square(index, 8).unwrap();
        assert_eq!(picture.dimensions(), (8, 8));
        assert_eq!(source.picture(index, 8).unwrap(), picture);
        (picture.get_pixel(4, 4)[0], annotation.caption(index))
    }

    #[test]
    fn an_index_beyond_the_last_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let source = open(&shard(folder.path(), &[Some(10), Some(20), Some(30)])).unwrap();
        assert_eq!(source.count(), Some(3));
        for index in [1, 4, 3_000_001] {
            assert_eq!(seen(&*source, index), (20, "picture 1".into()));
        }
        assert_eq!(source.texts(100).unwrap(), ["picture 0", "picture 1", "picture 2"]);
    }

    #[test]
    fn a_bad_sample_is_passed_over_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let source = open(&shard(folder.path(), &[Some(10), None, None, Some(40), None])).unwrap();
        for (index, wanted) in [(0, 0), (1, 3), (2, 3), (3, 3), (4, 0), (6, 3)] {
            assert_eq!(seen(&*source, index).1, format!("picture {wanted}"), "{index}");
        }
        // Texts are read without their pictures.
        assert_eq!(source.texts(100).unwrap().len(), 5);
        let broken = tempfile::tempdir().unwrap();
        let source = open(&shard(broken.path(), &[None, None])).unwrap();
        let error = format!("{:#}", source.square(1, 8).err().unwrap());
        for part in ["samples in a row", "own-000000.tar", "\"001\"", "cannot be decoded"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn shards_without_samples_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.tar");
        std::fs::write(&path, [0; 1024]).unwrap();
        let error = open(&[path]).err().unwrap();
        assert!(error.to_string().contains("data.shards"), "{error}");
    }

    #[test]
    fn a_caption_is_cut_where_no_model_reads_on() {
        let folder = tempfile::tempdir().unwrap();
        let png = {
            let mut png = std::io::Cursor::new(Vec::new());
            RgbImage::new(8, 8).write_to(&mut png, image::ImageFormat::Png).unwrap();
            png.into_inner()
        };
        let mut writer = ShardWriter::create(folder.path(), "long", 1).unwrap();
        // The limit is not a multiple of this character's bytes.
        writer.write("a", &png, &"果".repeat(MAX_TEXT_BYTES), &()).unwrap();
        writer.finish().unwrap();
        let files = vec![folder.path().join("long-000000.tar")];
        let caption = open(&files).unwrap().square(0, 8).unwrap().annotation.caption(0);
        assert_eq!(caption, "果".repeat(MAX_TEXT_BYTES / 3));
    }
}
