//! The parity check: `unigen verify` over folders of tensors that reference implementations computed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::Workspace;
use crate::steps::shown;

/// The kinds that `unigen verify` reads so far: a folder's name starts with its kind.
const KINDS: [&str; 6] = ["qwen2", "siglip", "siglip2", "magvitv2", "unigen", "train"];

/// Where the parity folders are: UNIGEN_FIXTURES, else `../shared/fixtures` beside the repository.
pub fn fixtures_dir(workspace: &Workspace) -> Result<PathBuf> {
    // A relative path counts from where the user called cargo.
    match std::env::var_os("UNIGEN_FIXTURES").filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(std::path::absolute(dir)?),
        None => Ok(workspace.root.join("../shared/fixtures")),
    }
}

/// The parity folders in `dir` of a known kind, sorted by name; none if `dir` does not exist.
pub fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let known = path.file_name().is_some_and(|name| is_known(&name.to_string_lossy()));
        if known && path.join("io.safetensors").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_known(name: &str) -> bool {
    let kind = name.split('-').next().unwrap_or(name);
    KINDS.contains(&kind)
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
    fn kinds_are_told_by_the_start_of_the_name() {
        for name in ["qwen2-a", "siglip2-b", "train", "magvitv2-large-c", "unigen-a"] {
            assert!(is_known(name), "{name}");
        }
        for name in ["clip-a", "openclip-a", "grpo-a", "trainer-a", ""] {
            assert!(!is_known(name), "{name}");
        }
    }

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
