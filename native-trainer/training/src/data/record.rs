//! One sample of a shard or a line of a jsonl file, by the names of its parts.
//!
//! | Samples of | `NAME.jsonl`, a line | `NAME.tar` (WebDataset), the files of a sample |
//! |---|---|---|
//! | captions | `{"image": PATH, "caption": TEXT}` | `KEY.png`, `KEY.txt` |
//! | questions | `{"image": PATH, "question": TEXT, "answer": TEXT}` | `KEY.png`, `KEY.json` with `question`, `answer` |
//! | edits | `{"before": PATH, "instruction": TEXT, "after": PATH, "description": TEXT}` | `KEY.before.png`, `KEY.after.png`, `KEY.json` with `instruction`, `description` |
//!
//! Paths are as seen from the jsonl file's folder; pictures may be of any kind that the program reads.

use image::RgbImage;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use unigen_core::picture::Picture;
use unigen_core::text::MAX_TEXT_BYTES;

use super::error::ShardError;

/// Extensions of pictures.
pub(super) const PICTURES: [&str; 5] = ["png", "jpg", "jpeg", "webp", "bmp"];

/// A sample whose pictures are not yet decoded.
#[derive(Debug)]
pub struct Record {
    /// The shard or the jsonl file.
    pub(super) file: PathBuf,
    /// The sample's key, or the line.
    pub(super) key: String,
    /// Extensions and contents of the files of a shard's sample.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// The line of a jsonl file, or the sample's .json.
    pub(super) json: Value,
}

impl Record {
    /// The picture called `name`: `image`, `before` or `after`.
    ///
    /// # Errors
    /// Where it is missing or cannot be decoded.
    pub fn picture(&self, name: &str) -> Result<RgbImage, ShardError> {
        let is = |extension: &str| match extension.rsplit_once('.') {
            None => name == "image" && PICTURES.contains(&extension),
            Some((stem, kind)) => stem == name && PICTURES.contains(&kind),
        };
        let in_shard = self.files.iter().find(|(extension, _)| is(extension));
        let bytes = match (in_shard, self.json.get(name).and_then(Value::as_str)) {
            (Some((_, bytes)), _) => bytes,
            (None, Some(path)) if self.files.is_empty() => {
                let path = self.file.with_file_name("").join(path);
                &fs::read(&path).map_err(|e| self.broken(format!("cannot read {}: {e}", path.display())))?
            }
            _ => return Err(self.broken(format!("has no picture \"{name}\""))),
        };
        Picture::decode(bytes)
            .map_err(|e| self.broken(format!("the picture \"{name}\" {}; {}", e.what, e.fix)))
    }

    /// The text called `name`: `caption`, `question`, `answer`, `instruction` or `description`; cut where no model reads
    /// on.
    ///
    /// # Errors
    /// Where it is missing or empty.
    pub fn text(&self, name: &str) -> Result<String, ShardError> {
        let text = self.json.get(name).and_then(Value::as_str).map(str::trim).unwrap_or_default();
        if text.is_empty() {
            return Err(self.broken(format!("has no text \"{name}\"")));
        }
        Ok(text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned())
    }

    fn broken(&self, what: String) -> ShardError {
        ShardError::Sample { shard: self.file.clone(), key: self.key.clone(), what }
    }
}
