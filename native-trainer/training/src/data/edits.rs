//! Edits by index.

use anyhow::Result;
use image::RgbImage;

/// Edits by index. An index beyond the last edit wraps around.
pub trait Edits: Send + Sync {
    /// A name that identifies these edits, so that codes of other edits in a cache are not used for them.
    fn name(&self) -> String;

    /// Number of edits; `None` if they never end.
    fn count(&self) -> Option<u64>;

    /// Edit `index`. Its pictures are squares of `size` pixels a side.
    ///
    /// # Errors
    /// If neither the edit nor any of the next ones can be read.
    fn read(&self, index: u64, size: u32) -> Result<Edit>;
}

/// An edit with its result.
#[derive(Debug, Clone)]
pub struct Edit {
    pub before: RgbImage,
    pub instruction: String,
    /// The wanted picture.
    pub after: RgbImage,
    /// What the wanted picture shows.
    pub description: String,
}
