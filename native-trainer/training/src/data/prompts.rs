//! Prompts by index, for reinforcement learning.

use anyhow::Result;

/// Prompts by index. An index beyond the last prompt wraps around.
pub trait Prompts: Send + Sync {
    /// Number of prompts; `None` if they never end.
    fn count(&self) -> Option<u64> {
        None
    }

    /// Prompt `index`.
    ///
    /// # Errors
    /// If neither the prompt nor any of the next ones can be read.
    fn get(&self, index: u64) -> Result<Prompt>;
}

/// A prompt for the model, and the description that drawings are scored against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub text: String,
    /// What the picture should show. Often this is the prompt itself.
    pub description: String,
}
