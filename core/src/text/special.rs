//! Names of the tokens that mark turns, tasks and images, and the words of the chat template.

use crate::config::{ChatTokens, SpecialTokens};
use crate::{Error, ErrorKind, Result};

/// Names in the order in which [`train_bpe`](super::train_bpe) gives them the first ids. The later names of a row are what other scripts of UniGen's published code call
/// the same id.
pub(super) const NAMES: [&[&str]; 8] = [
    &["<|endoftext|>"],
    &["<|im_start|>"],
    &["<|im_end|>"],
    &["<|soi|>"],
    &["<|eoi|>"],
    &["<|t2i|>"],
    &["<|ti2i|>", "<|v2v|>", "<|think_start|>"],
    &["<|mmu|>"],
];

/// What UniGen appends to Qwen2.5's vocabulary, in this order: ids 151665 to 151673.
pub(super) const APPENDED: [&str; 9] = [
    "<|soi|>",
    "<|eoi|>",
    "<|sov|>",
    "<|eov|>",
    "<|t2i|>",
    "<|mmu|>",
    "<|t2v|>",
    "<|ti2i|>",
    "<|vision_sep|>",
];

impl SpecialTokens {
    /// Looks up every token by name.
    ///
    /// # Errors
    /// `Text`, naming the first token that is missing.
    pub(super) fn find(id_of: impl Fn(&str) -> Option<u32>) -> Result<Self> {
        let mut ids = [0; NAMES.len()];
        for (id, names) in ids.iter_mut().zip(NAMES) {
            *id = names.iter().find_map(|name| id_of(name)).ok_or_else(|| {
                Error::new(ErrorKind::Text, "tokenizer.json", format!("no token {}", names[0]))
                    .fix("use the tokenizer.json of Qwen2.5 or of a UniGen model")
            })?;
        }
        let [endoftext, im_start, im_end, soi, eoi, t2i, ti2i, mmu] = ids;
        Ok(Self { endoftext, soi, eoi, t2i, mmu, chat: Some(ChatTokens { im_start, im_end, ti2i }) })
    }
}

/// The plain words of the chat template, as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// `user\n`.
    pub user: Vec<u32>,
    /// `assistant\n`.
    pub assistant: Vec<u32>,
    /// `\n`.
    pub newline: Vec<u32>,
}
