//! The sequences of Show-o (arXiv 2408.12528, section 3.1; training/prompting_utils.py in its published code), without pads.
//! `[..]` is a block (see [`Sequence`](super::Sequence)):
//!
//! - generate: `t2i bos TEXT eos [soi target eoi]`
//! - describe: `[mmu soi codes eoi] bos QUESTION ANSWER eos`, and again from bos for further questions
//! - text: `bos TEXT eos`
//!
//! bos and eos are the same token.

use super::Sequence;
use super::layout::{ImageRows, Opener, Plan};
use crate::config::SpecialTokens;

/// Show-o's builder of sequences.
pub(super) struct Showo<'a>(pub &'a SpecialTokens);

impl Showo<'_> {
    pub fn generate(&self, text: &[u32], codes: usize, opener: Opener) -> Sequence {
        let mut plan = Plan::default();
        plan.tokens(&[self.0.t2i]);
        self.passage(&mut plan, text);
        plan.target(self.0, codes, opener)
    }

    /// `[mmu soi image eoi]`: all that comes before the question is one block.
    pub fn look(&self, image: ImageRows) -> Plan {
        let mut plan = Plan::default();
        plan.tokens(&[self.0.mmu, self.0.soi]);
        plan.piece(image.into());
        let end = plan.tokens(&[self.0.eoi]).end;
        plan.block(0..end);
        plan
    }

    pub fn describe(&self, image: ImageRows, question: &[u32]) -> Sequence {
        let mut plan = self.look(image);
        self.question(&mut plan, question);
        plan.finish_text(vec![])
    }

    pub fn conversation<'t>(
        &self,
        image: ImageRows,
        turns: impl IntoIterator<Item = [&'t [u32]; 2]>,
    ) -> Sequence {
        let mut plan = self.look(image);
        let mut answers = Vec::new();
        for [question, answer] in turns {
            self.question(&mut plan, question);
            let start = plan.tokens(answer).start;
            answers.push(start..plan.tokens(&[self.0.endoftext]).end);
        }
        plan.finish_text(answers)
    }

    pub fn text(&self, text: &[u32]) -> Sequence {
        let mut plan = Plan::default();
        let rows = self.passage(&mut plan, text);
        plan.finish_text(vec![1..rows])
    }

    /// `bos QUESTION`
    fn question(&self, plan: &mut Plan, question: &[u32]) {
        plan.tokens(&[self.0.endoftext]);
        plan.tokens(question);
    }

    /// `bos TEXT eos`; returns where it ends.
    fn passage(&self, plan: &mut Plan, text: &[u32]) -> usize {
        plan.tokens(&[self.0.endoftext]);
        plan.tokens(text);
        plan.tokens(&[self.0.endoftext]).end
    }
}
