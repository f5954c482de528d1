//! Runs that are stopped by hand or by a full disk, and then resumed.

use super::*;
use std::io::{BufRead, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until the log of the run at `run` has `lines` lines.
fn wait_for_log(run: &Path, lines: usize) {
    let start = Instant::now();
    while fs::read_to_string(run.join("log.jsonl")).map_or(0, |log| log.lines().count()) < lines {
        assert!(start.elapsed() < Duration::from_secs(120), "the run does not begin");
        sleep(Duration::from_millis(5));
    }
}

fn resume(folder: &Path, stage: &str, more: &[&str]) -> Ended {
    let args = ["train", stage, "--precision", "f32", "--out", "run", "--resume"];
    unigen(folder, &[&args, more].concat())
}

/// The files of a run's export and its last checkpoint, with their bytes.
fn results(run: &Path) -> Vec<(String, Vec<u8>)> {
    let files = [run.join("export"), run.join("checkpoints")].map(|folder| {
        names(&folder)
            .into_iter()
            .map(move |name| (name.clone(), fs::read(folder.join(name)).expect("reads")))
    });
    files.into_iter().flatten().collect()
}

#[test]
fn ctrl_c_saves_and_a_resumed_run_ends_with_the_same_bits() {
    let settings: &[&str] = &["training.steps=60", "training.log_every=1", "training.warmup_steps=5"];
    for (stage, base) in [("detector", DETECTOR), ("tokenizer", TOKENIZER)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut begun = command(folder.path(), &train_args(stage, "run", &[base, settings]));
        let begun = begun.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        wait_for_log(&folder.path().join("run"), 3);
        assert!(
            Command::new("kill").args(["-INT", &begun.id().to_string()]).status().expect("kill").success()
        );
        let output = begun.wait_with_output().expect("ends");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let hint = format!("unigen train {stage} --out run --resume");
        Ended { code: output.status.code(), text }.fails(&["stopped after step", "everything saved", &hint]);
        assert!(!folder.path().join("run/export").exists());

        resume(folder.path(), stage, &[]).succeeds();
        train(folder.path(), stage, "whole", &[base, settings]).succeeds();
        let [resumed, whole] = ["run", "whole"].map(|run| results(&folder.path().join(run)));
        assert!(whole.len() >= 2 && resumed == whole, "{stage}");
    }
}

#[test]
fn ctrl_c_stops_the_making_of_image_codes() {
    let folder = exports();
    // There are so many pictures that the run only ends if it stops at once.
    let settings: &[&str] = &["pictures=1000000", "training.steps=1"];
    let mut begun = command(folder.path(), &train_args("pretrain", "run", &[PRETRAIN, settings]));
    let mut begun = begun.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut said = std::io::BufReader::new(begun.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("image codes") {
        line.clear();
        assert!(said.read_line(&mut line).expect("reads") > 0, "the run ended");
    }
    let interrupt = Command::new("kill").args(["-INT", &begun.id().to_string()]).status().expect("kill");
    assert!(interrupt.success());
    said.read_to_string(&mut line).expect("reads");
    assert_eq!(begun.wait().expect("ends").code(), Some(130), "{line}");
    assert!(line.contains("interrupted") && !folder.path().join("run").exists(), "{line}");
}

/// The step and the loss of every line of the log that has a loss.
fn losses(run: &Path) -> Vec<(u64, String)> {
    let log = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lines = lines.filter(|line| line.get("loss").is_some());
    lines.map(|line| (line["step"].as_u64().expect("a step"), line["loss"].to_string())).collect()
}

/// A running process that is killed when its test ends.
struct Running(std::process::Child);

impl Running {
    fn begin(folder: &Path, args: &[&str]) -> Self {
        let mut begun = command(folder, args);
        Self(begun.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"))
    }

    /// Kills the process with SIGKILL, so that no code of the program runs after it.
    fn kill(mut self) {
        assert!(self.0.try_wait().expect("a process").is_none(), "the run ended before it was killed");
        self.0.kill().expect("kills");
        self.0.wait().expect("ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have been killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first bytes of the checkpoint that a run writes next. A pipe takes the place of the checkpoint's file, and the
/// run waits in the middle of writing until the pipe is closed.
fn begun_checkpoint(part: &Path) -> (fs::File, Vec<u8>) {
    let start = Instant::now();
    // The name is in use while a checkpoint is being written.
    while !Command::new("mkfifo").arg(part).stderr(Stdio::null()).status().expect("mkfifo").success() {
        assert!(start.elapsed() < Duration::from_secs(120), "no moment without a checkpoint");
        sleep(Duration::from_millis(2));
    }
    let (mut pipe, mut bytes) = (fs::File::open(part).expect("a pipe"), vec![0; 3000]);
    pipe.read_exact(&mut bytes).expect("reads");
    (pipe, bytes)
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let settings: &[&str] = &[
        "training.steps=60",
        "training.accumulate=2",
        "training.log_every=1",
        "training.save_every=7",
        "training.evaluate_every=25",
        "training.warmup_steps=5",
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, run) = (folder.path(), folder.path().join("run"));
    let begin = train_args("detector", "run", &[DETECTOR, settings]);
    let go_on = ["train", "detector", "--precision", "f32", "--out", "run", "--resume"];
    // Between two checkpoints, before the first and after a later one.
    let running = Running::begin(path, &begin);
    wait_for_log(&run, 4);
    running.kill();
    let running = Running::begin(path, &go_on);
    wait_for_log(&run, 19);
    running.kill();
    // In the middle of a checkpoint. Half a file remains.
    let (last, part) =
        (run.join("checkpoints/last.safetensors"), run.join("checkpoints/last.safetensors.part"));
    let running = Running::begin(path, &go_on);
    wait_for_log(&run, 24);
    let (pipe, half) = begun_checkpoint(&part);
    let whole = fs::read(&last).expect("the checkpoint before");
    running.kill();
    drop(pipe);
    fs::remove_file(&part).expect("removes");
    fs::write(&part, half).expect("writes");
    assert_eq!(fs::read(&last).expect("a checkpoint"), whole);
    // During the export.
    let running = Running::begin(path, &go_on);
    let start = Instant::now();
    while !run.join("export").exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "the run does not end");
        sleep(Duration::from_millis(1));
    }
    running.kill();
    resume(path, "detector", &[]).succeeds();

    train(path, "detector", "whole", &[DETECTOR, settings]).succeeds();
    let [killed, whole] = [run, path.join("whole")];
    assert!(results(&killed) == results(&whole));
    assert_eq!(losses(&killed), losses(&whole));
    assert_eq!(losses(&whole).len(), 60);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_old_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    train(folder.path(), "detector", "run", &[DETECTOR, &["training.steps=2"]]).succeeds();
    let last = folder.path().join("run/checkpoints/last.safetensors");
    let old = fs::read(&last).expect("a checkpoint");
    std::os::unix::fs::symlink("/dev/full", last.with_extension("safetensors.part")).expect("links");
    let more = ["--set", "training.steps=4"];
    resume(folder.path(), "detector", &more).fails(&[
        "last.safetensors",
        "No space left",
        "free some disk space",
    ]);
    assert_eq!(fs::read(&last).expect("a checkpoint"), old);
    assert!(resume(folder.path(), "detector", &more).succeeds().contains("trained 4 steps"));
}

/// A limit on the size of a process's files simulates a disk that fills up. The first checkpoint fits. The next one,
/// with the optimizer's moments, does not.
#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_fills_up_leaves_the_old_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole =
        fs::metadata(RUNS.path().join("detector/checkpoints/last.safetensors")).expect("a file").len();
    let blocks = (whole * 3 / 4 / 512).to_string();
    let args = train_args("detector", "run", &[DETECTOR, &["training.steps=2"]]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#, "sh", &blocks])
        .arg(program())
        .args(&args)
        .current_dir(folder.path());
    run(shell).fails(&["last.safetensors", "File too large", "the previous version is untouched"]);
    assert_eq!(names(&folder.path().join("run/checkpoints")), ["last.safetensors"]);
    assert!(resume(folder.path(), "detector", &[]).succeeds().contains("trained 2 steps"));
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    train(folder.path(), "detector", "run", &[DETECTOR, &["training.steps=2"]]).succeeds();
    let last = folder.path().join("run/checkpoints/last.safetensors");
    let whole = fs::read(&last).expect("a checkpoint");
    let more = ["--set", "training.steps=4"];
    fs::write(&last, &whole[..whole.len() - 4]).expect("writes");
    resume(folder.path(), "detector", &more).fails(&["last.safetensors", "truncated"]);
    fs::remove_file(&last).expect("removes");
    resume(folder.path(), "detector", &more).fails(&["last.safetensors", "cannot open"]);
    fs::write(&last, &whole).expect("writes");
    edit_weights(&last, |header, _| header["__metadata__"]["step"] = "many".into());
    resume(folder.path(), "detector", &more).fails(&["last.safetensors", "no number step"]);
    fs::write(&last, &whole).expect("writes");
    resume(folder.path(), "detector", &["--set", "model.head=16"])
        .fails(&["head.weight", "wanted [16, 8, 3, 3]"]);
    assert_eq!(fs::read(&last).expect("a checkpoint"), whole);
    resume(folder.path(), "detector", &more).succeeds();
}
