//! The site and the npm package, put together from sources and built modules.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Output, copy_files};
use crate::Workspace;

/// Makes the folders new, but keeps models that were exported into the site.
pub fn clear(out: &Output) -> Result<()> {
    for folder in [out.site().join("unigen"), out.site().join("app"), out.package()] {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(())
}

/// Puts the sources beside the built modules.
pub fn assemble(workspace: &Workspace, out: &Output) -> Result<()> {
    let (web, site, package) = (workspace.root.join("web"), out.site(), out.package());
    let script = |name: &str| name.ends_with(".js");
    copy_files(&web.join("npm/src"), &site.join("unigen"), script)?;
    // The docs page shows it.
    copy_files(&web.join("npm"), &site.join("unigen"), |name| name == "custom-elements.json")?;
    copy_files(&workspace.root, &site, |name| name == "index.html")?;
    for (from, to) in [("site", ""), ("app", "app")] {
        if web.join(from).is_dir() {
            copy_files(&web.join(from), &site.join(to), |name| name != "Cargo.toml")?;
        }
    }
    // The package is the same engine and element, with types.
    copy_files(&web.join("npm"), &package, |_| true)?;
    copy_files(&web.join("npm/src"), &package.join("src"), |_| true)?;
    copy_files(&site.join("unigen"), &package.join("src"), |name| name.starts_with("unigen_web"))
}

/// A table of what visitors download, raw and as brotli makes it.
pub fn sizes(out: &Output) -> Result<String> {
    let mut files = Vec::new();
    code(&out.site(), &mut files)?;
    files.sort();
    let mut table = format!("{:<32} {:>12} {:>12}\n", "code, bytes", "raw", "brotli");
    let mut sum = [0, 0];
    for file in &files {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let sizes = [bytes.len(), compressed(&bytes)?];
        sum = [sum[0] + sizes[0], sum[1] + sizes[1]];
        let name = file.strip_prefix(out.site()).unwrap_or(file).display().to_string();
        writeln!(table, "{name:<32} {:>12} {:>12}", sizes[0], sizes[1])?;
    }
    writeln!(table, "{:<32} {:>12} {:>12}", "all", sum[0], sum[1])?;
    Ok(table)
}

/// All files of code in `folder` and below.
fn code(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            code(&path, found)?;
        } else if matches!(ending, Some("js" | "wasm" | "html" | "css")) {
            found.push(path);
        }
    }
    Ok(())
}

/// Bytes after brotli at its best, as a web server sends them.
fn compressed(bytes: &[u8]) -> Result<usize> {
    let mut out = Vec::new();
    let settings = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut out, &settings)?;
    Ok(out.len())
}
