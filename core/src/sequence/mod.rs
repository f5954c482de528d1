//! The sequences of the tasks (UniGen, arXiv 2505.14682, and UniGen-1.5, arXiv 2511.14760, both section 3): what goes in
//! which order, who attends to whom, and which rows carry a loss.
//!
//! A [`Sequence`] is a plan: it says what every row is, not what is in it. The caller turns each [`Piece`] into
//! embeddings: tokens by id, features from the vision tower, codes from an image. The position of a row (for RoPE)
//! is its index in the sequence; there are no pads.

mod attention;
mod layout;
mod showo;

pub use crate::ops::AttentionLayout;
pub use layout::{EditBranch, ImageRows, Layouts, Opener};

use crate::{Error, ErrorKind, Result};
use std::ops::Range;

/// A run of rows of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text and special tokens, by id.
    Tokens(Vec<u32>),
    /// This many projected features of the source image.
    Semantic(usize),
    /// This many codes of the source image.
    Source(usize),
    /// This many codes of the image to be drawn, some of them masked.
    Target(usize),
}

impl Piece {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Piece::Tokens(ids) => ids.len(),
            &Piece::Semantic(rows) | &Piece::Source(rows) | &Piece::Target(rows) => rows,
        }
    }
}

/// One row of a sequence; the numbers count within the image, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A token id.
    Token(u32),
    /// A feature of the source image.
    Semantic(usize),
    /// A code of the source image.
    Source(usize),
    /// A code of the image to be drawn.
    Target(usize),
}

/// The plan of one sequence: its rows and its attention.
///
/// Text rows see themselves and everything before. The rows of a block see everything before the block and
/// the whole block. So nothing before a block depends on it, and the first `prefix_len` rows can be
/// computed once and cached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// What the rows are, in order.
    pub pieces: Vec<Piece>,
    /// Rows that see each other, ascending and disjoint. The last block holds the target, if there is one.
    pub blocks: Vec<Range<usize>>,
    /// Rows of the target codes; empty, at the end, for tasks that draw no image.
    pub target: Range<usize>,
    /// Rows of the tokens with the next-token loss, ascending; none for tasks that draw an image. Each token is predicted from
    /// the row before it.
    pub answers: Vec<Range<usize>>,
    /// Number of rows before the live block. They stay as they are while the target changes.
    pub prefix_len: usize,
}

impl Sequence {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Piece::rows).sum()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every row in order.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.pieces.iter().flat_map(|piece| {
            (0..piece.rows()).map(move |i| match piece {
                Piece::Tokens(ids) => Row::Token(ids[i]),
                Piece::Semantic(_) => Row::Semantic(i),
                Piece::Source(_) => Row::Source(i),
                Piece::Target(_) => Row::Target(i),
            })
        })
    }

    /// For every row, the end of the rows `0..end` that it sees.
    pub(crate) fn ends(&self) -> Vec<usize> {
        let mut ends: Vec<usize> = (1..=self.len()).collect();
        for block in &self.blocks {
            ends[block.clone()].fill(block.end);
        }
        ends
    }

    /// Rows with the masked-code loss: the masked target codes, each of which predicts its own code.
    ///
    /// # Errors
    /// `Config` where `masked` has not one entry per target code.
    pub fn masked_rows(&self, masked: &[bool]) -> Result<Vec<usize>> {
        if masked.len() != self.target.len() {
            let what = format!("has {} entries for {} target codes", masked.len(), self.target.len());
            return Err(Error::new(ErrorKind::Config, "mask", what).fix("give one entry per target code"));
        }
        Ok(self.target.clone().zip(masked).filter_map(|(row, &masked)| masked.then_some(row)).collect())
    }

    /// Rows with the next-token loss, each with the token that it predicts.
    pub fn answer_labels(&self) -> Vec<(usize, u32)> {
        let labelled = |row: &usize| self.answers.iter().any(|answer| answer.contains(row));
        self.rows()
            .enumerate()
            .filter(|(row, _)| labelled(row))
            .filter_map(|(row, kind)| match kind {
                Row::Token(id) => Some((row.checked_sub(1)?, id)),
                _ => None,
            })
            .collect()
    }
}
