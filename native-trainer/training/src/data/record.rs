//! One sample of a shard or a line of a jsonl file, by the names of its parts.
//!
//! | Samples of | `NAME.jsonl`, a line | `NAME.tar` (WebDataset), the files of a sample |
//! |---|---|---|
//! | captions | `{"image": PATH, "caption": TEXT}` | `KEY.png`, `KEY.txt` |
//! | questions | `{"image": PATH, "question": TEXT, "answer": TEXT}` | `KEY.png`, `KEY.json` with `question`, `answer` |
//! | edits | `{"before": PATH, "instruction": TEXT, "after": PATH, "description": TEXT}` | `KEY.before.png`, `KEY.after.png`, `KEY.json` with `instruction`, `description` |
//!
//! `file_name` and `text` are other names of `image` and `caption`, as in Hugging Face's image folders. A caption may
//! also be in `KEY.json`. Paths are relative to the folder of the jsonl file. Pictures may have any format that the
//! program reads. Texts are UTF-8, with or without a byte-order mark; an empty text counts as missing.

use image::RgbImage;
use serde_json::Value;
use std::path::{Path, PathBuf};
use unigen_core::file_kind::recognise;
use unigen_core::picture::Picture;
use unigen_core::text::MAX_TEXT_BYTES;
use unigen_core::{Error, json};

use super::error::ShardError;
use super::tar_index::{Entry, PICTURES, Part, Shard};

/// Largest size in bytes of a text or a .json file.
const MAX_TEXT_FILE: u64 = 16 << 20;

/// A sample with nothing read yet.
pub struct Record<'a> {
    /// The shard or the jsonl file.
    pub(super) file: &'a Path,
    /// The key of the sample, or the number of the line.
    pub(super) key: String,
    pub(super) parts: Parts<'a>,
}

/// Where the parts of a sample are.
pub(super) enum Parts<'a> {
    Files(&'a Shard, &'a Entry),
    Line(&'a str),
}

impl Record<'_> {
    /// The picture called `name`: `image`, `before` or `after`.
    ///
    /// # Errors
    /// If the picture is missing or cannot be decoded.
    pub fn picture(&self, name: &str) -> Result<RgbImage, ShardError> {
        let broken = |e: Error| {
            self.broken(format!("the picture \"{name}\" cannot be decoded: {}; {}", e.what, e.fix))
        };
        let missing = || self.broken(format!("has no picture \"{name}\"{}", self.parts.endings()));
        match &self.parts {
            Parts::Files(shard, entry) => {
                let is = |part: &&Part| match part.ending.rsplit_once('.') {
                    None => name == "image" && PICTURES.contains(&part.ending.as_str()),
                    Some((stem, kind)) => stem == name && PICTURES.contains(&kind),
                };
                let part = entry.files.iter().find(is).ok_or_else(missing)?;
                let bytes = shard.read(part, Picture::MAX_FILE).map_err(|what| self.broken(what))?;
                Picture::decode(&bytes).map_err(broken)
            }
            Parts::Line(_) => {
                let json = self.json()?;
                let path = string(&json, name).ok_or_else(missing)?;
                Picture::open(&self.beside(path)).map_err(|e| self.broken(e.to_string()))
            }
        }
    }

    /// The text called `name`: `caption`, `question`, `answer`, `instruction` or `description`. It is cut to the
    /// length that a model can read.
    ///
    /// # Errors
    /// If the text is missing or empty.
    pub fn text(&self, name: &str) -> Result<String, ShardError> {
        let text = match self.file("txt").filter(|_| name == "caption") {
            Some(bytes) => bytes.and_then(|bytes| self.utf8(bytes, "txt"))?,
            None => string(&self.json()?, name).unwrap_or_default().to_owned(),
        };
        let text = text.trim();
        if text.is_empty() {
            let file =
                if name == "caption" && matches!(self.parts, Parts::Files(..)) { " (.txt)" } else { "" };
            return Err(self.broken(format!("has no text \"{name}\"{file}{}", self.parts.endings())));
        }
        Ok(text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned())
    }

    /// The name of the sample's picture or prompt: samples with the same one must not be split between training and
    /// validation. That is the key in a shard, and in a jsonl file the path of the picture.
    pub fn identity(&self) -> String {
        match &self.parts {
            Parts::Files(_, entry) => entry.key.clone(),
            Parts::Line(line) => {
                let json = json::from_slice(line.as_bytes()).unwrap_or_default();
                let named = ["image", "before", "prompt"].into_iter().find_map(|name| string(&json, name));
                named.unwrap_or(line).to_owned()
            }
        }
    }

    /// The line of a jsonl file, or a sample's .json; `null` without one.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> Result<Value, ShardError> {
        let text = match (&self.parts, self.file("json")) {
            (Parts::Line(line), _) => (*line).to_owned(),
            (_, Some(bytes)) => bytes.and_then(|bytes| self.utf8(bytes, "json"))?,
            (_, None) => return Ok(Value::Null),
        };
        json::from_slice(text.as_bytes()).map_err(|e| match &self.parts {
            Parts::Line(_) => self.broken(format!("is not JSON: {e}")),
            Parts::Files(..) => self.broken(format!("the .json file is not JSON: {e}")),
        })
    }

    /// The content of a small file of a sample in a shard, if it has one.
    fn file(&self, ending: &str) -> Option<Result<Vec<u8>, ShardError>> {
        let Parts::Files(shard, entry) = &self.parts else { return None };
        let part = entry.files.iter().find(|part| part.ending == ending)?;
        Some(shard.read(part, MAX_TEXT_FILE).map_err(|what| self.broken(what)))
    }

    fn utf8(&self, bytes: Vec<u8>, ending: &str) -> Result<String, ShardError> {
        utf8(bytes).map_err(|what| self.broken(format!("the .{ending} file {what}")))
    }

    /// A path relative to the folder of the jsonl file. Backslashes count as slashes, as on Windows, if only then the
    /// file exists.
    fn beside(&self, path: &str) -> PathBuf {
        let folder = self.file.with_file_name("");
        let here = folder.join(path);
        let slashes = folder.join(path.replace('\\', "/"));
        if !here.exists() && slashes.exists() { slashes } else { here }
    }

    fn broken(&self, what: String) -> ShardError {
        ShardError::Sample { file: self.file.to_owned(), sample: self.key.clone(), what }
    }
}

impl Parts<'_> {
    /// The list of the files that the sample does have.
    fn endings(&self) -> String {
        match self {
            Parts::Files(_, entry) => {
                let endings = entry.files.iter().map(|part| format!(".{}", part.ending));
                format!("; its files are {}", endings.collect::<Vec<_>>().join(", "))
            }
            Parts::Line(_) => String::new(),
        }
    }
}

/// The string called `name` in JSON, by that name or the one that Hugging Face gives it.
fn string<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    let other = match name {
        "image" => "file_name",
        "caption" => "text",
        name => name,
    };
    [name, other].into_iter().find_map(|name| json.get(name).and_then(Value::as_str))
}

/// The text without its byte-order mark, or what the bytes are if they are not UTF-8.
pub(super) fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    let wrong = match std::str::from_utf8(&bytes) {
        // Latin letters in UTF-16 are valid UTF-8 with a zero byte after each.
        Ok(text) => text.find('\0'),
        Err(e) => Some(e.valid_up_to()),
    };
    match (wrong, recognise(&bytes)) {
        (None, _) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
        }
        (_, Some(kind)) => {
            Err(format!("is {}{}", kind.name, kind.fix.map(|fix| format!("; {fix}")).unwrap_or_default()))
        }
        (Some(at), None) => Err(format!("is not UTF-8 at byte {at}; save it as UTF-8")),
    }
}
