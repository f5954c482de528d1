//! Prompts by index, for reinforcement learning.

use anyhow::Result;

/// Prompts by index. An index beyond the last prompt begins anew.
pub trait Prompts: Send + Sync {
    /// Prompt `index`.
    ///
    /// # Errors
    /// Where the prompt cannot be read and none of the next ones can.
    fn get(&self, index: u64) -> Result<Prompt>;
}

/// What the model is asked to draw, and what a drawing is scored against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub text: String,
    /// What the picture should show; often the text itself.
    pub description: String,
}
