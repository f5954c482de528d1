//! The parity check: `unigen verify` over folders of tensors that reference implementations computed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::Workspace;
use crate::steps::shown;

/// Where the parity folders are: UNIGEN_FIXTURES, else `../shared/fixtures` beside the repository.
pub fn fixtures_dir(workspace: &Workspace) -> Result<PathBuf> {
    // A relative path counts from where the user called cargo.
    match std::env::var_os("UNIGEN_FIXTURES").filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(std::path::absolute(dir)?),
        None => Ok(workspace.root.join("../shared/fixtures")),
    }
}

/// The parity folders in `dir`, sorted by name; none if `dir` does not exist.
pub fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.join("io.safetensors").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Runs `unigen verify`, passing its output through. Comparing nothing counts as a failure.
pub fn run(mut command: Command) -> Result<()> {
    println!("{}", shown(&command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", shown(&command)))?;
    let mut compared = 0;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            compared += usize::from(is_comparison(&line));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`unigen verify` ended with {status}");
    }
    if compared == 0 {
        bail!("`unigen verify` compared nothing");
    }
    println!("{compared} tensors compared");
    Ok(())
}

/// Whether a line reads `folder tensor max_abs_diff ok|FAIL`.
fn is_comparison(line: &str) -> bool {
    matches!(line.split_whitespace().last(), Some("ok" | "FAIL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_fixtures_folder_is_no_error() -> Result<()> {
        assert!(folders(Path::new("no/such/folder"))?.is_empty());
        Ok(())
    }

    #[test]
    fn comparisons_are_counted_and_other_lines_are_not() {
        assert!(is_comparison("qwen2-a logits_causal 2.1e-6 ok"));
        assert!(is_comparison("qwen2-a logits_causal 2.1e-1 FAIL"));
        assert!(!is_comparison("reading qwen2-a"));
        assert!(!is_comparison(""));
    }
}
