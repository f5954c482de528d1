//! Text to tokens and back, and the tokens that are not text.
//!
//! The tokenizer is Qwen2.5's byte-level BPE (arXiv 2407.10671, section 2.1), Phi-1.5's, or a small one that [`train_bpe`]
//! makes. The tokens that mark tasks and images are UniGen's (arXiv 2505.14682, section 3) or Show-o's (arXiv 2408.12528).

mod special;
mod tokenizer;
mod train;
mod vocabulary;

pub use special::Template;
pub use tokenizer::{MAX_TEXT_BYTES, TextTokenizer, end_of_text};
pub use train::train_bpe;
pub use vocabulary::Vocabulary;
