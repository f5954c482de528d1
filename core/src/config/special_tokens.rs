//! Ids of the tokens that are not text.

use serde::{Deserialize, Serialize};

/// Ids of the tokens that mark turns, tasks and images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// `<|endoftext|>`: where there are no turns, what a text begins and ends with.
    pub endoftext: u32,
    /// `<|soi|>`: start of an image.
    pub soi: u32,
    /// `<|eoi|>`: end of an image.
    pub eoi: u32,
    /// `<|t2i|>`: the task of drawing from text.
    pub t2i: u32,
    /// `<|mmu|>`: the task of answering about an image.
    pub mmu: u32,
    /// What a model has whose decoder is a chat model, as UniGen's is. Show-o has none of these: its prompts are plain text.
    #[serde(flatten)]
    pub chat: Option<ChatTokens>,
}

/// Ids of the tokens around turns, and of the task that takes an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTokens {
    /// `<|im_start|>`: opens a turn.
    pub im_start: u32,
    /// `<|im_end|>`: closes a turn, and ends an answer.
    pub im_end: u32,
    /// `<|ti2i|>`: the task of editing.
    pub ti2i: u32,
}

impl SpecialTokens {
    /// What UniGen's published code adds to Qwen2.5's vocabulary (its function `add_tokens`).
    pub const UNIGEN: Self = Self {
        endoftext: 151_643,
        soi: 151_665,
        eoi: 151_666,
        t2i: 151_669,
        mmu: 151_670,
        chat: Some(ChatTokens { im_start: 151_644, im_end: 151_645, ti2i: 151_672 }),
    };

    /// The first ids of a vocabulary of our own.
    pub const FIRST: Self = Self {
        endoftext: 0,
        soi: 3,
        eoi: 4,
        t2i: 5,
        mmu: 7,
        chat: Some(ChatTokens { im_start: 1, im_end: 2, ti2i: 6 }),
    };

    /// How many tokens Show-o appends to its text tokenizer (`[PAD]`, soi, eoi, sov, eov, t2i, mmu, t2v, v2v, lvg).
    pub const SHOWO: usize = 10;

    /// What Show-o's published code appends to a text tokenizer of `text_tokens` tokens.
    pub fn showo(text_tokens: u32, endoftext: u32) -> Self {
        let id = |place| text_tokens + place;
        Self { endoftext, soi: id(1), eoi: id(2), t2i: id(5), mmu: id(6), chat: None }
    }

    /// The token that ends an answer.
    pub fn end_of_answer(&self) -> u32 {
        self.chat.map_or(self.endoftext, |chat| chat.im_end)
    }

    /// Every key with its id.
    pub fn named(&self) -> Vec<(&'static str, u32)> {
        let mut named = vec![
            ("endoftext", self.endoftext),
            ("soi", self.soi),
            ("eoi", self.eoi),
            ("t2i", self.t2i),
            ("mmu", self.mmu),
        ];
        if let Some(chat) = self.chat {
            named.extend([("im_start", chat.im_start), ("im_end", chat.im_end), ("ti2i", chat.ti2i)]);
        }
        named
    }
}
