//! Assembles the site and the npm package from sources and built modules.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::{Output, copy_files, scripts};
use crate::Workspace;

/// File endings of code.
const CODE: &[&str] = &["js", "wasm", "html", "css"];
/// The modules that a page fetches for the element, before anything is drawn.
const ELEMENT: [&str; 5] =
    ["unigen/element.js", "unigen/element", "unigen/error.js", "unigen/pixels.js", "unigen/progress.js"];
/// The files of the package beside its scripts and the licence.
const PACKAGE: [&str; 3] = ["package.json", "README.md", "custom-elements.json"];
/// The placeholder for the build's name in the service worker.
const BUILD: &str = "%BUILD%";

/// Empties the folders, but keeps models that were exported into the site.
pub fn clear(out: &Output) -> Result<()> {
    for folder in [out.site().join("unigen"), out.site().join("app"), out.package()] {
        renew(&folder)?;
    }
    Ok(())
}

/// Removes the scripts of the package, also those in the site, but keeps the built modules.
pub fn clear_scripts(out: &Output) -> Result<()> {
    renew(&out.package())?;
    let folder = out.site().join("unigen");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in files(&folder, &["js"])? {
        if !file.file_name().is_some_and(|name| is_engine(&name.to_string_lossy())) {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    Ok(())
}

/// Makes an empty folder.
fn renew(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Whether a file belongs to the engine's wasm, which is built from Rust.
fn is_engine(name: &str) -> bool {
    name.starts_with("unigen_web")
}

/// Copies the sources beside the built modules.
pub fn assemble(workspace: &Workspace, out: &Output) -> Result<()> {
    let (web, site, package) = (workspace.root.join("web"), out.site(), out.package());
    let (unigen, dist) = (site.join("unigen"), package.join("dist"));
    scripts::compile(workspace, &dist)?;
    for folder in ["", "element"] {
        copy_files(&dist.join(folder), &unigen.join(folder), |name| name.ends_with(".js"))?;
    }
    // The docs page shows this file.
    copy_files(&web.join("npm"), &unigen, |name| name == "custom-elements.json")?;
    copy_files(&workspace.root, &site, |name| name == "index.html")?;
    for (from, to) in [("site", ""), ("site/gallery", "gallery"), ("app", "app")] {
        if web.join(from).is_dir() {
            // The app has its manifest and its examples in it.
            let wanted = |name: &str| !matches!(name, "Cargo.toml" | "examples.json");
            copy_files(&web.join(from), &site.join(to), wanted)?;
        }
    }
    name_build(&site)?;
    // The package has the same engine and element, with types.
    copy_files(&web.join("npm"), &package, |name| PACKAGE.contains(&name))?;
    copy_files(&workspace.root, &package, |name| name == "LICENSE")?;
    copy_files(&unigen, &dist, is_engine)
}

/// Names the build in the service worker of the folder `site`, by a hash of its files, so that each build has its own
/// cache.
fn name_build(site: &Path) -> Result<()> {
    let mut hash = Sha256::new();
    for file in files(site, &[CODE, &["png", "svg", "webmanifest"]].concat())? {
        hash.update(file.strip_prefix(site).unwrap_or(&file).to_string_lossy().as_bytes());
        hash.update(read(&file)?);
    }
    let build: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = site.join("sw.js");
    let worker = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(worker.contains(BUILD), "{} has no {BUILD}, where the build is named", path.display());
    fs::write(&path, worker.replace(BUILD, &build))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A table of the sizes of what visitors download, raw and with brotli.
pub fn sizes(out: &Output) -> Result<String> {
    let mut table = format!("{:<32} {:>12} {:>12}\n", "code, bytes", "raw", "brotli");
    let mut line =
        |name: &str, [raw, brotli]: [usize; 2]| writeln!(table, "{name:<32} {raw:>12} {brotli:>12}");
    let (mut element, mut all) = ([0, 0], [0, 0]);
    for file in files(&out.site(), CODE)? {
        let bytes = read(&file)?;
        let sizes = [bytes.len(), compressed(&bytes)?];
        let name = file.strip_prefix(out.site()).unwrap_or(&file);
        all = [all[0] + sizes[0], all[1] + sizes[1]];
        // All modules that the element needs. The engine shares some of them.
        if ELEMENT.iter().any(|part| name.starts_with(part)) {
            element = [element[0] + sizes[0], element[1] + sizes[1]];
        }
        line(&name.to_string_lossy(), sizes)?;
    }
    line("script of the element alone", element)?;
    line("all", all)?;
    Ok(table)
}

/// All files in `folder` and below with one of the `endings`, in order.
fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, endings)?);
        } else if path.extension().is_some_and(|ending| endings.iter().any(|&wanted| ending == wanted)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Number of bytes after the strongest brotli compression, as a web server sends them.
fn compressed(bytes: &[u8]) -> Result<usize> {
    let mut out = Vec::new();
    let settings = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut out, &settings)?;
    Ok(out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Result<(tempfile::TempDir, Output)> {
        let folder = tempfile::tempdir()?;
        let out = Output { folder: folder.path().to_owned() };
        fs::create_dir_all(out.site().join("unigen/element"))?;
        fs::write(out.site().join("sw.js"), "const CACHE = `${PREFIX}%BUILD%`;")?;
        for name in ["engine.js", "element.js", "element/view.js", "error.js"] {
            fs::write(out.site().join("unigen").join(name), "12345678")?;
        }
        Ok((folder, out))
    }

    #[test]
    fn the_element_is_counted_with_what_it_imports() -> Result<()> {
        let (_folder, out) = site()?;
        let table = sizes(&out)?;
        let raw = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line[name.len()..].split_whitespace().next()?.parse().ok())
        };
        assert_eq!(raw("script of the element alone"), Some(24), "{table}");
        assert_eq!(raw("all"), Some(32 + "const CACHE = `${PREFIX}%BUILD%`;".len()), "{table}");
        Ok(())
    }

    #[test]
    fn the_build_is_named_by_what_the_files_hold() -> Result<()> {
        let named = |content: &str| -> Result<String> {
            let (_folder, out) = site()?;
            fs::write(out.site().join("icon.svg"), content)?;
            name_build(&out.site())?;
            Ok(fs::read_to_string(out.site().join("sw.js"))?)
        };
        assert_eq!(named("a")?, named("a")?);
        assert_ne!(named("a")?, named("b")?);
        assert!(!named("a")?.contains(BUILD));
        Ok(())
    }
}
