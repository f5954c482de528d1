//! Text to tokens and back, and the tokens that are not text.
//!
//! The tokenizer is Qwen2.5's byte-level BPE (arXiv 2407.10671, section 2.1) or a small one that [`train_bpe`] makes. The
//! tokens that mark tasks and images are UniGen's (arXiv 2505.14682, section 3).

mod special;
mod tokenizer;
mod vocabulary;

pub use special::Template;
pub use tokenizer::{MAX_TEXT_BYTES, TextTokenizer, train_bpe};
pub use vocabulary::Vocabulary;
