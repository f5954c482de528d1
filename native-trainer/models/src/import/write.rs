//! Writing a model folder, whole or not at all.

use super::{Import, Progress, Storage};
use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use unigen_core::config::Config;
use unigen_core::engine::ModelFolder;
use unigen_core::files::write_atomic;
use unigen_core::weights::{FileTensor, write_file};
use unigen_core::{Error, ErrorKind, Result};

/// What the names of folders that are not whole yet end with.
const UNFINISHED: &str = ".unfinished";

/// See [`Import::write`].
pub fn write(import: Import, out: &Path, storage: Storage, progress: Progress<'_>) -> Result<()> {
    let error = |what: String| Error::new(ErrorKind::Io, out.display(), what);
    if out.symlink_metadata().is_ok() {
        return Err(error("exists already".into()).fix("choose another name, or remove it first"));
    }
    let (Some(name), Some(parent)) = (out.file_name(), out.parent()) else {
        return Err(error("is no name for a folder".into()).fix("choose another name"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    ModelFolder::create(parent)?;
    // Beside the new folder, so that it only has to be renamed. It goes away when this function fails.
    let mut unfinished = tempfile::Builder::new();
    let prefix = format!(".{}-", name.to_string_lossy());
    unfinished.prefix(&prefix).suffix(UNFINISHED);
    #[cfg(unix)]
    unfinished.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let unwritable = |e: std::io::Error| {
        error(format!("cannot be made: {e}")).fix("choose another place, or allow writing there")
    };
    let unfinished = unfinished.tempdir_in(parent).map_err(unwritable)?;
    files(import, unfinished.path(), storage, progress)?;
    // What was written is opened once, so that no folder that cannot be opened gets the name.
    ModelFolder::at(unfinished.path()).parts()?;
    fs::rename(unfinished.path(), out).map_err(unwritable)
}

/// Writes all files into the folder `to`.
fn files(import: Import, to: &Path, storage: Storage, progress: Progress<'_>) -> Result<()> {
    let Import { config, generation, tokenizer_json, model, image_tokenizer, vision, origin, .. } = import;
    generation.check(config.image_codes())?;
    let parts = [
        (ModelFolder::MODEL, Some(model)),
        (ModelFolder::IMAGE_TOKENIZER, Some(image_tokenizer)),
        (ModelFolder::VISION, vision),
    ];
    let parts: Vec<(_, Vec<FileTensor>)> = parts
        .into_iter()
        .filter_map(|(file, tensors)| Some((file, tensors?)))
        .map(|(file, tensors)| (file, tensors.into_iter().map(|tensor| tensor.stored(storage)).collect()))
        .collect();
    let size = |tensor: &FileTensor| tensor.element_type.bytes(&tensor.shape).unwrap_or(0) as u64;
    let all = parts.iter().flat_map(|(_, tensors)| tensors).map(size).sum();
    let written = Cell::new(0);
    for (file, tensors) in parts {
        let heard = tensors.into_iter().map(|tensor| FileTensor {
            chunks: Box::new(tensor.chunks.map(|chunk| {
                let chunk = chunk?;
                written.set(written.get() + chunk.len() as u64);
                progress(written.get(), all)?;
                Ok(chunk)
            })),
            ..tensor
        });
        write_file(&to.join(file), heard.collect(), HashMap::new())?;
    }
    write_atomic(&to.join(ModelFolder::TEXT), |out| out.write_all(&tokenizer_json))?;
    generation.write(&to.join(ModelFolder::GENERATION))?;
    origin.write(&to.join(crate::Origin::FILE))?;
    config.write(&to.join(ModelFolder::CONFIG))
}
