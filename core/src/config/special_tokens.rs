//! Ids of the tokens that are not text.

use serde::{Deserialize, Serialize};

/// Ids of the tokens that mark turns, tasks and images.
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
    /// `<|t2i|>`: the task of drawing from text.
    pub t2i: u32,
    /// `<|ti2i|>`: the task of editing.
    pub ti2i: u32,
    /// `<|mmu|>`: the task of answering about an image.
    pub mmu: u32,
}

impl SpecialTokens {
    /// What UniGen's published code adds to Qwen2.5's vocabulary (its function `add_tokens`).
    pub const UNIGEN: Self = Self {
        endoftext: 151_643,
        im_start: 151_644,
        im_end: 151_645,
        soi: 151_665,
        eoi: 151_666,
        t2i: 151_669,
        ti2i: 151_672,
        mmu: 151_670,
    };

    /// The first ids of a vocabulary of our own, in this struct's order.
    pub const FIRST: Self =
        Self { endoftext: 0, im_start: 1, im_end: 2, soi: 3, eoi: 4, t2i: 5, ti2i: 6, mmu: 7 };

    /// Every key with its id.
    pub fn named(&self) -> [(&'static str, u32); 8] {
        [
            ("endoftext", self.endoftext),
            ("im_start", self.im_start),
            ("im_end", self.im_end),
            ("soi", self.soi),
            ("eoi", self.eoi),
            ("t2i", self.t2i),
            ("ti2i", self.ti2i),
            ("mmu", self.mmu),
        ]
    }
}
