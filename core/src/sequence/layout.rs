//! The sequences of the tasks of a chat model. `[..]` is a block (see [`Sequence`]):
//!
//! - generate: `im_start t2i "user\n" TEXT im_end "\n" im_start "assistant\n" soi [target eoi]`
//! - edit: `im_start ti2i soi [semantic] eoi "user\n" TEXT im_end "\n" im_start "assistant\n"
//!   soi [source] eoi soi [target eoi]`
//! - describe: `im_start mmu soi [semantic] eoi "user\n" QUESTION im_end "\n" im_start "assistant\n"
//!   ANSWER im_end`, and again from `"\n" im_start "user\n"` for further questions
//! - text: `im_start TEXT im_end`
//!
//! With [`Opener::Block`], as in training and decoding, the target's block is `[soi target eoi]`.
//!
//! After the prompt builders in UniGen's published code (training/prompting_utils.py), and for editing UniGen-1.5 (arXiv
//! 2511.14760, section 3). Models without turns have the sequences of [`showo`](super::showo).

use super::showo::Showo;
use super::{Piece, Sequence};
use crate::config::{ChatTokens, SpecialTokens};
use crate::error::{Error, ErrorKind, Result};
use crate::text::{Template, TextTokenizer};
use std::ops::Range;

/// Whether the `soi` before the target belongs to the target's block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opener {
    /// `soi [target eoi]`: the marker is part of the fixed prefix.
    #[default]
    Prefix,
    /// `[soi target eoi]`: the marker sees the target and is computed with it at every step, as in the
    /// published UniGen, whose weights expect it.
    Block,
}

/// The rows that stand for an image to be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRows {
    /// This many features of the vision tower.
    Semantic(usize),
    /// This many codes, for a model without a vision tower (UniGen before its second stage).
    Codes(usize),
}

impl From<ImageRows> for Piece {
    fn from(image: ImageRows) -> Self {
        match image {
            ImageRows::Semantic(rows) => Self::Semantic(rows),
            ImageRows::Codes(rows) => Self::Source(rows),
        }
    }
}

/// The three branches of editing: `none + s_I (image - none) + s_T (full - image)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditBranch {
    /// Neither image nor text: the template around the target.
    None,
    /// The source image, with empty text.
    Image,
    /// The source image and the text.
    Full,
}

/// Builds the sequences of all tasks from the tokens of one tokenizer.
#[derive(Clone, Copy, Debug)]
pub struct Layouts<'a> {
    /// Marker tokens.
    pub special: &'a SpecialTokens,
    /// Words of the chat template.
    pub template: &'a Template,
    /// Where the target's opening marker belongs.
    pub opener: Opener,
}

impl<'a> Layouts<'a> {
    /// The layouts for a tokenizer, with the default [`Opener`].
    pub fn new(tokenizer: &'a TextTokenizer) -> Self {
        Self { special: tokenizer.special(), template: tokenizer.template(), opener: Opener::default() }
    }

    /// An image of `codes` codes from `text`. The unconditional branch has empty text.
    pub fn generate(&self, text: &[u32], codes: usize) -> Sequence {
        match self.family() {
            Family::Chat(chat) => {
                let mut plan = chat.open(self.special.t2i);
                chat.turns(&mut plan, text);
                plan.target(self.special, codes, self.opener)
            }
            Family::Showo(showo) => showo.generate(text, codes, self.opener),
        }
    }

    /// An image of `codes` codes from `text` and a source image of `semantic` features and `codes` codes.
    /// Only [`EditBranch::Full`] uses the text, and [`EditBranch::None`] has no source image.
    ///
    /// # Errors
    /// `Config` for a model that knows no such task, as Show-o.
    pub fn edit(&self, branch: EditBranch, text: &[u32], semantic: usize, codes: usize) -> Result<Sequence> {
        let Family::Chat(chat) = self.family() else {
            return Err(Error::new(
                ErrorKind::Config,
                "special_tokens.ti2i",
                "is missing: this model takes no instructions",
            )
            .fix("fill a part of the picture by a mask and a prompt, or take a UniGen model"));
        };
        let mut plan = chat.open(chat.tokens.ti2i);
        let image = branch != EditBranch::None;
        if image {
            chat.image(&mut plan, Piece::Semantic(semantic));
        }
        chat.turns(&mut plan, if branch == EditBranch::Full { text } else { &[] });
        if image {
            chat.image(&mut plan, Piece::Source(codes));
        }
        Ok(plan.target(self.special, codes, self.opener))
    }

    /// A question about an image, up to where the answer begins.
    pub fn describe(&self, image: ImageRows, question: &[u32]) -> Sequence {
        match self.family() {
            Family::Chat(chat) => {
                let mut plan = chat.look(image);
                chat.turns(&mut plan, question);
                plan.finish_text(vec![])
            }
            Family::Showo(showo) => showo.describe(image, question),
        }
    }

    /// Questions about one image with their answers. The loss is on each answer and on the token that closes it. Several
    /// turns cost little more than one, because most rows are the image's (LLaVA-1.5, arXiv 2310.03744, section 3.3).
    pub fn conversation<'t>(
        &self,
        image: ImageRows,
        turns: impl IntoIterator<Item = [&'t [u32]; 2]>,
    ) -> Sequence {
        let chat = match self.family() {
            Family::Chat(chat) => chat,
            Family::Showo(showo) => return showo.conversation(image, turns),
        };
        let mut plan = chat.look(image);
        let mut answers = Vec::new();
        for [question, answer] in turns {
            if !answers.is_empty() {
                plan.tokens(&self.template.newline);
                plan.tokens(&[chat.tokens.im_start]);
            }
            chat.turns(&mut plan, question);
            let start = plan.tokens(answer).start;
            answers.push(start..plan.tokens(&[chat.tokens.im_end]).end);
        }
        plan.finish_text(answers)
    }

    /// Plain text. The loss is on every token after the first.
    pub fn text(&self, text: &[u32]) -> Sequence {
        let chat = match self.family() {
            Family::Chat(chat) => chat.tokens,
            Family::Showo(showo) => return showo.text(text),
        };
        let mut plan = Plan::default();
        plan.tokens(&[chat.im_start]);
        plan.tokens(text);
        let end = plan.tokens(&[chat.im_end]).end;
        plan.finish_text(vec![1..end])
    }

    fn family(&self) -> Family<'a> {
        match self.special.chat {
            Some(tokens) => Family::Chat(Chat { special: self.special, tokens, template: self.template }),
            None => Family::Showo(Showo(self.special)),
        }
    }
}

/// Whose sequences a model has.
enum Family<'a> {
    Chat(Chat<'a>),
    Showo(Showo<'a>),
}

/// The parts of a chat model's sequences.
struct Chat<'a> {
    special: &'a SpecialTokens,
    tokens: ChatTokens,
    template: &'a Template,
}

impl Chat<'_> {
    /// `im_start TASK`
    fn open(&self, task: u32) -> Plan {
        let mut plan = Plan::default();
        plan.tokens(&[self.tokens.im_start, task]);
        plan
    }

    /// `im_start mmu soi [image] eoi`
    fn look(&self, image: ImageRows) -> Plan {
        let mut plan = self.open(self.special.mmu);
        self.image(&mut plan, image.into());
        plan
    }

    /// `soi [image] eoi`
    fn image(&self, plan: &mut Plan, image: Piece) {
        plan.tokens(&[self.special.soi]);
        let rows = plan.piece(image);
        plan.block(rows);
        plan.tokens(&[self.special.eoi]);
    }

    /// `"user\n" TEXT im_end "\n" im_start "assistant\n"`
    fn turns(&self, plan: &mut Plan, text: &[u32]) {
        plan.tokens(&self.template.user);
        plan.tokens(text);
        plan.tokens(&[self.tokens.im_end]);
        plan.tokens(&self.template.newline);
        plan.tokens(&[self.tokens.im_start]);
        plan.tokens(&self.template.assistant);
    }
}

/// A sequence being built.
#[derive(Default)]
pub(super) struct Plan {
    pieces: Vec<Piece>,
    blocks: Vec<Range<usize>>,
    len: usize,
}

impl Plan {
    /// Appends a piece and returns its rows.
    pub fn piece(&mut self, piece: Piece) -> Range<usize> {
        let start = self.len;
        self.len += piece.rows();
        self.pieces.push(piece);
        start..self.len
    }

    /// Appends tokens, to the last piece where it has tokens, and returns their rows.
    pub fn tokens(&mut self, ids: &[u32]) -> Range<usize> {
        let Some(Piece::Tokens(last)) = self.pieces.last_mut() else {
            return self.piece(Piece::Tokens(ids.to_vec()));
        };
        last.extend_from_slice(ids);
        self.len += ids.len();
        self.len - ids.len()..self.len
    }

    /// Makes rows a block.
    pub fn block(&mut self, rows: Range<usize>) {
        if !rows.is_empty() {
            self.blocks.push(rows);
        }
    }

    /// `soi [target eoi]` or `[soi target eoi]`, and the end.
    pub fn target(mut self, special: &SpecialTokens, codes: usize, opener: Opener) -> Sequence {
        let soi = self.tokens(&[special.soi]);
        let target = self.piece(Piece::Target(codes));
        self.tokens(&[special.eoi]);
        let prefix_len = match opener {
            Opener::Prefix => target.start,
            Opener::Block => soi.start,
        };
        self.block(prefix_len..self.len);
        let Plan { pieces, blocks, .. } = self;
        Sequence { pieces, blocks, target, answers: vec![], prefix_len }
    }

    /// The end of a sequence without a target.
    pub fn finish_text(self, answers: Vec<Range<usize>>) -> Sequence {
        let Plan { pieces, blocks, len } = self;
        Sequence { pieces, blocks, target: len..len, answers, prefix_len: len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::Row;

    const SPECIAL: SpecialTokens = SpecialTokens::FIRST;

    fn template() -> Template {
        Template { user: vec![20, 10], assistant: vec![21, 10], newline: vec![10] }
    }

    /// Rows as text: tokens by id, `s` semantic, `o` source code, `t` target code, blocks in brackets.
    fn show(sequence: &Sequence) -> String {
        let mut text = Vec::new();
        for (i, row) in sequence.rows().enumerate() {
            let row = match row {
                Row::Token(id) => id.to_string(),
                Row::Semantic(i) => format!("s{i}"),
                Row::Source(i) => format!("o{i}"),
                Row::Target(i) => format!("t{i}"),
            };
            let open = if sequence.blocks.iter().any(|b| b.start == i) { "[" } else { "" };
            let close = if sequence.blocks.iter().any(|b| b.end == i + 1) { "]" } else { "" };
            text.push(format!("{open}{row}{close}"));
        }
        text.join(" ")
    }

    #[test]
    fn tasks_as_designed() {
        let template = template();
        let mut layouts = Layouts { special: &SPECIAL, template: &template, opener: Opener::Prefix };

        let generate = layouts.generate(&[30, 31], 3);
        assert_eq!(show(&generate), "1 5 20 10 30 31 2 10 1 21 10 3 [t0 t1 t2 4]");
        assert_eq!((generate.prefix_len, generate.target.clone()), (12, 12..15));
        assert_eq!(show(&layouts.generate(&[], 2)), "1 5 20 10 2 10 1 21 10 3 [t0 t1 4]");

        let edit = |branch| layouts.edit(branch, &[30], 3, 2).unwrap();
        let full = edit(EditBranch::Full);
        let want = "1 6 3 [s0 s1 s2] 4 20 10 30 2 10 1 21 10 3 [o0 o1] 4 3 [t0 t1 4]";
        assert_eq!(show(&full), want);
        assert_eq!((full.prefix_len, full.len(), full.answers.len()), (20, 23, 0));
        assert_eq!(show(&edit(EditBranch::Image)), want.replace(" 30", ""));
        assert_eq!(show(&edit(EditBranch::None)), "1 6 20 10 2 10 1 21 10 3 [t0 t1 4]");

        let image = ImageRows::Semantic(2);
        let asked = "1 7 3 [s0 s1] 4 20 10 40 2 10 1 21 10";
        let open = layouts.describe(image, &[40]);
        assert_eq!(show(&open), asked);
        assert_eq!((open.prefix_len, open.answer_labels()), (open.len(), vec![]));
        let told = layouts.conversation(image, [[&[40][..], &[50, 51]]]);
        assert_eq!(show(&told), format!("{asked} 50 51 2"));
        assert_eq!(told.answer_labels(), [(13, 50), (14, 51), (15, 2)]);
        let twice = layouts.conversation(image, [[&[40][..], &[50]], [&[41], &[52]]]);
        assert_eq!(show(&twice), format!("{asked} 50 2 10 1 20 10 41 2 10 1 21 10 52 2"));
        assert_eq!(twice.answer_labels(), [(13, 50), (14, 2), (25, 52), (26, 2)]);
        let codes = layouts.describe(ImageRows::Codes(2), &[40]);
        assert_eq!(show(&codes), asked.replace('s', "o"));

        let text = layouts.text(&[60, 61]);
        assert_eq!(show(&text), "1 60 61 2");
        assert_eq!(text.answer_labels(), [(0, 60), (1, 61), (2, 2)]);

        layouts.opener = Opener::Block;
        let published = layouts.generate(&[30, 31], 3);
        assert_eq!(show(&published), "1 5 20 10 30 31 2 10 1 21 10 [3 t0 t1 t2 4]");
        assert_eq!((published.prefix_len, published.target.clone()), (11, 12..15));
    }

    #[test]
    fn tasks_as_show_o_has_them() {
        // Text has the ids to 29; bos and eos are 0, soi 31, eoi 32, t2i 35, mmu 36.
        let (special, template) = (SpecialTokens::showo(30, 0), template());
        let layouts = Layouts { special: &special, template: &template, opener: Opener::Block };
        let generate = layouts.generate(&[20, 21], 3);
        assert_eq!(show(&generate), "35 0 20 21 0 [31 t0 t1 t2 32]");
        assert_eq!((generate.prefix_len, generate.target.clone()), (5, 6..9));
        assert_eq!(show(&layouts.generate(&[], 2)), "35 0 0 [31 t0 t1 32]");
        let image = ImageRows::Codes(2);
        let asked = layouts.describe(image, &[22, 23]);
        assert_eq!(show(&asked), "[36 31 o0 o1 32] 0 22 23");
        assert_eq!(asked.prefix_len, asked.len());
        let told = layouts.conversation(image, [[&[22][..], &[24, 25]], [&[23], &[26]]]);
        assert_eq!(show(&told), "[36 31 o0 o1 32] 0 22 24 25 0 0 23 26 0");
        assert_eq!(told.answer_labels(), [(6, 24), (7, 25), (8, 0), (11, 26), (12, 0)]);
        let text = layouts.text(&[27]);
        assert_eq!((show(&text).as_str(), text.answer_labels()), ("0 27 0", vec![(0, 27), (1, 0)]));
        let error = layouts.edit(EditBranch::Full, &[20], 3, 2).unwrap_err();
        assert!(error.to_string().contains("takes no instructions") && !error.fix.is_empty(), "{error}");
    }

    #[test]
    fn masked_codes_carry_the_loss() {
        let template = template();
        let layouts = Layouts { special: &SPECIAL, template: &template, opener: Opener::Prefix };
        let sequence = layouts.generate(&[30], 3);
        let rows = sequence.masked_rows(&[true, false, true]).unwrap();
        assert_eq!(rows, [11, 13]);
        assert_eq!(sequence.rows().nth(13), Some(Row::Target(2)));
        assert!(sequence.masked_rows(&[true]).is_err());
        assert_eq!(layouts.text(&[]).masked_rows(&[]).unwrap(), Vec::<usize>::new());
    }
}
