//! Results that are written as they come, so that an evaluation that was stopped goes on where it was.

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use unigen_core::files::write_atomic;
use unigen_core::picture::Picture;

/// The folder of an evaluation: `results.jsonl`, a line for each result, and `pictures`.
pub struct Journal {
    folder: PathBuf,
    file: File,
    results: HashMap<String, Value>,
}

impl Journal {
    const RESULTS: &str = "results.jsonl";
    /// The folder of the pictures, beside the results.
    pub const PICTURES: &str = "pictures";

    /// Opens the folder of an evaluation with the settings `of`, or begins it. A last line that a stop cut off is
    /// dropped.
    ///
    /// # Errors
    /// If the folder holds an evaluation with other settings, or cannot be written.
    pub fn open(folder: &Path, of: &impl Serialize) -> Result<Self> {
        let path = folder.join(Self::RESULTS);
        let cannot = || format!("cannot write the results to {}", path.display());
        fs::create_dir_all(folder.join(Self::PICTURES)).with_context(cannot)?;
        let of = json!({ "evaluation": of });
        let text =
            if path.exists() { fs::read_to_string(&path).with_context(cannot)? } else { String::new() };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines();
        let mut results = HashMap::new();
        if let Some(first) = lines.next() {
            ensure!(
                serde_json::from_str::<Value>(first).ok().as_ref() == Some(&of),
                "{} holds an evaluation with other settings; choose another folder",
                folder.display()
            );
            for line in lines {
                let mut result: Value = serde_json::from_str(line)
                    .with_context(|| format!("{} is damaged; choose another folder", path.display()))?;
                if let Some(Value::String(key)) = result.get_mut("key").map(Value::take) {
                    results.insert(key, result["result"].take());
                }
            }
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&path).with_context(cannot)?;
        if whole.len() < text.len() {
            file.set_len(whole.len() as u64).with_context(cannot)?;
        }
        if whole.is_empty() {
            writeln!(file, "{of}").with_context(cannot)?;
        }
        Ok(Self { folder: folder.to_owned(), file, results })
    }

    /// The result called `key`, if there is one.
    ///
    /// # Errors
    /// If it is not a result of this kind.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let of = |value: &Value| serde_json::from_value(value.clone());
        self.results.get(key).map(of).transpose().with_context(|| format!("the result {key} is damaged"))
    }

    /// Adds a result.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, key: &str, result: &impl Serialize) -> Result<()> {
        let result = serde_json::to_value(result)?;
        let line = json!({ "key": key, "result": &result });
        writeln!(self.file, "{line}").context("cannot write a result; is the disk full?")?;
        self.results.insert(key.to_owned(), result);
        Ok(())
    }

    /// Where the picture called `key` lies, relative to the folder.
    pub fn picture_path(key: &str) -> String {
        format!("{}/{key}.png", Self::PICTURES)
    }

    /// The picture called `key`, if it was drawn.
    ///
    /// # Errors
    /// If it cannot be decoded.
    pub fn picture(&self, key: &str) -> Result<Option<RgbImage>> {
        let path = self.folder.join(Self::picture_path(key));
        if path.exists() { Ok(Some(Picture::open(&path)?)) } else { Ok(None) }
    }

    /// Keeps a picture.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_picture(&self, key: &str, picture: &RgbImage) -> Result<()> {
        let mut png = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut png, image::ImageFormat::Png).context("cannot encode a picture")?;
        Ok(write_atomic(&self.folder.join(Self::picture_path(key)), |out| out.write_all(png.get_ref()))?)
    }

    /// Writes `report.json` and the page `report.html` beside the results.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn finish(&self, report: &impl Serialize, page: &str) -> Result<()> {
        let json = serde_json::to_vec_pretty(report)?;
        write_atomic(&self.folder.join("report.json"), |out| out.write_all(&json))?;
        Ok(write_atomic(&self.folder.join("report.html"), |out| out.write_all(page.as_bytes()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn results_and_pictures_outlast_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/place");
        let mut journal = Journal::open(&path, &"settings").unwrap();
        assert_eq!(journal.get::<f64>("a").unwrap(), None);
        journal.add("a", &4.5).unwrap();
        journal.add("b", &json!([1, "x"])).unwrap();
        let picture = RgbImage::from_pixel(3, 2, Rgb([1, 200, 7]));
        journal.add_picture("a", &picture).unwrap();
        drop(journal);
        let results = path.join(Journal::RESULTS);
        let text = fs::read_to_string(&results).unwrap();
        fs::write(&results, format!("{text}{{\"key\": \"c\", \"resu")).unwrap();
        let mut journal = Journal::open(&path, &"settings").unwrap();
        assert_eq!(journal.get::<f64>("a").unwrap(), Some(4.5));
        assert_eq!(journal.get::<Value>("b").unwrap(), Some(json!([1, "x"])));
        assert_eq!(journal.get::<Value>("c").unwrap(), None, "it was cut off");
        assert_eq!(journal.picture("a").unwrap().unwrap(), picture);
        assert!(journal.picture("b").unwrap().is_none());
        journal.add("c", &true).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path, &"settings").unwrap().get::<bool>("c").unwrap(), Some(true));
        let error = Journal::open(&path, &"others").err().unwrap().to_string();
        assert!(error.contains("other settings"), "{error}");
    }
}
