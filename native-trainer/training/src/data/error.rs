//! Errors of files with samples.

use std::path::PathBuf;
use thiserror::Error;

/// The reason why a sample or a file of samples cannot be used.
#[derive(Debug, Error)]
pub enum ShardError {
    #[error("{file}: {what}")]
    File { file: PathBuf, what: String },
    #[error("{file}, {sample}: {what}")]
    Sample { file: PathBuf, sample: String, what: String },
}
