//! Kills trainings at random moments, resumes them, and compares their end with that of an undisturbed one, bit for bit.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Workspace;

/// The runs: stages that build on each other.
const RECIPE: &str = "tests/kill.toml";

/// Trains, killed `times` times in all, as often anew as that takes. Prints what happened every 50 kills.
///
/// # Errors
/// Where a resumed training fails, makes no progress, or ends with other bits.
pub fn run(workspace: &Workspace, times: u32) -> Result<()> {
    crate::steps::checked(&mut workspace.cargo(crate::BUILD_BINS))?;
    let folder = workspace.target.join("kill");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let (calm, killed) = (folder.join("calm"), folder.join("killed"));
    let start = Instant::now();
    let ended = Training::begin(workspace, &calm)?.end()?;
    ensure!(ended.is_none(), "the training fails undisturbed: {}", ended.unwrap_or_default());
    let (whole, wanted) = (start.elapsed(), state(&calm)?);
    println!("undisturbed: {:.1} s, {} files to compare", whole.as_secs_f64(), wanted.len());

    let (start, mut count) = (Instant::now(), Count::default());
    while count.kills < times {
        if killed.exists() {
            fs::remove_dir_all(&killed)?;
        }
        finish(workspace, &killed, whole, times, &mut count)?;
        let found = state(&killed)?;
        let differs = wanted.keys().chain(found.keys()).find(|file| wanted.get(*file) != found.get(*file));
        if let Some(file) = differs {
            bail!(
                "{file} differs after {} kills; see {} and {}",
                count.kills,
                killed.display(),
                calm.display()
            );
        }
        count.trainings += 1;
        println!(
            "{} kills, {} trainings ended with the same bits, {:.0} s",
            count.kills,
            count.trainings,
            start.elapsed().as_secs_f64()
        );
    }
    fs::remove_dir_all(&folder)?;
    println!("{} kills, each training ended with the bits of the undisturbed one", count.kills);
    Ok(())
}

#[derive(Default)]
struct Count {
    kills: u32,
    trainings: u32,
}

/// Begins a training and kills it until it ends by itself, undisturbed once all `times` are spent.
fn finish(
    workspace: &Workspace,
    folder: &Path,
    whole: Duration,
    times: u32,
    count: &mut Count,
) -> Result<()> {
    // A stage takes about a sixth of all. Most kills come soon, so that many hit each part of it, and some late enough for the
    // next checkpoint.
    let longest = whole / 2;
    for in_a_row in 0.. {
        ensure!(
            in_a_row < 500,
            "after {in_a_row} kills the training still has not ended; see {}",
            folder.display()
        );
        let training = Training::begin(workspace, folder)?;
        let patience = if count.kills < times { longest.mul_f64(random().powi(2)) } else { Duration::MAX };
        match training.kill_after(patience)? {
            Some(failure) => bail!("a resumed training fails after {} kills: {failure}", count.kills),
            None if state_is_finished(folder) => return Ok(()),
            None => count.kills += 1,
        }
    }
    Ok(())
}

/// Whether the last run of the recipe has finished.
fn state_is_finished(folder: &Path) -> bool {
    let run = fs::read(folder.join("runs/rl/run.json")).ok();
    let run = run.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    run.is_some_and(|run| run["finished"] == true)
}

/// A running `unigen train all`.
struct Training(std::process::Child);

impl Training {
    fn begin(workspace: &Workspace, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut train: Command = workspace.unigen();
        train.args(["train", "all", "--precision", "f32", "--config"]).arg(workspace.root.join(RECIPE));
        train.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        train.stderr(fs::File::create(folder.join("messages"))?);
        Ok(Self(train.spawn().context("cannot start unigen")?))
    }

    /// Kills the training after a while, if it has not ended by then. A failure by itself gives its message.
    fn kill_after(mut self, patience: Duration) -> Result<Option<String>> {
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.0.try_wait()? {
                return Ok((!status.success()).then(|| status.to_string()));
            }
            sleep(Duration::from_millis(2));
        }
        // SIGKILL: no code of the program runs after it.
        self.0.kill()?;
        self.0.wait()?;
        Ok(None)
    }

    fn end(self) -> Result<Option<String>> {
        self.kill_after(Duration::MAX)
    }
}

/// A number from 0 to 1. Moments of the clock cannot be repeated, so neither is a seed of any use.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

/// All files below a folder that must be the same: not locks, curves and messages; of logs and of what is known about a run, the
/// part that does not tell the time.
fn state(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(&inside)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "tb" {
                    folders.push(path);
                }
                continue;
            }
            let bytes = fs::read(&path)?;
            let bytes = match name.as_str() {
                ".lock" | "messages" => continue,
                "log.jsonl" => timeless(&bytes).with_context(|| path.display().to_string())?,
                "run.json" => {
                    let mut run: Value = serde_json::from_slice(&bytes)?;
                    run["sessions"] = Value::Null;
                    run.to_string().into_bytes()
                }
                _ => bytes,
            };
            files.insert(path.strip_prefix(folder)?.display().to_string(), bytes);
        }
    }
    Ok(files)
}

/// The lines of a log without times and speeds.
fn timeless(log: &[u8]) -> Result<Vec<u8>> {
    let mut lines = String::new();
    for line in std::str::from_utf8(log)?.lines() {
        let mut line: serde_json::Map<String, Value> = serde_json::from_str(line)?;
        let timed = |key: &str| {
            ["time", "data_share"].contains(&key) || key.ends_with("_seconds") || key.ends_with("_per_second")
        };
        line.retain(|key, _| !timed(key));
        lines += &Value::Object(line).to_string();
        lines.push('\n');
    }
    Ok(lines.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_its_times_is_compared() {
        let log = r#"{"step":1,"time":1.5,"loss":2.0,"samples_per_second":9.0,"rollout_seconds":0.1}"#;
        assert_eq!(timeless(log.as_bytes()).unwrap(), b"{\"step\":1,\"loss\":2.0}\n");
        assert!(timeless(b"{\"step\":1").is_err());
        assert!((0..100).map(|_| random()).all(|x| (0.0..=1.0).contains(&x)));
    }
}
