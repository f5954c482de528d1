//! Edits by index: the sticker world's, drawn on the fly, or a user's own.

use anyhow::{Result, ensure};
use image::RgbImage;
use std::path::PathBuf;
use unigen_core::picture::Picture;

use super::shards::ShardIndex;
use super::stickers::{EditKind, Renderer, Split, edit_of};

/// Edits by index; an index beyond the last begins anew.
pub enum EditSource {
    /// Edits of scenes of a split, without end, of these kinds equally often.
    Stickers { renderer: Renderer, split: Split, seed: u64, kinds: Vec<EditKind> },
    /// Samples of shards or jsonl files: pictures `before` and `after`, texts `instruction` and `description`.
    Own(ShardIndex),
}

/// An edit with its result.
pub struct EditSample {
    pub before: RgbImage,
    pub instruction: String,
    pub after: RgbImage,
    /// What the picture after the edit shows.
    pub description: String,
}

impl EditSource {
    /// The edits in these files, or without any the sticker world's training edits of `kinds`.
    ///
    /// # Errors
    /// Where a file cannot be read or none has a sample; where `kinds` are needed and there are none.
    pub fn open(own: &[PathBuf], seed: u64, kinds: &[EditKind]) -> Result<Self> {
        if own.is_empty() {
            ensure!(!kinds.is_empty(), "edit_kinds is empty; name kinds of edit, such as \"add\"");
            return Ok(Self::stickers(Split::Train, seed, kinds));
        }
        let index = ShardIndex::open(own)?;
        ensure!(!index.is_empty(), "the files of edits have no samples; check triples");
        Ok(Self::Own(index))
    }

    /// Edits that no training shows.
    pub fn held_out(seed: u64) -> Self {
        Self::stickers(Split::Validation, seed, &EditKind::ALL)
    }

    fn stickers(split: Split, seed: u64, kinds: &[EditKind]) -> Self {
        Self::Stickers { renderer: Renderer::new(), split, seed, kinds: kinds.into() }
    }

    /// What tells this source from others.
    pub fn name(&self) -> String {
        match self {
            Self::Stickers { seed, split, kinds, .. } => format!("edits {seed} {split:?} {kinds:?}"),
            Self::Own(index) => index.name(),
        }
    }

    /// Number of edits, none where there is no end.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Stickers { .. } => None,
            Self::Own(index) => Some(index.len() as u64),
        }
    }

    /// Whether there are no edits.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Edit `index`, its pictures square and of `size` pixels a side.
    ///
    /// # Errors
    /// Those of [`ShardIndex::usable`].
    pub fn read(&self, index: u64, size: u32) -> Result<EditSample> {
        match self {
            Self::Stickers { renderer, split, seed, kinds } => {
                let edit = edit_of(kinds, *split, *seed, index);
                let [before, after] =
                    [&edit.before, &edit.after].map(|scene| renderer.render(scene, size, size));
                let (instruction, description) = (edit.instruction, edit.description);
                Ok(EditSample { before, instruction, after, description })
            }
            Self::Own(own) => own.usable(index, |index| {
                let record = own.record(index)?;
                Ok(EditSample {
                    before: Picture::square(&record.picture("before")?, size),
                    instruction: record.text("instruction")?,
                    after: Picture::square(&record.picture("after")?, size),
                    description: record.text("description")?,
                })
            }),
        }
    }
}
