//! Imports of published parts: tiny ones that the tests write as the Hub lays them out, and those of the shared fixtures where
//! they are. Pulls of the same from a server on this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bad_input;
mod hub;
mod pulled;
mod values;

use hub::Hub;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use unigen_core::Result;
use unigen_models::import::{Import, Parts, ShowO, Storage, Whole};

/// The shared fixtures, where there are any.
fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures-2/hub-a");
    folder.is_dir().then_some(folder)
}

/// What `unigen import parts` reads from the folders `qwen2`, `siglip2` and `magvitv2` of `hub`.
fn parts(hub: &Path) -> Parts {
    Parts {
        decoder: hub.join("qwen2"),
        vision: hub.join("siglip2"),
        image_tokenizer: hub.join("magvitv2"),
        tokenizer: None,
        image_size: 16,
        seed: 0,
    }
}

/// What `unigen import unigen` reads from `hub`.
fn whole(hub: &Path) -> Whole {
    Whole {
        checkpoint: hub.join("unigen"),
        image_tokenizer: hub.join("magvitv2"),
        vision: Some(hub.join("siglip2")),
        tokenizer: hub.join("qwen2"),
        image_size: 16,
    }
}

/// What `unigen import show-o` reads from `hub`.
fn showo(hub: &Path) -> ShowO {
    ShowO {
        checkpoint: hub.join("show-o"),
        image_tokenizer: hub.join("magvitv2"),
        tokenizer: hub.join("phi"),
        turbo: false,
    }
}

/// A temporary folder with the model that `import` gives, under `model`.
fn written(import: Result<Import>, storage: Storage) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    import.unwrap().write(&folder.path().join("model"), storage, &|_, _| Ok(())).unwrap();
    folder
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
