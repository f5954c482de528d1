//! Run folders, which document themselves: what ran, with which settings, from which code, and with which result.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::log::{Record, records};
use unigen_core::files::write_atomic;

/// The folder of one training run:
/// - `config.toml`: every setting,
/// - `run.json`: [`RunInfo`],
/// - `log.jsonl`: one object of scalars per line,
/// - `tb/`: the same for TensorBoard, with images,
/// - `sheets/`: sample sheets, `NAME-STEP.png`,
/// - `checkpoints/`: the files that training resumes from.
/// - `.lock`: locked by the process that trains.
pub struct RunFolder {
    root: PathBuf,
    info: RunInfo,
    /// The lock of a process that works on the run. A reader has none.
    lock: Option<File>,
}

/// The content of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Every integer setting whose name is `seed` or ends in `_seed`, by its dotted path in `config.toml`.
    pub seeds: BTreeMap<String, i64>,
    /// The command that started the run, then every command that resumed it.
    pub sessions: Vec<Session>,
    /// Whether the run is complete, including its export.
    #[serde(default)]
    pub finished: bool,
}

/// One process that worked on a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The command line as typed.
    pub command: String,
    /// Version of this program.
    pub version: String,
    /// Git commit of the source tree that contains the program; `-dirty` follows if the tree has changes. Absent
    /// outside a source tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Start time in UTC, `YYYY-MM-DDTHH:MM:SSZ`.
    pub started: String,
}

impl RunFolder {
    /// Creates a new run folder at `path`, which must be absent or empty.
    ///
    /// # Errors
    /// If `path` holds a run or other files, if `config_toml` is not TOML, or if writing fails.
    pub fn create(path: &Path, config_toml: &str, command: &str) -> Result<Self> {
        let config: toml::Table = config_toml.parse().context("the configuration is not valid TOML")?;
        if path.join(INFO).exists() && begun(path) {
            bail!(
                "{} already holds a run; continue it with --resume or choose another folder",
                path.display()
            );
        }
        // A process that was killed at its beginning leaves these.
        let ours = |name: &OsStr| name == LOCK || name == PART;
        if !path.join(INFO).exists()
            && fs::read_dir(path).is_ok_and(|entries| entries.flatten().any(|e| !ours(&e.file_name())))
        {
            bail!("{} is not empty; choose a new folder for the run", path.display());
        }
        fs::create_dir_all(path).with_context(|| {
            format!("cannot create {}; check the path and its permissions", path.display())
        })?;
        let lock = lock(path)?;
        let mut seeds = BTreeMap::new();
        collect_seeds("", &config, &mut seeds);
        let info = RunInfo { seeds, sessions: vec![Session::now(command)], finished: false };
        let folder = Self { root: path.to_owned(), info, lock: Some(lock) };
        // This comes first: it tells whoever finds the folder after a kill that a run has begun here.
        folder.save_info()?;
        for part in [folder.events(), folder.sheets(), folder.root.join(CHECKPOINTS)] {
            fs::create_dir_all(&part).with_context(|| {
                format!("cannot create {}; check the path and its permissions", part.display())
            })?;
        }
        write_atomic(&folder.config(), |out| out.write_all(config_toml.as_bytes()))?;
        Ok(folder)
    }

    /// Opens an existing run for reading.
    ///
    /// # Errors
    /// If there is no run at `path` or its `run.json` cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(INFO);
        if !file.exists() {
            bail!(
                "{} holds no run ({INFO} is missing); check the path, or start without --resume",
                path.display()
            );
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let info = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged; restore it from a backup, or start a new run in another folder",
                file.display()
            )
        })?;
        Ok(Self { root: path.to_owned(), info, lock: None })
    }

    /// The run at `path`, or all runs in the folder `path`, by name.
    ///
    /// # Errors
    /// If there are none, or a `run.json` cannot be read.
    pub fn all(path: &Path) -> Result<Vec<Self>> {
        let mut inside: Vec<PathBuf> = match fs::read_dir(path) {
            Ok(entries) if !path.join(INFO).exists() => entries.flatten().map(|entry| entry.path()).collect(),
            _ => vec![],
        };
        inside.retain(|folder| folder.join(INFO).exists());
        inside.sort();
        match inside.is_empty() {
            true => Ok(vec![Self::open(path)?]),
            false => inside.iter().map(|folder| Self::open(folder)).collect(),
        }
    }

    /// Opens an existing run to continue it, and records `command` as one more session.
    ///
    /// # Errors
    /// The errors of [`RunFolder::open`]; if the record cannot be written.
    pub fn resume(path: &Path, command: &str) -> Result<Self> {
        let mut folder = Self::open(path)?;
        folder.lock = Some(lock(path)?);
        folder.info.sessions.push(Session::now(command));
        folder.info.finished = false;
        folder.save_info()?;
        Ok(folder)
    }

    /// Records that the run is complete.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn finish(&mut self) -> Result<()> {
        self.info.finished = true;
        self.save_info()
    }

    /// Whether the run has a checkpoint from which it can resume.
    pub fn begun(&self) -> bool {
        begun(&self.root)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder's own name, for titles and legends.
    pub fn name(&self) -> String {
        let full = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        full.file_name().unwrap_or(full.as_os_str()).to_string_lossy().into_owned()
    }

    /// What `run.json` says.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Path of `config.toml`.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Path of `log.jsonl`.
    pub fn log(&self) -> PathBuf {
        self.root.join("log.jsonl")
    }

    /// Every complete line of the log, oldest first. Empty if there is no log yet.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn records(&self) -> Result<Vec<Record>> {
        records(&self.log()).with_context(|| format!("cannot read {}", self.log().display()))
    }

    /// Path of the folder of TensorBoard event files.
    pub fn events(&self) -> PathBuf {
        self.root.join("tb")
    }

    /// Path of the folder of sample sheets.
    pub fn sheets(&self) -> PathBuf {
        self.root.join("sheets")
    }

    /// Path of the checkpoint file `name`.
    pub fn checkpoint(&self, name: &str) -> PathBuf {
        self.root.join(CHECKPOINTS).join(name)
    }

    fn save_info(&self) -> Result<()> {
        let mut text = serde_json::to_string_pretty(&self.info)?;
        text.push('\n');
        Ok(write_atomic(&self.root.join(INFO), |out| out.write_all(text.as_bytes()))?)
    }
}

/// Whether the run at `path` has a checkpoint, so that something would be lost.
fn begun(path: &Path) -> bool {
    fs::read_dir(path.join(CHECKPOINTS)).is_ok_and(|files| {
        files.flatten().any(|file| file.path().extension().is_some_and(|ending| ending == "safetensors"))
    })
}

/// Takes the lock of the run at `path`, which the system gives back when the process ends, however it does.
fn lock(path: &Path) -> Result<File> {
    let file = path.join(LOCK);
    let open = File::options().create(true).append(true).open(&file);
    let lock = open
        .with_context(|| format!("cannot create {}; check the path and its permissions", file.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another process is at work on the run in {}; wait until it ends, or stop it",
                path.display()
            )
        }
        // Some file systems have no locks, and the run can do without.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(lock),
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {}", file.display())),
    }
}

const INFO: &str = "run.json";
/// What `run.json` is called while it is written.
const PART: &str = "run.json.part";
const LOCK: &str = ".lock";
const CHECKPOINTS: &str = "checkpoints";

impl Session {
    fn now(command: &str) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self {
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit(),
            started: utc(seconds),
        }
    }
}

fn collect_seeds(prefix: &str, table: &toml::Table, seeds: &mut BTreeMap<String, i64>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => collect_seeds(&path, inner, seeds),
            toml::Value::Integer(seed) if key == "seed" || key.ends_with("_seed") => {
                seeds.insert(path, *seed);
            }
            _ => {}
        }
    }
}

/// The commit of the source tree that this program was built in, searched upwards from the program file.
fn commit() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let tree = program.ancestors().find(|folder| folder.join("native-trainer/Cargo.toml").exists())?;
    let output = Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Seconds since 1970 as an ISO 8601 date and time, by Howard Hinnant's `civil_from_days`.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    format!(
        "{:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z",
        year + era * 400 + u64::from(month <= 2),
        day - (153 * shifted + 2) / 5 + 1,
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "steps = 10\nseed = 3\n[data]\nscene_seed = 7\nname = \"seed\"\n";

    #[test]
    fn explains_itself() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("runs/first");
        let run = RunFolder::create(&path, CONFIG, "unigen train pretrain").unwrap();
        assert_eq!(run.name(), "first");
        assert_eq!(fs::read_to_string(run.config()).unwrap(), CONFIG);
        let seeds: Vec<_> = run.info().seeds.iter().map(|(path, seed)| (path.as_str(), *seed)).collect();
        assert_eq!(seeds, [("data.scene_seed", 7), ("seed", 3)]);
        assert!(run.checkpoint("last").parent().unwrap().is_dir() && run.events().is_dir());
        assert_eq!(run.root(), path);

        let first = run.info().sessions[0].clone();
        drop(run);
        RunFolder::resume(&path, "unigen train --resume").unwrap();
        let sessions = &RunFolder::open(&path).unwrap().info;
        assert_eq!(sessions.sessions[0], first);
        assert_eq!(sessions.sessions[1].command, "unigen train --resume");
    }

    #[test]
    fn refuses_what_would_lose_or_confuse() {
        let place = tempfile::tempdir().unwrap();
        let fails = |path: &Path| RunFolder::create(path, CONFIG, "unigen").err().unwrap().to_string();
        let run = place.path().join("run");
        RunFolder::create(&run, CONFIG, "unigen").unwrap();
        fs::write(run.join("checkpoints/last.safetensors"), "x").unwrap();
        assert!(fails(&run).contains("--resume"));
        assert!(fails(place.path()).contains("not empty"));
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(fails(&file).contains("cannot create"));
        assert!(RunFolder::create(&place.path().join("new"), "= 1", "unigen").is_err());
        assert!(!place.path().join("new").exists());
        assert!(RunFolder::open(place.path()).err().unwrap().to_string().contains("no run"));
        fs::write(run.join(INFO), "{").unwrap();
        assert!(RunFolder::open(&run).err().unwrap().to_string().contains("damaged"));
    }

    #[test]
    fn one_process_works_on_a_run_and_any_may_read_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run");
        let taken = |path: &Path| {
            for error in
                [RunFolder::create(path, CONFIG, "unigen").err(), RunFolder::resume(path, "unigen").err()]
            {
                let error = error.unwrap().to_string();
                assert!(error.contains("another process") && error.contains("run"), "{error}");
            }
        };
        let run = RunFolder::create(&path, CONFIG, "unigen").unwrap();
        taken(&path);
        RunFolder::open(&path).unwrap();
        assert_eq!(RunFolder::all(place.path()).unwrap().len(), 1);
        drop(run);
        let run = RunFolder::resume(&path, "unigen").unwrap();
        taken(&path);
        drop(run);
        // A run without any checkpoint, for example because the disk was full at once, starts again.
        fs::write(path.join("checkpoints/last.safetensors.part"), "x").unwrap();
        let run = RunFolder::create(&path, "steps = 20\n", "again").unwrap();
        assert_eq!(run.info().sessions.len(), 1);
        assert_eq!(fs::read_to_string(run.config()).unwrap(), "steps = 20\n");
    }

    /// What other programs, full disks and kills leave in a folder, and what may be done there then.
    #[test]
    fn a_run_begins_and_goes_on_where_nothing_is_lost() {
        let last = "checkpoints/last.safetensors";
        let run = |path: &Path| drop(RunFolder::create(path, CONFIG, "unigen").unwrap());
        let put = |path: &Path, name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        type Left<'a> = &'a dyn Fn(&Path);
        type Outcome = Result<(), &'static str>;
        let cases: [(&str, Left, Outcome, Outcome); 14] = [
            (
                "a kill before run.json is whole",
                &|path| {
                    fs::create_dir(path).unwrap();
                    put(path, LOCK, "");
                    put(path, PART, "{");
                },
                Ok(()),
                Err("no run"),
            ),
            (
                "a kill after run.json",
                &|path| {
                    run(path);
                    fs::remove_file(path.join("config.toml")).unwrap();
                    fs::remove_dir(path.join(CHECKPOINTS)).unwrap();
                },
                Ok(()),
                Ok(()),
            ),
            ("nothing", &|_| {}, Ok(()), Err("no run")),
            ("an empty folder", &|path| fs::create_dir(path).unwrap(), Ok(()), Err("no run")),
            ("a file", &|path| fs::write(path, "x").unwrap(), Err("cannot create"), Err("no run")),
            (
                "somebody's files",
                &|path| {
                    fs::create_dir(path).unwrap();
                    put(path, "thesis.txt", "x");
                },
                Err("not empty"),
                Err("no run"),
            ),
            ("a run before its first checkpoint", &run, Ok(()), Ok(())),
            (
                "a disk that was full at the first checkpoint",
                &|path| {
                    run(path);
                    put(path, "checkpoints/last.safetensors.part", "x");
                },
                Ok(()),
                Ok(()),
            ),
            (
                "a run with a checkpoint",
                &|path| {
                    run(path);
                    put(path, last, "x");
                },
                Err("--resume"),
                Ok(()),
            ),
            (
                "a kill while a checkpoint is written",
                &|path| {
                    run(path);
                    put(path, last, "x");
                    put(path, "checkpoints/last.safetensors.part", "x");
                },
                Err("--resume"),
                Ok(()),
            ),
            (
                "a kill while run.json is written",
                &|path| {
                    run(path);
                    put(path, last, "x");
                    put(path, "run.json.part", "{");
                },
                Err("--resume"),
                Ok(()),
            ),
            (
                "a damaged run.json",
                &|path| {
                    run(path);
                    put(path, last, "x");
                    put(path, INFO, "{");
                },
                Err("--resume"),
                Err("damaged"),
            ),
            (
                "a finished run",
                &|path| {
                    RunFolder::create(path, CONFIG, "unigen").unwrap().finish().unwrap();
                    put(path, last, "x");
                },
                Err("--resume"),
                Ok(()),
            ),
            (
                "a lock of a process that was killed",
                &|path| {
                    run(path);
                    put(path, ".lock", "");
                    put(path, last, "x");
                },
                Err("--resume"),
                Ok(()),
            ),
        ];
        for (name, left, begins, goes_on) in cases {
            for (what, wanted) in [("begins", begins), ("goes on", goes_on)] {
                let place = tempfile::tempdir().unwrap();
                let path = place.path().join("run");
                left(&path);
                let found = match what {
                    "begins" => RunFolder::create(&path, CONFIG, "again"),
                    _ => RunFolder::resume(&path, "again"),
                };
                match (found.map(drop).map_err(|e| format!("{e:#}")), wanted) {
                    (Ok(()), Ok(())) => {}
                    (Err(error), Err(words)) => assert!(error.contains(words), "{name} {what}: {error}"),
                    (found, _) => panic!("{name} {what}: {found:?}"),
                }
            }
        }
    }

    #[test]
    fn a_folder_of_runs_stands_for_all_of_them() {
        let place = tempfile::tempdir().unwrap();
        let names = |path: &Path| -> Vec<String> {
            RunFolder::all(path).unwrap().iter().map(RunFolder::name).collect()
        };
        for name in ["b", "a"] {
            RunFolder::create(&place.path().join(name), CONFIG, "unigen").unwrap();
        }
        fs::create_dir(place.path().join("other")).unwrap();
        assert_eq!(names(place.path()), ["a", "b"]);
        assert_eq!(names(&place.path().join("b")), ["b"]);
        assert!(RunFolder::all(&place.path().join("other")).err().unwrap().to_string().contains("no run"));
    }

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_798_761_599), "2026-12-31T23:59:59Z");
    }
}
