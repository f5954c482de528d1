//! The drawings in three dimensions of the sticker world. Training of the shipped model needs them, nothing else does.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::Workspace;
use crate::web::install_packages;

/// Fetches the packages that `native-trainer/stickers/assets` pins into the folder where `unigen` looks for them:
/// `UNIGEN_ASSETS`, or `unigen/assets` in the user's cache.
pub fn fetch(workspace: &Workspace) -> Result<()> {
    let named = std::env::var_os("UNIGEN_ASSETS").map(PathBuf::from);
    let folder = named.or_else(|| Some(dirs::cache_dir()?.join("unigen/assets")));
    let folder = folder.context("this user has no cache folder; set UNIGEN_ASSETS to a folder")?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let pinned = workspace.root.join("native-trainer/stickers/assets");
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(pinned.join(file), folder.join(file))
            .with_context(|| format!("cannot write {file} in {}", folder.display()))?;
    }
    install_packages(&folder)?;
    println!("The drawings are in {}", folder.display());
    Ok(())
}
