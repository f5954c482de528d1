//! The tokens that mark turns, tasks and images, and the words of the chat template.

use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Ids of the tokens that give a sequence its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// `<|endoftext|>`: padding, where there is any.
    pub endoftext: u32,
    /// `<|im_start|>`: opens a turn.
    pub im_start: u32,
    /// `<|im_end|>`: closes a turn, and ends an answer.
    pub im_end: u32,
    /// `<|soi|>`: start of an image.
    pub soi: u32,
    /// `<|eoi|>`: end of an image.
    pub eoi: u32,
    /// `<|t2i|>`: generate.
    pub t2i: u32,
    /// `<|ti2i|>`: edit.
    pub ti2i: u32,
    /// `<|mmu|>`: describe.
    pub mmu: u32,
}

/// Names in the order of [`SpecialTokens`]; later names of a row are what other UniGen scripts call the
/// same id (reference code, `add_tokens`: the last two names depend on the task).
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

/// What UniGen appends to a plain Qwen2.5 vocabulary, in this order: ids 151665 to 151673.
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
    /// Looks every token up by name; an error names the first that is missing.
    pub(super) fn find(id_of: impl Fn(&str) -> Option<u32>) -> Result<Self> {
        let mut ids = [0; NAMES.len()];
        for (id, names) in ids.iter_mut().zip(NAMES) {
            *id = names.iter().find_map(|name| id_of(name)).ok_or_else(|| {
                Error::new(ErrorKind::Text, "tokenizer.json", format!("no token {}", names[0]))
                    .fix("use Qwen2.5's tokenizer.json, or one made by `unigen train`")
            })?;
        }
        let [endoftext, im_start, im_end, soi, eoi, t2i, ti2i, mmu] = ids;
        Ok(Self { endoftext, im_start, im_end, soi, eoi, t2i, ti2i, mmu })
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
