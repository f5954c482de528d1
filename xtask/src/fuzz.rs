//! Fuzzes the loaders with libFuzzer: `tests/fuzz`, instrumented.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::steps::checked;
use crate::system::{self, quiet};
use crate::{Workspace, number_of};

/// Inputs for each target, where nothing else is said.
const INPUTS: u64 = 1_000_000;

/// What libFuzzer needs to see of a program: counters of edges, their places, and the values that comparisons meet. This is
/// what `cargo fuzz` passes; by it checksums count as right, too.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Most files of a target's corpus, and most bytes of one.
const KEPT: usize = 24;
const SMALL: u64 = 1024;

/// `cargo xtask fuzz [TARGET] [--inputs N] [--keep]`
///
/// # Errors
/// For other arguments, where the fuzzer cannot be built, and where it finds a fault; the error names the input.
pub fn run(workspace: &Workspace, args: &[&str]) -> Result<()> {
    let (mut inputs, mut keep, mut wanted) = (INPUTS, false, None);
    let mut args = args.iter().copied();
    while let Some(arg) = args.next() {
        match arg {
            "--inputs" => inputs = number_of(arg, args.next())?,
            "--keep" => keep = true,
            name if wanted.is_none() && !name.starts_with('-') => wanted = Some(name),
            _ => bail!("fuzz takes [TARGET] [--inputs N] [--keep], not {arg}"),
        }
    }
    let corpus = workspace.root.join("tests/fuzz/corpus");
    let targets = folders(&corpus)?;
    if let Some(name) = wanted {
        ensure!(
            targets.iter().any(|known| known == name),
            "there is no target {name}; choose one of {}",
            targets.join(", ")
        );
    }
    let fuzzer = build(workspace)?;
    let mut faults = Vec::new();
    for name in targets.iter().filter(|name| wanted.is_none_or(|wanted| wanted == *name)) {
        let folder = workspace.target.join("fuzz-inputs").join(name);
        fs::create_dir_all(&folder)?;
        copy(&corpus.join(name), &folder)?;
        println!("\n==== {name} ====");
        let fuzz = || {
            let mut fuzz = Command::new(&fuzzer);
            fuzz.env("UNIGEN_FUZZ_TARGET", name).env("UNIGEN_FUZZ_INPUTS", &folder).stdin(Stdio::null());
            fuzz
        };
        let faulty = workspace.target.join("fuzz-faults");
        fs::create_dir_all(&faulty)?;
        let prefix = format!("-artifact_prefix={}/{name}-", faulty.display());
        let mut hunt = fuzz();
        hunt.arg(&folder).arg(format!("-runs={inputs}")).arg(prefix);
        hunt.args(["-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]);
        if let Err(error) = checked(&mut hunt) {
            println!("{name}: {error:#}");
            faults.push(name.as_str());
        } else if keep {
            minimise(&fuzz, &folder, &corpus.join(name))?;
        }
    }
    if !faults.is_empty() {
        bail!(
            "faults in {}; their inputs are in {}. Mend the fault, and put the input into tests/fuzz/corpus/TARGET under a name that tells it",
            faults.join(", "),
            workspace.target.join("fuzz-faults").display()
        );
    }
    Ok(())
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    system::check_compiler()?;
    ensure!(
        quiet(Command::new("c++").arg("--version")),
        "no C++ compiler `c++`, which libFuzzer is built with; on Debian and Ubuntu: apt-get install g++"
    );
    let host = system::host(workspace)?;
    let mut build =
        workspace.cargo(&["build", "--package", "unigen-fuzz", "--features", "libfuzzer", "--bin", "fuzz"]);
    // With a target named, build scripts and macros stay without the flags.
    checked(build.args(["--profile", "fuzz", "--target", &host]).env("RUSTFLAGS", FLAGS))?;
    Ok(workspace.target.join(host).join("fuzz/fuzz"))
}

/// Puts the smallest inputs that together reach what the fuzzer has reached into the corpus, as far as there is room; what
/// has a name that somebody gave stays.
fn minimise(fuzz: &impl Fn() -> Command, found: &Path, corpus: &Path) -> Result<()> {
    let merged = tempfile_beside(found)?;
    checked(fuzz().arg("-merge=1").arg("-verbosity=0").arg(&merged).arg(found).stderr(Stdio::null()))?;
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&merged)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort();
    let hash = |name: &str| name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit());
    for entry in fs::read_dir(corpus)? {
        let entry = entry?;
        if hash(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    // Evenly over the sizes, since the smallest alone are all the first bytes of something.
    files.retain(|(length, _)| *length <= SMALL);
    let step = files.len().div_ceil(KEPT).max(1);
    for (_, path) in files.iter().step_by(step) {
        fs::copy(path, corpus.join(path.file_name().context("a file")?))?;
    }
    fs::remove_dir_all(merged)?;
    Ok(())
}

fn tempfile_beside(folder: &Path) -> Result<PathBuf> {
    let merged = folder.with_extension("merged");
    if merged.exists() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir_all(&merged)?;
    Ok(merged)
}

/// The names of the folders in a folder, sorted.
fn folders(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
