//! Edits by index.

use anyhow::Result;
use image::RgbImage;

/// Edits by index. An index beyond the last edit begins anew.
pub trait Edits: Send + Sync {
    /// Tells these edits from others, so that cached codes of others are not used for them.
    fn name(&self) -> String;

    /// Number of edits; none where they never end.
    fn count(&self) -> Option<u64>;

    /// Edit `index`, its pictures square and of `size` pixels a side.
    ///
    /// # Errors
    /// Where the edit cannot be read and none of the next ones can.
    fn read(&self, index: u64, size: u32) -> Result<Edit>;
}

/// An edit with its result.
#[derive(Debug, Clone)]
pub struct Edit {
    pub before: RgbImage,
    pub instruction: String,
    /// The picture that is wanted.
    pub after: RgbImage,
    /// What the wanted picture shows.
    pub description: String,
}
