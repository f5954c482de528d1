//! The parity check: `unigen verify` over folders of tensors that reference implementations computed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::Workspace;
use crate::steps::shown;

/// The repository's own parity folders, from its root.
const OWN: &str = "tests/parity/fixtures";
/// More parity folders, if they lie beside the repository.
const SHARED: [&str; 2] = ["../shared/fixtures", "../shared/fixtures-2"];
/// The variable that names another place for [`SHARED`].
const VARIABLE: &str = "UNIGEN_FIXTURES";
/// The files of a parity folder.
const FILES: [&str; 3] = ["config.json", "model.safetensors", "io.safetensors"];
/// The files of one whose model is its own configuration.
const GGUF_FILES: [&str; 2] = ["model.gguf", "io.safetensors"];

/// A folder of parity folders.
#[derive(Debug, PartialEq)]
struct Collection {
    place: PathBuf,
    /// Sorted names of the folders that can be compared.
    complete: Vec<String>,
    /// The other folders, and the file that each lacks.
    incomplete: Vec<(String, &'static str)>,
}

impl Collection {
    /// Reads the folder `place`, which is relative to `root` or absolute.
    fn read(root: &Path, place: &Path) -> Result<Self> {
        let folder = root.join(place);
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut collection = Self { place: place.to_owned(), complete: vec![], incomplete: vec![] };
        for entry in entries {
            let path = entry?.path();
            if !path.is_dir() {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let lacks =
                |files: &[&'static str]| files.iter().copied().find(|file| !path.join(file).is_file());
            match (lacks(&FILES), lacks(&GGUF_FILES)) {
                (None, _) | (_, None) => collection.complete.push(name),
                (Some(missing), _) => collection.incomplete.push((name, missing)),
            }
        }
        collection.complete.sort();
        collection.incomplete.sort();
        Ok(collection)
    }
}

/// Compares the repository's own parity folders, and those in UNIGEN_FIXTURES or else beside the repository.
///
/// # Errors
/// If a comparison fails, if a folder compares nothing, or if UNIGEN_FIXTURES is set but is not a folder.
pub fn run(workspace: &Workspace) -> Result<()> {
    let root = &workspace.root;
    let mut collections = vec![Collection::read(root, Path::new(OWN))?];
    // A relative path counts from where the user called cargo.
    match std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty()) {
        Some(dir) => collections.push(Collection::read(root, &std::path::absolute(dir)?).context(VARIABLE)?),
        None => {
            for shared in SHARED {
                match root.join(shared).is_dir() {
                    true => collections.push(Collection::read(root, Path::new(shared))?),
                    false => println!("no {shared} beside the repository, and {VARIABLE} is not set"),
                }
            }
        }
    }
    let mut summary = Vec::new();
    for Collection { place, complete, incomplete } in &collections {
        let folders: Vec<PathBuf> = complete.iter().map(|name| place.join(name)).collect();
        let mut command = workspace.unigen();
        command.arg("verify").args(&folders);
        let compared = if folders.is_empty() { 0 } else { verify(command, &folders)? };
        summary.push(format!("{}: {compared} tensors compared in {}", place.display(), complete.join(", ")));
        summary.extend(incomplete.iter().map(|(name, missing)| {
            format!("{}: not compared, because it holds no {missing}", place.join(name).display())
        }));
    }
    println!("{}", summary.join("\n"));
    ensure!(collections.iter().any(|c| !c.complete.is_empty()), "there is no parity folder");
    Ok(())
}

/// Runs `unigen verify` on `folders` and prints its output. Returns the number of tensors that it compared.
fn verify(mut command: Command, folders: &[PathBuf]) -> Result<usize> {
    println!("{}", shown(&command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", shown(&command)))?;
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            lines.push(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`unigen verify` ended with {status}");
    }
    for folder in folders {
        ensure!(comparisons(&lines, folder) > 0, "`unigen verify` compared nothing in {}", folder.display());
    }
    Ok(folders.iter().map(|folder| comparisons(&lines, folder)).sum())
}

/// The number of lines `folder tensor max_abs_diff ok|FAIL`.
fn comparisons(lines: &[String], folder: &Path) -> usize {
    let folder = folder.display().to_string();
    let compared = lines.iter().filter(|line| {
        let words = line.strip_prefix(&folder).unwrap_or_default().split(' ').collect::<Vec<_>>();
        matches!(words[..], ["", _, _, "ok" | "FAIL"])
    });
    compared.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_an_error_that_names_it() {
        let error = Collection::read(Path::new("."), Path::new("no/such/folder")).unwrap_err();
        assert!(error.to_string().contains("no/such/folder"), "{error}");
    }

    #[test]
    fn the_repository_holds_a_folder_of_every_kind() -> Result<()> {
        let own = Collection::read(&Workspace::find()?.root, Path::new(OWN))?;
        let kinds = [
            "clip", "gguf", "grpo", "llama", "magvitv2", "openclip", "qwen2", "showo", "siglip", "siglip2",
            "train", "unigen",
        ];
        assert_eq!(own.complete, kinds);
        assert_eq!(own.incomplete, []);
        Ok(())
    }

    #[test]
    fn folders_without_a_model_are_named() -> Result<()> {
        let root = std::env::temp_dir().join(format!("unigen-parity-{}", std::process::id()));
        for (folder, files) in [
            ("whole", &FILES[..]),
            ("gguf", &GGUF_FILES),
            ("b", &["config.json", "io.safetensors"]),
            ("a", &["io.safetensors"]),
        ] {
            std::fs::create_dir_all(root.join(folder))?;
            for file in files {
                std::fs::write(root.join(folder).join(file), "")?;
            }
        }
        std::fs::write(root.join("README.md"), "")?;
        let found = Collection::read(&root, Path::new(""));
        std::fs::remove_dir_all(&root)?;
        let found = found?;
        assert_eq!(found.complete, ["gguf", "whole"]);
        let incomplete = [("a".to_owned(), "config.json"), ("b".to_owned(), "model.safetensors")];
        assert_eq!(found.incomplete, incomplete);
        Ok(())
    }

    #[test]
    fn comparisons_are_counted_and_other_lines_are_not() {
        let lines = [
            "x/qwen2 logits_causal 2.1e-6 ok",
            "x/qwen2 logits_omni 2.1e-1 FAIL",
            "x/qwen2-b logits_causal 2.1e-6 ok",
            "reading x/qwen2",
            "",
        ]
        .map(str::to_owned);
        assert_eq!(comparisons(&lines, Path::new("x/qwen2")), 2);
        assert_eq!(comparisons(&lines, Path::new("x/qwen2-b")), 1);
        assert_eq!(comparisons(&lines, Path::new("x")), 0);
    }
}
