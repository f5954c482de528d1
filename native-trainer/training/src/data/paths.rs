//! The files that a setting means: files, folders, globs and brace ranges.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// Largest number of files that one pattern may stand for.
const MOST: usize = 1_000_000;

/// The list of an image folder in Hugging Face's form.
const METADATA: &str = "metadata.jsonl";

/// The files that `paths` mean, in their order. A path may be a file, a folder, or a pattern with `{00000..00009}`,
/// `{a,b}`, `*`, `?` and `[..]`. A folder stands for its `metadata.jsonl` if it has one, otherwise for the shards
/// (`.tar`, `.tar.gz`, `.tgz`) and `.jsonl` files in it, by name.
///
/// # Errors
/// The error names a path that means no file.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        // A file may have brackets in its name.
        if path.exists() {
            files.extend(inside(path)?);
            continue;
        }
        let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        let before = files.len();
        for pattern in braces(text)? {
            if pattern.contains(['*', '?', '[']) {
                let found = glob::glob(&pattern).with_context(|| format!("{text} is not a valid pattern"))?;
                for file in found {
                    files.extend(inside(&file?)?);
                }
            } else {
                files.extend(inside(Path::new(&pattern))?);
            }
        }
        ensure!(files.len() > before, "{text}: no file matches");
    }
    ensure!(files.len() <= MOST, "{} files are more than {MOST}", files.len());
    Ok(files)
}

/// The file itself, or the files of a folder.
fn inside(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if path.join(METADATA).exists() {
        return Ok(vec![path.join(METADATA)]);
    }
    let entries =
        std::fs::read_dir(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| format!("cannot read the folder {}", path.display()))?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let ours = [".tar", ".tar.gz", ".tgz", ".jsonl"].iter().any(|ending| name.ends_with(ending));
        if ours && !name.starts_with('.') && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!(
            "{} is a folder without shards (.tar, .tar.gz) and .jsonl files; for pictures alone, write a {METADATA} beside them \
             with a line like {{\"file_name\": \"a.png\", \"text\": \"a red apple\"}} for each",
            path.display()
        );
    }
    Ok(files)
}

/// The alternatives of a pattern with braces: the parts of `{a,b}`, or the numbers of `{08..12}`, all as wide as the
/// first.
fn braces(pattern: &str) -> Result<Vec<String>> {
    let Some((before, (inside, after))) =
        pattern.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return Ok(vec![pattern.to_owned()]);
    };
    let parts: Vec<String> = match inside.split_once("..") {
        Some((first, last)) => {
            let number = |text: &str| {
                text.parse::<u64>().with_context(|| format!("{pattern}: {text:?} is not a number"))
            };
            let (from, to) = (number(first)?, number(last)?);
            ensure!(from <= to, "{pattern}: {from} is larger than {to}");
            ensure!(to - from < MOST as u64, "{pattern} stands for more than {MOST} files");
            (from..=to).map(|number| format!("{number:0width$}", width = first.len())).collect()
        }
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let rest = braces(after)?;
    ensure!(parts.len() * rest.len() <= MOST, "{pattern} stands for more than {MOST} files");
    Ok(parts.iter().flat_map(|part| rest.iter().map(move |rest| format!("{before}{part}{rest}"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn paths_mean_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a", "b", "pics", "empty"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in [
            "a/x-00008.tar",
            "a/x-00009.tar",
            "a/x-00010.tar",
            "a/y.tar.gz",
            "a/z.JSONL",
            "a/notes.txt",
            "a/._x-00008.tar",
            "b/x-00008.tar",
            "b/x[1].tar",
            "pics/metadata.jsonl",
            "pics/0.png",
            "pics/part.tar",
            "empty/a.csv",
        ] {
            fs::write(at(name), "").unwrap();
        }
        for (pattern, wanted) in [
            ("a/x-00008.tar", &["a/x-00008.tar"][..]),
            ("a/absent.tar", &["a/absent.tar"]),
            ("a", &["a/x-00008.tar", "a/x-00009.tar", "a/x-00010.tar", "a/y.tar.gz", "a/z.JSONL"]),
            ("pics", &["pics/metadata.jsonl"]),
            ("b/x[1].tar", &["b/x[1].tar"]),
            ("a/x-*.tar", &["a/x-00008.tar", "a/x-00009.tar", "a/x-00010.tar"]),
            ("a/x-0000?.tar", &["a/x-00008.tar", "a/x-00009.tar"]),
            ("a/x-0000[9].tar", &["a/x-00009.tar"]),
            ("a/x-{00008..00010}.tar", &["a/x-00008.tar", "a/x-00009.tar", "a/x-00010.tar"]),
            ("a/x-{8..10}.tar", &["a/x-8.tar", "a/x-9.tar", "a/x-10.tar"]),
            ("{a,b}/x-00008.tar", &["a/x-00008.tar", "b/x-00008.tar"]),
            (
                "{a,b}/x-{00008..00009}.tar",
                &["a/x-00008.tar", "a/x-00009.tar", "b/x-00008.tar", "b/x-00009.tar"],
            ),
            ("{a,b}/x-*8.tar", &["a/x-00008.tar", "b/x-00008.tar"]),
            ("pi*", &["pics/metadata.jsonl"]),
            ("a/{x.tar", &["a/{x.tar"]),
        ] {
            let found = expand(&[at(pattern)]).unwrap();
            assert_eq!(found, wanted.iter().map(|name| at(name)).collect::<Vec<_>>(), "{pattern}");
        }
        for (pattern, words) in [
            ("empty", "metadata.jsonl"),
            ("a/*.zip", "no file matches"),
            ("a/{9..8}.tar", "9 is larger than 8"),
            ("a/{0..z}.tar", "\"z\" is not a number"),
            ("a/{0..99999999999}.tar", "more than"),
        ] {
            let error = format!("{:#}", expand(&[at(pattern)]).unwrap_err());
            assert!(error.contains(words), "{pattern}: {error}");
        }
    }
}
