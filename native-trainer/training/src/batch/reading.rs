//! What reading samples takes: time, and texts that are longer than the limit.

use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use unigen_core::text::TextTokenizer;

use crate::train::Counted;

/// Encodes texts up to a limit, and counts what is cut and how long samples take to read.
pub struct Reading {
    limit: usize,
    nanoseconds: AtomicU64,
    texts: AtomicU64,
    cut: AtomicU64,
}

impl Reading {
    /// The longest text that any model of this program reads.
    const MAX: usize = 32_768;

    /// Texts have at most `limit` tokens.
    ///
    /// # Errors
    /// If the limit is 0 or above what a model can read.
    pub fn new(limit: usize) -> Result<Self> {
        ensure!((1..=Self::MAX).contains(&limit), "data.max_text is {limit}; choose 1 to {}", Self::MAX);
        let [nanoseconds, texts, cut] = [0; 3].map(AtomicU64::new);
        Ok(Self { limit, nanoseconds, texts, cut })
    }

    /// The tokens of a text, up to the limit.
    ///
    /// # Errors
    /// If the text is longer than any tokenizer reads.
    pub fn tokens(&self, tokenizer: &TextTokenizer, text: &str) -> Result<Vec<u32>> {
        let mut tokens = tokenizer.encode(text)?;
        self.texts.fetch_add(1, Relaxed);
        if tokens.len() > self.limit {
            if self.cut.fetch_add(1, Relaxed) == 0 {
                eprintln!(
                    "a text of {} tokens is longer than data.max_text = {}, so its end is left out; the log counts such \
                     texts as texts_cut",
                    tokens.len(),
                    self.limit
                );
            }
            tokens.truncate(self.limit);
        }
        Ok(tokens)
    }

    /// What `read` gives. Its time counts as time spent on data.
    pub fn timed<T>(&self, read: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let found = read();
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
        found
    }

    /// What was counted since the last call.
    pub fn counted(&self) -> Counted {
        let [seconds, texts, cut] =
            [&self.nanoseconds, &self.texts, &self.cut].map(|count| count.swap(0, Relaxed) as f64);
        Counted { seconds: seconds * 1e-9, texts, cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unigen_core::text::train_bpe;

    #[test]
    fn long_texts_are_cut_and_counted() {
        let tokenizer = TextTokenizer::from_bytes(&train_bpe(["red".to_owned()], 270).unwrap()).unwrap();
        let reading = Reading::new(4).unwrap();
        let whole = tokenizer.encode("xyzxyz").unwrap();
        assert_eq!(reading.tokens(&tokenizer, "xyzxyz").unwrap(), whole[..4]);
        assert_eq!(reading.tokens(&tokenizer, "xy").unwrap(), whole[..2]);
        assert_eq!(reading.timed(|| 5), 5);
        let Counted { seconds, texts, cut } = reading.counted();
        assert!(seconds > 0.0 && (texts, cut) == (2.0, 1.0));
        assert_eq!(reading.counted(), Counted::default());
        for limit in [0, 40_000] {
            assert!(Reading::new(limit).err().unwrap().to_string().contains("data.max_text"));
        }
    }
}
