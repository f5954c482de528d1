//! Writes scenes as WebDataset shards.

use anyhow::{Context, Result, ensure};
use image::{ImageError, ImageFormat, RgbImage};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use unigen_runs::sheet;
use unigen_training::data::{MAX_SIDE, ShardWriter};

use crate::world::{Domain, Renderer, Scene, Scope, Split, description, example_at};

/// Number of samples in a shard.
const PER_SHARD: usize = 4096;
/// Number of samples that are drawn and packed at a time.
const BATCH: u64 = 256;
/// The preview sheet: columns, pictures, and pixels a side of each.
const PREVIEW: (usize, u64, u32) = (8, 48, 160);

/// The content of a sample's .json file.
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

/// Writes `count` training scenes, `size` x `size` pixels, as shards `stickers-000000.tar`, `stickers-000001.tar`, ..,
/// and a sheet of the first ones as `preview.png`. Calls `progress` with the number of samples written so far.
///
/// # Errors
/// If a file cannot be written, if `size` is not 1 to [`MAX_SIDE`], or if the folder already holds shards. Old shards
/// could otherwise stay among the new ones.
pub fn write_stickers(
    out: &Path,
    count: u64,
    seed: u64,
    size: u32,
    scope: Scope,
    mut progress: impl FnMut(u64),
) -> Result<()> {
    ensure!(
        (1..=MAX_SIDE).contains(&size),
        "the size of the pictures is {size}; choose 1 to {MAX_SIDE} pixels, such as 96"
    );
    scope.check()?;
    let domain = Domain { scope, split: Split::Train };
    let renderer = Renderer::new();
    let mut writer = ShardWriter::create(out, "stickers", PER_SHARD)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    let present = fs::read_dir(out).with_context(|| format!("cannot read the folder {}", out.display()))?;
    for entry in present {
        let path = entry.with_context(|| format!("cannot read the folder {}", out.display()))?.path();
        ensure!(
            path.extension().is_none_or(|extension| extension != "tar"),
            "the folder already holds shards, such as {}; choose another folder, or remove them first",
            path.display()
        );
    }
    for start in (0..count).step_by(BATCH as usize) {
        let end = (start + BATCH).min(count);
        let batch: Vec<_> = (start..end)
            .into_par_iter()
            .map(|index| {
                let (scene, caption) = example_at(domain, seed, index);
                let png = encode_png(&renderer.render(&scene, size, size))?;
                let (boxes, description) = (scene.boxes(), description(&scene));
                Ok((png, caption, StickerRecord { seed, index, scene, boxes, description }))
            })
            .collect::<Result<_, ImageError>>()?;
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
            let (scene, caption) = example_at(domain, seed, index);
            (renderer.render(&scene, side, side), caption)
        })
        .collect();
    let preview = out.join("preview.png");
    fs::write(&preview, encode_png(&sheet(&cells, columns, 1))?)
        .with_context(|| format!("cannot write {}", preview.display()))
}

fn encode_png(image: &RgbImage) -> Result<Vec<u8>, ImageError> {
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use unigen_training::data::ShardIndex;

    fn shards(dir: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "tar")).collect();
        paths.sort();
        paths
    }

    #[test]
    fn sticker_shards_hold_their_scenes() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut seen = 0;
        write_stickers(dir.path(), 20, 9, 48, Scope::default(), |done| seen = done)
            .expect("room on the disk");
        assert_eq!(seen, 20);
        assert!(dir.path().join("preview.png").is_file());
        let read = ShardIndex::open(&shards(dir.path())).expect("whole shards");
        assert_eq!(read.len(), 20);
        for index in 0..20 {
            let sample = read.read(index).expect("a whole sample");
            let (scene, caption) = example_at(Split::Train, 9, index as u64);
            let record: StickerRecord =
                serde_json::from_value(sample.json.expect("a .json")).expect("a record");
            assert_eq!((record.scene, sample.caption), (scene.clone(), caption));
            assert_eq!(sample.image, Renderer::new().render(&scene, 48, 48));
        }
    }

    #[test]
    fn shards_of_another_run_are_neither_mixed_nor_lost() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = ShardWriter::create(dir.path(), "some", 3).expect("a folder");
        let png = encode_png(&RgbImage::new(5, 3)).expect("a PNG");
        for value in 0..8 {
            writer.write(&format!("{value:03}"), &png, "a picture", &value).expect("room on the disk");
        }
        writer.finish().expect("room on the disk");
        let before = shards(dir.path());
        let error = write_stickers(dir.path(), 2, 9, 48, Scope::default(), |_| ())
            .expect_err("shards are there")
            .to_string();
        assert!(error.contains("some-00000") && error.contains("another folder"), "{error}");
        assert_eq!(shards(dir.path()), before);
        let read = ShardIndex::open(&before).expect("whole shards");
        assert!(read.len() == 8 && (0..8).all(|sample| read.read(sample).is_ok()));
    }
}
