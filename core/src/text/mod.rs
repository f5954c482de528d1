//! Text to tokens and back, and the tokens that are not text.

mod special;
mod tokenizer;

pub use special::{SpecialTokens, Template};
pub use tokenizer::{MAX_TEXT_BYTES, TextTokenizer, train_bpe};
