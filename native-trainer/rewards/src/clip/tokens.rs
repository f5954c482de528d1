//! CLIP's tokenizer.

use anyhow::{Context, Result, anyhow, ensure};
use std::path::Path;
use tokenizers::Tokenizer;

/// Turns a text into CLIP's tokens: a start token, byte pairs of the lower-case text, an end token.
pub struct ClipTokenizer {
    inner: Tokenizer,
    /// Largest number of tokens of a text, including start and end.
    longest: usize,
}

impl ClipTokenizer {
    /// Opens the tokenizer.json at `path`, in the form of Hugging Face's CLIP models. OpenCLIP has the same
    /// tokenizer.
    ///
    /// # Errors
    /// If the file is missing or damaged, or if its texts do not end with an end token.
    pub fn open(path: &Path, longest: usize) -> Result<Self> {
        let place = path.display();
        let bytes = std::fs::read(path).with_context(|| {
            format!("cannot read {place}; take tokenizer.json from openai/clip-vit-large-patch14")
        })?;
        // The crate panics on truncated JSON, so the file is checked first.
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
            .with_context(|| format!("{place} is damaged"))?;
        let mut inner =
            Tokenizer::from_bytes(&bytes).map_err(|e| anyhow!("{place} is not a tokenizer: {e}"))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| anyhow!("{place}: {e}"))?;
        let tokenizer = Self { inner, longest };
        let empty = tokenizer.encode("").with_context(|| format!("{place} cannot encode"))?;
        ensure!(
            empty.len() == 2 && longest >= 2,
            "{place} is not CLIP's tokenizer: an empty text has {} tokens, not a start and an end token",
            empty.len()
        );
        Ok(tokenizer)
    }

    /// The tokens of a text. A text that is too long is cut before its end token.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding =
            self.inner.encode_fast(text, true).map_err(|e| anyhow!("cannot encode {text:?}: {e}"))?;
        let mut ids = encoding.get_ids().to_vec();
        if ids.len() > self.longest {
            let end = ids.last().copied();
            ids.truncate(self.longest - 1);
            ids.extend(end);
        }
        Ok(ids)
    }
}
