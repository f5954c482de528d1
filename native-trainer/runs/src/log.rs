//! The numbers and pictures of a run, for people (`log.jsonl`, `sheets/`) and for TensorBoard (`tb/`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use image::{ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RunFolder;
use super::tensorboard::{self, EventWriter};
use unigen_core::files::write_atomic;

/// The open log of a run.
pub struct RunLog {
    path: PathBuf,
    lines: File,
    events: EventWriter,
    sheets: PathBuf,
}

/// One line of `log.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// Optimiser steps done.
    pub step: u64,
    /// Seconds since 1970.
    pub time: f64,
    /// Numbers by name; a value that was not finite is null.
    #[serde(flatten)]
    pub scalars: Map<String, Value>,
}

/// A file of `sheets/`.
#[derive(Debug, PartialEq)]
pub struct Sheet {
    pub name: String,
    pub step: u64,
    pub path: PathBuf,
}

impl RunLog {
    /// Opens the log so that the next step is the one after `resume_step`. Records of later steps are dropped,
    /// because the run repeats those steps. Without `resume_step` the log starts empty.
    ///
    /// # Errors
    /// If the run folder cannot be read or written.
    pub fn open(folder: &RunFolder, resume_step: Option<u64>) -> Result<Self> {
        let keep = |step: u64| resume_step.is_some_and(|last| step <= last);
        let path = folder.log();
        let error = || format!("cannot prepare the log of the run in {}", folder.root().display());
        keep_lines(&path, keep).with_context(error)?;
        tensorboard::keep_events(&folder.events(), keep).with_context(error)?;
        for sheet in sheets(folder).with_context(error)?.iter().filter(|sheet| !keep(sheet.step)) {
            fs::remove_file(&sheet.path).with_context(error)?;
        }
        let lines = OpenOptions::new().create(true).append(true).open(&path).with_context(error)?;
        let events = EventWriter::create(&folder.events(), now()).with_context(error)?;
        Ok(Self { path, lines, events, sheets: folder.sheets() })
    }

    /// Records named numbers at `step` (optimiser steps done).
    ///
    /// # Errors
    /// If a name is `step` or `time`, which every line already has, or if writing fails.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        if let Some((name, _)) = scalars.iter().find(|(name, _)| ["step", "time"].contains(name)) {
            bail!("a scalar cannot be called {name:?}, because every line of the log already has that key");
        }
        let values = scalars.iter().map(|&(name, value)| (name.to_owned(), Value::from(value))).collect();
        let record = Record { step, time: now(), scalars: values };
        let mut line = serde_json::to_string(&record)?;
        line.push('\n');
        self.lines
            .write_all(line.as_bytes())
            .and_then(|()| self.events.scalars(step, record.time, scalars))
            .with_context(|| format!("cannot log step {step} to {}; is the disk full?", self.path.display()))
    }

    /// Saves `image` as `sheets/NAME-STEP.png` and adds it to TensorBoard. Characters of `name` that are unsafe in
    /// file names become `_`.
    ///
    /// # Errors
    /// If the image is empty or writing fails.
    pub fn image(&mut self, step: u64, name: &str, image: &RgbImage) -> Result<()> {
        let mut png = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
            .with_context(|| format!("cannot encode the image {name:?} of step {step}"))?;
        let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let file = format!("{}-{step:07}.png", name.chars().map(plain).collect::<String>());
        write_atomic(&self.sheets.join(file), |out| out.write_all(&png))?;
        self.events
            .image(step, now(), name, image.dimensions(), &png)
            .with_context(|| format!("cannot log the image {name:?} of step {step}; is the disk full?"))
    }
}

/// Every complete line of the log at `path`, oldest first. Empty if there is no log yet.
///
/// # Errors
/// If the log cannot be read.
pub fn records(path: &Path) -> io::Result<Vec<Record>> {
    Ok(lines(path)?.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The sample sheets of a run, oldest first within a name. Other files are ignored.
///
/// # Errors
/// If the folder cannot be read. An absent folder has no sheets.
pub fn sheets(folder: &RunFolder) -> io::Result<Vec<Sheet>> {
    let entries = match fs::read_dir(folder.sheets()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".png"));
        if let Some((name, step)) = stem.and_then(|stem| stem.rsplit_once('-'))
            && let Ok(step) = step.parse()
        {
            found.push(Sheet { name: name.to_owned(), step, path });
        }
    }
    found.sort_by(|a, b| (&a.name, a.step).cmp(&(&b.name, b.step)));
    Ok(found)
}

/// Rewrites the log with only the lines whose step is kept. A line that a crash cut short is dropped too.
fn keep_lines(path: &Path, keep: impl Fn(u64) -> bool) -> Result<()> {
    let all = lines(path)?;
    if all.is_empty() {
        return Ok(());
    }
    let kept = all.iter().filter(|line| serde_json::from_str::<Record>(line).is_ok_and(|r| keep(r.step)));
    write_atomic(path, |out| {
        for line in kept {
            writeln!(out, "{line}")?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The lines of a file, which a crash may have cut anywhere, even within a character.
fn lines(path: &Path) -> io::Result<Vec<String>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        file => BufReader::new(file?)
            .split(b'\n')
            .map(|line| line.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
            .collect(),
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::tensorboard::tests::{Seen, read};
    use super::*;

    fn run() -> (tempfile::TempDir, RunFolder) {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&place.path().join("run"), "seed = 1", "unigen").unwrap();
        (place, folder)
    }

    fn steps(folder: &RunFolder) -> Vec<u64> {
        records(&folder.log()).unwrap().iter().map(|record| record.step).collect()
    }

    fn curve(folder: &RunFolder) -> Vec<(u64, f32)> {
        let mut seen = read(&folder.events());
        seen.sort_by_key(|event| event.step);
        let value = |event: &Seen| Some((event.step, event.scalar.as_ref()?.1));
        seen.iter().filter_map(value).collect()
    }

    #[test]
    fn resuming_drops_what_came_after_the_checkpoint() {
        let (_place, folder) = run();
        let image = RgbImage::from_pixel(4, 2, image::Rgb([200, 10, 10]));
        let mut log = RunLog::open(&folder, None).unwrap();
        for step in 1..=6 {
            log.scalars(step, &[("loss", 1.0 / step as f64)]).unwrap();
        }
        log.image(3, "samples", &image).unwrap();
        log.image(6, "samples", &image).unwrap();
        drop(log);
        let mut torn = fs::read(folder.log()).unwrap();
        torn.extend(b"{\"step\":2,\"ti\xc3");
        fs::write(folder.log(), torn).unwrap();

        let mut log = RunLog::open(&folder, Some(4)).unwrap();
        assert_eq!(steps(&folder), [1, 2, 3, 4]);
        log.scalars(5, &[("loss", 9.0)]).unwrap();
        assert_eq!(steps(&folder), [1, 2, 3, 4, 5]);
        assert_eq!(curve(&folder), [(1, 1.0), (2, 0.5), (3, 1.0 / 3.0), (4, 0.25), (5, 9.0)]);
        let kept = sheets(&folder).unwrap();
        assert_eq!(
            kept.iter().map(|sheet| (sheet.name.as_str(), sheet.step)).collect::<Vec<_>>(),
            [("samples", 3)]
        );

        drop(log);
        RunLog::open(&folder, None).unwrap();
        assert!(
            steps(&folder).is_empty() && curve(&folder).is_empty() && sheets(&folder).unwrap().is_empty()
        );
    }

    #[test]
    fn odd_values_and_names() {
        let (_place, folder) = run();
        let mut log = RunLog::open(&folder, None).unwrap();
        log.scalars(1, &[("loss", f64::NAN), ("grad/norm", f64::INFINITY)]).unwrap();
        let record = &records(&folder.log()).unwrap()[0];
        assert!(record.scalars["loss"].is_null() && record.scalars["grad/norm"].is_null());
        assert!(log.scalars(1, &[("step", 1.0)]).unwrap_err().to_string().contains("\"step\""));
        log.image(12, "../a red/apple", &RgbImage::new(1, 1)).unwrap();
        assert!(folder.sheets().join(".._a_red_apple-0000012.png").exists());
        assert!(log.image(1, "empty", &RgbImage::new(0, 0)).is_err());
    }
}
