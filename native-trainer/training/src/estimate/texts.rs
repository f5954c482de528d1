//! How long texts are.

use anyhow::Result;

use super::Conversation;
use crate::data::{Captioned, Pictures, rng_at};

/// Number of texts that are looked at.
const LOOKED_AT: u64 = 64;
/// Bytes of a token, about: byte-pair vocabularies of one's own captions make longer tokens.
const BYTES: f64 = 4.0;

/// About how many tokens the texts that `read` gives have on average, at most `limit`. It is asked for this many texts.
///
/// # Errors
/// The errors of `read`.
pub fn text_tokens(read: impl FnOnce(u64) -> Result<Vec<String>>, limit: usize) -> Result<f64> {
    let texts = read(LOOKED_AT)?;
    let tokens = texts.iter().map(|text| (text.len() as f64 / BYTES).ceil().min(limit as f64));
    Ok(tokens.sum::<f64>() / texts.len().max(1) as f64)
}

/// About how long the conversations about `pictures` are, which may ask several questions about one picture.
///
/// # Errors
/// If the pictures cannot be drawn.
pub fn conversation(pictures: &dyn Pictures) -> Result<Conversation> {
    const CONVERSATIONS: u64 = 8;
    /// Tokens of the template around a question and its answer.
    const TURN: f64 = 9.0;
    /// The pictures themselves do not matter, so they are small.
    const SIDE: u32 = 32;
    let mut found = Conversation::default();
    for index in 0..CONVERSATIONS {
        let Captioned { annotation, .. } = pictures.captioned(index, [SIDE; 2])?;
        for [question, answer] in annotation.conversation(index, &mut rng_at(0, index)) {
            let [question, answer] = [question, answer].map(|text| (text.len() as f64 / BYTES).ceil());
            found.rows += (TURN + question + answer) / CONVERSATIONS as f64;
            found.answers += (answer + 1.0) / CONVERSATIONS as f64;
        }
    }
    Ok(found)
}
