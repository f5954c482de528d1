//! Exports a model's folder as a browser fetches it: a manifest, and the files in shards that are named by a hash of
//! their content.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Bytes of a shard. A visitor who leaves during a download loses at most this much.
const SHARD: usize = 4 << 20;
/// The files that a model may have. Those in `OPTIONAL` may be missing.
const FILES: [&str; 6] = [
    "config.json",
    "generation.json",
    "tokenizer.json",
    "model.safetensors",
    "image_tokenizer.safetensors",
    "vision.safetensors",
];
const OPTIONAL: [&str; 2] = ["generation.json", "vision.safetensors"];

/// The content of `manifest.json`, which `web/npm/src/loader.ts` reads.
#[derive(Serialize)]
struct Manifest {
    format: &'static str,
    version: u32,
    name: String,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    name: &'static str,
    bytes: usize,
    shards: Vec<Shard>,
}

#[derive(Serialize)]
struct Shard {
    sha256: String,
    bytes: usize,
}

/// Writes the model in the folder `model` to the folder `out`: `manifest.json`, and its shards as `SHA256.bin`.
/// Replaces an earlier export in `out`.
///
/// # Errors
/// If a file of the model is missing, `out` holds anything other than an exported model, or a file cannot be written.
pub fn export(model: &Path, out: &Path) -> Result<()> {
    clear(out)?;
    let name = model.file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned());
    let mut manifest = Manifest { format: "unigen-web", version: 1, name, files: vec![] };
    for name in FILES {
        let path = model.join(name);
        if OPTIONAL.contains(&name) && !path.exists() {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| {
            format!("cannot read {}; give the folder of a complete model", path.display())
        })?;
        if bytes.is_empty() {
            bail!("{} is empty; copy the model again", path.display());
        }
        let mut shards = Vec::new();
        for shard in bytes.chunks(SHARD) {
            let sha256: String = Sha256::digest(shard).iter().map(|byte| format!("{byte:02x}")).collect();
            write(&out.join(format!("{sha256}.bin")), shard)?;
            shards.push(Shard { sha256, bytes: shard.len() });
        }
        manifest.files.push(File { name, bytes: bytes.len(), shards });
    }
    // The manifest is written last, so that it only names files that exist.
    write(&out.join("manifest.json"), serde_json::to_string(&manifest)?.as_bytes())?;
    let total: usize = manifest.files.iter().map(|file| file.bytes).sum();
    println!("{}: {} in {total} bytes", out.display(), manifest.name);
    Ok(())
}

/// Makes the folder, and removes the files of an earlier export.
fn clear(out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut old = Vec::new();
    for entry in fs::read_dir(out).with_context(|| format!("cannot read {}", out.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != "manifest.json" && !name.ends_with(".bin") {
            bail!("{} is not part of an exported model; choose another folder to write to", path.display());
        }
        old.push(path);
    }
    for path in old {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_make_up_the_files_and_are_named_by_their_hash() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (model, out) = (folder.path().join("tiny"), folder.path().join("out"));
        fs::create_dir(&model)?;
        let error = export(&model, &out).expect_err("no model");
        assert!(format!("{error:#}").contains("config.json"), "{error:#}");
        let weights: Vec<u8> = (0..SHARD + 5).map(|i| (i % 251) as u8).collect();
        for name in FILES.iter().filter(|name| !OPTIONAL.contains(name)) {
            fs::write(model.join(name), &weights)?;
        }
        // Exports twice, since an export replaces an older one.
        export(&model, &out)?;
        export(&model, &out)?;
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(out.join("manifest.json"))?)?;
        assert_eq!((&manifest["name"], &manifest["version"]), (&"tiny".into(), &1.into()));
        let files = manifest["files"].as_array().context("files")?;
        assert_eq!(files.len(), FILES.len() - OPTIONAL.len());
        let mut read = Vec::new();
        for shard in files[0]["shards"].as_array().context("shards")? {
            let name = shard["sha256"].as_str().context("a hash")?;
            let bytes = fs::read(out.join(format!("{name}.bin")))?;
            assert_eq!(shard["bytes"], bytes.len());
            assert_eq!(name, Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>());
            read.extend(bytes);
        }
        assert_eq!(read, weights);
        // A folder with other files is not touched.
        fs::write(out.join("diary.txt"), "dear")?;
        assert!(export(&model, &out).is_err());
        assert!(out.join("manifest.json").is_file());
        Ok(())
    }
}
