//! CLIP's tokenizer.

use anyhow::{Context, Result, anyhow, ensure};
use std::path::Path;
use tokenizers::Tokenizer;

/// From text to the tokens of a CLIP: start, byte pairs in lower case, end.
pub struct ClipTokenizer {
    inner: Tokenizer,
    /// The most tokens of a text, start and end among them.
    longest: usize,
}

impl ClipTokenizer {
    /// The tokenizer.json at `path`, as Hugging Face's CLIPs have it; OpenCLIP's tokenizer is the same.
    ///
    /// # Errors
    /// Where the file is missing, damaged, or does not end texts with a token.
    pub fn open(path: &Path, longest: usize) -> Result<Self> {
        let place = path.display();
        let bytes = std::fs::read(path).with_context(|| {
            format!("cannot read {place}; take tokenizer.json from openai/clip-vit-large-patch14")
        })?;
        // The crate panics on JSON that breaks off, so that is ruled out first.
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
            .with_context(|| format!("{place} is damaged"))?;
        let mut inner = Tokenizer::from_bytes(&bytes).map_err(|e| anyhow!("{place} is no tokenizer: {e}"))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| anyhow!("{place}: {e}"))?;
        let tokenizer = Self { inner, longest };
        let empty = tokenizer.encode("").with_context(|| format!("{place} cannot encode"))?;
        ensure!(
            empty.len() == 2 && longest >= 2,
            "{place} is not CLIP's: an empty text has {} tokens, not a start and an end",
            empty.len()
        );
        Ok(tokenizer)
    }

    /// The tokens of a text; one that is too long loses what comes before its end token.
    ///
    /// # Errors
    /// Where the tokenizer fails.
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
