//! The nano model, inside the program.
//!
//! A copy beside the program, or the folder of the repository, is not there any more once somebody moves the program or runs it
//! elsewhere. Inside, it is found wherever the program is called, for 27 MB that are only read from the disk when they are used.

use unigen_core::Result;
use unigen_core::engine::{ModelFolder, ModelParts};
use unigen_core::weights::Bytes;

/// Its name.
pub const NAME: &str = "nano";

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/nano/", $name))
    };
}

/// Its files.
const FILES: [(&str, &[u8]); 6] = [
    (ModelFolder::CONFIG, file!("config.json")),
    (ModelFolder::GENERATION, file!("generation.json")),
    (ModelFolder::TEXT, file!("tokenizer.json")),
    (ModelFolder::MODEL, file!("model.safetensors")),
    (ModelFolder::IMAGE_TOKENIZER, file!("image_tokenizer.safetensors")),
    (ModelFolder::VISION, file!("vision.safetensors")),
];

/// The bytes of the file `name`.
pub fn file(name: &str) -> Option<Bytes> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, bytes)| Bytes::from_static(bytes))
}

/// Its parts.
///
/// # Errors
/// Those of [`ModelParts::from_files`].
pub fn parts() -> Result<ModelParts> {
    ModelParts::from_files(file)
}

/// Bytes of all files.
pub fn size() -> u64 {
    FILES.iter().map(|(_, bytes)| bytes.len() as u64).sum()
}
