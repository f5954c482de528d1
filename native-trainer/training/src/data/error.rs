//! Why files of samples cannot be used.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a sample or a shard cannot be used.
#[derive(Debug, Error)]
pub enum ShardError {
    #[error("shard {shard}: cannot be read: {cause}; is it a whole tar file?")]
    Shard { shard: PathBuf, cause: io::Error },
    #[error("shard {shard}, sample \"{key}\": has no .{missing} file")]
    Missing { shard: PathBuf, key: String, missing: &'static str },
    #[error("shard {shard}, sample \"{key}\": the picture cannot be decoded: {cause}")]
    Picture { shard: PathBuf, key: String, cause: Box<unigen_core::Error> },
    #[error("shard {shard}, sample \"{key}\": the .{part} file is broken: {what}")]
    Text { shard: PathBuf, key: String, part: &'static str, what: String },
    #[error("{shard}, {key}: {what}")]
    Sample { shard: PathBuf, key: String, what: String },
}
